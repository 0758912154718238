//! The two system calls, of this thread. Knows nothing of what to ask for.

#![allow(unsafe_code)]

use rustix::io::{Errno, Result};
use std::ffi::{c_int, c_long};

const THIS_THREAD: c_int = 0;
const NO_FLAGS: c_int = 0;

/// Policy, nice value and slice, which the kernel takes only together.
pub(crate) fn attributes() -> Result<libc::sched_attr> {
    let size = size_of::<libc::sched_attr>();
    // SAFETY: a structure of integers.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    // SAFETY: sched_getattr(2) fills as much of the structure as `size` says.
    checked(unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            THIS_THREAD,
            &raw mut attributes,
            size,
            NO_FLAGS,
        )
    })?;
    Ok(attributes)
}

/// Sets what [`attributes`] tells.
pub(crate) fn set_attributes(attributes: &libc::sched_attr) -> Result<()> {
    // SAFETY: sched_setattr(2) reads the structure, whose size it carries.
    checked(unsafe { libc::syscall(libc::SYS_sched_setattr, THIS_THREAD, &raw const *attributes, NO_FLAGS) })
}

fn checked(returned: c_long) -> Result<()> {
    if returned == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}
