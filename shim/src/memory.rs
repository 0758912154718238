//! Memory of a job: what it maps in pieces of at least a huge page comes in huge pages, as
//! it does everywhere on hosts whose `transparent_hugepage/enabled` says `always`. Compilers
//! take most of their memory like that, and spend less on page faults then.
//!
//! Knows no path and no guard.

use crate::row::Row;
use crate::{job, real, sys};
use core::ffi::{c_int, c_void};
use libc::{MAP_ANONYMOUS, MAP_FIXED, MAP_GROWSDOWN, MAP_HUGETLB, MAP_NORESERVE, MAP_PRIVATE, MAP_STACK, PROT_WRITE};

/// Bytes of a huge page on x86-64.
const HUGE_PAGE: usize = 2 << 20;

/// Kinds of memory that are used sparsely, stand where other memory was, or are huge already.
const UNFIT: c_int = MAP_FIXED | MAP_GROWSDOWN | MAP_HUGETLB | MAP_NORESERVE | MAP_STACK;

/// `mmap` before the real function is known: allocators come here while it is being looked
/// for, and must not wait for that.
///
/// # Safety
/// As the system call.
pub(crate) unsafe fn map_early(row: Row, args: [usize; 6]) -> Option<*mut c_void> {
    if real::is_found(row as usize) {
        return None;
    }
    // SAFETY: by the contract above.
    match unsafe { sys::mmap(args) } {
        Ok(at) => Some(at),
        Err(errno) => {
            sys::set_errno(errno);
            Some(libc::MAP_FAILED)
        }
    }
}

/// Asks for huge pages where a job has mapped memory that is fit for them.
///
/// # Safety
/// `at` is what `mmap` returned for the rest.
pub(crate) unsafe fn prefer_huge(at: *mut c_void, len: usize, prot: c_int, flags: c_int) {
    let is_fresh = flags & (MAP_PRIVATE | MAP_ANONYMOUS | UNFIT) == MAP_PRIVATE | MAP_ANONYMOUS;
    let is_fit = is_fresh && prot & PROT_WRITE != 0 && len >= HUGE_PAGE;
    if is_fit && at != libc::MAP_FAILED && job::is_entered() {
        // SAFETY: memory that was mapped just now; what it holds does not change.
        unsafe { sys::advise(at, len, libc::MADV_HUGEPAGE) };
    }
}
