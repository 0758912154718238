//! Directories of many names: what the client listed is kept, and a name is made when somebody
//! looks for it first. Who wants all names, or the time of the directory, makes it complete:
//! a name that is made gives it another time for a moment.
//!
//! Knows nothing of listings and of who looks.

use super::Mirror;
use super::place::{seen, set_mtime};
use super::tables::{Names, Tables};
use super::unmade::Unmade;
use crate::view::confine;
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;
use termite_types::{Attr, Node};

/// Directories of more names are sparse.
pub(super) const MANY: usize = 4000;

/// How a directory stands to who looks into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::view) enum Presence {
    /// It needs nothing, whatever is looked for.
    Complete,
    /// It has the name, if the client has it, or all names that a view can hold.
    Ready,
    /// What is looked for is to be brought first.
    Lacking,
}

impl Tables {
    /// How a directory stands to who looks for a name, or wants all.
    pub(super) fn presence(&self, path: &Path, name: Option<&OsStr>) -> Presence {
        let is_ready = |name: &OsStr| self.unmade(path, name).is_none() && !self.is_special(path, name);
        match self.dirs.get(path).map(|dir| dir.names) {
            Some(Names::Complete) if !self.has_specials(path) => Presence::Complete,
            Some(Names::Complete) if name.is_none_or(is_ready) => Presence::Ready,
            Some(Names::Sparse) if name.is_some_and(is_ready) => Presence::Ready,
            _ => Presence::Lacking,
        }
    }

    /// Whether a name that the mirror does not have, and that stands like this on the client,
    /// is to be made at once. Else it comes when it is looked for, or with the listing.
    pub(super) fn takes(&mut self, dir: &Path, name: &OsStr, attr: &Attr) -> bool {
        match self.dirs.get(dir).map(|dir| dir.names) {
            Some(Names::Complete) => true,
            Some(Names::Sparse) => {
                let waits = self.sparse.get_mut(dir).is_some_and(|unmade| unmade.retell(name, attr));
                if !waits && !matches!(attr.node, Node::File { .. }) {
                    // It is new, and may have been looked for in vain.
                    self.resolved.void();
                }
                !waits
            }
            Some(Names::Partial | Names::Listing { .. }) | None => false,
        }
    }

    /// A name of a directory is made, or gone.
    pub(super) fn remove_unmade(&mut self, dir: &Path, name: &OsStr) {
        if let Some(unmade) = self.sparse.get_mut(dir) {
            unmade.remove(name);
        }
    }

    /// Takes in what a directory that is being listed does not have yet.
    pub(super) fn set_unmade(&mut self, dir: &Path, unmade: Unmade) {
        self.sparse.remove(dir);
        if let Some(dir) = self.interned(dir).filter(|_| !unmade.is_empty()) {
            self.sparse.insert(dir, unmade);
        }
    }

    fn unmade(&self, dir: &Path, name: &OsStr) -> Option<&Attr> {
        self.sparse.get(dir)?.get(name)
    }
}

impl Mirror {
    /// The directory with this inode number, and how it stands to who looks for a name, or
    /// wants all. `None`: it is none of the mirror's.
    pub(in crate::view) fn presence(&self, ino: u64, name: Option<&OsStr>) -> Option<(Arc<Path>, Presence)> {
        let tables = self.tables.lock();
        let path = tables.dir_path(ino)?;
        Some((path.clone(), tables.presence(path, name)))
    }

    /// Names that are known of sparse directories, and not made.
    pub fn count_unmade(&self) -> u64 {
        let tables = self.tables.lock();
        tables.sparse.values().map(|unmade| unmade.len() as u64).sum()
    }

    /// Makes a name of a directory if it waits for that.
    pub(super) fn make_listed(&self, path: &Path, name: &OsStr) -> Result<(), Errno> {
        let unmade = || self.tables.lock().unmade(path, name).cloned();
        if unmade().is_none() {
            return Ok(());
        }
        let _turn = self.naming.lock();
        if let Some(attr) = unmade() {
            self.make_late(path, &[(name.to_os_string(), attr)])?;
            self.tables.lock().remove_unmade(path, name);
        }
        Ok(())
    }

    /// Makes all names that wait for it. False: the directory fell into doubt meanwhile.
    pub(super) fn make_all_listed(&self, path: &Path) -> Result<bool, Errno> {
        let is_complete = || self.tables.lock().is_complete(path);
        if is_complete() {
            return Ok(true);
        }
        let _turn = self.naming.lock();
        let unmade = self.tables.lock().sparse.get(path).map(Unmade::in_order);
        let Some(unmade) = unmade else {
            return Ok(is_complete());
        };
        self.make_late(path, &unmade)?;
        self.tables.lock().set_complete(path);
        Ok(true)
    }

    /// Makes names that were listed before; the directory keeps its time. Until all are there
    /// they are known as unmade, so that nobody misses one.
    fn make_late(&self, path: &Path, names: &[(OsString, Attr)]) -> Result<(), Errno> {
        let Some(dir) = self.workplace(path)? else {
            return Ok(());
        };
        let make = || {
            let before = seen(&confine::stat(&dir.fd)?, Node::Dir).mtime;
            for (name, attr) in names {
                match confine::stat_name(&dir.fd, Path::new(name)) {
                    Err(Errno::NOENT) => self.make(&dir, name, attr)?,
                    there => drop(there?),
                }
            }
            set_mtime(dir.fd.as_fd(), OsStr::new("."), before)
        };
        let made = make();
        if made.is_err() {
            self.tables.lock().doubt_dir(path);
        }
        made
    }
}
