//! The command line of `termite`, and what each of its commands prints. Knows nothing
//! of how a command is run.

use crate::ask::{self, AskError};
use crate::{USAGE, complain, is_in_slot, serve, spelling, supervise, wrapper};
use clap::{Args, CommandFactory, Parser, Subcommand};
use serde::de::DeserializeOwned;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;
use termite_client::config::{Config, Shown};
use termite_client::explain::{Explained, Jobs, Selection};
use termite_client::history::History;
use termite_client::report::{Forgotten, Last, SettingStatus, Status};
use termite_wire::frame::Control;

/// Runs the commands of a build on a fleet of workers that have nothing installed.
#[derive(Parser)]
#[command(name = "termite", version, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one command as one job; its status is the exit status
    Run {
        /// The command and its arguments
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<OsString>,
    },
    /// Show what the last build under this directory did
    Last(Form),
    /// Show the daemon, its workers and the running jobs
    Status(Form),
    /// Show every setting with its origin
    Config(Form),
    /// Show where a job ran, why, and what it read and wrote
    Explain {
        /// BUILD.N (the beginning of BUILD will do), or N of the last build under this directory; without it
        /// that build's jobs
        #[arg(conflicts_with_all = ["local", "failed", "slow"])]
        job: Option<String>,
        /// Of those only what ran on the client
        #[arg(long)]
        local: bool,
        /// Of those only what failed
        #[arg(long)]
        failed: bool,
        /// What took longest first
        #[arg(long)]
        slow: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Try the fleet again for commands that had to run on the client
    Forget {
        /// Words of their command line, as `termite explain` shows it; none: all of them
        #[arg(trailing_var_arg = true)]
        words: Vec<OsString>,
    },
    /// Show what this host allows and what to do about it
    Doctor(Form),
    /// Run the client daemon in the foreground
    Daemon(serve::Flags),
    /// End the client daemon
    Stop,
    /// A compiler and its arguments: `termite gcc -c x.c`
    #[command(external_subcommand)]
    Wrap(Vec<OsString>),
}

#[derive(Args)]
struct Form {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The `termite` command, or the compiler whose name it was started by.
pub fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(name) = wrapper::masquerade(&arguments) {
        arguments.splice(..1, [name]);
        return wrapper::wrap(&arguments);
    }
    match Cli::parse().command {
        Command::Run { command } => wrapper::run(&command),
        Command::Wrap(command) => match misspelt(&command[0]) {
            Some(meant) => {
                let word = command[0].display();
                complain(format!("no command or program '{word}'; did you mean '{meant}'?"));
                ExitCode::from(USAGE)
            }
            None => wrapper::wrap(&command),
        },
        Command::Last(form) => last(&form),
        Command::Status(form) => status(&form),
        Command::Config(form) => config(&form),
        Command::Explain {
            job,
            local,
            failed,
            slow,
            form,
        } => explain(job.as_deref(), Selection { local, failed, slow }, &form),
        Command::Forget { words } => forget(words),
        Command::Doctor(form) => doctor(&form),
        Command::Daemon(flags) => serve::run(&flags),
        Command::Stop => stop(),
    }
}

/// The command that a word comes near, if it is no program.
fn misspelt(word: &OsStr) -> Option<String> {
    let word = word.to_str().filter(|name| !is_program(OsStr::new(name)))?;
    let cli = Cli::command();
    let names = cli.get_subcommands().map(|command| command.get_name().to_owned());
    spelling::nearest(word, names)
}

fn is_program(word: &OsStr) -> bool {
    crate::lookup::program(word, std::env::var_os("PATH"), &[]).is_ok()
}

fn last(form: &Form) -> ExitCode {
    let cwd = match std::env::current_dir() {
        Ok(cwd) => cwd,
        Err(error) => return failed(format!("the working directory: {error}")),
    };
    let json = match ask::daemon(true, Control::Last(cwd.clone())) {
        Ok(json) => json,
        Err(error) => return failed(error),
    };
    match read::<Option<Last>>(&json) {
        Ok(None) => failed(format!("no build under {} is known", cwd.display())),
        Ok(Some(last)) => show(form, &json, || last.render()),
        Err(why) => why,
    }
}

fn status(form: &Form) -> ExitCode {
    let json = match ask::daemon(false, Control::Status) {
        Ok(json) => json,
        Err(AskError::NoDaemon(why)) => {
            if form.json {
                println!("null");
            }
            return failed(format!("{why}; the next job starts one"));
        }
        Err(error) => return failed(error),
    };
    match read::<Status>(&json) {
        Ok(status) => show(form, &json, || status.render()),
        Err(why) => why,
    }
}

/// Shows the settings, and where the running daemon has others.
fn config(form: &Form) -> ExitCode {
    let config = match Config::load(&[]) {
        Ok(config) => config,
        Err(error) => {
            complain(error);
            return ExitCode::from(USAGE);
        }
    };
    let json = match serde_json::to_string(config.shown()) {
        Ok(json) => json,
        Err(error) => return failed(format!("the settings cannot be written: {error}")),
    };
    let running = running_settings();
    let text = |shown: &Shown| {
        let of_daemon = running.iter().find(|setting| setting.key == shown.key);
        let other = of_daemon.filter(|setting| setting.value != shown.value);
        let other = other.map(|SettingStatus { value, origin, .. }| {
            format!(
                "{:<15}   the daemon that runs has {} from {origin}\n",
                "",
                in_text(value)
            )
        });
        setting_line(shown) + &other.unwrap_or_default()
    };
    show(form, &json, || config.shown().iter().map(text).collect())
}

/// What the daemon was started with; nothing where none runs or answers.
fn running_settings() -> Vec<SettingStatus> {
    let json = ask::daemon(false, Control::Status);
    let status = json.ok().and_then(|json| serde_json::from_str::<Status>(&json).ok());
    status.unwrap_or_default().settings
}

/// Reads the history itself: what it tells is on disk, whether a daemon runs or not. One that
/// runs answers once it has written all that has ended.
fn explain(job: Option<&str>, selection: Selection, form: &Form) -> ExitCode {
    let config = match Config::load(&[]) {
        Ok(config) => config,
        Err(error) => {
            complain(error);
            return ExitCode::from(USAGE);
        }
    };
    if let Err(error @ AskError::Broken(_)) = ask::daemon(false, Control::Status) {
        complain(error);
    }
    let history = History::new(config.history_dir());
    let cwd = match std::env::current_dir() {
        Ok(cwd) => cwd,
        Err(error) => return failed(format!("the working directory: {error}")),
    };
    match job {
        Some(name) => explain_job(&history, name, &cwd, form),
        None => explain_build(&history, &cwd, selection, form),
    }
}

fn explain_job(history: &History, name: &str, cwd: &Path, form: &Form) -> ExitCode {
    let id = match history.job_called(name, cwd) {
        Ok(id) => id,
        Err(error) => return failed(error),
    };
    match history.job(id) {
        Ok(None) => failed(format!(
            "no job {name} is known: it has not ended, or is too old; `termite explain` lists those of the last build"
        )),
        Ok(Some((job, trace))) => {
            let explained = Explained::new(job, &trace);
            show_any(form, &explained, || explained.render())
        }
        Err(error) => failed(format!("the record of job {name} cannot be read: {error}")),
    }
}

fn explain_build(history: &History, cwd: &Path, selection: Selection, form: &Form) -> ExitCode {
    let found = history.last_build(cwd).and_then(|build| match build {
        Some(build) => {
            let id = build.build.parse().map_err(std::io::Error::other)?;
            Ok(Some(Jobs::new(build, history.jobs(id)?).select(selection)))
        }
        None => Ok(None),
    });
    match found {
        Ok(None) => failed(format!("no build under {} is known", cwd.display())),
        Ok(Some(jobs)) => show_any(form, &jobs, || jobs.render()),
        Err(error) => failed(format!("the history cannot be read: {error}")),
    }
}

fn show_any(form: &Form, what: &impl serde::Serialize, text: impl FnOnce() -> String) -> ExitCode {
    match serde_json::to_string(what) {
        Ok(json) => show(form, &json, text),
        Err(error) => failed(format!("the answer cannot be written: {error}")),
    }
}

/// The worker's own program knows what it needs, and tries it.
fn doctor(form: &Form) -> ExitCode {
    let config = match Config::load(&[]) {
        Ok(config) => config,
        Err(error) => {
            complain(error);
            return ExitCode::from(USAGE);
        }
    };
    let workerd = config.prefix.join("bin/workerd");
    let mut command = std::process::Command::new(&workerd);
    command.arg("--check").args(form.json.then_some("--json"));
    match supervise::run(&mut command) {
        Ok(status) => ExitCode::from(supervise::end_as(status)),
        Err(error) => failed(format!("cannot start {}: {error}; install it there", workerd.display())),
    }
}

fn setting_line(
    Shown {
        key,
        value,
        origin,
        meaning,
    }: &Shown,
) -> String {
    let value = in_text(value);
    format!("{key:<15} {value}\n{:<15}   from {origin}; {meaning}\n", "")
}

fn in_text(value: &Option<String>) -> &str {
    value.as_deref().filter(|value| !value.is_empty()).unwrap_or("-")
}

/// The daemon's answer, or the status with which the command ends that cannot read it.
fn read<T: DeserializeOwned>(json: &str) -> Result<T, ExitCode> {
    serde_json::from_str(json).map_err(|error| {
        failed(format!(
            "the daemon's answer cannot be read: {error}; end it with `termite stop`"
        ))
    })
}

fn forget(words: Vec<OsString>) -> ExitCode {
    let is_for_some = !words.is_empty();
    let json = match ask::daemon(true, Control::Forget(words)) {
        Ok(json) => json,
        Err(error) => return failed(error),
    };
    match read::<Forgotten>(&json) {
        Ok(Forgotten { commands }) if commands.is_empty() && is_for_some => {
            failed("no such command is known to need the client")
        }
        Ok(Forgotten { commands }) => {
            commands
                .iter()
                .for_each(|command| println!("tries the fleet again: {command}"));
            ExitCode::SUCCESS
        }
        Err(why) => why,
    }
}

fn stop() -> ExitCode {
    if is_in_slot() {
        return failed("the daemon is not reached from a job");
    }
    match ask::stop() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            complain("no daemon runs");
            ExitCode::SUCCESS
        }
        Err(error) => failed(error),
    }
}

fn show(form: &Form, json: &str, text: impl FnOnce() -> String) -> ExitCode {
    if form.json {
        println!("{json}");
    } else {
        print!("{}", text());
    }
    ExitCode::SUCCESS
}

fn failed(why: impl std::fmt::Display) -> ExitCode {
    complain(why);
    ExitCode::FAILURE
}
