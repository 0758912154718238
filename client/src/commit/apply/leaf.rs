//! Names that are put in place: files, symlinks, and further names of files. Each comes
//! into being beside its place and is renamed over what is there. Knows one name at a
//! time.

use super::{Apply, open_temporary};
use crate::commit::CommitError;
use crate::commit::name::{discard, open_dir, open_parent, set_time, stamp_at, unnoticed};
use crate::commit::stage::Staged;
use crate::commit::temporary::Temporary;
use crate::temporary_name::temporary_name;
use crate::tree::{Kind, Stamp};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use termite_types::{Attr, BlobHash, Change, ChangeKind, IfPresent, Node};

/// A file that was put.
#[derive(Default)]
pub(super) struct Put {
    /// Of its content, if it is all the job's.
    pub hash: Option<BlobHash>,
    /// It was written into the file that was there.
    pub in_place: bool,
}

impl Apply<'_> {
    /// Puts a file that the job made in its place, or writes it into the one that is there.
    pub(super) fn put_file(&self, change: &Change, staged: Staged) -> Result<Put, CommitError> {
        let ChangeKind::File {
            attr,
            explicit_mtime,
            if_present,
            ..
        } = &change.kind
        else {
            return Ok(Put::default());
        };
        let path = change.path.as_path();
        if *if_present != IfPresent::Replace && !self.plan.is_removed(path) {
            let (dir, name) = open_parent(path)?;
            let present = stamp_at(&dir, name, path)?;
            if let Some(present) = present.filter(|stamp| stamp.kind == Kind::File) {
                if *if_present == IfPresent::Append {
                    self.append(path, &present, &staged.file)?;
                    return Ok(Put {
                        hash: None,
                        in_place: true,
                    });
                }
                self.write_whole(path, &present, &staged.file)?;
                return Ok(Put {
                    hash: Some(staged.hash),
                    in_place: true,
                });
            }
        }
        let (dir, name) = open_temporary(&staged.file, path)?;
        self.apply_attr(&dir, name, attr, self.time(attr.mtime, *explicit_mtime))
            .map_err(CommitError::at("set the attributes of", path))?;
        self.rename_over(path, staged.file)?;
        Ok(Put {
            hash: Some(staged.hash),
            in_place: false,
        })
    }

    /// Renames a temporary to its place, over whatever is there but a directory.
    pub(super) fn rename_over(&self, path: &Path, mut temporary: Temporary) -> Result<(), CommitError> {
        let placing = || CommitError::at("place", path);
        let (target, last) = open_parent(path)?;
        let (dir, name) = open_temporary(&temporary, path)?;
        let is_beside = path.parent() == Some(temporary.dir());
        let rename = || rustix::fs::renameat(&dir, name, &target, last);
        let renamed = if is_beside { rename() } else { unnoticed(&dir, rename) };
        match (renamed, path.parent()) {
            (Err(Errno::XDEV), Some(parent)) => {
                let copy = self.duplicate(&dir, name, parent).map_err(placing())?;
                rustix::fs::renameat(&target, copy.name(), &target, last).map_err(placing())?;
                copy.moved();
                self.changed.set(true);
                temporary.is_one_of_several();
                return Ok(());
            }
            (renamed, _) => renamed.map_err(placing())?,
        }
        self.changed.set(true);
        // Renaming over another name of the same file does nothing at all.
        if Stamp::at(&dir, name).is_ok() {
            temporary.is_one_of_several();
        } else {
            temporary.moved();
        }
        Ok(())
    }

    /// Makes another name of the file at `to`.
    pub(super) fn put_link(&self, path: &Path, to: &Path) -> Result<(), CommitError> {
        let Some(beside) = path.parent() else { return Ok(()) };
        let (source, old) = open_parent(to)?;
        let holder = open_dir(beside).map_err(CommitError::at("open", beside))?;
        let temporary = Temporary::reserve(beside);
        let link = || rustix::fs::linkat(&source, old, &holder, temporary.name(), AtFlags::empty());
        let temporary = match unnoticed(&holder, link) {
            Ok(()) => temporary,
            Err(Errno::XDEV | Errno::PERM | Errno::MLINK) => self
                .duplicate(&source, old, beside)
                .map_err(CommitError::at("copy", to))?,
            Err(errno) => return Err(CommitError::at("make a link beside", path)(errno)),
        };
        self.rename_over(path, temporary)
    }

    /// Puts a symlink at a path. One that is there already, alone under this name and with this target, stays.
    pub(super) fn put_symlink(&self, path: &Path, attr: &Attr) -> Result<(), CommitError> {
        let Node::Symlink { target } = &attr.node else {
            return Err(CommitError::at("make a symlink at", path)(Errno::INVAL));
        };
        let (parent, name) = open_parent(path)?;
        let owner = (attr.uid, attr.gid);
        let present = stamp_at(&parent, name, path)?.filter(|stamp| stamp.kind == Kind::Symlink);
        if present.is_some_and(|stamp| stamp.links == 1)
            && rustix::fs::readlinkat(&parent, name, Vec::new())
                .is_ok_and(|old| old.as_bytes() == target.as_os_str().as_bytes())
        {
            self.changed.set(true);
            return self
                .give(&parent, name, owner)
                .and_then(|()| set_time(&parent, name, self.time(attr.mtime, false)))
                .map_err(CommitError::at("set the attributes of", path));
        }
        let temporary = temporary_name();
        rustix::fs::symlinkat(target, &parent, &temporary).map_err(CommitError::at("make a symlink beside", path))?;
        let placed = self
            .give(&parent, &temporary, owner)
            .and_then(|()| set_time(&parent, &temporary, self.time(attr.mtime, false)))
            .and_then(|()| rustix::fs::renameat(&parent, &temporary, &parent, name));
        match placed {
            Ok(()) => {
                self.changed.set(true);
                Ok(())
            }
            Err(errno) => {
                discard(&parent, &temporary);
                Err(CommitError::at("place", path)(errno))
            }
        }
    }
}
