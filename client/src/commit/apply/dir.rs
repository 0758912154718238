//! Directories: made with all rights for their owner, and given their attributes once all
//! names are there. Knows nothing of files.

use super::Apply;
use super::attributes::set_mode;
use super::report::Done;
use crate::commit::CommitError;
use crate::commit::joinable::JoinableDirs;
use crate::commit::name::{open_parent, set_time, stamp_at};
use crate::tree::{Kind, Stamp};
use rustix::fs::Mode;
use rustix::io::Errno;
use std::cmp::Reverse;
use std::path::Path;
use termite_types::{Alter, Attr, ChangeKind, FileTime};

/// A directory whose attributes wait until its names are there.
pub(super) struct Unfinished<'a> {
    path: &'a Path,
    wanted: Wanted<'a>,
}

enum Wanted<'a> {
    /// The commit made it.
    Made { attr: &'a Attr, explicit_mtime: bool },
    /// It was there, and had this time before the commit.
    Altered { alter: &'a Alter, before: FileTime },
}

impl<'a> Apply<'a> {
    /// Makes a directory, or joins the one that is there, which stays as it is: `None`.
    pub(super) fn make_dir(
        &self,
        path: &'a Path,
        kind: &'a ChangeKind,
        joinable: &mut JoinableDirs,
    ) -> Result<Option<Unfinished<'a>>, CommitError> {
        let ChangeKind::MakeDir {
            attr,
            explicit_mtime,
            plain,
        } = kind
        else {
            return Ok(None);
        };
        let (parent, name) = open_parent(path)?;
        match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
            Ok(()) => self.changed.set(true),
            Err(Errno::EXIST) if stamp_at(&parent, name, path)?.is_some_and(|is| is.kind == Kind::Dir) => {
                return Ok(None);
            }
            Err(errno) => return Err(CommitError::at("make", path)(errno)),
        }
        if !*plain && let Some(stamp) = stamp_at(&parent, name, path)? {
            joinable.made(path, &stamp);
        }
        let wanted = Wanted::Made {
            attr,
            explicit_mtime: *explicit_mtime,
        };
        Ok(Some(Unfinished { path, wanted }))
    }

    /// The directories that are there and are to be changed.
    pub(super) fn altered_dirs(&self) -> Vec<Unfinished<'a>> {
        let altered = self.plan.alters().filter(|(_, path, _)| !self.plan.is_removed(path));
        let dirs = altered.filter_map(|(_, path, alter)| {
            let present = Stamp::at_path(path).filter(|stamp| stamp.kind == Kind::Dir)?;
            let before = present.mtime;
            let wanted = Wanted::Altered { alter, before };
            Some(Unfinished { path, wanted })
        });
        dirs.collect()
    }

    /// Attributes of the directories that were made or changed, the deepest first.
    pub(super) fn finish_dirs(
        &self,
        mut unfinished: Vec<Unfinished<'a>>,
        done: &mut Done<'a>,
    ) -> Result<(), CommitError> {
        let mut holders = done.holders();
        unfinished.sort_by_key(|dir| Reverse(dir.path.components().count()));
        for Unfinished { path, wanted } in unfinished {
            match wanted {
                Wanted::Made { attr, explicit_mtime } => self.finish_made(path, attr, explicit_mtime)?,
                Wanted::Altered { alter, before } => {
                    let touched = self.alter_dir(path, alter, before)? || done.contains(path);
                    // With the names that gave it the time, workers are told of that.
                    if !(is_of_names(alter) && holders.contains(path)) {
                        done.note(path, Stamp::at_path(path), None, touched);
                        holders.extend(path.parent().filter(|_| touched));
                    }
                }
            }
        }
        Ok(())
    }

    fn finish_made(&self, path: &Path, attr: &Attr, explicit_mtime: bool) -> Result<(), CommitError> {
        let (parent, name) = open_parent(path)?;
        self.give(&parent, name, (attr.uid, attr.gid))
            .map_err(CommitError::at("give away", path))?;
        set_mode(&parent, name, attr.mode).map_err(CommitError::at("set the mode of", path))?;
        set_time(&parent, name, self.time(attr.mtime, explicit_mtime)).map_err(CommitError::at("set the time of", path))
    }

    /// Returns whether anything was set. A time that the job did not set by itself is when
    /// names came and went in its view, which was before the commit made them: it never takes
    /// the directory back to what it had before, or to a time that others gave it.
    fn alter_dir(&self, path: &Path, alter: &Alter, before: FileTime) -> Result<bool, CommitError> {
        let (parent, name) = open_parent(path)?;
        let present = Stamp::at(&parent, name).map_err(CommitError::at("look at", path))?;
        let mut touched = false;
        if let Some(owner) = alter.owner.filter(|owner| *owner != (present.uid, present.gid)) {
            self.give(&parent, name, owner)
                .map_err(CommitError::at("give away", path))?;
            touched = true;
        }
        if touched || alter.mode.is_some_and(|mode| mode != present.mode) {
            let mode = alter.mode.unwrap_or(present.mode);
            set_mode(&parent, name, mode).map_err(CommitError::at("set the mode of", path))?;
            touched = true;
        }
        if let Some(set) = alter.mtime {
            let time = self.time(set.time, set.explicit);
            let is_wanted = time != present.mtime && (set.explicit || time > before);
            if is_wanted {
                match set_time(&parent, name, time) {
                    // It was touched by names that came and went, in somebody else's directory.
                    Err(Errno::PERM | Errno::ACCESS) if !set.explicit => {}
                    done => {
                        done.map_err(CommitError::at("set the time of", path))?;
                        touched = true;
                    }
                }
            }
        }
        if touched {
            self.changed.set(true);
        }
        Ok(touched)
    }
}

/// Whether a directory only gets another time, which follows from its names.
fn is_of_names(alter: &Alter) -> bool {
    let follows = alter.mtime.is_some_and(|set| !set.explicit);
    follows && alter.mode.is_none() && alter.owner.is_none()
}
