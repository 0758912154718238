//! The process that was started stays in front of workerd proper: it passes signals on,
//! ends as its child ends, and takes it along when it is killed. Knows nothing else.

use super::StartError;
use crate::slot::channel;
use crate::slot::sys;
use rustix::process::{Pid, WaitOptions, WaitStatus};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// Signals that are passed on.
const PASSED_ON: [i32; 6] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

/// Forks; returns in the child, which has a process group of its own, so that a key
/// on the terminal reaches it once, through the supervisor.
pub(super) fn fork_child() -> Result<(), StartError> {
    let forking = || StartError::at("fork", "raise the limit of processes or free memory");
    let mut watched = PASSED_ON.to_vec();
    watched.push(libc::SIGCHLD);
    let watched = sys::mask_of(&watched);
    let (mine, theirs) = channel().map_err(forking())?;
    sys::set_mask(&watched);
    let Some(child) = sys::fork().map_err(forking())? else {
        drop(mine);
        sys::die_with_parent().map_err(forking())?;
        // A parent that was killed before the line above took its end along.
        sys::still_there(theirs.as_fd()).map_err(forking())?;
        rustix::process::setpgid(None, None).map_err(forking())?;
        // The kernel drops signals to a pid 1 that has no handler for them.
        for signal in PASSED_ON {
            sys::set_disposition(signal, end_early as *const () as libc::sighandler_t);
        }
        sys::set_mask(&sys::mask_of(&[]));
        return Ok(());
    };
    drop(theirs);
    let status = supervise(child, &watched);
    drop(mine);
    end_like(status)
}

/// Whether workerd has handlers of its own.
static HANDLED: AtomicBool = AtomicBool::new(false);

/// From here on SIGTERM and SIGINT are the caller's, who has set handlers for them.
pub fn handles_signals() {
    HANDLED.store(true, Ordering::Relaxed);
}

/// Ends workerd at once, without destructors.
pub fn leave(status: i32) -> ! {
    sys::exit(status)
}

/// Until workerd sets handlers of its own. Those of tokio call the one that was there
/// before them, so this must know when its time is over.
extern "C" fn end_early(signal: libc::c_int) {
    let handled = HANDLED.load(Ordering::Relaxed) && [libc::SIGTERM, libc::SIGINT].contains(&signal);
    if !handled {
        sys::exit(128 + signal)
    }
}

fn supervise(child: Pid, watched: &libc::sigset_t) -> WaitStatus {
    loop {
        match sys::next_signal(watched) {
            libc::SIGCHLD => {
                let ended = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(child), WaitOptions::NOHANG));
                match ended {
                    Ok(Some((_, status))) => return status,
                    Ok(None) => {}
                    // Nothing can be known of a child that somebody else has reaped.
                    Err(_) => sys::exit(1),
                }
            }
            signal => sys::signal_one(child, signal),
        }
    }
}

fn end_like(status: WaitStatus) -> ! {
    if let Some(signal) = status.terminating_signal() {
        sys::default_signals();
        sys::signal_one(rustix::process::getpid(), signal);
        sys::exit(128 + signal);
    }
    sys::exit(status.exit_status().unwrap_or(1))
}
