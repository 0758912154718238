//! The functions that the hooks stand in front of, as the next library in line has them.
//!
//! Knows no signature: a row of the table gives its entry a type.

use crate::row::{NAMES, ROWS};
use crate::sys::set_errno;
use core::ffi::{CStr, c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

/// Where each row's real function is; null before it has been looked for.
pub(crate) static REAL: [AtomicPtr<c_void>; ROWS] = [const { AtomicPtr::new(null_mut()) }; ROWS];

/// Stands in for a function that this libc does not have. (Those that return
/// pointers are in every glibc for x86-64.)
extern "C" fn missing() -> c_int {
    set_errno(libc::ENOSYS);
    -1
}

/// Looks for all real functions. The constructor does it once, so that no hook has to
/// take the loader's locks.
pub(crate) fn find_all() {
    let mut names = NAMES.as_bytes();
    for entry in &REAL {
        let Ok(name) = CStr::from_bytes_until_nul(names) else {
            return;
        };
        names = names.get(name.to_bytes_with_nul().len()..).unwrap_or(&[]);
        if entry.load(Ordering::Relaxed).is_null() {
            entry.store(find(name), Ordering::Relaxed);
        }
    }
}

fn find(name: &CStr) -> *mut c_void {
    // SAFETY: `name` is NUL-terminated; RTLD_NEXT searches behind this library.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    if found.is_null() { missing as *mut c_void } else { found }
}

/// Whether the real function of a row is known.
pub(crate) fn is_found(row: usize) -> bool {
    REAL.get(row)
        .is_some_and(|entry| !entry.load(Ordering::Relaxed).is_null())
}

/// The real function of a row. Looks for it when a constructor of another library
/// comes here before ours has run.
pub(crate) extern "C" fn real(row: usize) -> *mut c_void {
    let Some(entry) = REAL.get(row) else {
        return missing as *mut c_void;
    };
    let found = entry.load(Ordering::Relaxed);
    if !found.is_null() {
        return found;
    }
    find_all();
    entry.load(Ordering::Relaxed)
}

/// Ends a naked hook whose real function is not known yet: finds it and goes on there
/// with every argument as it came. The row's number is in r11.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn find_and_jump() {
    core::arch::naked_asm!(
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push r8",
        "push r9",
        "push rax",
        "mov rdi, r11",
        "call {real}",
        "mov r11, rax",
        "pop rax",
        "pop r9",
        "pop r8",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "jmp r11",
        real = sym real,
    );
}
