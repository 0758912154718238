//! The stub from its start to its end: one attempt with the daemon, a second one where
//! the daemon ended under our hands, and the command itself where it belongs here.

use crate::connect::{DaemonEndpoint, NoDaemon};
use crate::relay::{End, Outcome, relay};
use crate::{environment, finish, job, sys};
use std::ffi::{OsStr, OsString, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use termite_abi::{ENV_DISABLE, is_disabled};
use termite_wire::frame::CallerJob;

/// Status where the daemon was lost after some of the job's output was shown.
const LOST: c_int = 255;
/// Status for a wrong use of the stub.
const USAGE: c_int = 2;

/// For people.
const WHAT_IT_IS: &str = "usage: termite-run PROGRAM ARGV0 [ARG...]
It stands in make, ninja and shells for a command that runs on the fleet as one job, and ends as
that ended. The library that is preloaded into them starts it; people use `termite run CMD`.";

/// The command and its surroundings.
struct Stub {
    program: PathBuf,
    argv: Vec<OsString>,
    environment: Vec<OsString>,
    place: DaemonEndpoint,
}

/// Runs the stub with the arguments of this process; the result is its exit status.
pub fn run() -> c_int {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(program), argv) = (arguments.next(), arguments.collect::<Vec<_>>()) else {
        finish::complain(WHAT_IT_IS);
        return USAGE;
    };
    if argv.is_empty()
        && ["--help", "-h", "--version", "-V"]
            .iter()
            .any(|option| program == *option)
    {
        return finish::print(concat!("termite-run ", env!("CARGO_PKG_VERSION")), WHAT_IT_IS);
    }
    let environment = sys::environment();
    let place = DaemonEndpoint::of(&environment);
    Stub {
        program: PathBuf::from(program),
        argv,
        environment,
        place,
    }
    .live()
}

impl Stub {
    /// Has the command run, wherever that is, and returns the status to end with.
    fn live(self) -> c_int {
        // In a slot there is no daemon, and the command is where it should be.
        let disabled = environment::value(&self.environment, ENV_DISABLE).map(OsStr::as_bytes);
        if is_disabled(disabled) || Path::new(OsStr::from_bytes(termite_abi::SHARED_FILE.to_bytes())).exists() {
            return finish::become_command(&self.program, &self.argv, self.environment);
        }
        let job = match job::of_process(self.program.clone(), self.argv.clone(), &self.environment) {
            Ok(job) => job,
            Err(why) => return self.fault(&why.to_string()),
        };
        let must = job.must;
        let build = job.build;
        let outcome = match self.converse(job) {
            Ok(outcome) => outcome,
            // Told by the job that was under way.
            Err(NoDaemon::Stopped) => return self.run_here(),
            Err(none) => return self.fault(&none.to_string()),
        };
        let local = |as_driver: bool, tools: &OsStr| match as_driver {
            true => environment::of_driver(&self.environment, &self.place.library(), build, tools),
            false => environment::of_job(&self.environment),
        };
        let name = finish::short_name(&self.argv, &self.program);
        match &outcome.end {
            End::Exited(status) => {
                finish::seek_back_unread(&name, outcome.unread);
                if outcome.output_lost && *status == 0 {
                    1
                } else {
                    (*status).into()
                }
            }
            End::Signaled(signal) => {
                finish::seek_back_unread(&name, outcome.unread);
                finish::die(*signal)
            }
            End::Killed(signal) => finish::die(*signal),
            End::Torn => {
                finish::complain(&format!(
                    "{name}: the daemon ended while the job's output was being shown"
                ));
                LOST
            }
            End::Half(what) => {
                finish::complain(&format!("{name}: {what}; run make again"));
                finish::die(libc::SIGTERM)
            }
            End::Refused(why) if must => {
                finish::complain(&format!("{name}: {why}"));
                USAGE
            }
            End::Refused(why) => self.begin_anew(&outcome, Some(why), local(false, OsStr::new(""))),
            End::Lost => self.begin_anew(&outcome, Some(&self.how_lost()), local(false, OsStr::new(""))),
            End::Local {
                reason,
                as_driver,
                tell,
                tools,
            } => {
                let why = tell.then_some(reason.as_str());
                self.begin_anew(&outcome, why, local(*as_driver, tools))
            }
        }
    }

    fn how_lost(&self) -> String {
        let log = self.place.log.as_deref();
        let log = log.map_or_else(String::new, |log| format!("; see {}", log.display()));
        format!("the daemon ended without an answer{log}")
    }

    /// Talks to the daemon; once more, to a new one, if it ended before it said anything.
    fn converse(&self, job: CallerJob) -> Result<Outcome, NoDaemon> {
        let build = job.build;
        let first = relay(self.place.connect_for(build)?, job.clone(), &self.place.socket);
        if !matches!(first.end, End::Lost) || !first.taken.is_empty() || first.taken_lost {
            return Ok(first);
        }
        first.mask.set();
        Ok(relay(self.place.connect_for(build)?, job, &self.place.socket))
    }

    /// No daemon has seen the command: it runs here.
    fn fault(&self, why: &str) -> c_int {
        self.tell(why);
        self.run_here()
    }

    fn run_here(&self) -> c_int {
        finish::become_command(&self.program, &self.argv, environment::of_job(&self.environment))
    }

    /// Executes the command here, as if nobody had tried before.
    fn begin_anew(&self, outcome: &Outcome, why: Option<&str>, environment: Vec<OsString>) -> c_int {
        if outcome.taken_lost || !give_back(&outcome.taken) {
            let name = finish::short_name(&self.argv, &self.program);
            finish::complain(&format!(
                "{name}: its input was read elsewhere and cannot be read again"
            ));
            return LOST;
        }
        if let Some(why) = why {
            self.tell(why);
        }
        if outcome.shown {
            let name = finish::short_name(&self.argv, &self.program);
            finish::complain(&format!("{name} runs again here, and prints again what is above"));
        }
        outcome.mask.set();
        finish::become_command(&self.program, &self.argv, environment)
    }

    fn tell(&self, why: &str) {
        let name = finish::short_name(&self.argv, &self.program);
        finish::complain(&format!("{name} ran locally: {why}"));
    }
}

/// Makes descriptor 0 give again what was taken from it.
fn give_back(taken: &[u8]) -> bool {
    taken.is_empty() || finish::seek_back(taken.len() as u64).is_ok() || sys::put_back(taken).is_ok()
}
