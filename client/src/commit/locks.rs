//! Locks that a job took on files of the client's, held here while it is committed: a process of
//! this machine that holds one of them has read what the commit would change, or is about to
//! write it. Knows no changes but where a job's calls were not seen.

use super::plan::Plan;
use super::sys::lock_record;
use super::{CommitError, CommitRequest};
use crate::tree::{Kind, Stamp, open_canonical};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use termite_types::Use;

/// Files that are locked at a time. A job that locked more runs on the client.
const MOST: usize = 256;
/// How long a commit waits for a lock before its job runs again.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(2);

/// Open files with a lock of each kind; given back when dropped.
pub(super) struct Locks {
    _files: Vec<OwnedFd>,
}

impl Locks {
    /// Takes them in the order of their paths, so that no two commits wait for each other. What
    /// cannot be locked here, nobody else locks either.
    pub(super) fn take(request: &CommitRequest, plan: &Plan<'_>) -> Result<Self, CommitError> {
        if let Some(path) = request.premises.locks.get(MOST) {
            return Err(CommitError::refused(path, format!("it is locked with {MOST} others")));
        }
        let until = Instant::now() + PATIENCE;
        let mut files = Vec::new();
        for path in locked_files(request, plan) {
            let Some(file) = open(path) else { continue };
            while !try_lock(&file) {
                if Instant::now() >= until {
                    let (seen, found) = ("a lock that it could take", "a lock of another process");
                    return Err(CommitError::conflict(path, seen, found));
                }
                std::thread::sleep(PAUSE);
            }
            files.push(file);
        }
        Ok(Self { _files: files })
    }
}

/// The files that the job took a lock on. Where its calls were not seen, those that it may have
/// locked: what it changed in place, and files without bytes below its working directory, of
/// which little else is to be had.
fn locked_files<'a>(request: &'a CommitRequest, plan: &Plan<'a>) -> BTreeSet<&'a Path> {
    let mut files: BTreeSet<_> = request.premises.locks.iter().map(|path| path.as_path()).collect();
    if request.premises.unseen && !request.changes.is_empty() {
        let altered = plan.alters().map(|(_, path, _)| path);
        let read = request.trace.iter().filter(|item| matches!(item.used, Use::Read(_)));
        let is_empty =
            |path: &&Path| Stamp::at_path(path).is_some_and(|stamp| stamp.kind == Kind::File && stamp.size == 0);
        let paths = read.map(|item| item.path.as_path());
        let near = paths.filter(|path| path.starts_with(&request.cwd));
        files.extend(altered.chain(near.filter(is_empty)).take(MOST));
    }
    files
}

/// A regular file or a directory; for writing if that may be, as locks of fcntl(2) want it.
fn open(path: &Path) -> Option<OwnedFd> {
    // A device may do something as it is opened.
    Stamp::at_path(path).filter(|stamp| matches!(stamp.kind, Kind::File | Kind::Dir))?;
    let how = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    open_canonical(path, how | OFlags::RDWR)
        .or_else(|_| open_canonical(path, how | OFlags::RDONLY))
        .ok()
}

/// Takes a lock of each kind. False: another process holds one.
fn try_lock(file: &OwnedFd) -> bool {
    let is_taken = |errno| matches!(errno, Errno::AGAIN | Errno::ACCESS);
    let whole = rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive);
    !whole.is_err_and(is_taken) && !lock_record(file).is_err_and(is_taken)
}
