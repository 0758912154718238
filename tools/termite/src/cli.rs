//! The command line of `termite`, and what each of its commands prints. Knows nothing
//! of how a command is run.

use crate::ask::{self, AskError};
use crate::{USAGE, complain, is_in_slot, serve, wrapper};
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;
use termite_client::config::{Config, Shown};
use termite_client::report::{Last, Status};
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
        /// BUILD.N; without it the last job
        job: Option<String>,
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
        Command::Wrap(command) => wrapper::wrap(&command),
        Command::Last(form) => last(&form),
        Command::Status(form) => status(&form),
        Command::Config(form) => config(&form),
        Command::Explain { .. } => not_built_yet("explain"),
        Command::Doctor(_) => not_built_yet("doctor"),
        Command::Daemon(flags) => serve::run(&flags),
        Command::Stop => stop(),
    }
}

fn not_built_yet(command: &str) -> ExitCode {
    complain(format!(
        "`termite {command}` is not built yet; `termite status` and `termite last` are"
    ));
    ExitCode::from(USAGE)
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
    match serde_json::from_str::<Option<Last>>(&json) {
        Ok(None) => failed(format!("no build under {} is known", cwd.display())),
        Ok(Some(last)) => show(form, &json, || last.render()),
        Err(error) => failed(format!(
            "the daemon's answer cannot be read: {error}; end it with `termite stop`"
        )),
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
    match serde_json::from_str::<Status>(&json) {
        Ok(status) => show(form, &json, || status.render()),
        Err(error) => failed(format!(
            "the daemon's answer cannot be read: {error}; end it with `termite stop`"
        )),
    }
}

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
    show(form, &json, || config.shown().iter().map(setting_line).collect())
}

fn setting_line(
    Shown {
        key,
        value,
        origin,
        meaning,
    }: &Shown,
) -> String {
    let value = value.as_deref().filter(|value| !value.is_empty()).unwrap_or("-");
    format!("{key:<15} {value}\n{:<15}   from {origin}; {meaning}\n", "")
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
