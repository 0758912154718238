//! A name of a commit in progress: a content beside its target, or a file of the client's
//! on its way to another name. Knows no changes.

use super::name::{discard, open_dir, unnoticed};
use crate::temporary_name::temporary_name;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A temporary name. When it is dropped it is removed, unless it was moved away; what was
/// moved here from a place of the client's goes back there.
pub(super) struct Temporary {
    dir: PathBuf,
    name: OsString,
    /// Where it was before.
    home: Option<PathBuf>,
    is_moved: bool,
}

impl Temporary {
    /// A free name in a directory, where the caller is about to put something.
    pub(super) fn reserve(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            name: temporary_name(),
            home: None,
            is_moved: false,
        }
    }

    /// An empty file that only its owner may use, open for writing. `holder` is the open
    /// `dir`, whose modification time stays.
    pub(super) fn create(dir: &Path, holder: &OwnedFd) -> Result<(Self, File), Errno> {
        let mut temporary = Self::reserve(dir);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = || rustix::fs::openat(holder, &temporary.name, flags, Mode::RUSR | Mode::WUSR);
        match unnoticed(holder, make) {
            Ok(file) => Ok((temporary, File::from(file))),
            Err(errno) => {
                temporary.is_moved = true;
                Err(errno)
            }
        }
    }

    /// The directory that it is in.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its last name.
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Its open directory, and its name there.
    pub(super) fn place(&self) -> Result<(OwnedFd, &OsStr), Errno> {
        Ok((open_dir(&self.dir)?, &self.name))
    }

    /// Its content from the beginning, to be read.
    pub(super) fn open(&self) -> Result<File, Errno> {
        let (dir, name) = self.place()?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(dir, name, flags, Mode::empty()).map(File::from)
    }

    /// It was renamed to its target.
    pub(super) fn moved(mut self) {
        self.is_moved = true;
    }

    /// The client's file at `path` was renamed to this name.
    pub(super) fn came_from(&mut self, path: &Path) {
        self.home = Some(path.to_owned());
    }

    /// The file has another name by now.
    pub(super) fn is_one_of_several(&mut self) {
        self.home = None;
    }

    fn go_home(&self, home: &Path) -> Result<(), Errno> {
        let (Some(parent), Some(last)) = (home.parent(), home.file_name()) else {
            return Err(Errno::INVAL);
        };
        let ((dir, name), parent) = (self.place()?, open_dir(parent)?);
        rustix::fs::renameat_with(&dir, name, &parent, last, RenameFlags::NOREPLACE)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.is_moved {
            return;
        }
        if let Some(home) = &self.home {
            if let Err(error) = self.go_home(home) {
                let place = self.dir.join(&self.name);
                tracing::error!("{} is {} by now: {error}", home.display(), place.display());
            }
            return;
        }
        match open_dir(&self.dir) {
            Ok(dir) => discard(&dir, &self.name),
            Err(error) => tracing::warn!("{} stays in {}: {error}", self.name.display(), self.dir.display()),
        }
    }
}
