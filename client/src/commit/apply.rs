//! Making the changes, in their order: removals, directories, links, and files that were
//! staged. Runs while no other commit does; checks nothing that the plan has checked.

use super::check::Plan;
use super::stage::{Staged, temporary_name, unnoticed};
use super::{CommitError, CommitRequest, Committed, Contents, file};
use crate::tree::{CommittedPath, Kind, Stamp, open_canonical};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use termite_types::{Attr, BlobHash, Change, ChangeKind, FileTime, Node};

/// What every change needs.
pub struct Apply<'a> {
    pub request: &'a CommitRequest,
    pub plan: &'a Plan,
    pub contents: &'a dyn Contents,
    /// May give files to others.
    pub is_root: bool,
    pub user: u32,
}

/// A directory whose attributes wait until its names are there.
struct Unfinished<'a> {
    path: &'a Path,
    attr: &'a Attr,
    explicit_mtime: bool,
    made: bool,
}

/// Makes the changes. An error leaves those before it made.
pub fn apply(
    request: &CommitRequest,
    plan: &Plan,
    staged: Staged,
    contents: &dyn Contents,
) -> Result<Committed, CommitError> {
    let user = rustix::process::geteuid().as_raw();
    let apply = Apply {
        request,
        plan,
        contents,
        is_root: user == 0,
        user,
    };
    apply.all(staged).map_err(|error| match error {
        CommitError::Failed {
            path, doing, source, ..
        } => CommitError::Failed {
            path,
            doing,
            source,
            untouched: false,
        },
        // A content that had to be asked for again.
        CommitError::Content { path, why } => CommitError::Failed {
            path,
            doing: "read the content of",
            source: std::io::Error::other(why),
            untouched: false,
        },
        untouched @ (CommitError::Refused { .. } | CommitError::Conflict(_)) => untouched,
    })
}

impl<'a> Apply<'a> {
    fn all(&self, mut staged: Staged) -> Result<Committed, CommitError> {
        let mut done: HashMap<&Path, CommittedPath> = HashMap::new();
        let mut dirs = Vec::new();
        for (index, change) in self.request.changes.iter().enumerate() {
            let path = change.path.as_path();
            let mut hash = None;
            let mut touched = true;
            match &change.kind {
                ChangeKind::Remove => remove(path)?,
                ChangeKind::Dir { attr, explicit_mtime } => {
                    let dir = self.dir(path, attr, *explicit_mtime)?;
                    let differs = |stamp: Stamp| self.differs(&stamp, attr) || self.dir_time(&dir, &stamp).is_some();
                    touched = dir.made || Stamp::at_path(path).is_some_and(differs);
                    dirs.push(dir);
                }
                ChangeKind::Symlink { attr } => self.symlink(path, attr)?,
                ChangeKind::Link { to } => {
                    link(path, to)?;
                    hash = done.get(to.as_path()).and_then(|done| done.hash);
                }
                ChangeKind::File { .. } => {
                    if let Some(temporary) = staged.remove(&index) {
                        hash = self.file(change, temporary)?;
                    }
                }
            }
            let stamp = Stamp::at_path(path);
            done.insert(
                path,
                CommittedPath {
                    path: path.to_owned(),
                    stamp,
                    hash,
                    touched,
                },
            );
        }
        dirs.sort_by_key(|dir| std::cmp::Reverse(dir.path.components().count()));
        for dir in dirs {
            self.finish(&dir)?;
        }
        Ok(Committed {
            paths: self
                .request
                .changes
                .iter()
                .filter_map(|c| done.remove(c.path.as_path()))
                .map(settle)
                .collect(),
        })
    }

    fn file(&self, change: &Change, temporary: super::stage::Temporary) -> Result<Option<BlobHash>, CommitError> {
        file::place(self, change, temporary)
    }

    fn dir(&self, path: &'a Path, attr: &'a Attr, explicit_mtime: bool) -> Result<Unfinished<'a>, CommitError> {
        let mut made = false;
        if let Some((parent, name)) = place(path)? {
            let present = at(&parent, name, path)?;
            if !present.is_some_and(|stamp| stamp.kind == Kind::Dir) {
                if present.is_some() {
                    rustix::fs::unlinkat(&parent, name, AtFlags::empty()).map_err(CommitError::at("replace", path))?;
                }
                rustix::fs::mkdirat(&parent, name, Mode::RWXU).map_err(CommitError::at("make", path))?;
                made = true;
            }
        }
        Ok(Unfinished {
            path,
            attr,
            explicit_mtime,
            made,
        })
    }

    /// The time that a directory is to get. One that was there keeps the kernel's, unless
    /// the job set another or touched it later.
    fn dir_time(&self, dir: &Unfinished<'_>, present: &Stamp) -> Option<FileTime> {
        let time = self.time(dir.attr.mtime, dir.explicit_mtime);
        let is_set = dir.explicit_mtime && time != present.mtime;
        (dir.made || is_set || time > present.mtime).then_some(time)
    }

    /// Sets the attributes of a directory.
    fn finish(&self, dir: &Unfinished<'_>) -> Result<(), CommitError> {
        let Some((parent, name)) = place(dir.path)? else {
            return Ok(());
        };
        let Some(present) = at(&parent, name, dir.path)? else {
            return Ok(());
        };
        if dir.made || self.differs(&present, dir.attr) {
            self.give(&parent, name, dir.attr)
                .map_err(CommitError::at("give away", dir.path))?;
            let mode = Mode::from_raw_mode(dir.attr.mode);
            rustix::fs::chmodat(&parent, name, mode, AtFlags::empty())
                .map_err(CommitError::at("set the mode of", dir.path))?;
        }
        if let Some(time) = self.dir_time(dir, &present) {
            match set_time(&parent, name, time) {
                // It was touched by names that came and went, in somebody else's directory.
                Err(Errno::PERM | Errno::ACCESS) if !dir.made && !dir.explicit_mtime => {}
                done => done.map_err(CommitError::at("set the time of", dir.path))?,
            }
        }
        Ok(())
    }

    fn symlink(&self, path: &Path, attr: &Attr) -> Result<(), CommitError> {
        let Node::Symlink { target } = &attr.node else {
            return Err(CommitError::refused(path, "its attributes are not those of a symlink"));
        };
        let Some((parent, name)) = place(path)? else {
            return Ok(());
        };
        let present = at(&parent, name, path)?.filter(|stamp| stamp.kind == Kind::Symlink);
        if present.is_some()
            && rustix::fs::readlinkat(&parent, name, Vec::new())
                .is_ok_and(|old| old.as_bytes() == target.as_os_str().as_bytes())
        {
            return self
                .give(&parent, name, attr)
                .and_then(|()| set_time(&parent, name, self.time(attr.mtime, false)))
                .map_err(CommitError::at("set the attributes of", path));
        }
        let temporary = temporary_name();
        rustix::fs::symlinkat(target, &parent, &temporary).map_err(CommitError::at("make a symlink beside", path))?;
        let placed = self
            .give(&parent, &temporary, attr)
            .and_then(|()| set_time(&parent, &temporary, self.time(attr.mtime, false)))
            .and_then(|()| replace(&parent, &temporary, &parent, name));
        placed.map_err(|errno| {
            discard(&parent, &temporary);
            CommitError::at("place", path)(errno)
        })
    }

    /// Makes owner and group those of `attr`, where this user may.
    fn give(&self, parent: &OwnedFd, name: &OsStr, attr: &Attr) -> Result<(), Errno> {
        let present = Stamp::at(parent, name)?;
        if (present.uid, present.gid) == (attr.uid, attr.gid) {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(attr.uid), Gid::from_raw(attr.gid));
        if self.is_root {
            return rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
        }
        if present.gid != attr.gid {
            match rustix::fs::chownat(parent, name, None, Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
                // A group that this user is not in: as when the file is made here.
                Err(Errno::PERM) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Mode, and for root owner and group.
    pub fn differs(&self, present: &Stamp, attr: &Attr) -> bool {
        present.mode != attr.mode || (self.is_root && (present.uid, present.gid) != (attr.uid, attr.gid))
    }

    /// All attributes of a file that has its place or is about to get it.
    pub fn dress(&self, dir: &OwnedFd, name: &OsStr, attr: &Attr, time: Option<FileTime>) -> Result<(), Errno> {
        self.give(dir, name, attr)?;
        if Stamp::at(dir, name)?.mode != attr.mode {
            rustix::fs::chmodat(dir, name, Mode::from_raw_mode(attr.mode), AtFlags::empty())?;
        }
        time.map_or(Ok(()), |time| set_time(dir, name, time))
    }

    /// A time of a change by the client's clock.
    pub fn time(&self, time: FileTime, explicit: bool) -> FileTime {
        if explicit || self.plan.times.contains(&time) {
            time
        } else {
            self.request.clock.shift(time)
        }
    }
}

/// The stamp at the end of the commit, where it is still what was put there: a hard link
/// made later has changed it.
fn settle(mut committed: CommittedPath) -> CommittedPath {
    let Some(put) = committed.stamp else { return committed };
    let same =
        |is: &Stamp| is.same_inode(&put) && (put.kind == Kind::Dir || (is.size, is.mtime) == (put.size, put.mtime));
    committed.stamp = Stamp::at_path(&committed.path).filter(same).or(Some(put));
    committed
}

/// The open parent and the name; `None` for the root.
pub fn place(path: &Path) -> Result<Option<(OwnedFd, &OsStr)>, CommitError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(None);
    };
    let dir = open_canonical(parent, OFlags::PATH | OFlags::DIRECTORY).map_err(CommitError::at("open", parent))?;
    Ok(Some((dir, name)))
}

/// What is at a name.
pub fn at(parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<Option<Stamp>, CommitError> {
    match Stamp::at(parent, name) {
        Ok(stamp) => Ok(Some(stamp)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(CommitError::at("look at", path)(errno)),
    }
}

/// Renames over whatever is there, also over a directory that is not empty.
pub fn replace(from: &OwnedFd, old: &OsStr, to: &OwnedFd, new: &OsStr) -> Result<(), Errno> {
    match rustix::fs::renameat(from, old, to, new) {
        Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
            remove_tree(to, new)?;
            rustix::fs::renameat(from, old, to, new)
        }
        done => done,
    }
}

fn remove(path: &Path) -> Result<(), CommitError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let removed = open_canonical(parent, OFlags::PATH | OFlags::DIRECTORY).and_then(|dir| {
        match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => remove_tree(&dir, name),
            done => done,
        }
    });
    match removed {
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
        Err(errno) => Err(CommitError::at("remove", path)(errno)),
    }
}

fn remove_tree(parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name);
    std::fs::remove_dir_all(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn link(path: &Path, to: &Path) -> Result<(), CommitError> {
    let (Some((parent, name)), Some((source, old))) = (place(path)?, place(to)?) else {
        return Ok(());
    };
    let temporary = temporary_name();
    let beside = || rustix::fs::linkat(&source, old, &parent, &temporary, AtFlags::empty());
    unnoticed(&parent, beside).map_err(CommitError::at("make a link beside", path))?;
    let rename = || replace(&parent, &temporary, &parent, name);
    // The name of a file that was given others is no new name.
    let placed = if at(&parent, name, path)?.is_some_and(|stamp| stamp.kind == Kind::File) {
        unnoticed(&parent, rename)
    } else {
        rename()
    };
    // Renaming over another name of the same file does nothing at all.
    discard(&parent, &temporary);
    placed.map_err(CommitError::at("place", path))
}

fn discard(dir: &OwnedFd, name: &OsStr) {
    match unnoticed(dir, || rustix::fs::unlinkat(dir, name, AtFlags::empty())) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => tracing::warn!("{} stays: {error}", name.display()),
    }
}

/// Sets the time of last modification; the time of last access stays.
pub fn set_time(dir: &OwnedFd, name: &OsStr, time: FileTime) -> Result<(), Errno> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: time.sec,
            tv_nsec: i64::from(time.nsec),
        },
    };
    rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}
