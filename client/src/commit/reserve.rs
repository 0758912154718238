//! Space on the disk, reserved before it is written to, so that a full disk is met while
//! nothing is changed. Knows no contents.

use super::name::{modified, open_dir};
use crate::tree::Stamp;
use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::Path;

/// Makes sure that `length` bytes from `from` on can be written to a file, where the file
/// system can tell. Neither its size nor its content changes; after an error nothing is
/// reserved behind its end.
pub(super) fn reserve(file: &File, from: u64, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, from, length) {
        Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
            give_back(file)?;
            Err(errno.into())
        }
        // It is told when it is written, by file systems that cannot reserve.
        _ => Ok(()),
    }
}

/// Files in which space is reserved. Dropped, they give it back.
#[derive(Default)]
pub(super) struct Reserved(Vec<(File, Stamp)>);

impl Reserved {
    /// Reserves space in a file of the client's that is going to be changed in place. One that
    /// cannot be opened as it is has no part in this.
    pub(super) fn add(&mut self, path: &Path, from: u64, length: u64) -> io::Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(());
        };
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = open_dir(parent).and_then(|dir| rustix::fs::openat(dir, name, flags, Mode::empty()));
        let Ok(file) = opened.map(File::from) else {
            return Ok(());
        };
        let stamp = Stamp::of_fd(&file)?;
        self.0.push((file, stamp));
        self.0.last().map_or(Ok(()), |(file, _)| reserve(file, from, length))
    }

    /// The space is about to be used.
    pub(super) fn used(mut self) {
        self.0.clear();
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        for (file, stamp) in &self.0 {
            let times = modified(stamp.mtime.sec, stamp.mtime.nsec.into());
            let given_back = give_back(file).and_then(|()| Ok(rustix::fs::futimens(file, &times)?));
            if let Err(error) = given_back {
                tracing::debug!("space behind the end of a file stays reserved: {error}");
            }
        }
    }
}

/// Cuts off what is reserved behind the end of a file.
fn give_back(file: &File) -> io::Result<()> {
    file.set_len(file.metadata()?.len())
}
