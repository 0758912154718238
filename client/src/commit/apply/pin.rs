//! Files of the client's on their way to other names: each is held by a temporary name
//! beside the first of them, so that none is lost whatever is removed or replaced first.
//! Knows nothing of contents.

use super::Apply;
use super::report::Done;
use crate::commit::CommitError;
use crate::commit::name::{open_dir, open_parent, unnoticed};
use crate::commit::plan::Source;
use crate::commit::temporary::Temporary;
use crate::tree::Stamp;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use termite_types::BlobHash;

/// A held file.
pub(super) struct Pin {
    held: Held,
    /// Its old name is gone.
    pub was_renamed: bool,
    /// Its content, where this commit wrote it.
    pub hash: Option<BlobHash>,
}

enum Held {
    /// By its temporary name.
    Temporary(Temporary),
    /// By its first new name.
    Placed(PathBuf),
}

impl Apply<'_> {
    /// Holds a file. Its old name goes if the list removes it, or if the file system has no
    /// second name for it and the list replaces the first.
    pub(super) fn pin(&self, source: &Source<'_>, done: &Done<'_>) -> Result<Pin, CommitError> {
        let from = source.from;
        let beside = self.plan.stage_dir(&self.plan.changes[source.names[0]].path);
        let holder = open_dir(beside).map_err(CommitError::at("open", beside))?;
        let (dir, name) = open_parent(from)?;
        let present = Stamp::at(&dir, name).map_err(CommitError::at("look at", from))?;
        let hash = done.hash_in_place(&present);
        let mut temporary = Temporary::reserve(beside);
        self.announce(source, &temporary)?;
        let mut is_gone = self.plan.removes.contains_key(from);
        let mut failed = None;
        if !is_gone {
            let link = || rustix::fs::linkat(&dir, name, &holder, temporary.name(), AtFlags::empty());
            match unnoticed(&holder, link) {
                Ok(()) => {}
                Err(errno @ (Errno::XDEV | Errno::PERM | Errno::MLINK)) => {
                    failed = Some(errno);
                    is_gone = self.plan.puts.contains_key(from);
                }
                Err(errno) => return Err(CommitError::at("make a link to", from)(errno)),
            }
        }
        if is_gone {
            let rename = || rustix::fs::renameat(&dir, name, &holder, temporary.name());
            // The file leaves its directory, which is to be noticed.
            let is_same_dir = from.parent() == Some(beside);
            let renamed = if is_same_dir {
                rename()
            } else {
                unnoticed(&holder, rename)
            };
            match renamed {
                Ok(()) => {
                    self.changed.set(true);
                    temporary.came_from(from);
                    return Ok(Pin {
                        held: Held::Temporary(temporary),
                        was_renamed: true,
                        hash,
                    });
                }
                Err(errno @ Errno::XDEV) => failed = Some(errno),
                Err(errno) => return Err(CommitError::at("move", from)(errno)),
            }
        }
        if failed.is_some() {
            temporary = self
                .duplicate(&dir, name, beside)
                .map_err(CommitError::at("copy", from))?;
            self.announce(source, &temporary)?;
        }
        Ok(Pin {
            held: Held::Temporary(temporary),
            was_renamed: false,
            hash,
        })
    }

    /// Has the log know the name by which a file is held, as that may be its only one.
    fn announce(&self, source: &Source<'_>, temporary: &Temporary) -> Result<(), CommitError> {
        let to = &self.plan.changes[source.names[0]].path;
        let held = temporary.dir().join(temporary.name());
        let announced = self.log.moving(source.from, &held, to);
        announced.map_err(CommitError::at("write into the journal about", source.from))
    }

    /// Gives a held file one of its names.
    pub(super) fn put_name(&self, path: &Path, pin: &mut Pin) -> Result<(), CommitError> {
        let placed = Held::Placed(path.to_owned());
        match std::mem::replace(&mut pin.held, placed) {
            Held::Temporary(temporary) => self.rename_over(path, temporary),
            Held::Placed(first) => {
                self.put_link(path, &first)?;
                pin.held = Held::Placed(first);
                Ok(())
            }
        }
    }
}
