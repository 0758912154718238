//! The system calls behind the guard: seccomp notifications (`seccomp_unotify(2)`) and
//! reading another process's memory. Knows nothing of what is in either.

#![allow(unsafe_code)]

use libc::{seccomp_notif, seccomp_notif_addfd, seccomp_notif_resp};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::io::Errno;

const PAGE: u64 = 4096;

/// The next notification. ENOENT: its task was killed meanwhile.
pub(super) fn receive(listener: BorrowedFd<'_>) -> Result<seccomp_notif, Errno> {
    // SAFETY: all zero is a valid `seccomp_notif`, and what the kernel demands to get.
    let mut notification: seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live value of the type that the request fills.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &mut notification) })?;
    Ok(notification)
}

/// Whether the task still waits in the call: what was read of it belongs to it.
pub(super) fn is_waiting(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the pointer is to a live value of the type that the request reads.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &id) }).is_ok()
}

/// Lets the kernel go on with the call.
pub(super) fn let_go(listener: BorrowedFd<'_>, id: u64) -> Result<(), Errno> {
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    send(
        listener,
        &mut seccomp_notif_resp {
            id,
            val: 0,
            error: 0,
            flags,
        },
    )
}

/// Ends the call with 0 or an errno.
pub(super) fn finish(listener: BorrowedFd<'_>, id: u64, errno: i32) -> Result<(), Errno> {
    send(
        listener,
        &mut seccomp_notif_resp {
            id,
            val: 0,
            error: -errno,
            flags: 0,
        },
    )
}

/// Ends the call with a new descriptor of the task.
pub(super) fn finish_with(listener: BorrowedFd<'_>, id: u64, file: impl AsFd) -> Result<(), Errno> {
    let flags = libc::SECCOMP_ADDFD_FLAG_SEND;
    let place = TargetFd {
        number: 0,
        is_cloexec: true,
    };
    add(listener, id, file, flags as u32, place)
}

/// A number among a task's descriptors.
#[derive(Clone, Copy)]
pub(super) struct TargetFd {
    pub number: u32,
    /// It is closed by `execve`.
    pub is_cloexec: bool,
}

/// Puts an open file in the place of one of the task's. The call waits on.
pub(super) fn replace(listener: BorrowedFd<'_>, id: u64, file: impl AsFd, place: TargetFd) -> Result<(), Errno> {
    add(listener, id, file, libc::SECCOMP_ADDFD_FLAG_SETFD as u32, place)
}

fn add(listener: BorrowedFd<'_>, id: u64, file: impl AsFd, flags: u32, place: TargetFd) -> Result<(), Errno> {
    let add = seccomp_notif_addfd {
        id,
        flags,
        srcfd: file.as_fd().as_raw_fd() as u32,
        newfd: place.number,
        newfd_flags: if place.is_cloexec { libc::O_CLOEXEC as u32 } else { 0 },
    };
    // SAFETY: the pointer is to a live value of the type that the request reads.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &add) })
}

/// Bytes of a task's memory, as many as there are up to `len`. EFAULT: not one.
pub(crate) fn read_memory(task: u32, address: u64, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0u8; len];
    let mut filled = 0;
    while filled < len {
        let from = address.wrapping_add(filled as u64);
        // Across a page border each page may fail by itself.
        let piece = ((PAGE - from % PAGE) as usize).min(len - filled);
        match read_piece(task, from, &mut bytes[filled..filled + piece]) {
            Ok(0) | Err(_) if filled > 0 => break,
            Ok(read) => filled += read,
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// A string of a task's memory without its end mark. `None`: it is longer than a path
/// can be, or not to be read up to its end; the kernel will find the same.
pub(super) fn read_string(task: u32, address: u64) -> Option<Vec<u8>> {
    let mut string = Vec::with_capacity(256);
    while string.len() < libc::PATH_MAX as usize {
        let from = address.wrapping_add(string.len() as u64);
        let begin = string.len();
        // A path is seldom longer than this, and a page border is never crossed.
        let piece = ((PAGE - from % PAGE) as usize).min(if begin == 0 { 256 } else { PAGE as usize });
        string.resize(begin + piece, 0);
        let read = read_piece(task, from, &mut string[begin..])
            .ok()
            .filter(|read| *read > 0)?;
        string.truncate(begin + read);
        if let Some(end) = string[begin..].iter().position(|byte| *byte == 0) {
            string.truncate(begin + end);
            return Some(string);
        }
    }
    None
}

fn read_piece(task: u32, from: u64, to: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec {
        iov_base: to.as_mut_ptr().cast(),
        iov_len: to.len(),
    };
    let remote = libc::iovec {
        iov_base: from as *mut libc::c_void,
        iov_len: to.len(),
    };
    // SAFETY: `local` is the live buffer `to`, written by the kernel alone during the
    // call; `remote` is an address of another process, which the kernel checks.
    let read = unsafe { libc::process_vm_readv(task as libc::pid_t, &local, 1, &remote, 1, 0) };
    usize::try_from(read).map_err(|_| last_errno())
}

fn send(listener: BorrowedFd<'_>, answer: &mut seccomp_notif_resp) -> Result<(), Errno> {
    // SAFETY: the pointer is to a live value of the type that the request reads.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, answer as *mut _) })
}

fn check(result: libc::c_int) -> Result<(), Errno> {
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

fn last_errno() -> Errno {
    std::io::Error::last_os_error()
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error)
}
