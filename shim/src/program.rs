//! What a program file is, and where a search along PATH finds it.
//!
//! Knows nothing of drivers and jobs.

use crate::elf;
use crate::env;
use crate::job;
use crate::path::join;
use crate::sys::{self, PATH_MAX, Text};
use core::ffi::{CStr, c_int};
use core::mem::MaybeUninit;
use libc::AT_FDCWD;

/// How an executable file stands to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// An ELF program, or one with a `#!` line.
    Ordinary,
    /// An ELF program that must not have this library preloaded.
    RefusesPreload,
}

/// Looks at a file. `None`: the kernel would not execute it, or we cannot read it.
///
/// # Safety
/// `path` is NUL-terminated.
pub(crate) unsafe fn format(path: Text) -> Option<Format> {
    // SAFETY: by the contract above.
    if !unsafe { sys::is_executable(path) } {
        return None;
    }
    // SAFETY: by the contract above. A FIFO does not block.
    let fd = unsafe { sys::openat(AT_FDCWD, path, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC) };
    let fd = c_int::try_from(fd).ok().filter(|&fd| fd >= 0)?;
    let is_file = sys::fstat(fd).is_some_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG);
    let (head, len) = if is_file { sys::pread::<4>(fd, 0) } else { ([0; 4], 0) };
    let format = match head {
        [b'#', b'!', ..] if len > 2 => Some(Format::Ordinary),
        [0x7f, b'E', b'L', b'F'] if elf::refuses_preload(fd) => Some(Format::RefusesPreload),
        [0x7f, b'E', b'L', b'F'] => Some(Format::Ordinary),
        _ => None,
    };
    sys::close(fd);
    format
}

/// Finds a program as `execvp` does: along PATH unless it has a slash.
///
/// # Safety
/// `file` is null or NUL-terminated.
pub(crate) unsafe fn find(file: Text, buf: &mut [MaybeUninit<u8>; PATH_MAX]) -> Option<&CStr> {
    // SAFETY: by the contract above.
    let name = unsafe { name_of(file) }?;
    if name.contains(&b'/') {
        return join([name], buf);
    }
    search(name, buf, is_program)
}

/// The first place along PATH that a slot does not know to be empty, for a name without a
/// slash.
///
/// # Safety
/// `file` is null or NUL-terminated.
pub(crate) unsafe fn find_in_slot(file: Text, buf: &mut [MaybeUninit<u8>; PATH_MAX]) -> Option<&CStr> {
    // SAFETY: by the contract above.
    let name = unsafe { name_of(file) }.filter(|name| job::is_entered() && !name.contains(&b'/'))?;
    search(name, buf, |path| {
        // SAFETY: NUL-terminated by its type.
        let found = unsafe { job::access(AT_FDCWD, path.as_ptr(), libc::F_OK, 0) };
        found != Some(-libc::ENOENT as isize)
    })
}

/// `None` for what is nobody's name.
unsafe fn name_of<'a>(file: Text) -> Option<&'a [u8]> {
    if sys::is_unmappable(file) {
        return None;
    }
    // SAFETY: NUL-terminated by the contract of the caller.
    let name = unsafe { CStr::from_ptr(file) }.to_bytes();
    (!name.is_empty()).then_some(name)
}

/// The first path along PATH that will do.
fn search<'a>(
    name: &[u8],
    buf: &'a mut [MaybeUninit<u8>; PATH_MAX],
    will_do: impl Fn(&CStr) -> bool,
) -> Option<&'a CStr> {
    let path = env::get("PATH").unwrap_or(b"/bin:/usr/bin");
    for dir in path.split(|&byte| byte == b':') {
        // An empty element means the working directory.
        let joint: &[u8] = if dir.is_empty() { b"" } else { b"/" };
        let found = join([dir, joint, name], buf).is_some_and(&will_do);
        if found {
            // SAFETY: `join` has just made it so.
            return Some(unsafe { CStr::from_ptr(buf.as_ptr().cast()) });
        }
    }
    None
}

/// Whether the kernel would not pass over it with EACCES or ENOENT.
fn is_program(path: &CStr) -> bool {
    // SAFETY: NUL-terminated by its type.
    let fd = unsafe { sys::openat(AT_FDCWD, path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
    let Some(fd) = c_int::try_from(fd).ok().filter(|&fd| fd >= 0) else {
        return false;
    };
    let is_file = sys::fstat(fd).is_some_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG);
    sys::close(fd);
    // SAFETY: NUL-terminated by its type.
    is_file && unsafe { sys::is_executable(path.as_ptr()) }
}
