//! Signals by mask and descriptor, and an end by one of them. Knows nothing of jobs.

#![allow(unsafe_code)]

use crate::descriptor::above_stdio;
use rustix::process::{Resource, Rlimit};
use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A set of signals.
#[derive(Clone, Copy)]
pub struct Signals(libc::sigset_t);

impl Signals {
    /// These signals.
    pub fn of(signals: impl IntoIterator<Item = c_int>) -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset makes the set whole; sigaddset only refuses bad numbers.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            let mut set = set.assume_init();
            for signal in signals {
                libc::sigaddset(&mut set, signal);
            }
            Self(set)
        }
    }

    /// Whether it holds the signal.
    pub fn contains(&self, signal: c_int) -> bool {
        // SAFETY: the set is whole.
        unsafe { libc::sigismember(&self.0, signal) == 1 }
    }

    /// Blocks them beside those that are blocked, which are returned.
    pub fn block(&self) -> Self {
        self.mask(libc::SIG_BLOCK)
    }

    /// Makes them the blocked ones.
    pub fn set(&self) {
        self.mask(libc::SIG_SETMASK);
    }

    fn mask(&self, how: c_int) -> Self {
        let mut old = Self::of([]);
        // SAFETY: both sets are whole; the call cannot fail with a `how` of its own.
        unsafe { libc::sigprocmask(how, &self.0, &mut old.0) };
        old
    }

    /// Makes them the blocked ones in what the command starts.
    pub fn set_in(self, command: &mut Command) {
        let set = move || {
            self.set();
            Ok(())
        };
        // SAFETY: between fork and exec one system call is made, and nothing allocated.
        unsafe { command.pre_exec(set) };
    }

    /// A descriptor to read them from, non-blocking.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        // SAFETY: the set is whole; a descriptor that is returned is ours.
        let fd = unsafe {
            match libc::signalfd(-1, &self.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
                -1 => return Err(io::Error::last_os_error()),
                fd => OwnedFd::from_raw_fd(fd),
            }
        };
        above_stdio(fd)
    }
}

/// A signal that came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Which.
    pub signal: c_int,
    /// A process sent it to us; else the kernel did, for a terminal to its whole group.
    pub is_ours_alone: bool,
}

/// The next signal of a signal descriptor; `None`: no more at the moment.
pub fn next_signal(fd: &OwnedFd) -> Option<Arrival> {
    let mut record = [0u8; size_of::<libc::signalfd_siginfo>()];
    let len = rustix::io::read(fd, &mut record).ok()?;
    // signalfd(2): `ssi_signo`, `ssi_errno`, `ssi_code`, each four bytes.
    let number = |at: usize| Some(c_int::from_ne_bytes(*record.get(at..)?.first_chunk()?));
    let (signal, code) = (number(0)?, number(8)?);
    (len == record.len()).then_some(Arrival {
        signal,
        is_ours_alone: code <= libc::SI_USER,
    })
}

/// Whether this process was started with the signal ignored.
pub fn is_ignored(signal: c_int) -> bool {
    let mut old = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null new action only asks; a good signal number fills `old`.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr()) == 0
            && old.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// The signals that this process was started with ignored, the lowest bit for signal 1.
pub fn ignored() -> u64 {
    let ignored = (0..64).filter(|at| is_ignored(at + 1));
    ignored.fold(0, |mask, at| mask | 1 << at)
}

/// Has this process ignore a signal.
pub fn ignore(signal: c_int) {
    // SAFETY: the action is none of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Ends this process by the signal, without a core file; returns where that cannot be.
pub fn die_by(signal: c_int) {
    // SAFETY: a null action is the default one; no handler of ours exists.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    let none = Rlimit {
        current: Some(0),
        maximum: rustix::process::getrlimit(Resource::Core).maximum,
    };
    // A core file of the stub would be a nuisance, no more.
    let _ = rustix::process::setrlimit(Resource::Core, none);
    raise(signal);
    // SAFETY: numbers and a whole set.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &Signals::of([signal]).0, std::ptr::null_mut()) };
}

/// Sends this process a signal.
pub fn raise(signal: c_int) {
    // SAFETY: numbers only.
    unsafe { libc::kill(libc::getpid(), signal) };
}
