//! The system call that no library has. Knows nothing of what is locked.

#![allow(unsafe_code)]

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::Errno;

/// Locks all bytes of a file against others' locks of fcntl(2), unless there is one (`EAGAIN`). The
/// lock belongs to the open file (fcntl_locking(2)): one of the process would be lost as soon
/// as any other descriptor of the file is closed.
pub(super) fn lock_record(file: &OwnedFd) -> Result<(), Errno> {
    let whole = libc::flock {
        l_type: libc::F_WRLCK as _,
        l_whence: libc::SEEK_SET as _,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: fcntl(2) reads the structure, which outlives the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const whole) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}
