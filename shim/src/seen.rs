//! The names of programs that a driver started as no jobs, for whoever asks why there are none.
//!
//! Knows a file that a variable names; adds lines to it, and forgets about what fails.

use crate::path::join;
use crate::{env, sys};
use core::ffi::c_int;
use core::mem::MaybeUninit;
use libc::{AT_FDCWD, O_APPEND, O_CLOEXEC, O_NOCTTY, O_NONBLOCK, O_WRONLY};
use termite_abi::ENV_SEEN;

/// Bytes of the file's path, which lies in `/proc`, and of a line; what is longer is left out.
const LENGTH: usize = 256;
/// Bytes that the file may have.
const FULL: i64 = 16 << 10;

/// Adds a name.
pub(crate) fn note(name: &[u8]) {
    if let Some(file) = open() {
        let mut room = [const { MaybeUninit::uninit() }; LENGTH];
        if let Some(line) = join([name, b"\n"], &mut room)
            && sys::fstat(file).is_some_and(|stat| stat.st_size < FULL)
        {
            sys::write(file, line.to_bytes());
        }
        sys::close(file);
    }
}

fn open() -> Option<c_int> {
    let mut room = [const { MaybeUninit::uninit() }; LENGTH];
    let path = join([env::get(ENV_SEEN)?], &mut room)?;
    let flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    // SAFETY: NUL-terminated by its type.
    let file = unsafe { sys::openat(AT_FDCWD, path.as_ptr(), flags) };
    c_int::try_from(file).ok().filter(|file| *file >= 0)
}
