//! Answers of the fast path in the shape of libc's functions: errno, streams,
//! directory streams, memory that the caller frees.
//!
//! Knows nothing of what makes an answer trustworthy.

use crate::sys::{self, PATH_MAX, Text, set_errno};
use crate::{job, names};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::{copy_nonoverlapping, null_mut};
use libc::{AT_FDCWD, DIR, FILE};

/// How `opendir` opens.
const O_LIST: c_int = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_DIRECTORY | libc::O_CLOEXEC;
/// How to find out what a path leads to.
const O_NAME: c_int = libc::O_PATH | libc::O_CLOEXEC;

/// A result of the kernel as one of libc.
pub(crate) fn int(result: Option<isize>) -> Option<c_int> {
    long(result).map(|value| value as c_int)
}

/// A result of the kernel as one of libc, where that is a length.
pub(crate) fn long(result: Option<isize>) -> Option<isize> {
    result.map(|value| {
        if value < 0 {
            set_errno(value.wrapping_neg() as c_int);
            return -1;
        }
        value
    })
}

/// Whether `__xstat` and its like are asked for the `struct stat` that is the kernel's.
pub(crate) fn is_kernel_stat(version: c_int) -> Option<()> {
    matches!(version, 0 | 1).then_some(())
}

/// Whether the flags of `faccessat` are the kernel's.
pub(crate) fn is_kernel_access(flags: c_int) -> Option<()> {
    (flags & !(libc::AT_EACCESS | libc::AT_SYMLINK_NOFOLLOW) == 0).then_some(())
}

/// `opendir`.
///
/// # Safety
/// `path` is null or NUL-terminated.
pub(crate) unsafe fn opendir(path: Text) -> Option<*mut DIR> {
    // SAFETY: by the contract above; the descriptor is a new one.
    unsafe { stream(job::open(AT_FDCWD, path, O_LIST), |fd| libc::fdopendir(fd)) }
}

/// `fopen` for reading.
///
/// # Safety
/// Both are null or NUL-terminated.
pub(crate) unsafe fn fopen(path: Text, mode: Text) -> Option<*mut FILE> {
    if sys::is_unmappable(mode) {
        return None;
    }
    // SAFETY: NUL-terminated by the contract above.
    let (first, rest) = unsafe { CStr::from_ptr(mode) }.to_bytes().split_first()?;
    // `m`, `c`, `x` and `,ccs=` are libc's business.
    if *first != b'r' || !rest.iter().all(|flag| matches!(flag, b'b' | b'e' | b't')) {
        return None;
    }
    let close = if rest.contains(&b'e') { libc::O_CLOEXEC } else { 0 };
    // SAFETY: by the contract above; the descriptor is a new one.
    unsafe {
        stream(job::open(AT_FDCWD, path, libc::O_RDONLY | close), |fd| {
            libc::fdopen(fd, mode)
        })
    }
}

/// Makes a stream of a descriptor that the fast path opened.
fn stream<T>(opened: Option<isize>, make: impl FnOnce(c_int) -> *mut T) -> Option<*mut T> {
    let fd = int(opened)?;
    if fd < 0 {
        return Some(null_mut());
    }
    let made = make(fd);
    if made.is_null() {
        sys::close(fd);
    }
    Some(made)
}

/// `__readlink_chk`: `None` where it has to abort.
pub(crate) fn fits(len: usize, room: usize) -> Option<()> {
    (len <= room).then_some(())
}

/// `realpath`: the kernel resolves the path in one go and tells what it found. Where
/// that is not possible, libc walks it, which is also how it gives an exact error.
///
/// # Safety
/// As `realpath`; `room` is what `resolved` holds where that is known.
pub(crate) unsafe fn realpath(path: Text, resolved: *mut c_char, room: Option<usize>) -> Option<*mut c_char> {
    if sys::is_unmappable(path) || !job::is_entered() || room.is_some_and(|room| room < PATH_MAX) {
        return None;
    }
    // SAFETY: NUL-terminated by the contract above.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
    if bytes.is_empty() || [&b"/proc"[..], b"/dev"].iter().any(|own| bytes.starts_with(own)) {
        return None;
    }
    let before = sys::errno();
    let mut buf = [const { MaybeUninit::uninit() }; PATH_MAX];
    let mut spelled = [const { MaybeUninit::uninit() }; PATH_MAX];
    // SAFETY: NUL-terminated by the contract above.
    if let Some((name, is_whole)) = unsafe { job::canonical(path, &mut buf) } {
        // SAFETY: `resolved` is the caller's.
        return Some(unsafe {
            match is_whole {
                true => resolve_to(name, resolved, before),
                false => resolve_in_vain(&[name], resolved),
            }
        });
    }
    // SAFETY: NUL-terminated by the contract above.
    let mut known = unsafe { job::open(AT_FDCWD, path, O_NAME) };
    // SAFETY: as above.
    let opened = known.unwrap_or_else(|| unsafe { sys::openat(AT_FDCWD, path, O_NAME) });
    if opened == -libc::ENOENT as isize && known.is_none() {
        // The guard has looked at all that there is on the way.
        // SAFETY: as above.
        known = unsafe { job::open(AT_FDCWD, path, O_NAME) };
    }
    if opened >= 0 {
        let fd = opened as c_int;
        let name = names::name_of(fd, &mut buf);
        sys::close(fd);
        // SAFETY: `resolved` is the caller's.
        return Some(unsafe { resolve_to(name?, resolved, before) });
    }
    if known? != -libc::ENOENT as isize {
        return None;
    }
    if resolved.is_null() {
        // SAFETY: `resolved` is the caller's.
        return Some(unsafe { resolve_in_vain(&[], resolved) });
    }
    // SAFETY: NUL-terminated by the contract above.
    let gap = unsafe { job::gap(path, &mut spelled) }?;
    let (dir, name) = names::name_before(gap, &mut buf)?;
    let joint = if dir == b"/" { &b""[..] } else { b"/" };
    let parts = [dir, joint, name];
    if parts.iter().map(|part| part.len()).sum::<usize>() >= PATH_MAX {
        return None;
    }
    // SAFETY: `resolved` is the caller's.
    Some(unsafe { resolve_in_vain(&parts, resolved) })
}

/// What `realpath` returns for a path that is called `name`; errno becomes what it was.
///
/// # Safety
/// As [`give`].
unsafe fn resolve_to(name: &[u8], resolved: *mut c_char, errno: c_int) -> *mut c_char {
    // SAFETY: by the contract above.
    let made = unsafe { give(&[name], resolved) };
    set_errno(if made.is_null() { libc::ENOMEM } else { errno });
    made
}

/// What `realpath` returns where nothing is; `far` is the path as far as it goes, which GNU
/// promises for ENOENT.
///
/// # Safety
/// `resolved` is null or has room.
unsafe fn resolve_in_vain(far: &[&[u8]], resolved: *mut c_char) -> *mut c_char {
    if !resolved.is_null() {
        // SAFETY: by the contract above.
        unsafe { give(far, resolved) };
    }
    set_errno(libc::ENOENT);
    null_mut()
}

/// Writes the parts and a final NUL to `to`, or to new memory if that is null.
///
/// # Safety
/// `to` is null or has room.
unsafe fn give(parts: &[&[u8]], to: *mut c_char) -> *mut c_char {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let to = if to.is_null() {
        // SAFETY: any size will do.
        unsafe { libc::malloc(len + 1) }
    } else {
        to.cast::<c_void>()
    };
    if to.is_null() {
        return null_mut();
    }
    let mut at = to.cast::<u8>();
    for part in parts {
        // SAFETY: there is room for all parts and a NUL.
        unsafe {
            copy_nonoverlapping(part.as_ptr(), at, part.len());
            at = at.add(part.len());
        }
    }
    // SAFETY: as above.
    unsafe { at.write(0) };
    to.cast()
}
