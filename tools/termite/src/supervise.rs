//! A child that this process stands for: signals sent to us are its, its end is ours.
//! Knows nothing of what the child is.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::ffi::c_int;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use termite_run::signals::{self, Signals};

/// Signals that are passed on. Those of a terminal go to the child by themselves.
const PASSED: [Signal; 6] = [
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
];

/// Runs the command to its end.
pub(crate) fn run(command: &mut Command) -> io::Result<ExitStatus> {
    let ours = PASSED
        .into_iter()
        .map(Signal::as_raw)
        .filter(|signal| !signals::is_ignored(*signal));
    let set = Signals::of(ours);
    let before = set.block();
    before.set_in(command);
    let outcome = spawn_and_wait(command, &set);
    before.set();
    outcome
}

fn spawn_and_wait(command: &mut Command, set: &Signals) -> io::Result<ExitStatus> {
    let arrivals = set.descriptor()?;
    let mut child = command.spawn()?;
    let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    loop {
        let mut fds = [
            PollFd::new(&ended, PollFlags::IN),
            PollFd::new(&arrivals, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        pass_on(&arrivals, &child)?;
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
    }
}

fn pass_on(arrivals: &OwnedFd, child: &Child) -> io::Result<()> {
    while let Some(arrival) = signals::next_signal(arrivals) {
        if !arrival.is_ours_alone {
            continue;
        }
        if let Some(signal) = Signal::from_named_raw(arrival.signal) {
            match kill_process(Pid::from_child(child), signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Ends this process as the child ended.
pub(crate) fn end_as(status: ExitStatus) -> u8 {
    match status.signal() {
        Some(signal) => {
            signals::die_by(signal);
            shell_status(status)
        }
        None => shell_status(status),
    }
}

/// A signal counts 128 more, as in a shell.
pub(crate) fn shell_status(status: ExitStatus) -> u8 {
    let number: c_int = status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap_or(255);
    number as u8
}
