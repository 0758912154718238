//! The exported hooks: each row of the table with what answers it.

use crate::answer::{self, int, long};
use crate::hook::hooks;
use crate::interrupt::{self, settle};
use crate::job::{self, unmark, unmark_x};
use crate::memory::{map_early, prefer_huge};
use crate::pipes::note as note_pipe;
use crate::row::{NAMES, Row};
use crate::sys::Text;
use crate::table::with_rows;
use crate::{driver, pipes, raw};
use core::ffi::{c_char, c_int, c_uint, c_void};
use libc::{AT_EACCESS, AT_FDCWD, AT_SYMLINK_NOFOLLOW, DIR, FILE, mode_t, off_t, pid_t, sighandler_t, size_t, ssize_t};

type List = *const *const c_char;
type Action = *const libc::sigaction;
type Stat = *mut libc::stat;

with_rows!(hooks);

/// [`NAMES`] for whoever looks into the library.
#[allow(non_upper_case_globals)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) static termite_hook_names: [u8; NAMES.len() + 1] = {
    let mut names = [0; NAMES.len() + 1];
    let (mut at, from) = (0, NAMES.as_bytes());
    while at < from.len() {
        names[at] = from[at];
        at += 1;
    }
    names
};
