//! Names in directories, as commits look at them and move them. Knows no changes.

use super::CommitError;
use crate::tree::{Stamp, open_canonical};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::Path;
use termite_types::FileTime;

/// A directory for looking up names in it.
pub(super) fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    open_canonical(path, OFlags::PATH | OFlags::DIRECTORY)
}

/// The open directory that a path is in, and its last name there.
pub(super) fn open_parent(path: &Path) -> Result<(OwnedFd, &OsStr), CommitError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(CommitError::refused(path, "the root cannot be replaced"));
    };
    let dir = open_dir(parent).map_err(CommitError::at("open", parent))?;
    Ok((dir, name))
}

/// What a name leads to; `path` is for the error.
pub(super) fn stamp_at(parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<Option<Stamp>, CommitError> {
    match Stamp::at(parent, name) {
        Ok(stamp) => Ok(Some(stamp)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(CommitError::at("look at", path)(errno)),
    }
}

/// Does something to the names in a directory that leaves its modification time alone:
/// the job itself changed none of them. A name that another process makes there at the
/// very same moment is not noticed either.
pub(super) fn unnoticed<T>(dir: &OwnedFd, change: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let before = rustix::fs::statat(dir, c"", AtFlags::EMPTY_PATH)?;
    let done = change()?;
    let times = modified(before.st_mtime, before.st_mtime_nsec as _);
    match rustix::fs::utimensat(dir, c"", &times, AtFlags::EMPTY_PATH) {
        // The directory is another user's.
        Ok(()) | Err(Errno::PERM | Errno::ACCESS) => Ok(done),
        Err(error) => Err(error),
    }
}

/// Removes a name that a commit made, if it is still there.
pub(super) fn discard(dir: &OwnedFd, name: &OsStr) {
    match unnoticed(dir, || rustix::fs::unlinkat(dir, name, AtFlags::empty())) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => tracing::warn!("{} stays: {error}", name.display()),
    }
}

/// Sets the time of last modification; the time of last access stays.
pub(super) fn set_time(dir: &OwnedFd, name: &OsStr, time: FileTime) -> Result<(), Errno> {
    let times = modified(time.sec, i64::from(time.nsec));
    rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

pub(super) fn modified(tv_sec: i64, tv_nsec: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec { tv_sec, tv_nsec },
    }
}
