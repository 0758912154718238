//! Which file or symlink of the client's one of the job's tree is. Before a call changes one,
//! overlayfs is made to copy it up, and the number of the inode that comes of it is taken down:
//! afterwards that is all there is to know it by.
//!
//! Knows nothing of what the calls do.

use super::{ClientFile, CopiedUp, Written};
use crate::view::View;
use crate::view::confine::{self, is_file, is_symlink};
use crate::view::error::FaultError;
use crate::view::lookup_cache::absolute;
use crate::view::mirror::Mirror;
use crate::view::path_use::{Blocking, PathUse};
use crate::view::walk::{FileStat, Walk, WalkEnd};
use rustix::fs::{AtFlags, Mode, Statx};
use rustix::io::Errno;
use std::path::Path;
use termite_types::Node;

impl View {
    /// Whether a name is one of the client's tree: the directory that it is in, is where the
    /// client has it, or the job made it where the client has nothing: another job may do the
    /// same, and then both are one.
    pub(in crate::view) fn is_of_client(&self, path: &Path) -> bool {
        let Some(parent) = path.parent() else { return true };
        if parent == Path::new("/") {
            return true;
        }
        if let Some(acts) = self.acts.lock().of_name(parent)
            && acts.makes_joinable()
        {
            return true;
        }
        let Ok(stat) = confine::handle(&self.root, parent).and_then(confine::stat) else {
            return false;
        };
        let place = self.mirror.dir_at(stat.stx_ino);
        place.is_some_and(|(place, _)| *place == *parent)
    }

    /// The client's file that a regular file of the job's tree is; `None`: it is none.
    /// `shown`: its inode number there.
    pub(super) fn client_file(&self, path: &Path, shown: u64) -> Result<Option<ClientFile>, FaultError> {
        match self.upper_ino(path) {
            Some(ino) => self.origin(path, ino),
            None => Ok(client_file_of(&self.mirror, shown)),
        }
    }

    /// The client's file that a file of the upper layer was.
    fn origin(&self, path: &Path, upper_ino: u64) -> Result<Option<ClientFile>, FaultError> {
        let acts = self.acts.lock();
        if let Some(copied) = acts.files.get(&upper_ino) {
            return Ok(Some(copied.file.clone()));
        }
        // Copied up by a call on a descriptor, which nobody saw.
        let is_named = acts.names.get(path).is_some_and(|name| name.named);
        drop(acts);
        if is_named || !self.is_of_client(path) {
            return Ok(None);
        }
        self.file_at(path)
    }

    /// The client's file at a path, as far as it is known here.
    pub(in crate::view) fn file_at(&self, path: &Path) -> Result<Option<ClientFile>, FaultError> {
        let known = self
            .mirror
            .lookup(path)
            .map_err(|errno| FaultError::from_store(errno, path))?;
        Ok(known
            .filter(|known| matches!(known.attr.node, Node::File { .. }))
            .map(|known| ClientFile {
                path: path.to_path_buf(),
                attr: known.attr,
            }))
    }

    /// Inode number of a regular file in the upper layer.
    fn upper_ino(&self, path: &Path) -> Option<u64> {
        self.in_upper(path, is_file)
    }

    /// The number in the upper layer of what stands at a path, if it is of this kind.
    fn in_upper(&self, path: &Path, is_kind: impl Fn(&Statx) -> bool) -> Option<u64> {
        let stat = confine::handle(&self.upper, path).and_then(confine::stat).ok()?;
        is_kind(&stat).then_some(stat.stx_ino)
    }

    /// Has a file of the client's copied up as the call that is about to change it would do,
    /// and takes down which file that was; afterwards only its number in the upper layer is
    /// left. Returns that number.
    pub(super) fn copy_up(&self, path: &Path, looks: FileStat) -> Result<Option<u64>, FaultError> {
        let (ino, file) = match self.upper_ino(path) {
            Some(ino) => match self.origin(path, ino)? {
                Some(file) => (ino, file),
                None => return Ok(Some(ino)),
            },
            None => {
                let Some(file) = client_file_of(&self.mirror, looks.ino) else {
                    return Ok(None);
                };
                self.touch_mode(path)?;
                match self.upper_ino(path) {
                    Some(ino) => (ino, file),
                    None => return Ok(None),
                }
            }
        };
        let mut acts = self.acts.lock();
        acts.files.entry(ino).or_insert_with(|| CopiedUp {
            file,
            written: Written::Not,
            is_attributed: false,
        });
        Ok(Some(ino))
    }

    /// The same of a symlink of the client's, in its place.
    pub(super) fn copy_up_symlink(&self, path: &Path) -> Result<(), FaultError> {
        let is_made = self.acts.lock().of_name(path).is_some_and(|acts| acts.named);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(());
        };
        if is_made || !self.is_of_client(path) {
            return Ok(());
        }
        let copied = || {
            let dir = confine::handle(&self.root, parent)?;
            // Nobody is given it; overlayfs copies it up for that all the same.
            rustix::fs::chownat(&dir, name, None, None, AtFlags::SYMLINK_NOFOLLOW)?;
            confine::handle(&self.upper, path).and_then(confine::stat)
        };
        match copied() {
            Ok(stat) if is_symlink(&stat) => {
                let mut acts = self.acts.lock();
                acts.symlinks.entry(stat.stx_ino).or_insert_with(|| path.to_path_buf());
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(Errno::NOENT | Errno::NOTDIR) => self.refuse_shown(path),
            Err(errno) => Err(FaultError::from_store(errno, path)),
        }
    }

    /// What was to be copied up is gone. Where the job itself has taken it away this moment, the kernel
    /// will say so; where the client has, the job's kernel goes on showing it all the same.
    fn refuse_shown(&self, path: &Path) -> Result<(), FaultError> {
        match confine::handle(&self.root, path) {
            Ok(_) => Err(FaultError::moved_on(path)),
            Err(_) => Ok(()),
        }
    }

    /// Sets a file's mode to what it is.
    fn touch_mode(&self, path: &Path) -> Result<(), FaultError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(());
        };
        let touched = || {
            let dir = confine::handle(&self.root, parent)?;
            let mode = u32::from(confine::stat_name(&dir, Path::new(name))?.stx_mode) & 0o7777;
            rustix::fs::chmodat(&dir, name, Mode::from_raw_mode(mode), AtFlags::empty())
        };
        match touched() {
            Ok(()) => Ok(()),
            Err(Errno::NOENT | Errno::NOTDIR) => self.refuse_shown(path),
            Err(errno) => Err(FaultError::from_store(errno, path)),
        }
    }

    /// Whether a rename of the file or symlink at one path to another, where there is one too, does
    /// nothing, because both are one (rename(2)). What is two files here may be one of the client's;
    /// of such a rename it is taken down which files it was about.
    pub fn renames_one_file(&self, task: u32, from: &PathUse<'_>, to: &PathUse<'_>) -> Result<bool, FaultError> {
        let walk = Walk::new(self, Some(task), Blocking::Never);
        let at = |used: &PathUse<'_>| match walk.locate(&absolute(&walk, used)?, used.follow) {
            Ok(WalkEnd::File(path, looks)) => Some((path, Some(looks.ino))),
            Ok(WalkEnd::Symlink(path)) => Some((path, None)),
            // It was there a moment ago; the kernel will say.
            _ => None,
        };
        let (Some((from, from_ino)), Some((to, to_ino))) = (at(from), at(to)) else {
            return Ok(false);
        };
        let number = |path: &Path| self.in_upper(path, |stat| is_file(stat) || is_symlink(stat));
        let moved = number(&from);
        if from != to && moved.is_some() && moved == number(&to) {
            return Ok(true);
        }
        let (Some(from_ino), Some(to_ino)) = (from_ino, to_ino) else {
            return Ok(false);
        };
        if let (Some(from), Some(to)) = (self.client_file(&from, from_ino)?, self.client_file(&to, to_ino)?)
            && from.path != to.path
        {
            self.acts.lock().renamed_over.insert((from.path, to.path));
        }
        Ok(false)
    }
}

fn client_file_of(mirror: &Mirror, ino: u64) -> Option<ClientFile> {
    mirror.file_of(ino).map(|(path, attr)| ClientFile { path, attr })
}
