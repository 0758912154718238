//! What the kernel calls things, asked past the guard: its name of an open descriptor is
//! canonical.
//!
//! Knows no libc function, and not which paths may pass.

use crate::job::{self, Buffer, Gap};
use crate::path::join;
use crate::sys::{self, PATH_MAX};
use core::ffi::{c_char, c_int};
use core::mem::MaybeUninit;
use libc::AT_FDCWD;

/// The kernel's name of the last directory there is before a gap, and the name that is
/// missing in it: what was found to be missing once counts as complete as well. `None`:
/// something else is missing, at the end of a symlink.
pub(crate) fn name_before<'b, 'p>(gap: Gap<'p>, buf: &'b mut Buffer) -> Option<(&'b [u8], &'p [u8])> {
    let pass = job::passing()?;
    let Gap { mut dir, mut name } = gap;
    let mut text = [const { MaybeUninit::uninit() }; PATH_MAX];
    loop {
        let spelled = join([if dir.is_empty() { b"/" } else { dir }], &mut text)?;
        // SAFETY: NUL-terminated by its type.
        let fd = unsafe { pass.openat(AT_FDCWD, spelled.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
        if fd == -libc::ENOENT as isize {
            let slash = dir.iter().rposition(|&byte| byte == b'/')?;
            name = dir.get(slash + 1..)?;
            dir = dir.get(..slash)?;
            continue;
        }
        let fd = c_int::try_from(fd).ok().filter(|&fd| fd >= 0)?;
        let mut byte: c_char = 0;
        let found = join([name], &mut text).map(|name| {
            // SAFETY: NUL-terminated by its type; `byte` is one byte long.
            unsafe { pass.readlinkat(fd, name.as_ptr(), &raw mut byte, 1) }
        });
        let is_missing = found == Some(-libc::ENOENT as isize) && !name.is_empty();
        let known = if is_missing { name_of(fd, buf) } else { None };
        sys::close(fd);
        return known.map(|known| (known, name));
    }
}

/// What the kernel calls an open descriptor: an absolute path. `None` where it has no
/// such name (any more), or one that does not fit.
pub(crate) fn name_of(fd: c_int, buf: &mut Buffer) -> Option<&[u8]> {
    let pass = job::passing()?;
    let mut link = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0";
    write_decimal(fd, link.get_mut(14..24)?);
    // SAFETY: `link` ends in NUL; `buf` is as long as is said.
    let len = unsafe { pass.readlinkat(AT_FDCWD, link.as_ptr().cast(), buf.as_mut_ptr().cast(), PATH_MAX) };
    let len = usize::try_from(len).ok().filter(|&len| len < PATH_MAX)?;
    // SAFETY: the kernel wrote `len` bytes into `buf`, which is longer.
    let name = unsafe { core::slice::from_raw_parts(buf.as_ptr().cast::<u8>(), len) };
    (name.starts_with(b"/") && !name.ends_with(b" (deleted)")).then_some(name)
}

/// Writes the digits of a descriptor at the front of `to`.
fn write_decimal(fd: c_int, to: &mut [u8]) {
    let mut len = 1;
    let mut rest = fd / 10;
    while rest > 0 {
        len += 1;
        rest /= 10;
    }
    rest = fd;
    for byte in to.iter_mut().take(len).rev() {
        *byte = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ffi::CStr;

    #[test]
    fn descriptors_are_written_in_decimal() {
        for fd in [0, 7, 10, 99, 100, 1048576, c_int::MAX] {
            let mut to = [0; 11];
            write_decimal(fd, &mut to[..10]);
            assert_eq!(
                CStr::from_bytes_until_nul(&to).unwrap().to_str().unwrap(),
                fd.to_string()
            );
        }
    }
}
