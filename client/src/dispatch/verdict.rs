//! Where a command belongs before it runs: by the rules, by where its caller is, and by what an earlier
//! run of it needed. Runs nothing.

use crate::build::unix_ms;
use crate::callers::Caller;
use crate::config::ConfigError;
use crate::daemon::Daemon;
use crate::forecast::Command;
use crate::machine;
use std::rc::Rc;
use termite_core::rules::{self, Verdict};
use termite_wire::frame::CallerJob;

/// Where the rules want the command.
pub(super) fn by_rules(daemon: &Daemon, job: &CallerJob) -> Result<Verdict, Rc<ConfigError>> {
    let decided = daemon.rules_for(&job.cwd)?.decide(&rules::Command {
        program: &job.program,
        argv: &job.argv,
        cwd: &job.cwd,
    });
    Ok(match decided {
        Verdict::Local { .. } | Verdict::Driver { .. } if job.must => Verdict::Remote {
            why: "asked for as a job".to_owned(),
            whole: false,
        },
        decided => decided,
    })
}

/// Where a command belongs by what an earlier run of it needed, if that still holds.
pub(super) fn by_history(daemon: &Daemon, command: &Command) -> Option<Verdict> {
    let mut signs = daemon.signs.borrow_mut();
    let sign = signs.heed(command.exact, unix_ms() / 1000, machine::has)?;
    let why = format!("{}, as before", sign.reason);
    Some(match sign.as_driver {
        true => Verdict::Driver { why },
        false => Verdict::Local { why },
    })
}

/// Whether a caller is where a job would not be, and how that differs.
pub(super) fn elsewhere(daemon: &Daemon, caller: &Caller) -> Option<&'static str> {
    match caller.surroundings() {
        Ok(its) => daemon.surroundings.difference(&its),
        Err(_) => Some("it runs where the daemon cannot see it"),
    }
}
