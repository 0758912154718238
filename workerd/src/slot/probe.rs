//! What the kernel allows a guard on this host, tried out in a process of its own.
//! Knows nothing of who wants to know.

use super::filter::{self, FilterOptions};
use super::ipc::{self, GUARD_PROBE};
use super::spawner::Spawner;
use super::{SlotError, sys};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// What a guard would have here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuardAllows {
    /// Seccomp filters at all, which also a slot without a guard needs.
    pub filters: Result<(), Errno>,
    /// A filter with a listener, as slots install it (`WAIT_KILLABLE_RECV`, Linux 5.19).
    pub listener: Result<(), Errno>,
    /// The synchronous wake-up (Linux 6.6), without which a stopped call takes longer.
    pub wake_up: Result<(), Errno>,
}

/// Tries. Blocks for about a millisecond.
pub fn try_guard(spawner: &Spawner) -> Result<GuardAllows, SlotError> {
    let message = spawner.question(GUARD_PROBE)?;
    let (numbers, rest) = message.bytes.as_chunks::<4>();
    match (numbers, rest) {
        ([filters, listener, wake_up], []) => Ok(GuardAllows {
            filters: outcome(*filters),
            listener: outcome(*listener),
            wake_up: outcome(*wake_up),
        }),
        _ => Err(SlotError::Nonsense),
    }
}

fn outcome(number: [u8; 4]) -> Result<(), Errno> {
    match i32::from_le_bytes(number) {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(errno)),
    }
}

/// The spawner's child that tries: the descriptor of the channel to answer by.
pub(super) fn run(fds: Vec<OwnedFd>) -> ! {
    let Some(control) = fds.into_iter().next() else {
        sys::exit(2)
    };
    let options = FilterOptions {
        cookie: u64::MAX,
        input_on_demand: false,
        input_seeks: false,
        shim: false,
        stops: false,
    };
    // Stops nothing, so that this process needs nobody who answers.
    let program = filter::program(options);
    let filters = rustix::thread::set_no_new_privs(true).and_then(|()| sys::install_plain_filter(&program));
    let listener = sys::install_filter(&program);
    let wake_up = match &listener {
        Ok(listener) => sys::wake_listener_in_step(listener),
        Err(errno) => Err(*errno),
    };
    let outcomes = [filters, listener.map(drop), wake_up];
    let answer: Vec<u8> = outcomes
        .into_iter()
        .flat_map(|outcome| outcome.err().map_or(0, Errno::raw_os_error).to_le_bytes())
        .collect();
    // Who asked may be gone; there is nobody else to tell.
    let _ = ipc::send(control.as_fd(), &answer, &[]);
    sys::exit(0)
}
