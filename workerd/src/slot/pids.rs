//! The number of a job's first process: what the kernel gives next in a slot's pid namespace is set
//! before that process is made. Knows nothing of which numbers are good ones.
//!
//! `ns_last_pid` (pid_namespaces(7), kernel/pid_namespace.c) is of the pid namespace of who writes it.
//! It wants CAP_SYS_ADMIN in the user namespace that owns that namespace. A slot's init has it until it
//! enters a user namespace of the slot's own, for a worker of root's and of an ordinary user's alike.
//! `clone3` with `set_tid` is no way around a kernel that refuses this: it wants the same capability,
//! when the job is made and init has none any more, and the numbers after the first would begin at 2.

use super::context::PROC;
use super::ipc::{self, PID_PROBE};
use super::spawner::Spawner;
use super::{SlotError, sys};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use termite_types::PidRange;

/// Numbers of jobs may be below this; an errno where they cannot be chosen here. Blocks for about a
/// millisecond.
pub fn pid_limit(spawner: &Spawner) -> Result<Result<u32, Errno>, SlotError> {
    let message = spawner.question(PID_PROBE)?;
    let (numbers, rest) = message.bytes.as_chunks::<4>();
    match (numbers, rest) {
        ([limit, errno], []) => Ok(match i32::from_le_bytes(*errno) {
            0 => Ok(u32::from_le_bytes(*limit)),
            errno => Err(Errno::from_raw_os_error(errno)),
        }),
        _ => Err(SlotError::Nonsense),
    }
}

/// The spawner's child that tries, pid 1 of a new pid namespace: the descriptor of the channel to
/// answer by.
pub(super) fn run(fds: Vec<OwnedFd>) -> ! {
    let Some(control) = fds.into_iter().next() else {
        sys::exit(2)
    };
    let (limit, errno) = match largest_last() {
        Ok(limit) => (limit, 0),
        Err(errno) => (0, errno.raw_os_error()),
    };
    let answer = [limit.to_le_bytes(), errno.to_le_bytes()].concat();
    // Who asked may be gone; there is nobody else to tell.
    let _ = ipc::send(control.as_fd(), &answer, &[]);
    sys::exit(0)
}

/// The next process that is made in this pid namespace, which this process is in, gets this number if
/// it is free.
pub(super) fn set_next(first: u32) -> Result<(), Errno> {
    set_last(&open()?, first - 1)
}

/// The largest number that may be called the last one, which is `pid_max`: all numbers that are given
/// are smaller.
fn largest_last() -> Result<u32, Errno> {
    let last = open()?;
    let (mut taken, mut refused) = (2, PidRange::LIMIT + 1);
    set_last(&last, taken)?;
    while taken + 1 < refused {
        let middle = taken.midpoint(refused);
        match set_last(&last, middle) {
            Ok(()) => taken = middle,
            Err(Errno::INVAL) => refused = middle,
            Err(errno) => return Err(errno),
        }
    }
    Ok(taken)
}

fn open() -> Result<OwnedFd, Errno> {
    let path = format!("{PROC}/sys/kernel/ns_last_pid");
    rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
}

fn set_last(at: &OwnedFd, last: u32) -> Result<(), Errno> {
    rustix::io::pwrite(at, last.to_string().as_bytes(), 0).map(drop)
}
