//! Names in directories, as commits look at them and move them. Knows no changes.

use super::CommitError;
use crate::tree::{Stamp, open_canonical};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use termite_types::FileTime;

const PREFIX: &[u8] = b".termite-commit-";

/// Whether a name is one of a commit in progress, which nobody else needs to see.
pub fn is_temporary(name: &OsStr) -> bool {
    let digits = name.as_bytes().strip_prefix(PREFIX);
    digits.is_some_and(|digits| digits.len() == 24 && digits.iter().all(u8::is_ascii_hexdigit))
}

/// Whether a name is a temporary one of the daemon with this mark.
pub fn is_of(name: &OsStr, mark: u64) -> bool {
    let digits = name.as_bytes().strip_prefix(PREFIX);
    is_temporary(name) && digits.is_some_and(|digits| digits.starts_with(format!("{mark:016x}").as_bytes()))
}

/// Random, part of all temporary names that this process makes.
pub fn mark() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    static MARK: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    *MARK
}

/// A name that nothing has.
pub fn temporary_name() -> OsString {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    OsString::from(format!(".termite-commit-{:016x}{number:08x}", mark()))
}

/// A directory for looking up names in it.
pub fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    open_canonical(path, OFlags::PATH | OFlags::DIRECTORY)
}

/// The open directory that a path is in, and its last name there.
pub fn open_parent(path: &Path) -> Result<(OwnedFd, &OsStr), CommitError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(CommitError::refused(path, "the root cannot be replaced"));
    };
    let dir = open_dir(parent).map_err(CommitError::at("open", parent))?;
    Ok((dir, name))
}

/// What a name leads to; `path` is for the error.
pub fn stamp_at(parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<Option<Stamp>, CommitError> {
    match Stamp::at(parent, name) {
        Ok(stamp) => Ok(Some(stamp)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(CommitError::at("look at", path)(errno)),
    }
}

/// Does something to the names in a directory that leaves its modification time alone:
/// the job itself changed none of them. A name that another process makes there at the
/// very same moment is not noticed either.
pub fn unnoticed<T>(dir: &OwnedFd, change: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
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
pub fn discard(dir: &OwnedFd, name: &OsStr) {
    match unnoticed(dir, || rustix::fs::unlinkat(dir, name, AtFlags::empty())) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => tracing::warn!("{} stays: {error}", name.display()),
    }
}

/// Sets the time of last modification; the time of last access stays.
pub fn set_time(dir: &OwnedFd, name: &OsStr, time: FileTime) -> Result<(), Errno> {
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
