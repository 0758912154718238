//! Descriptors of this process. Knows nothing of what they are for.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// The descriptor with a number above 2: a closed standard stream has to stay closed,
/// and must not become our socket.
pub(crate) fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        Ok(fd)
    } else {
        Ok(rustix::io::fcntl_dupfd_cloexec(&fd, 3)?)
    }
}
