//! A slot: the room for one job at a time. Here is workerd's side: asking the spawner
//! for a slot, letting its job go, signalling it, learning how it ended.
//!
//! Knows nothing of views: who answers the guard's listener, and what the job's files
//! are, is not its concern. The processes behind it: the [`spawner`] forks the slot's
//! `init` (pid 1), that forks the `job`.

pub mod calls;
mod context;
mod error;
pub mod filter;
mod init;
mod inputs;
mod ipc;
mod job;
mod layers;
mod network;
mod pids;
mod plan;
mod probe;
mod selftest;
mod spawner;
mod spawner_process;
pub(crate) mod sys;
#[cfg(test)]
pub(crate) mod tests;
mod trial;

pub(crate) use context::SpawnerContext;
pub use error::{SlotError, Step, in_words};
pub(crate) use ipc::channel;
pub use network::Network;
pub use pids::pid_limit;
pub use probe::{GuardAllows, try_guard};
pub use selftest::{SelfTestError, self_test};
pub use spawner::Spawner;
pub(crate) use spawner_process::serve;
pub use trial::{TrialError, trial};

use ipc::Report;
use rustix::process::Signal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use termite_types::JobSpec;

/// Everything that a slot is made from. All paths lie in the store.
#[derive(Debug)]
pub struct SlotPlan {
    /// Root of the mirror, the lower layer. `dev` and `proc` are made in it if they
    /// are not there, because a slot needs them to mount on.
    pub lower: PathBuf,
    /// An existing directory of the job's own; `upper`, `work` and others are made in it.
    pub dir: PathBuf,
    /// File that holds a `termite_abi::Shared`. It is given to the job's owner.
    pub shared: PathBuf,
    /// The client's `libtermite.so`, readable for all; `None`: no shim in this slot.
    pub shim: Option<PathBuf>,
    /// What the slot is connected to.
    pub network: Network,
    /// The job. `spec.stdio` counts only in that input makes the guard hear of
    /// reads of descriptor 0, and for the size of the terminal.
    pub spec: JobSpec,
    /// The job's descriptors 0 to 2.
    pub stdio: [JobFd; 3],
    /// An open file in the place of each of `spec.inherited`, if there are any.
    pub placeholder: Option<OwnedFd>,
    /// A jobserver's pipe under the numbers of `spec.jobserver`: read end, write end.
    pub jobserver: Option<(OwnedFd, OwnedFd)>,
    /// The secret that lets calls pass the guard; both halves not zero.
    pub cookie: u64,
    /// A file system that is not mounted yet, the lower layer in the place of `lower`. It
    /// brings by itself what is looked at: such a slot has no guard, and calls that no
    /// job may make are refused all the same.
    pub served: Option<OwnedFd>,
}

/// One of a job's first three descriptors.
#[derive(Debug)]
pub enum JobFd {
    /// Not open.
    Closed,
    /// The slot's `/dev/null`.
    Null,
    /// This open file.
    Open(OwnedFd),
    /// The slot's own new terminal, which becomes the job's controlling terminal.
    Terminal,
}

/// A slot whose job stands right before its first path call: [`Slot::go`] lets it
/// run. From then on the listener must be served, or the job hangs.
#[derive(Debug)]
pub struct Started {
    /// The processes.
    pub slot: Slot,
    /// Where the guard's notifications arrive (`seccomp_unotify(2)`), if the slot has one.
    pub listener: Option<OwnedFd>,
    /// The job's `/`, opened with `O_PATH`. It keeps the slot's file system alive: drop
    /// it before the job's directory is removed.
    pub root: OwnedFd,
    /// The upper layer, opened for reading.
    pub upper: OwnedFd,
    /// Other end of the terminal, where `stdio` asked for one.
    pub terminal: Option<OwnedFd>,
}

/// The processes of a slot. Dropped before the end, it kills them.
#[derive(Debug)]
pub struct Slot {
    control: OwnedFd,
    gate: Option<OwnedFd>,
    init: OwnedFd,
    /// Init has ended, or is about to, without a last message.
    is_silent: bool,
    pid: u32,
    end: SlotEnd,
}

/// How a slot ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotEnd {
    /// Of the job's first process.
    pub status: SlotStatus,
    /// User and system time of all its processes, microseconds.
    pub cpu_us: u64,
    /// The job never ran: `execve` gave this errno.
    pub exec_errno: Option<i32>,
    /// The job never ran: its working directory could not be entered.
    pub cwd_errno: Option<i32>,
}

/// How a job's first process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotStatus {
    /// With this status.
    Exited(u8),
    /// By this signal.
    Signaled(u8),
    /// Others went on after it, and were killed.
    LeftRunning,
    /// All have ended, and shared memory or an object of System V IPC is left.
    LeftObjects,
    /// Nobody knows: the slot's init was killed, by [`Slot::kill`] or for want of memory.
    InitDied,
}

impl Slot {
    /// Pid of the job's first process as workerd sees it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the job enter its directory and execute its program. Serve the guard first.
    pub fn go(&mut self) -> Result<(), SlotError> {
        let Some(gate) = self.gate.take() else { return Ok(()) };
        ipc::open_gate(&gate).map_err(SlotError::Talk)
    }

    /// Sends a signal to the job's process group. A job that has ended is no error.
    pub fn signal(&self, signal: u8) -> Result<(), SlotError> {
        match ipc::send(self.control.as_fd(), &[signal], &[]) {
            Ok(()) | Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(SlotError::Talk(errno)),
        }
    }

    /// Kills every process of the slot.
    pub fn kill(&self) -> Result<(), SlotError> {
        match rustix::process::pidfd_send_signal(&self.init, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(SlotError::Talk(errno)),
        }
    }

    /// Waits for the end. Then no process of the slot is left but its init, which has
    /// nothing more to do than to end.
    pub fn wait(&mut self) -> Result<SlotEnd, SlotError> {
        loop {
            if let Some(end) = self.hear(true)? {
                return Ok(end);
            }
        }
    }

    /// The end, if it has come; to be asked whenever the slot's descriptor
    /// ([`AsFd`]), which may be another after each call, is readable.
    pub fn try_wait(&mut self) -> Result<Option<SlotEnd>, SlotError> {
        loop {
            match self.hear(false) {
                Ok(None) => {}
                Ok(Some(end)) => return Ok(Some(end)),
                Err(SlotError::Talk(rustix::io::Errno::AGAIN)) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn hear(&mut self, wait: bool) -> Result<Option<SlotEnd>, SlotError> {
        if self.is_silent {
            // The kernel has ended everything else in its pid namespace before.
            sys::await_exit(&self.init, wait).map_err(SlotError::Talk)?;
            return Ok(Some(self.end));
        }
        let message = ipc::receive(self.control.as_fd(), wait).map_err(SlotError::Talk)?;
        match message.map(|message| Report::decode(&message.bytes)) {
            None => self.is_silent = true,
            Some(Some(Report::ExecFailed(errno))) => self.end.exec_errno = Some(errno),
            Some(Some(Report::CwdFailed(errno))) => self.end.cwd_errno = Some(errno),
            Some(Some(Report::Ended { status, cpu_us })) => {
                self.end.status = status;
                self.end.cpu_us = cpu_us;
                return Ok(Some(self.end));
            }
            Some(Some(Report::Failed(step, errno))) => return Err(SlotError::Setup { step, errno }),
            Some(Some(Report::Ready | Report::MapMe) | None) => return Err(SlotError::Nonsense),
        }
        Ok(None)
    }
}

impl AsFd for Slot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.is_silent {
            true => self.init.as_fd(),
            false => self.control.as_fd(),
        }
    }
}
