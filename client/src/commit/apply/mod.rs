//! Making the changes, in their order: what is changed in place, files on their way to
//! other names, removals, directories, names that are put in place, and at last the
//! attributes of directories. Runs while no other commit does; what other processes did
//! since the comparison is met with an error, never overwritten on purpose.

mod alter;
mod attributes;
mod dir;
mod leaf;
mod pin;
mod report;

#[cfg(test)]
pub(super) use alter::differing;
pub(super) use report::verify_hashes;

use super::joinable::JoinableDirs;
use super::name::open_parent;
use super::plan::{Plan, is_directory};
use super::reserve::Reserved;
use super::stage::StagedByChange;
use super::temporary::Temporary;
use super::validate::Validated;
use super::{CommitError, CommitLog, CommitRequest, Committed};
use crate::tree::{Kind, Stamp};
use pin::Pin;
use report::Done;
use rustix::fs::{AtFlags, XattrFlags};
use rustix::io::Errno;
use std::cell::Cell;
use std::collections::HashMap;
use std::path::Path;
use termite_types::{Alter, ChangeKind, FileTime, IfPresent, Xattr};

/// What every change needs.
struct Apply<'a> {
    request: &'a CommitRequest,
    plan: &'a Plan<'a>,
    validated: &'a Validated,
    log: &'a dyn CommitLog,
    /// May give files to others.
    is_root: bool,
    user: u32,
    /// Something of the client's is not as it was.
    changed: Cell<bool>,
}

/// Makes the changes. An error leaves those before it made.
pub(super) fn apply(
    request: &CommitRequest,
    plan: &Plan<'_>,
    staged: StagedByChange,
    validated: &Validated,
    joinable: &mut JoinableDirs,
    log: &dyn CommitLog,
) -> Result<Committed, CommitError> {
    let user = rustix::process::geteuid().as_raw();
    let apply = Apply {
        request,
        plan,
        validated,
        log,
        is_root: user == 0,
        user,
        changed: Cell::new(false),
    };
    let mut done = Done::default();
    match apply.all(staged, joinable, &mut done) {
        Ok(()) => Ok(done.report(plan)),
        Err(CommitError::Failed {
            path, doing, source, ..
        }) => Err(CommitError::Failed {
            path,
            doing,
            source,
            changed: apply.changed.get().then(|| done.changed()),
        }),
        Err(untouched) => Err(untouched),
    }
}

impl<'a> Apply<'a> {
    /// Applies all changes: first what is changed in place, then names that go, directories, files and
    /// links; modes and times of directories last.
    fn all(
        &self,
        mut staged: StagedByChange,
        joinable: &mut JoinableDirs,
        done: &mut Done<'a>,
    ) -> Result<(), CommitError> {
        let mut unfinished = self.altered_dirs();
        self.reserve_in_place(&staged)?;
        let (later, in_place): (Vec<_>, Vec<_>) =
            (self.plan.xattrs.iter()).partition(|(path, _)| self.plan.put(path).is_some());
        // First, since a file system may not have them.
        in_place
            .into_iter()
            .try_for_each(|(path, xattrs)| self.set_xattrs(path, xattrs))?;
        for (index, path, alter) in self.plan.alters() {
            self.alter(path, alter, index, &mut staged, done)?;
        }
        let mut pins = HashMap::new();
        for source in &self.plan.sources {
            pins.insert(source.from, self.pin(source, done)?);
        }
        for (path, is_dir) in self.plan.removes.iter().rev() {
            let is_done = pins.get(path).is_some_and(|pin| pin.was_renamed) || self.plan.is_renamed_over(path);
            if !is_done {
                self.remove(path, *is_dir)?;
            }
            joinable.forget(path);
            done.note(path, None, None, true);
        }
        for (path, index) in &self.plan.puts {
            if is_directory(&self.plan.changes[*index].kind) {
                unfinished.extend(self.make_dir(path, &self.plan.changes[*index].kind, joinable)?);
                done.note(path, Stamp::at_path(path), None, true);
            }
        }
        for index in 0..self.plan.changes.len() {
            self.put_leaf(index, &mut staged, &mut pins, done)?;
        }
        // Modes of directories, which may not let their owner write, come after.
        later
            .into_iter()
            .try_for_each(|(path, xattrs)| self.set_xattrs(path, xattrs))?;
        self.finish_dirs(unfinished, done)
    }

    /// Reserves what the contents need that are changed in place, so that a full disk does not
    /// stop the commit between two of them. One alone is reserved or undone by itself.
    fn reserve_in_place(&self, staged: &StagedByChange) -> Result<(), CommitError> {
        let mut reserved = Reserved::default();
        if self.plan.changes.len() < 2 {
            return Ok(());
        }
        for (index, change) in self.plan.changes.iter().enumerate() {
            let is_appended = match &change.kind {
                ChangeKind::Alter(Alter {
                    content: Some(edit), ..
                }) => edit.appended,
                ChangeKind::File { if_present, .. } if *if_present != IfPresent::Replace => {
                    *if_present == IfPresent::Append
                }
                _ => continue,
            };
            let Some(present) = Stamp::at_path(&change.path).filter(|stamp| stamp.kind == Kind::File) else {
                continue;
            };
            let Some(staged) = staged.get(&index) else { continue };
            let from = if is_appended { present.size } else { 0 };
            let length = staged.file.open().map_err(std::io::Error::from);
            length
                .and_then(|content| reserved.add(&change.path, from, content.metadata()?.len()))
                .map_err(CommitError::at("write into", &change.path))?;
        }
        reserved.used();
        Ok(())
    }

    /// A file of the client's is changed in place. Directories wait until their names are
    /// there.
    fn alter(
        &self,
        path: &'a Path,
        alter: &Alter,
        index: usize,
        staged: &mut StagedByChange,
        done: &mut Done<'a>,
    ) -> Result<(), CommitError> {
        let (dir, name) = open_parent(path)?;
        let present = Stamp::at(&dir, name).map_err(CommitError::at("look at", path))?;
        match present.kind {
            Kind::File => {}
            Kind::Dir => return Ok(()),
            Kind::Symlink | Kind::Special(_) => return Err(CommitError::at("change", path)(Errno::LOOP)),
        }
        // Its content may be another one since it was compared.
        let is_whole = self.validated.whole.contains(&index) && !done.has_changed(&present);
        let known = done.hash_in_place(&present);
        let hash = match &alter.content {
            Some(_) => self.alter_content(path, &present, alter, staged.remove(&index), is_whole)?,
            None => known,
        };
        self.alter_attributes(path, &present, alter)?;
        let stamp = Stamp::at(&dir, name).map_err(CommitError::at("look at", path))?;
        done.changed_in_place(stamp, hash);
        done.note(path, Some(stamp), hash, true);
        Ok(())
    }

    /// Puts a file, symlink or link at its path, or alters what is there.
    fn put_leaf(
        &self,
        index: usize,
        staged: &mut StagedByChange,
        pins: &mut HashMap<&Path, Pin>,
        done: &mut Done<'a>,
    ) -> Result<(), CommitError> {
        let change = &self.plan.changes[index];
        let path = change.path.as_path();
        let hash = match &change.kind {
            ChangeKind::Alter(_)
            | ChangeKind::Remove { .. }
            | ChangeKind::MakeDir { .. }
            | ChangeKind::SetXattrs(_) => return Ok(()),
            ChangeKind::File { .. } => {
                let Some(staged) = staged.remove(&index) else {
                    return Ok(());
                };
                let put = self.put_file(change, staged)?;
                if let (true, Some(stamp)) = (put.in_place, Stamp::at_path(path)) {
                    done.changed_in_place(stamp, put.hash);
                }
                put.hash
            }
            ChangeKind::Symlink { attr } => {
                self.put_symlink(path, attr)?;
                None
            }
            ChangeKind::Link { to } => {
                self.put_link(path, to)?;
                done.hash_at(to)
            }
            ChangeKind::Name { from, .. } => match pins.get_mut(from.as_path()) {
                Some(pin) => {
                    self.put_name(path, pin)?;
                    pin.hash
                }
                None => None,
            },
        };
        done.note(path, Stamp::at_path(path), hash, true);
        Ok(())
    }

    fn remove(&self, path: &Path, is_dir: bool) -> Result<(), CommitError> {
        let (dir, name) = open_parent(path)?;
        let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        match rustix::fs::unlinkat(&dir, name, flags) {
            Ok(()) => self.changed.set(true),
            // Another process was faster.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(CommitError::at("remove", path)(errno)),
        }
        Ok(())
    }

    fn set_xattrs(&self, path: &Path, xattrs: &[Xattr]) -> Result<(), CommitError> {
        for Xattr { name, value } in xattrs {
            let mut here = vec![0; value.len()];
            let length = rustix::fs::lgetxattr(path, name, &mut here[..]);
            // A new file has it from before, and may be read-only by now.
            if length != Ok(value.len()) || here != *value || value.is_empty() {
                rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
                    .map_err(CommitError::at("set an extended attribute of", path))?;
                self.changed.set(true);
            }
        }
        Ok(())
    }

    /// A time of a change by the client's clock.
    fn time(&self, time: FileTime, explicit: bool) -> FileTime {
        if explicit || self.validated.times.contains(&time) {
            time
        } else {
            self.request.clock.shift(time)
        }
    }
}

/// A file beside its target that is to be put in place.
fn open_temporary<'a>(
    temporary: &'a Temporary,
    path: &Path,
) -> Result<(rustix::fd::OwnedFd, &'a std::ffi::OsStr), CommitError> {
    temporary.place().map_err(CommitError::at("find the file beside", path))
}
