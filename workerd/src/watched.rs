//! Descriptors that the event loop watches. Knows how to register them; knows nothing of
//! what comes through.

#![allow(unsafe_code)]

use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use std::io;
use tokio::io::unix::AsyncFd;

/// Makes `fd` non-blocking and registers it with this thread's event loop.
pub(crate) fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    // SAFETY: `OwnedFd` owns one open descriptor, gives the same number every time, and
    // closes it only when dropped, which is when the `AsyncFd` lets go of it.
    Ok(unsafe { AsyncFd::register(fd) }?)
}
