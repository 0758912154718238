//! Moving the committed outputs of a job from its upper directory into the mirror, so that
//! the next job has them for nothing. Knows nothing of the commit itself.

use super::Mirror;
use super::fill::copy;
use super::place::Workplace;
use super::tables::Fill;
use crate::view::confine;
use crate::view::outputs::Outputs;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use termite_types::{Attr, BlobHash, Node, Update};

/// What overlayfs notes on a copied-up file, by mount with and without `userxattr`.
const COPY_UP_NOTES: [&str; 2] = ["trusted.overlay.origin", "user.overlay.origin"];

impl Mirror {
    /// Takes in how the committed paths of a job stand on the client. Content that the
    /// upper directory still holds is moved out of it; what it does not hold becomes a
    /// placeholder. The job's overlay must be gone.
    pub fn merge(&self, outputs: &Outputs, updates: &[Update]) -> io::Result<()> {
        let _turn = self.naming.lock();
        updates.iter().try_for_each(|update| self.merge_one(outputs, update))?;
        Ok(self.apply_told_attrs(updates)?)
    }

    fn merge_one(&self, outputs: &Outputs, update: &Update) -> Result<(), Errno> {
        self.tables.lock().note_shift(&update.path);
        if !update.names_told {
            self.tables.lock().doubt_listings(&update.path);
        }
        let Some((dir, name)) = self.place_of(&update.path)? else {
            return Ok(());
        };
        match &update.attr {
            Some(attr) if attr.is_dir() && !update.names_told => self.merge_dir(&dir, name, attr),
            Some(Attr {
                node: Node::File { size, hash: Some(hash) },
                ..
            }) if *size > 0 => {
                let attr = update.attr.as_ref().ok_or(Errno::INVAL)?;
                let moved = match outputs.upper_file(&update.path, hash) {
                    Some(path) => self.adopt(outputs, path, &dir, name, attr, hash)?,
                    None => false,
                };
                if moved { Ok(()) } else { self.apply_one(update) }
            }
            _ => self.apply_one(update),
        }
    }

    /// A directory that a complete one did not have was made by the job, so that the
    /// names to come are all it holds.
    fn merge_dir(&self, dir: &Workplace, name: &OsStr, attr: &Attr) -> Result<(), Errno> {
        let known = self.known(dir, name)?;
        let is_new =
            known.as_ref().is_none_or(|known| !known.attr.is_dir()) && self.tables.lock().takes(&dir.path, name, attr);
        if !is_new && known.is_none() {
            return Ok(());
        }
        self.settle(dir, name, attr)?;
        let (path, mut tables) = (dir.child(name), self.tables.lock());
        if !is_new {
            // Another one may have taken its place that looks the same.
            tables.doubt_dir(&path);
        } else {
            tables.set_complete(&path);
        }
        Ok(())
    }

    /// Moves an output into the tree. False: it is not there any more.
    fn adopt(
        &self,
        outputs: &Outputs,
        path: &Path,
        dir: &Workplace,
        name: &OsStr,
        attr: &Attr,
        hash: &BlobHash,
    ) -> Result<bool, Errno> {
        let source = match confine::file(outputs.upper(), path) {
            Ok(source) => source,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            Err(errno) => return Err(errno),
        };
        let stat = confine::stat(&source)?;
        if !matches!(attr.node, Node::File { size, .. } if size == stat.stx_size) {
            return Ok(false);
        }
        // Who fills the old file must be done with it, and a directory makes no room.
        if let Some(known) = self.known_at_rest(dir, name)?
            && !matches!(known.attr.node, Node::File { .. })
        {
            self.remove(dir, name)?;
        }
        let (at, beside) = self.complete_beside(outputs, path, source, stat.stx_nlink > 1, stat.stx_size)?;
        let file = at.as_fd();
        self.apply_file_attrs(file, attr, Fill::Filled)?;
        let ino = confine::stat(file)?.stx_ino;
        let node = Node::File {
            size: stat.stx_size,
            hash: Some(*hash),
        };
        self.note_file(dir, name, ino, &Attr { node, ..attr.clone() }, Fill::Filled);
        self.uses.lock().begin(ino);
        self.place_over(&beside, dir, name)?;
        self.tables.lock().remove_unmade(&dir.path, name);
        Ok(true)
    }

    /// Moves the file into the staging directory. One with several names is copied: an overlay
    /// does not tell the inode of such a lower file. So is one in another file system,
    /// where jobs that FUSE serves have theirs.
    fn complete_beside(
        &self,
        outputs: &Outputs,
        path: &Path,
        source: OwnedFd,
        linked: bool,
        size: u64,
    ) -> Result<(OwnedFd, std::ffi::OsString), Errno> {
        let beside = self.staging_name();
        let (Some(parent), Some(last)) = (path.parent(), path.file_name()) else {
            return Err(Errno::INVAL);
        };
        let upper_dir = confine::directory(outputs.upper(), parent)?;
        let is_moved = !linked
            && match rustix::fs::renameat(&upper_dir, last, &self.staging, &beside) {
                Err(Errno::XDEV) => false,
                done => done.map(|()| true)?,
            };
        if is_moved {
            for note in COPY_UP_NOTES {
                match rustix::fs::fremovexattr(&source, note) {
                    Ok(()) | Err(Errno::NODATA | Errno::PERM | Errno::NOTSUP) => {}
                    Err(errno) => return Err(errno),
                }
            }
            return Ok((source, beside));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let target = rustix::fs::openat(&self.staging, &beside, flags, Mode::RUSR | Mode::WUSR)?;
        if !copy(&source, target.as_fd(), size)? {
            return Err(Errno::IO);
        }
        rustix::fs::unlinkat(&upper_dir, last, AtFlags::empty())?;
        Ok((target, beside))
    }
}
