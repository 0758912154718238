//! make and a signal that ends it: before make looks for what its recipes left and removes
//! it, their stubs have ended, and what their jobs wrote is in its place.
//!
//! GNU make removes the targets of its recipes in the handler of the signal, and waits for
//! the recipes only after that (`fatal_error_signal` in its commands.c). A recipe on the same
//! machine is ended by the same signal; what a job wrote comes a moment later, and a target
//! that is cut short would stay. So make's handlers are called through one of ours, which
//! notes that one runs, and what make asks of a file meanwhile waits for its children.
//!
//! Knows no stub: it waits for all children, for a few seconds in all.

use crate::row::Row;
use crate::{role, sys};
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::null;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use libc::{SIG_DFL, SIG_ERR, SIG_IGN, sighandler_t};

/// Signals upon which make removes targets.
const FATAL: [c_int; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
/// Nanoseconds that make waits in all. A job has two seconds to end, and is committed then.
const PATIENCE: u64 = 4_000_000_000;

/// Bytes of the list of children, of which one takes some eight.
const LIST: usize = 4096;

/// The program's own handlers, in the order of [`FATAL`].
static HANDLERS: [AtomicUsize; FATAL.len()] = [const { AtomicUsize::new(SIG_DFL) }; FATAL.len()];
/// One of them runs.
static RUNS: AtomicBool = AtomicBool::new(false);
/// By the monotonic clock, when the children are waited for no longer; zero: they were not yet.
static DEADLINE: AtomicU64 = AtomicU64::new(0);

/// Where the program's handler of a signal is kept.
fn place_of(signal: c_int) -> Option<&'static AtomicUsize> {
    let at = FATAL.iter().position(|fatal| *fatal == signal)?;
    HANDLERS.get(at)
}

/// The same where it is to be called through ours.
fn hooked(signal: c_int) -> Option<&'static AtomicUsize> {
    place_of(signal).filter(|_| role::is_recipe_itself())
}

extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(place) = place_of(signal) else { return };
    let handler = place.load(Ordering::Relaxed);
    if is_function(handler) {
        RUNS.store(true, Ordering::Relaxed);
        // SAFETY: the program gave it for this signal; one that takes the signal alone leaves
        // the other registers unread.
        unsafe {
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = core::mem::transmute(handler);
            handler(signal, info, context);
        }
        RUNS.store(false, Ordering::Relaxed);
    }
}

fn ours() -> sighandler_t {
    handle as *const () as usize
}

fn is_function(handler: sighandler_t) -> bool {
    ![SIG_DFL, SIG_IGN, SIG_ERR].contains(&handler)
}

/// What is installed in the place of a handler.
fn instead_of(handler: sighandler_t) -> sighandler_t {
    if is_function(handler) { ours() } else { handler }
}

/// `signal`. `None`, here and below: call the real one.
///
/// # Safety
/// As the function.
pub(crate) unsafe fn signal(signal: c_int, handler: sighandler_t) -> Option<sighandler_t> {
    let place = hooked(signal)?;
    let before = place.swap(handler, Ordering::Relaxed);
    let real = crate::real::real(Row::signal as usize);
    // SAFETY: the function's signature.
    let real: unsafe extern "C" fn(c_int, sighandler_t) -> sighandler_t = unsafe { core::mem::transmute(real) };
    // SAFETY: by the contract above.
    let old = unsafe { real(signal, instead_of(handler)) };
    if old == SIG_ERR {
        place.store(before, Ordering::Relaxed);
    }
    Some(if old == ours() { before } else { old })
}

/// `sigaction`.
///
/// # Safety
/// As the function.
pub(crate) unsafe fn sigaction(signal: c_int, new: *const libc::sigaction, old: *mut libc::sigaction) -> Option<c_int> {
    let place = hooked(signal)?;
    if !new.is_null() && sys::is_unmappable(new) || !old.is_null() && sys::is_unmappable(old) {
        return None;
    }
    let real = crate::real::real(Row::sigaction as usize);
    // SAFETY: the function's signature.
    let real: unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int =
        unsafe { core::mem::transmute(real) };
    let before = place.load(Ordering::Relaxed);
    let mut was = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the caller's pointers are null or lead to whole actions, and the real function fills
    // `was` where it succeeds.
    unsafe {
        let mut given = MaybeUninit::<libc::sigaction>::uninit();
        let given = if new.is_null() {
            null()
        } else {
            let given = given.write(new.read());
            place.store(given.sa_sigaction, Ordering::Relaxed);
            given.sa_sigaction = instead_of(given.sa_sigaction);
            &raw const *given
        };
        let result = real(signal, given, was.as_mut_ptr());
        if result != 0 {
            place.store(before, Ordering::Relaxed);
            return Some(result);
        }
        if !old.is_null() {
            let mut was = was.assume_init();
            if was.sa_sigaction == ours() {
                was.sa_sigaction = before;
            }
            old.write(was);
        }
        Some(0)
    }
}

/// Before make asks something of a file: in one of its handlers, its children have ended first.
/// Always lets the call happen.
pub(crate) fn settle<T>() -> Option<T> {
    if RUNS.load(Ordering::Relaxed) {
        let errno = sys::errno();
        wait_for_children();
        sys::set_errno(errno);
    }
    None
}

fn wait_for_children() {
    let latest = sys::monotonic() + PATIENCE;
    let begun = DEADLINE.compare_exchange(0, latest, Ordering::Relaxed, Ordering::Relaxed);
    let deadline = begun.map_or_else(|begun| begun, |_| latest);
    let Some((list, len)) = sys::read_file::<LIST>(c"/proc/thread-self/children") else {
        return;
    };
    let list = list.get(..len).unwrap_or_default();
    for child in list.split(|byte| *byte == b' ').filter_map(number) {
        sys::wait_for_end(child, deadline);
    }
}

fn number(text: &[u8]) -> Option<c_int> {
    let digits = text
        .iter()
        .map(|byte| byte.checked_sub(b'0').filter(|digit| *digit < 10));
    let value = digits.into_iter().try_fold(0_i32, |value, digit| {
        value.checked_mul(10)?.checked_add(c_int::from(digit?))
    })?;
    (value > 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_from_what_is_none() {
        assert_eq!(number(b"4711"), Some(4711));
        for none in ["", "0", "-1", "4x", "99999999999"] {
            assert_eq!(number(none.as_bytes()), None, "{none}");
        }
    }
}
