//! Taking in what changed on the client since the last dispatch. Knows nothing of how the
//! client found out.

use super::Mirror;
use super::place::Workplace;
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use termite_types::{Attr, Node, Update};

impl Mirror {
    /// Brings the mirror to a newer snapshot. What running jobs hold open stays as it is.
    /// Blocks while a changed file is being filled.
    pub fn apply(&self, updates: &[Update]) -> io::Result<()> {
        let _turn = self.naming.lock();
        updates.iter().try_for_each(|update| self.apply_one(update))?;
        Ok(self.apply_told_attrs(updates)?)
    }

    /// Names that came and went in a directory after it was told have changed its time.
    pub(super) fn apply_told_attrs(&self, updates: &[Update]) -> Result<(), Errno> {
        for update in updates {
            let Some(attr) = update.attr.as_ref().filter(|attr| attr.is_dir()) else {
                continue;
            };
            if let Some((dir, name)) = self.place_of(&update.path)?
                && self.known(&dir, name)?.is_some_and(|known| known.attr.is_dir())
            {
                self.apply_attrs(dir.fd.as_fd(), name, attr)?;
            }
        }
        Ok(())
    }

    /// One update, under the lock on names.
    pub(super) fn apply_one(&self, update: &Update) -> Result<(), Errno> {
        self.tables.lock().note_shift(&update.path);
        if let Some(attr) = update.attr.as_ref().filter(|attr| attr.is_dir()) {
            let mut tables = self.tables.lock();
            if update.names_told {
                tables.set_dir_attr(&update.path, attr);
                return Ok(());
            }
            tables.doubt_dir(&update.path);
        }
        self.tables.lock().doubt_listings(&update.path);
        let Some((dir, name)) = self.place_of(&update.path)? else {
            return Ok(());
        };
        let is_special = |attr: &Attr| matches!(attr.node, Node::Special(_));
        let is_special = update.attr.as_ref().is_some_and(is_special);
        self.tables.lock().set_special(&dir.path, name, is_special);
        let Some(attr) = &update.attr else {
            self.tables.lock().remove_unmade(&dir.path, name);
            return self.remove(&dir, name);
        };
        if self.known(&dir, name)?.is_some() || self.tables.lock().takes(&dir.path, name, attr) {
            self.settle(&dir, name, attr)
        } else {
            Ok(())
        }
    }

    /// The mirror's directory that a path is in, if it has that, and the last name.
    pub(super) fn place_of<'a>(&self, path: &'a Path) -> Result<Option<(Workplace, &'a OsStr)>, Errno> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(None);
        };
        if parent == Path::new("/") && super::OWN_NAMES.iter().any(|own| name == *own) {
            return Ok(None);
        }
        Ok(self.workplace(parent)?.map(|dir| (dir, name)))
    }
}
