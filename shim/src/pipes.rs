//! Which child's output make itself reads, as for `$(shell)`: its standard output is a
//! pipe that this very process made.
//!
//! Knows only what passed the hooks: pipes by inode, and the last `dup2` onto standard
//! output noted in each set of spawn actions. Both are fixed rings; what falls out is
//! taken for an ordinary child.

use crate::{role, sys};
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

const PIPES: usize = 32;
const ACTIONS: usize = 8;

static MADE: [AtomicU64; PIPES] = [const { AtomicU64::new(0) }; PIPES];
static NEXT_MADE: AtomicUsize = AtomicUsize::new(0);

/// The descriptor that one set of spawn actions makes standard output.
struct Redirection {
    actions: AtomicUsize,
    from: AtomicI32,
}

static REDIRECTIONS: [Redirection; ACTIONS] = [const {
    Redirection {
        actions: AtomicUsize::new(0),
        from: AtomicI32::new(-1),
    }
}; ACTIONS];
static NEXT_REDIRECTION: AtomicUsize = AtomicUsize::new(0);

/// After `pipe` and `pipe2`: remembers what was made.
///
/// # Safety
/// `ends` points at two descriptors where `result` is zero.
pub(crate) unsafe fn note(result: c_int, ends: *mut c_int) {
    if result != 0 || !role::is_recipe() {
        return;
    }
    // SAFETY: by the contract above.
    let inode = pipe_inode(unsafe { *ends });
    if let (Some(inode), Some(slot)) = (inode, MADE.get(NEXT_MADE.fetch_add(1, Ordering::Relaxed) % PIPES)) {
        slot.store(inode, Ordering::Relaxed);
    }
}

/// Before `posix_spawn_file_actions_init`; always lets the call happen.
pub(crate) fn forget(actions: *mut c_void) -> Option<c_int> {
    for redirection in &REDIRECTIONS {
        let mine = redirection
            .actions
            .compare_exchange(actions as usize, 0, Ordering::Relaxed, Ordering::Relaxed);
        if mine.is_ok() {
            redirection.from.store(-1, Ordering::Relaxed);
        }
    }
    None
}

/// Before `posix_spawn_file_actions_adddup2`; always lets the call happen.
pub(crate) fn note_dup(actions: *mut c_void, from: c_int, to: c_int) -> Option<c_int> {
    if to != libc::STDOUT_FILENO || !role::is_recipe() {
        return None;
    }
    forget(actions);
    let slot = REDIRECTIONS.get(NEXT_REDIRECTION.fetch_add(1, Ordering::Relaxed) % ACTIONS)?;
    slot.from.store(from, Ordering::Relaxed);
    slot.actions.store(actions as usize, Ordering::Relaxed);
    None
}

/// The descriptor of this process that a spawned child will have as standard output.
pub(crate) fn stdout_of(actions: *const c_void) -> c_int {
    let wanted = actions as usize;
    let found = REDIRECTIONS
        .iter()
        .find(|entry| wanted != 0 && entry.actions.load(Ordering::Relaxed) == wanted);
    found.map_or(libc::STDOUT_FILENO, |entry| entry.from.load(Ordering::Relaxed))
}

/// Whether the descriptor is an end of a pipe made here.
pub(crate) fn is_own_pipe(fd: c_int) -> bool {
    pipe_inode(fd).is_some_and(|inode| MADE.iter().any(|made| made.load(Ordering::Relaxed) == inode))
}

/// All pipes are of one device, so that the inode tells them apart.
fn pipe_inode(fd: c_int) -> Option<u64> {
    let stat = sys::fstat(fd)?;
    (stat.st_mode & libc::S_IFMT == libc::S_IFIFO).then_some(stat.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_actions_is_forgotten_when_it_is_made_anew() {
        let actions = 0x1000 as *mut c_void;
        let slot = &REDIRECTIONS[0];
        slot.actions.store(actions as usize, Ordering::Relaxed);
        slot.from.store(7, Ordering::Relaxed);
        assert_eq!(stdout_of(actions), 7);
        forget(actions);
        assert_eq!(stdout_of(actions), libc::STDOUT_FILENO);
        assert_eq!(stdout_of(core::ptr::null()), libc::STDOUT_FILENO);
    }
}
