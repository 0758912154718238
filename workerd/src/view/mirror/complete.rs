//! Listing directories: one thread lists, the others wait; what is there already is
//! kept where it is still right. Knows nothing of jobs.

use super::place::look_alike;
use super::place::{Workplace, names_in};
use super::tables::{Claim, Fill, Names};
use super::unmade::Unmade;
use super::{Known, Mirror, OWN_NAMES, Presence};
use crate::view::confine;
use crate::view::error::FaultError;
use crate::view::files::FilesError;
use rustix::fd::AsFd;
use rustix::fs::Mode;
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use termite_types::{Abandon, Attr, Entry, Listing, Node};

/// What became of a listing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    /// Its names are known.
    Known,
    Not,
}

/// Whether a directory of many names may be left sparse.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Some,
    All,
}

impl Mirror {
    /// The directory with this inode number, and whether all of its names are there.
    /// `None`: it is none of the mirror's.
    pub(in crate::view) fn dir_at(&self, ino: u64) -> Option<(Arc<Path>, bool)> {
        let (path, presence) = self.presence(ino, None)?;
        Some((path, presence == Presence::Complete))
    }

    /// Whether this is the inode number of a directory that the client's user may not look
    /// into. What it holds is not known here, so that it cannot be changed here either.
    pub(in crate::view) fn is_shut(&self, ino: u64) -> bool {
        let tables = self.tables.lock();
        let dir = tables.dir_path(ino).and_then(|path| tables.dirs.get(path));
        dir.is_some_and(|dir| dir.shut)
    }

    /// A directory's attributes as the client told them.
    pub(in crate::view) fn dir_attr(&self, path: &Path) -> Option<Attr> {
        self.tables.lock().dirs.get(path).map(|dir| dir.attr.clone())
    }

    /// The inode number of the mirror's own root.
    pub(in crate::view) fn root_ino(&self) -> u64 {
        self.tables.lock().root()
    }

    /// Brings all names of a directory that the mirror has. True: whoever looks for any name finds
    /// what the client has. Blocks.
    pub(in crate::view) fn complete(&self, path: &Path) -> Result<bool, FaultError> {
        self.list(path, Extent::All, |error| self.refused(path, error))?;
        Ok(!self.tables.lock().has_specials(path))
    }

    /// Brings the time of a directory that the mirror has, which only its names keep up to
    /// date: the client tells of those that it has listed. True: it is complete, too. Otherwise the
    /// client may not list it, and it has the time that is known. Blocks.
    pub(in crate::view) fn complete_time(&self, path: &Path) -> Result<bool, FaultError> {
        let listed = self.list(path, Extent::All, |error| match error {
            FilesError::Errno(libc::EACCES) | FilesError::Denied => Ok(Listed::Not),
            error => Err(FaultError::from_client(error, path)),
        });
        Ok(listed? == Listed::Known && !self.tables.lock().has_specials(path))
    }

    /// Brings what is needed to look for one name. True: the directory is complete, too. Blocks.
    pub(in crate::view) fn complete_name(&self, path: &Path, name: &OsStr) -> Result<bool, FaultError> {
        loop {
            self.list(path, Extent::Some, |error| self.refused(path, error))?;
            self.refuse_special(path, name)?;
            self.make_listed(path, name)
                .map_err(|errno| FaultError::from_store(errno, path))?;
            match self.tables.lock().presence(path, Some(name)) {
                Presence::Complete => return Ok(true),
                Presence::Ready => return Ok(false),
                // It fell into doubt meanwhile.
                Presence::Lacking => {}
            }
        }
    }

    fn refused(&self, path: &Path, error: FilesError) -> Result<Listed, FaultError> {
        match error {
            FilesError::Errno(libc::EACCES) => match self.dir_attr(path) {
                Some(attr) if is_for_searching(attr.mode) => Err(Abandon::Machine(format!(
                    "to look into {}, which may be searched and not listed",
                    path.display()
                ))
                .into()),
                _ => self.shut_dir(path),
            },
            error => Err(FaultError::from_client(error, path)),
        }
    }

    /// Lists a directory and takes in its names, once for all who wait for it. `refused`: what an error of the
    /// client means here.
    fn list(
        &self,
        path: &Path,
        extent: Extent,
        refused: impl Fn(FilesError) -> Result<Listed, FaultError>,
    ) -> Result<Listed, FaultError> {
        let store = |errno| FaultError::from_store(errno, path);
        loop {
            while let Some(claim) = self.claim_listing(path)? {
                self.count_fetch();
                let done = match self.files.read_dir(path) {
                    Ok(listing) => self
                        .reconcile(path, claim, &listing, extent)
                        .map(|()| Listed::Known)
                        .map_err(store),
                    Err(error) => refused(error),
                };
                self.end_listing(path, claim, matches!(done, Ok(Listed::Known)));
                if let Err(FaultError::Errno(libc::ENOENT | libc::ENOTDIR)) = done {
                    self.drop_vanished(path)?;
                }
                if done? == Listed::Not {
                    return Ok(Listed::Not);
                }
            }
            if extent == Extent::Some || self.make_all_listed(path).map_err(store)? {
                return Ok(Listed::Known);
            }
        }
    }

    /// `Some`: it is this thread's to list. `None`: its names are known.
    fn claim_listing(&self, path: &Path) -> Result<Option<Claim>, FaultError> {
        let mut tables = self.tables.lock();
        loop {
            match tables.dirs.get(path).ok_or(FaultError::Errno(libc::ENOENT))?.names {
                Names::Sparse | Names::Complete => return Ok(None),
                Names::Listing { .. } => self.settled.wait(&mut tables),
                Names::Partial => {
                    let claim = tables.new_claim();
                    tables.claim_ahead(path, claim);
                    return Ok(Some(claim));
                }
            }
        }
    }

    /// Lets those go on that wait for a directory.
    pub(super) fn end_listing(&self, path: &Path, claim: Claim, listed: bool) {
        self.tables.lock().end_claim(path, claim, listed);
        self.settled.notify_all();
    }

    /// The client's user may not look into it, so nobody here may.
    fn shut_dir(&self, path: &Path) -> Result<Listed, FaultError> {
        let store = |errno| FaultError::from_store(errno, path);
        if let Some(dir) = self.open_dir(path).map_err(store)? {
            rustix::fs::fchmod(dir, Mode::empty()).map_err(store)?;
        }
        if let Some(known) = self.tables.lock().dirs.get_mut(path) {
            known.shut = true;
        }
        Ok(Listed::Known)
    }

    /// The client has no such directory any more.
    pub(super) fn drop_vanished(&self, path: &Path) -> Result<(), FaultError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(());
        };
        let _turn = self.naming.lock();
        let dropped = match self.workplace(parent) {
            Ok(Some(dir)) => self.remove(&dir, name),
            Ok(None) => Ok(()),
            Err(errno) => Err(errno),
        };
        dropped.map_err(|errno| FaultError::from_store(errno, path))
    }

    /// A directory of the mirror to change names in. `None`: it has no such directory.
    pub(in crate::view) fn workplace(&self, path: &Path) -> Result<Option<Workplace>, Errno> {
        let Some(path) = self.tables.lock().interned(path) else {
            return Ok(None);
        };
        Ok(self.open_dir(&path)?.map(|fd| Workplace { path, fd }))
    }

    /// Makes the mirror's directory equal to the listing, unless something changed there
    /// since that was asked for. Names are made in reverse, because tmpfs lists the newest
    /// first. Of a sparse one only directories are made, which its link count tells of.
    pub(super) fn reconcile(&self, path: &Path, claim: Claim, listing: &Listing, extent: Extent) -> Result<(), Errno> {
        let _turn = self.naming.lock();
        let is_sparse = match self.tables.lock().listed_soundly(path, claim) {
            Some(dir) => extent == Extent::Some && listing.entries.len() > self.many && !dir.was_complete,
            None => return Ok(()),
        };
        let Some(dir) = self.workplace(path)? else {
            return Ok(());
        };
        let own = |name: &OsStr| path == Path::new("/") && OWN_NAMES.iter().any(|own| name == *own);
        let mut stale: HashSet<_> = names_in(dir.fd.as_fd())?
            .into_iter()
            .filter(|name| !own(name))
            .collect();
        let of_specials = |entry: &&Entry| matches!(entry.attr.node, Node::Special(_)) && !own(&entry.name);
        let specials: Vec<_> = listing
            .entries
            .iter()
            .filter(of_specials)
            .map(|entry| &entry.name)
            .collect();
        self.tables.lock().set_specials(path, &specials);
        let mut unmade = Unmade::default();
        for entry in listing.entries.iter().rev().filter(|entry| !own(&entry.name)) {
            if stale.remove(&entry.name) {
                self.settle(&dir, &entry.name, &entry.attr)?;
            } else if is_sparse && Unmade::may_hold(&entry.attr) {
                unmade.add(&entry.name, &entry.attr);
            } else {
                self.make(&dir, &entry.name, &entry.attr)?;
            }
        }
        for name in stale {
            self.remove(&dir, &name)?;
        }
        self.tables.lock().set_unmade(path, unmade);
        self.apply_dir_attrs(&dir, &listing.attr)
    }

    /// Gives an open directory its attributes, after its names, which changed its time.
    fn apply_dir_attrs(&self, dir: &Workplace, attr: &Attr) -> Result<(), Errno> {
        self.apply_attrs(dir.fd.as_fd(), OsStr::new("."), attr)?;
        let mut tables = self.tables.lock();
        tables.set_dir_attr(&dir.path, attr);
        if let Some(known) = tables.dirs.get_mut(&dir.path) {
            known.shut = false;
        }
        Ok(())
    }

    /// Makes a name that may be there already stand as told, keeping what it holds where
    /// that is still the client's.
    pub(super) fn settle(&self, dir: &Workplace, name: &OsStr, attr: &Attr) -> Result<(), Errno> {
        let Some(known) = self.known_at_rest(dir, name)? else {
            self.remove(dir, name)?;
            return self.make(dir, name, attr);
        };
        match (&known.attr.node, &attr.node) {
            (Node::File { .. }, Node::File { .. }) => self.settle_file(dir, name, &known, attr),
            (Node::Dir, Node::Dir) => {
                if !self.same_looks(&known.attr, attr) {
                    self.apply_attrs(dir.fd.as_fd(), name, attr)?;
                }
                self.retell_dir(&dir.child(name), attr);
                Ok(())
            }
            (Node::Symlink { target: old }, Node::Symlink { target }) if old == target => {
                self.settle_looks(dir, name, &known.attr, attr)
            }
            (Node::Special(old), Node::Special(new)) if look_alike(*old, *new) => {
                self.settle_looks(dir, name, &known.attr, attr)
            }
            _ => {
                self.remove(dir, name)?;
                self.make(dir, name, attr)
            }
        }
    }

    /// Takes note of a directory's attributes as its parent's listing gives them. Another
    /// time tells of other names, or of another directory by the same name; another mode
    /// or owner may show names that were hidden.
    fn retell_dir(&self, path: &Path, attr: &Attr) {
        let mut tables = self.tables.lock();
        let Some(known) = tables.dirs.get_mut(path) else { return };
        let differs = known.attr != *attr;
        known.attr = attr.clone();
        if differs {
            tables.doubt_dir(path);
        }
    }

    fn settle_looks(&self, dir: &Workplace, name: &OsStr, known: &Attr, attr: &Attr) -> Result<(), Errno> {
        match self.same_looks(known, attr) {
            true => Ok(()),
            false => self.apply_attrs(dir.fd.as_fd(), name, attr),
        }
    }

    /// Brings a file of the mirror to what the client told of it, in place where running jobs may go on with it.
    fn settle_file(&self, dir: &Workplace, name: &OsStr, known: &Known, attr: &Attr) -> Result<(), Errno> {
        if known.fill != Fill::Filled {
            let waits = known.fill == Fill::Placeholder;
            let unchanged = waits && self.same_looks(&known.attr, attr) && known.attr.node == attr.node;
            return if unchanged {
                Ok(())
            } else if known.attr.size() != attr.size() {
                // The kernel of a running job goes by the length that it was told.
                self.make_over(dir, name, attr)
            } else {
                self.remake_placeholder(dir, name, known.ino, attr)
            };
        }
        if !same_content(&known.attr, attr) {
            return self.make_over(dir, name, attr);
        }
        if !self.same_looks(&known.attr, attr) {
            self.apply_attrs(dir.fd.as_fd(), name, attr)?;
            self.tables.lock().set_attr(
                known.ino,
                Attr {
                    node: known.attr.node.clone(),
                    ..attr.clone()
                },
            );
        }
        Ok(())
    }

    /// How a name stands once no thread is filling it.
    pub(in crate::view) fn known_at_rest(&self, dir: &Workplace, name: &OsStr) -> Result<Option<Known>, Errno> {
        let Some(known) = self.known(dir, name)? else {
            return Ok(None);
        };
        if known.fill != Fill::Filling {
            return Ok(Some(known));
        }
        let mut tables = self.tables.lock();
        while tables.file(known.ino).is_some_and(|file| file.fill == Fill::Filling) {
            self.settled.wait(&mut tables);
        }
        drop(tables);
        self.known(dir, name)
    }

    /// Whether mode, time and (where the mirror has it) owner are equal.
    pub(super) fn same_looks(&self, a: &Attr, b: &Attr) -> bool {
        a.mode == b.mode && a.mtime == b.mtime && self.owner(a) == self.owner(b)
    }

    /// How a client path stands in the mirror, as far as its directory is known.
    pub(in crate::view) fn lookup(&self, path: &Path) -> Result<Option<Known>, Errno> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(None);
        };
        self.make_listed(parent, name)?;
        match self.workplace(parent)? {
            Some(dir) => self.known_at_rest(&dir, name),
            None => Ok(None),
        }
    }

    /// The names that a directory of the mirror holds, completed first.
    pub(in crate::view) fn names(&self, path: &Path) -> Result<Vec<PathBuf>, FaultError> {
        self.complete(path)?;
        let store = |errno| FaultError::from_store(errno, path);
        let Some(dir) = self.open_dir(path).map_err(store)? else {
            return Ok(Vec::new());
        };
        if self.is_shut(confine::stat(&dir).map_err(store)?.stx_ino) {
            return Err(FaultError::Errno(libc::EACCES));
        }
        let names = names_in(dir.as_fd()).map_err(store)?;
        Ok(names.into_iter().map(PathBuf::from).collect())
    }
}

/// Whether somebody may look for the names of a directory who may not list them.
fn is_for_searching(mode: u32) -> bool {
    mode & 0o111 & !(mode >> 2) != 0
}

/// Whether two descriptions are of the same content: by hash. Size and time do not tell:
/// trees that were unpacked have files of one time, and another tree may have taken the
/// place of one.
fn same_content(a: &Attr, b: &Attr) -> bool {
    match (&a.node, &b.node) {
        (Node::File { hash: Some(a), .. }, Node::File { hash: Some(b), .. }) => a == b,
        (Node::File { size: a, .. }, Node::File { size: b, .. }) => *a == 0 && *b == 0,
        _ => false,
    }
}
