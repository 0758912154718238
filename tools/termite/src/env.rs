//! `termite-env`: a command, or a shell, with its jobs on the fleet, and one line at the
//! end on what happened. Knows the order of these steps; the daemon does the rest.

use crate::ask::{self, AskError};
use crate::go;
use crate::lookup;
use crate::prompt::Marked;
use crate::seen::Seen;
use crate::wrapper::stub;
use crate::{USAGE, complain, is_in_slot, say, spelling, supervise};
use clap::Parser;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use termite_abi::{ENV_BUILD, ENV_DISABLE, ENV_SEEN, ENV_SOCKET, ENV_TOOLS, is_disabled, tools};
use termite_client::config::{Config, ConfigError};
use termite_client::report::Last;
use termite_core::rules::{self, Rules};
use termite_run::connect::{DaemonEndpoint, NoDaemon};
use termite_run::{environment, signals};
use termite_transport::Address;
use termite_types::BuildId;
use termite_wire::frame::Control;

const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// Runs a command with its jobs on the fleet.
#[derive(Parser)]
#[command(name = "termite-env", version)]
struct Cli {
    /// Addresses of workers, separated by commas: unix:PATH or HOST:PORT (loopback)
    #[arg(long, value_name = "LIST")]
    workers: Option<String>,
    /// Run a serial build on the whole fleet
    #[arg(long)]
    serial: bool,
    /// The command and its arguments; without it $SHELL
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// A command that is ready to start.
struct Ready {
    program: PathBuf,
    argv: Vec<OsString>,
    marked: Marked,
    /// It was given, and is not the user's shell.
    is_given: bool,
}

/// What holds where a command starts.
struct Here {
    cwd: PathBuf,
    rules: Rules,
    /// Value for [`ENV_TOOLS`].
    tools: OsString,
}

/// The `termite-env` command; the result is its exit status.
pub fn main() -> u8 {
    // Whoever does not listen to the summary is no reason to end.
    signals::ignore(rustix::process::Signal::PIPE.as_raw());
    let cli = Cli::parse();
    let ready = match prepare(cli.command) {
        Ok(ready) => ready,
        Err(status) => return status,
    };
    // A job's place is decided, and a build within a build is part of it.
    let disabled = std::env::var_os(ENV_DISABLE);
    if is_disabled(disabled.as_deref().map(OsStr::as_bytes)) || is_in_slot() || std::env::var_os(ENV_BUILD).is_some() {
        let error = ready.command().exec();
        return cannot_run(&ready.program, &error);
    }
    let mut flags = Vec::new();
    flags.extend(cli.workers.map(|list| ("workers", list)));
    flags.extend(cli.serial.then(|| ("serial", "true".to_owned())));
    let config = match Config::load(&flags) {
        Ok(config) => config,
        Err(error) => {
            complain(error);
            return USAGE;
        }
    };
    run(&config, &ready)
}

/// Looks the command up; without one it is the user's shell, with a mark in its prompt.
fn prepare(command: Vec<OsString>) -> Result<Ready, u8> {
    let is_given = !command.is_empty();
    let (argv, marked) = if !is_given {
        let shell = std::env::var_os("SHELL")
            .filter(|shell| !shell.is_empty())
            .unwrap_or_else(|| "/bin/sh".into());
        let marked = match io::stdin().is_terminal() {
            false => Marked::default(),
            true => Marked::shell(&shell).unwrap_or_else(|error| {
                complain(format!("the prompt bears no mark: {error}"));
                Marked::default()
            }),
        };
        ([vec![shell], marked.arguments.clone()].concat(), marked)
    } else {
        (command, Marked::default())
    };
    let name = argv[0].clone();
    match lookup::program(&name, std::env::var_os("PATH"), &[]) {
        Ok(program) => Ok(Ready {
            program,
            argv,
            marked,
            is_given,
        }),
        Err(error) => Err(cannot_run(Path::new(&name), &error)),
    }
}

/// Runs a command with the shim in its environment and tells what its jobs came to.
fn run(config: &Config, ready: &Ready) -> u8 {
    let build = match random() {
        Ok(random) => BuildId(random),
        Err(error) => {
            complain(format!("no random number for the build's name: {error}"));
            return 1;
        }
    };
    let here = match Here::find(config) {
        Ok(here) => here,
        Err(error) => {
            complain(error);
            return USAGE;
        }
    };
    spelling::strangers(std::env::vars_os().map(|(name, _)| name))
        .into_iter()
        .for_each(complain);
    let place = ask::place_of(config);
    let mut command = ready.command();
    let mut seen = None;
    match begin(config, &place, build, &here, &ready.argv) {
        Ok(()) => {
            if here.makes_a_job_of(ready) {
                command = ready.job();
            }
            seen = Seen::begin();
            surround(&mut command, config, &place, build);
            let tools = Some(&here.tools).filter(|tools| !tools.is_empty());
            let go = go::flags(&stub().with_file_name("termite"), &|name| std::env::var_os(name));
            command
                .envs(tools.map(|tools| (ENV_TOOLS, tools)))
                .envs(go.map(|flags| (go::VARIABLE, flags)))
                .envs(seen.as_ref().map(|seen| (ENV_SEEN, seen.path())));
        }
        Err(AskError::Refused(why)) => {
            complain(why);
            return USAGE;
        }
        Err(other) => complain(format!("{other}; everything runs here")),
    }
    let status = match supervise::run(&mut command) {
        Ok(status) => status,
        Err(error) => return cannot_run(&ready.program, &error),
    };
    if is_surrounded(&command) {
        let others = seen.map(|seen| seen.names()).unwrap_or_default();
        finish(&place, build, supervise::shell_status(status), &others);
    }
    supervise::end_as(status)
}

/// Why a command cannot be run from here.
#[derive(Debug, thiserror::Error)]
enum NowhereError {
    /// The directory is gone, or out of reach.
    #[error("the working directory: {0}")]
    Directory(#[source] io::Error),
    /// Its rules cannot be used.
    #[error(transparent)]
    Rules(#[from] ConfigError),
}

impl Here {
    fn find(config: &Config) -> Result<Self, NowhereError> {
        let cwd = std::env::current_dir().map_err(NowhereError::Directory)?;
        let rules = config.rules_in(&cwd)?;
        let tools = config.tools_value(&rules);
        Ok(Self { cwd, rules, tools })
    }

    /// Whether the command itself is a job, as it would be below a shell, or as a rule of the
    /// user's says.
    fn makes_a_job_of(&self, ready: &Ready) -> bool {
        let command = rules::Command {
            program: &ready.program,
            argv: &ready.argv,
            cwd: &self.cwd,
        };
        let name = ready.program.file_name().unwrap_or_default().as_bytes();
        let tools = match self.tools.as_bytes() {
            b"" => tools::BUILT_IN,
            own => own,
        };
        ready.is_given && (tools::is_tool(name, tools) || self.rules.decide_by_own(&command).is_some())
    }
}

/// Announces the build. The library must be there, or its commands would not find us.
fn begin(
    config: &Config,
    place: &DaemonEndpoint,
    build: BuildId,
    here: &Here,
    argv: &[OsString],
) -> Result<(), AskError> {
    let library = place.library();
    if !library.is_file() {
        return Err(AskError::NoLibrary(library));
    }
    let stream = place.connect_or_start().map_err(AskError::NoDaemon)?;
    let workers = config.workers.iter().map(spell).collect();
    ask::request(
        stream,
        Control::Begin {
            build,
            cwd: here.cwd.clone(),
            command: argv.to_vec(),
            workers,
        },
    )
    .map(drop)
}

fn spell(address: &Address) -> String {
    match address {
        Address::Unix(path) => format!("unix:{}", path.display()),
        Address::Tcp(address) => address.clone(),
    }
}

/// Puts the shim and what it needs into the command's environment.
fn surround(command: &mut Command, config: &Config, place: &DaemonEndpoint, build: BuildId) {
    let mut preload: Vec<OsString> = std::env::var_os("LD_PRELOAD")
        .map(|old| environment::entry("LD_PRELOAD", &old))
        .into_iter()
        .collect();
    environment::preload(&mut preload, &place.library());
    if let Some(value) = environment::value(&preload, "LD_PRELOAD") {
        command.env("LD_PRELOAD", value);
    }
    command
        .env(ENV_BUILD, build.to_string())
        .env(ENV_SOCKET, config.socket_path());
}

fn is_surrounded(command: &Command) -> bool {
    command
        .get_envs()
        .any(|(name, value)| name == ENV_BUILD && value.is_some())
}

/// Ends the build and prints what it did. `others`: programs that were started as no jobs.
fn finish(place: &DaemonEndpoint, build: BuildId, exit: u8, others: &[String]) {
    let answer = place.connect().map_err(AskError::NoDaemon);
    let answer = answer.and_then(|stream| ask::request(stream, Control::Finish { build, exit }));
    match answer.map(|json| serde_json::from_str::<Last>(&json)) {
        Ok(Ok(last)) => say(last.summary(others)),
        Err(AskError::NoDaemon(NoDaemon::Absent(_))) if place.was_stopped_under(build) => {
            place.forget_stopped(build);
            complain("no summary: the daemon was stopped; what was left to do ran here");
        }
        Ok(Err(error)) => complain(format!("no summary: the daemon's answer cannot be read: {error}")),
        Err(error) => complain(format!("no summary: {error}")),
    }
}

impl Ready {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let zeroth: &OsStr = &self.argv[0];
        command
            .arg0(zeroth)
            .args(&self.argv[1..])
            .envs(self.marked.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The same as one job.
    fn job(&self) -> Command {
        let mut command = Command::new(stub());
        command.arg0("termite-run").arg(&self.program).args(&self.argv);
        command
    }
}

fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}

fn cannot_run(name: &Path, error: &io::Error) -> u8 {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    say(format_args!("termite-env: {}: {text}", name.display()));
    if error.kind() == io::ErrorKind::NotFound {
        NOT_FOUND
    } else {
        NOT_EXECUTABLE
    }
}
