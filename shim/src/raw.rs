//! libc's `syscall`: any call by its number, with up to six arguments. It goes past the
//! fast path, so that the guard sees what names a path.
//!
//! Knows no number's meaning, but for those that no signal interrupts on the client and
//! those that tell a file's times.

use crate::{job, sys};
use core::ffi::c_int;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Stands for the cookie where there is none.
static NONE: AtomicU64 = AtomicU64::new(0);

/// The slot's cookie, or [`NONE`].
static COOKIE: AtomicPtr<AtomicU64> = AtomicPtr::new((&raw const NONE).cast_mut());

/// From here on no call leaves by `syscall` that carries the slot's cookie.
pub(crate) fn withhold(cookie: &'static AtomicU64) {
    COOKIE.store((&raw const *cookie).cast_mut(), Ordering::Relaxed);
}

/// Calls that only look at a path: in a slot they are made again when a signal interrupts
/// their wait for the guard (see [`crate::hook::is_interrupted`]). Ends in zero.
#[rustfmt::skip]
static LOOKING: [u16; 16] = [
    libc::SYS_stat as u16, libc::SYS_lstat as u16, libc::SYS_newfstatat as u16, libc::SYS_statx as u16,
    libc::SYS_access as u16, libc::SYS_faccessat as u16, libc::SYS_faccessat2 as u16,
    libc::SYS_readlink as u16, libc::SYS_readlinkat as u16, libc::SYS_statfs as u16,
    libc::SYS_getxattr as u16, libc::SYS_lgetxattr as u16, libc::SYS_listxattr as u16, libc::SYS_llistxattr as u16,
    libc::SYS_name_to_handle_at as u16, 0,
];

/// The call with the number and the arguments as libc's function takes them, five in
/// registers and the sixth on the stack. Where a caller gave fewer, libc hands over
/// whatever stands there; a signal that came during a call with the cookie has left that
/// on the stack, hence the comparison.
///
/// What could be taken for libc's `fstat` gets [`sys::NOT_FSTAT`].
///
/// No frame of its own: a child that the call makes returns on the same stack.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn syscall() {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "mov rax, rdi; mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, [rsp + 8]",
        "mov r11, [rip + {cookie}]",
        "cmp r9, [r11]",
        "jne 7f",
        "xor r9d, r9d",
        "7:",
        "cmp qword ptr [r11], 0",
        "je 2f",
        "cmp rax, {newfstatat}",
        "jne 2f",
        "cmp r10d, {empty_path}",
        "jne 2f",
        "or r10d, {not_fstat}",
        "2:",
        // Below the stack's end, where signal handlers write nothing.
        "mov [rsp - 8], rax",
        "syscall",
        "cmp rax, -4095",
        "jae 3f",
        "test rax, rax",
        "jnz 6f",
        "mov rcx, [rsp - 8]",
        "lea r11, [rcx - {stat}]",
        "cmp r11, 2",
        "jbe {shown}",
        "cmp rcx, {newfstatat}",
        "je {shown}",
        "cmp rcx, {statx}",
        "je {shown}",
        "6:",
        "ret",
        "3:",
        "cmp rax, -{interrupted}",
        "jne 5f",
        "mov r11, [rip + {cookie}]",
        "cmp qword ptr [r11], 0",
        "je 5f",
        "lea r11, [rip + {looking}]",
        "4:",
        "movzx ecx, word ptr [r11]",
        "test ecx, ecx",
        "jz 5f",
        "add r11, 2",
        "cmp rcx, [rsp - 8]",
        "jne 4b",
        "mov rax, rcx",
        "jmp 2b",
        "5:",
        "mov rdi, rax",
        "jmp {fail}",
        ".cfi_endproc",
        cookie = sym COOKIE,
        looking = sym LOOKING,
        fail = sym fail,
        shown = sym shown,
        stat = const libc::SYS_stat,
        newfstatat = const libc::SYS_newfstatat,
        empty_path = const libc::AT_EMPTY_PATH, not_fstat = const sys::NOT_FSTAT,
        statx = const libc::SYS_statx,
        interrupted = const libc::EINTR,
    );
}

/// After `stat` and the two numbers behind it (`fstat`, `lstat`), `newfstatat` or `statx` has
/// worked; its arguments are where it had them, but for the fourth, in whose place is the
/// number. See [`job::unmark`].
unsafe extern "C" fn shown(
    _: usize,
    second: *mut libc::stat,
    third: *mut libc::stat,
    number: i64,
    fifth: *mut libc::statx,
) -> isize {
    // SAFETY: the kernel has just filled what the pointer points to; its `struct stat` is
    // libc's on x86-64.
    unsafe {
        match number {
            libc::SYS_newfstatat => job::unmark(0, third),
            libc::SYS_statx => job::unmark_x(0, fifth),
            _ => job::unmark(0, second),
        }
    }
    0
}

/// An error of the kernel as libc tells it.
extern "C" fn fail(result: isize) -> isize {
    sys::set_errno(result.wrapping_neg() as c_int);
    -1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_that_look_end_in_zero() {
        assert_eq!(LOOKING.iter().position(|&number| number == 0), Some(LOOKING.len() - 1));
    }
}
