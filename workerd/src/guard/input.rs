//! Standard input on demand: whether a stopped call is the job's first use of it. Knows
//! descriptors by what they link to, not what is sent.

use super::request::Request;
use super::sys::read_memory;
use crate::slot::calls::{Arch, Effect};
use parking_lot::Mutex;
use rustix::fd::OwnedFd;

/// Spellings of descriptor 0 as a file.
const NAMES: [&[u8]; 3] = [b"/dev/stdin", b"/dev/fd/0", b"/proc/self/fd/0"];
/// One more, where it is the terminal (tty(4)).
const TERMINAL: &[u8] = b"/dev/tty";
/// More descriptors than that are not looked through.
const MAX_POLLED: u64 = 1024;

/// Watches for the first use of the job's own standard input.
pub(super) struct InputWatch {
    is_terminal: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What descriptor 0 was when the job began. `None`: it has not made its first call.
    original: Option<Vec<u8>>,
    /// It is something to be fetched, and nobody used it yet.
    is_unused: bool,
}

impl InputWatch {
    /// For a job whose standard input is a terminal, or whatever it turns out to be.
    pub(super) fn new(is_terminal: bool) -> Self {
        Self {
            is_terminal,
            state: Mutex::default(),
        }
    }

    /// True once: this call wants the input. The job's first process must be seen before
    /// it has changed its descriptors.
    pub(super) fn is_wanted_by(&self, request: &Request, proc: &OwnedFd) -> bool {
        let mut state = self.state.lock();
        if state.original.is_none() {
            let original = link(proc, request.task, 0).unwrap_or_default();
            *state = State {
                is_unused: self.is_terminal || original.starts_with(b"pipe:"),
                original: Some(original),
            };
        }
        let wanted = state.is_unused && self.is_use(request) && link(proc, request.task, 0) == state.original;
        state.is_unused &= !wanted;
        wanted
    }

    /// Whether this call goes to another place in the file that the job's standard input is on the
    /// client, or asks where it is there.
    pub(super) fn is_sought_by(&self, request: &Request, proc: &OwnedFd) -> bool {
        request.call.effect == Effect::Seek && link(proc, request.task, 0) == self.state.lock().original
    }

    fn is_use(&self, request: &Request) -> bool {
        let args = &request.args;
        match request.call.effect {
            Effect::Input(_) => !request.takes_lock() && !saves_for_later(request),
            Effect::Open(_) => request.paths.iter().any(|named| self.is_name(&named.path)),
            Effect::Poll(polled, count) => {
                // struct pollfd: descriptor (4 bytes), events, events that came.
                let len = args[count as usize].min(MAX_POLLED) as usize * 8;
                let polled = read_memory(request.task, args[polled as usize], len).unwrap_or_default();
                polled
                    .chunks_exact(8)
                    .any(|one| one[..4] == [0; 4] && one[4] & libc::POLLIN as u8 != 0)
            }
            Effect::Select { count, read, block } => {
                let (count, set) = match block {
                    false => (args[count as usize], args[read as usize]),
                    true => old_select(request).unwrap_or_default(),
                };
                let first = || read_memory(request.task, set, 1).is_ok_and(|byte| byte[0] & 1 != 0);
                count as u32 > 0 && set != 0 && first()
            }
            _ => false,
        }
    }

    fn is_name(&self, path: &[u8]) -> bool {
        NAMES.contains(&path) || self.is_terminal && path == TERMINAL
    }
}

fn link(proc: &OwnedFd, task: u32, fd: u32) -> Option<Vec<u8>> {
    Some(
        rustix::fs::readlinkat(proc, format!("{task}/fd/{fd}"), Vec::new())
            .ok()?
            .into_bytes(),
    )
}

/// A shell that gives one command another input puts its own away first, at a number that
/// scripts cannot name, and back afterwards (dash and bash: 10 and above).
fn saves_for_later(request: &Request) -> bool {
    request.call.name.starts_with("fcntl") && request.args[2] as u32 >= 10
}

fn old_select(request: &Request) -> Option<(u64, u64)> {
    debug_assert!(request.arch == Arch::I386);
    let block = read_memory(request.task, request.args[0], 8).ok()?;
    let word = |at: usize| Some(u64::from(u32::from_le_bytes(block.get(at..at + 4)?.try_into().ok()?)));
    Some((word(0)?, word(4)?))
}
