//! Whether this user could have made a change here: permission to name and to write. Only
//! looks. What it refuses runs on the client, which gives the true error.

use super::CommitError;
use super::name::{open_dir, open_parent};
use crate::tree::{Kind, Stamp};
use rustix::fs::{Access, AtFlags};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use termite_types::Alter;

/// What one user may do.
pub struct Permit {
    user: u32,
    /// Directories in which it may make and remove names.
    writable: HashSet<PathBuf>,
}

impl Permit {
    /// Of this process.
    pub fn new() -> Self {
        Self {
            user: rustix::process::geteuid().as_raw(),
            writable: HashSet::new(),
        }
    }

    /// A name is made, removed or replaced in `parent`, where it leads to `here`.
    pub fn check_name(
        &mut self,
        path: &Path,
        parent: &Path,
        holder: &Stamp,
        here: Option<&Stamp>,
    ) -> Result<(), CommitError> {
        if !self.writable.contains(parent) {
            let access = Access::WRITE_OK | Access::EXEC_OK;
            open_dir(parent)
                .and_then(|dir| rustix::fs::accessat(&dir, ".", access, AtFlags::EACCESS))
                .map_err(CommitError::forbidden(path))?;
            self.writable.insert(parent.to_owned());
        }
        let Some(here) = here else { return Ok(()) };
        check_kind(path, here)?;
        let is_sticky = holder.mode & 0o1000 != 0;
        if is_sticky && self.user != 0 && self.user != holder.uid && self.user != here.uid {
            let why = "it belongs to somebody else in a sticky directory";
            return Err(CommitError::refused(path, why));
        }
        Ok(())
    }

    /// A file or directory is changed in place.
    pub fn check_alter(&self, path: &Path, here: &Stamp, alter: &Alter) -> Result<(), CommitError> {
        if self.owns(here) {
            return Ok(());
        }
        let theirs = |what: &str| format!("its {what} cannot be changed, it belongs to somebody else");
        if alter.mode.is_some_and(|mode| mode != here.mode) {
            return Err(CommitError::refused(path, theirs("mode")));
        }
        if alter.owner.is_some_and(|owner| owner != (here.uid, here.gid)) {
            return Err(CommitError::refused(path, theirs("owner")));
        }
        // With a content, the kernel's time has to do.
        if alter.content.is_none() && alter.mtime.is_some_and(|time| time.explicit) {
            return Err(CommitError::refused(path, theirs("time")));
        }
        // The time of a directory follows from its names.
        if here.kind == Kind::File && (alter.content.is_some() || alter.mtime.is_some()) {
            return self.check_write(path, here);
        }
        Ok(())
    }

    /// A content is written into a file. Whether its mode lets its owner write was for the
    /// job's own kernel to say; a worker that maps one user only cannot know that a file
    /// is somebody else's.
    pub fn check_write(&self, path: &Path, here: &Stamp) -> Result<(), CommitError> {
        if self.owns(here) {
            return Ok(());
        }
        let (dir, name) = open_parent(path)?;
        rustix::fs::accessat(&dir, name, Access::WRITE_OK, AtFlags::EACCESS).map_err(CommitError::forbidden(path))
    }

    fn owns(&self, stamp: &Stamp) -> bool {
        self.user == 0 || self.user == stamp.uid
    }
}

/// Devices, FIFOs and sockets are not shown to jobs, so none of them can be meant.
pub fn check_kind(path: &Path, here: &Stamp) -> Result<(), CommitError> {
    if here.kind == Kind::Other {
        return Err(CommitError::refused(path, "a device, FIFO or socket is there"));
    }
    Ok(())
}
