//! Whether a job's changes could have been made here: by the rules, by permission and by
//! kind. Only looks; what it saw is the plan that staging and applying go by.

use super::CommitError;
use crate::tree::{DenyRules, Kind, Stamp, is_canonical, open_canonical};
use rustix::fd::OwnedFd;
use rustix::fs::{Access, AtFlags, OFlags};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use termite_types::{Attr, Change, ChangeKind, FileTime};

/// What was found while checking.
pub struct Plan {
    /// Times of files that were there: a changed file that still has such a time was not
    /// written by the job (it was renamed or its mode changed), and the time is ours.
    pub times: HashSet<FileTime>,
    /// Paths at which the commit removes or replaces something.
    disturbed: HashSet<PathBuf>,
}

impl Plan {
    /// The deepest directory that is there before, during and after the commit, opened.
    pub fn stage_dir<'a>(&self, path: &'a Path) -> Option<(&'a Path, OwnedFd)> {
        let steady = |dir: &&Path| !dir.ancestors().any(|above| self.disturbed.contains(above));
        path.ancestors()
            .skip(1)
            .filter(steady)
            .find_map(|dir| Some((dir, open_dir(dir).ok()?)))
    }
}

/// How a path will stand once the changes before it are made.
#[derive(Clone, Copy)]
enum State {
    Nothing,
    /// Made by the commit.
    NewDir,
    /// Written by the commit.
    NewLeaf,
    /// As it is.
    Real(Stamp),
}

struct Check<'a> {
    deny: &'a DenyRules,
    planned: HashMap<&'a Path, State>,
    writable: HashSet<&'a Path>,
    user: u32,
    plan: Plan,
}

/// Refuses what cannot be committed whole.
pub fn check(changes: &[Change], deny: &DenyRules) -> Result<Plan, CommitError> {
    let plan = Plan {
        times: HashSet::new(),
        disturbed: HashSet::new(),
    };
    let user = rustix::process::geteuid().as_raw();
    let mut check = Check {
        deny,
        planned: HashMap::new(),
        writable: HashSet::new(),
        user,
        plan,
    };
    for change in changes {
        check.change(change)?;
    }
    Ok(check.plan)
}

impl<'a> Check<'a> {
    fn change(&mut self, change: &'a Change) -> Result<(), CommitError> {
        let path = change.path.as_path();
        self.path(path)?;
        let state = self.state(path)?;
        if let State::Real(stamp) = state {
            self.plan.times.insert(stamp.mtime);
        }
        let next = match &change.kind {
            ChangeKind::Remove => {
                if !matches!(state, State::Nothing) {
                    self.replace(path, state)?;
                }
                self.plan.disturbed.insert(path.to_owned());
                State::Nothing
            }
            ChangeKind::Dir { attr, .. } => self.dir(path, state, attr)?,
            ChangeKind::Symlink { .. } => self.leaf(path, state)?,
            ChangeKind::Link { to } => {
                self.path(to)?;
                if !matches!(
                    self.state(to)?,
                    State::NewLeaf | State::Real(Stamp { kind: Kind::File, .. })
                ) {
                    return Err(CommitError::refused(
                        path,
                        format!("a link to {}, which is no file", to.display()),
                    ));
                }
                self.leaf(path, state)?
            }
            ChangeKind::File { attr, base, .. } => {
                if let (State::Real(stamp @ Stamp { kind: Kind::File, .. }), Some(_)) = (&state, base) {
                    self.overwrite(path, stamp, attr)?;
                }
                self.leaf(path, state)?
            }
        };
        self.planned.insert(path, next);
        Ok(())
    }

    fn path(&self, path: &Path) -> Result<(), CommitError> {
        if !is_canonical(path) {
            return Err(CommitError::refused(path, "not a canonical path"));
        }
        if self.deny.hides(path) {
            return Err(CommitError::refused(path, "hidden by a rule, so it cannot be written"));
        }
        Ok(())
    }

    fn state(&self, path: &Path) -> Result<State, CommitError> {
        for (depth, above) in path.ancestors().enumerate() {
            match self.planned.get(above) {
                Some(state) if depth == 0 => return Ok(*state),
                Some(State::Nothing | State::NewDir | State::NewLeaf) => return Ok(State::Nothing),
                Some(State::Real(_)) | None => {}
            }
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(State::Real(
                Stamp::of_fd(open_dir(path).map_err(refused(path))?).map_err(refused(path))?,
            ));
        };
        match open_dir(parent).and_then(|dir| Stamp::at(&dir, name)) {
            Ok(stamp) => Ok(State::Real(stamp)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(State::Nothing),
            Err(errno) => Err(refused(path)(errno)),
        }
    }

    fn dir(&mut self, path: &'a Path, state: State, attr: &Attr) -> Result<State, CommitError> {
        match state {
            State::Real(stamp) if stamp.kind == Kind::Dir => {
                if stamp.mode != attr.mode {
                    self.own(path, &stamp)?;
                }
                Ok(state)
            }
            State::NewDir => Ok(state),
            State::Nothing | State::NewLeaf | State::Real(_) => {
                self.replace(path, state)?;
                Ok(State::NewDir)
            }
        }
    }

    fn leaf(&mut self, path: &'a Path, state: State) -> Result<State, CommitError> {
        self.replace(path, state)?;
        self.plan.disturbed.insert(path.to_owned());
        Ok(State::NewLeaf)
    }

    /// A name is made, removed or replaced: its directory must be there and writable.
    fn replace(&mut self, path: &'a Path, state: State) -> Result<(), CommitError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(CommitError::refused(path, "the root cannot be replaced"));
        };
        let holder = match self.state(parent)? {
            State::NewDir => return Ok(()),
            State::Real(stamp) if stamp.kind == Kind::Dir => stamp,
            State::Nothing => return Err(CommitError::refused(path, "its directory does not exist")),
            State::NewLeaf | State::Real(_) => return Err(CommitError::refused(path, "its parent is no directory")),
        };
        if !self.writable.contains(parent) {
            let dir = open_dir(parent).map_err(refused(path))?;
            writable_dir(&dir).map_err(refused(path))?;
            self.writable.insert(parent);
        }
        let State::Real(stamp) = state else { return Ok(()) };
        if stamp.kind == Kind::Other {
            return Err(CommitError::refused(path, "a device, FIFO or socket is there"));
        }
        let is_sticky = holder.mode & 0o1000 != 0;
        if is_sticky && self.user != 0 && self.user != holder.uid && self.user != stamp.uid {
            return Err(CommitError::refused(
                path,
                "it belongs to somebody else in a sticky directory",
            ));
        }
        if stamp.kind == Kind::Dir && self.user != 0 {
            removable(&open_dir(parent).map_err(refused(path))?, name).map_err(refused(path))?;
        }
        Ok(())
    }

    /// The job opened this file for writing or changed its attributes. Whether its mode
    /// lets its owner write was for the job's own kernel to say; a worker that maps one
    /// user only cannot know that it is somebody else's.
    fn overwrite(&self, path: &Path, stamp: &Stamp, attr: &Attr) -> Result<(), CommitError> {
        if self.user == stamp.uid {
            return Ok(());
        }
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            let dir = open_dir(parent).map_err(refused(path))?;
            rustix::fs::accessat(&dir, name, Access::WRITE_OK, AtFlags::EACCESS).map_err(refused(path))?;
        }
        if stamp.mode == attr.mode {
            Ok(())
        } else {
            self.own(path, stamp)
        }
    }

    fn own(&self, path: &Path, stamp: &Stamp) -> Result<(), CommitError> {
        if self.user == 0 || self.user == stamp.uid {
            return Ok(());
        }
        Err(CommitError::refused(
            path,
            "its mode cannot be changed, it belongs to somebody else",
        ))
    }
}

fn refused(path: &Path) -> impl FnOnce(Errno) -> CommitError {
    move |errno| CommitError::refused(path, std::io::Error::from(errno).to_string())
}

fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    open_canonical(path, OFlags::PATH | OFlags::DIRECTORY)
}

fn writable_dir(dir: &OwnedFd) -> Result<(), Errno> {
    rustix::fs::accessat(dir, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
}

/// Whether a directory can be removed with all that is in it.
fn removable(parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(parent, name, flags, rustix::fs::Mode::empty())?;
    let mut is_empty = true;
    for entry in rustix::fs::Dir::read_from(&dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        is_empty = false;
        let name: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name);
        if Stamp::at(&dir, name)?.kind == Kind::Dir {
            removable(&dir, name)?;
        }
    }
    if is_empty { Ok(()) } else { writable_dir(&dir) }
}
