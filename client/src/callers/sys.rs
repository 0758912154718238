//! Calls that no library has, and the event loop's registration of a descriptor. Knows no process.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The descriptor, registered with this thread's event loop for being readable.
pub(super) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: `OwnedFd` owns one open descriptor, gives the same number every time, and closes it
    // only when dropped, which is when the `AsyncFd` lets go of it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// `PIDFD_GET_INFO` and its structure, as `linux/pidfd.h` has them.
const PIDFD_GET_INFO: libc::Ioctl = 0xc040_ff0b;
const PIDFD_INFO_EXIT: u64 = 1 << 3;

#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    numbers_and_ids: [u32; 11],
    exit_code: i32,
}

/// How a process ended that a pidfd leads to; `None`: its parent has not waited for it yet.
pub(super) fn exit_status(process: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    let mut info = PidfdInfo {
        mask: PIDFD_INFO_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the structure is of the size that the number of the call says.
    if unsafe { libc::ioctl(process.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then(|| ExitStatus::from_raw(info.exit_code)))
}

/// The supplementary groups that a process at the other end of a unix socket had as it connected
/// (`SO_PEERGROUPS`, unix(7)).
pub(super) fn groups_of_peer(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 32];
    loop {
        let mut bytes = size_of_val(&groups[..]) as libc::socklen_t;
        // SAFETY: the kernel writes at most so many bytes to the vector, and the number that it has.
        let failed = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        } != 0;
        let error = io::Error::last_os_error();
        let count = bytes as usize / size_of::<u32>();
        match failed {
            false => {
                groups.truncate(count);
                return Ok(groups);
            }
            // It has more.
            true if error.raw_os_error() == Some(libc::ERANGE) && count > groups.len() => groups.resize(count, 0),
            true => return Err(error),
        }
    }
}
