//! Making the changes, in their order: what is changed in place, files on their way to
//! other names, removals, directories, names that are put in place, and at last the
//! attributes of directories. Runs while no other commit does; what other processes did
//! since the comparison is met with an error, never overwritten on purpose.

mod alter;
mod attributes;
mod dir;
mod leaf;
mod pin;

use super::name::open_parent;
use super::plain::PlainDirs;
use super::plan::{Plan, is_directory};
use super::present::{hash_of, open_file};
use super::stage::StagedByChange;
use super::temporary::Temporary;
use super::validate::Validated;
use super::{CommitError, CommitRequest, Committed};
use crate::tree::{CommittedPath, Kind, Stamp};
use pin::Pin;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::cell::Cell;
use std::collections::HashMap;
use std::path::Path;
use termite_types::{Alter, BlobHash, ChangeKind, FileTime};

/// Names of other files are read again up to so many bytes, to know what they hold.
const VERIFIED: u64 = 16 << 20;

/// What every change needs.
struct Apply<'a> {
    request: &'a CommitRequest,
    plan: &'a Plan<'a>,
    validated: &'a Validated,
    /// May give files to others.
    is_root: bool,
    user: u32,
    /// Something of the client's is not as it was.
    changed: Cell<bool>,
}

/// What was done, by path.
type Done<'a> = HashMap<&'a Path, CommittedPath>;

/// Makes the changes. An error leaves those before it made.
pub fn apply(
    request: &CommitRequest,
    plan: &Plan<'_>,
    staged: StagedByChange,
    validated: &Validated,
    plain: &mut PlainDirs,
) -> Result<Committed, CommitError> {
    let user = rustix::process::geteuid().as_raw();
    let apply = Apply {
        request,
        plan,
        validated,
        is_root: user == 0,
        user,
        changed: Cell::new(false),
    };
    apply.all(staged, plain).map_err(|error| match error {
        CommitError::Failed {
            path, doing, source, ..
        } => CommitError::Failed {
            path,
            doing,
            source,
            untouched: !apply.changed.get(),
        },
        untouched @ (CommitError::Refused { .. } | CommitError::Conflict(_) | CommitError::Content { .. }) => untouched,
    })
}

impl<'a> Apply<'a> {
    fn all(&self, mut staged: StagedByChange, plain: &mut PlainDirs) -> Result<Committed, CommitError> {
        let mut done = Done::new();
        for (index, path, alter) in self.plan.alters() {
            self.alter(path, alter, index, &mut staged, &mut done)?;
        }
        let mut pins = HashMap::new();
        for source in &self.plan.sources {
            let hash = done.get(source.from).and_then(|altered| altered.hash);
            pins.insert(source.from, self.pin(source, hash)?);
        }
        for (path, is_dir) in self.plan.removes.iter().rev() {
            let is_done = pins.get(path).is_some_and(|pin| pin.was_renamed) || self.plan.is_renamed_over(path);
            if !is_done {
                self.remove(path, *is_dir)?;
            }
            plain.forget(path);
            note(&mut done, path, None, None, true);
        }
        let mut unfinished = Vec::new();
        for (path, index) in &self.plan.puts {
            if is_directory(&self.plan.changes[*index].kind) {
                unfinished.extend(self.make_dir(path, &self.plan.changes[*index].kind, plain)?);
                note(&mut done, path, Stamp::at_path(path), None, true);
            }
        }
        for index in 0..self.plan.changes.len() {
            self.put_leaf(index, &mut staged, &mut pins, &mut done)?;
        }
        self.finish_dirs(unfinished, &mut done)?;
        Ok(self.report(done))
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
            Kind::Symlink | Kind::Other => return Err(CommitError::at("change", path)(Errno::LOOP)),
        }
        let is_whole = self.validated.whole.contains(&index);
        let hash = self.alter_file(path, &present, alter, staged.remove(&index), is_whole)?;
        note(done, path, Stamp::at(&dir, name).ok(), hash, true);
        Ok(())
    }

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
            ChangeKind::Alter(_) | ChangeKind::Remove { .. } | ChangeKind::MakeDir { .. } => return Ok(()),
            ChangeKind::File { .. } => match staged.remove(&index) {
                Some(staged) => self.put_file(change, staged)?,
                None => return Ok(()),
            },
            ChangeKind::Symlink { attr } => {
                self.put_symlink(path, attr)?;
                None
            }
            ChangeKind::Link { to } => {
                self.put_link(path, to)?;
                done.get(to.as_path()).and_then(|done| done.hash)
            }
            ChangeKind::Name { from, .. } => match pins.get_mut(from.as_path()) {
                Some(pin) => {
                    self.put_name(path, pin)?;
                    pin.hash
                }
                None => None,
            },
        };
        note(done, path, Stamp::at_path(path), hash, true);
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

    /// A time of a change by the client's clock.
    fn time(&self, time: FileTime, explicit: bool) -> FileTime {
        if explicit || self.validated.times.contains(&time) {
            time
        } else {
            self.request.clock.shift(time)
        }
    }

    /// Each path once, where the list mentions it last.
    fn report(&self, mut done: Done<'_>) -> Committed {
        let mut paths = Vec::with_capacity(done.len());
        for change in self.plan.changes.iter().rev() {
            paths.extend(done.remove(change.path.as_path()).map(settle));
        }
        paths.reverse();
        Committed { paths }
    }
}

fn note<'a>(done: &mut Done<'a>, path: &'a Path, stamp: Option<Stamp>, hash: Option<BlobHash>, touched: bool) {
    let committed = CommittedPath {
        path: path.to_owned(),
        stamp,
        hash,
        touched,
    };
    done.insert(path, committed);
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

/// Files that only got another name hold what the job saw, unless another process wrote to
/// them: so they are read. Needs no turn.
pub fn verify_hashes(plan: &Plan<'_>, committed: &mut Committed) {
    if plan.sources.is_empty() {
        return;
    }
    for committed in &mut committed.paths {
        let (Some(ChangeKind::Name { hash: Some(hash), .. }), Some(stamp), None) =
            (plan.put(&committed.path), committed.stamp, committed.hash)
        else {
            continue;
        };
        if stamp.kind == Kind::File && stamp.size <= VERIFIED && hash_with_stamp(&committed.path, &stamp) == Some(*hash)
        {
            committed.hash = Some(*hash);
        }
    }
}

/// The hash of a file that is and stays as `stamp` says.
fn hash_with_stamp(path: &Path, stamp: &Stamp) -> Option<BlobHash> {
    let file = open_file(path).ok()?;
    let is_it = || Stamp::of_fd(&file).is_ok_and(|is| is == *stamp);
    let hash = is_it().then(|| hash_of(&file).ok())??;
    is_it().then_some(hash)
}

/// A file beside its target that is to be put in place.
fn open_temporary<'a>(
    temporary: &'a Temporary,
    path: &Path,
) -> Result<(rustix::fd::OwnedFd, &'a std::ffi::OsStr), CommitError> {
    temporary.place().map_err(CommitError::at("find the file beside", path))
}
