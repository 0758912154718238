//! Whether this user could have made a change here: permission to name and to write. Only
//! looks. What it refuses runs on the client, which gives the true error.

use super::CommitError;
use super::name::{open_dir, open_parent};
use crate::tree::{Kind, Stamp};
use rustix::fd::OwnedFd;
use rustix::fs::{Access, AtFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use termite_types::Alter;

/// What one user may do.
pub(super) struct Permit {
    user: u32,
    /// Directories in which it may make and remove names.
    writable: HashSet<PathBuf>,
    /// Directories in which new files get no attributes that a view would not give them.
    simple: HashSet<PathBuf>,
}

impl Permit {
    /// Of this process.
    pub(super) fn new() -> Self {
        Self {
            user: rustix::process::geteuid().as_raw(),
            writable: HashSet::new(),
            simple: HashSet::new(),
        }
    }

    /// A name is made, removed or replaced in `parent`, where it leads to `here`.
    pub(super) fn check_name(
        &mut self,
        path: &Path,
        parent: &Path,
        holder: &Stamp,
        here: Option<&Stamp>,
    ) -> Result<(), CommitError> {
        if !self.writable.contains(parent) {
            let access = Access::WRITE_OK | Access::EXEC_OK;
            let dir = open_dir(parent).map_err(CommitError::forbidden(path))?;
            rustix::fs::accessat(&dir, ".", access, AtFlags::EACCESS).map_err(CommitError::forbidden(path))?;
            check_fixed(
                parent,
                &dir,
                OsStr::new("."),
                StatxAttributes::APPEND | StatxAttributes::IMMUTABLE,
            )?;
            self.writable.insert(parent.to_owned());
        }
        let Some(here) = here else { return Ok(()) };
        check_kind(path, here)?;
        let is_sticky = holder.mode & 0o1000 != 0;
        if is_sticky && self.user != 0 && self.user != holder.uid && self.user != here.uid {
            let why = "it belongs to somebody else in a sticky directory";
            return Err(CommitError::refused(path, why));
        }
        let (dir, name) = open_parent(path)?;
        check_fixed(path, &dir, name, FIXED)
    }

    /// A file, directory or symlink is made in `parent`. Where that gives it a mode or group that
    /// a view does not know of, the client makes it.
    pub(super) fn check_made(&mut self, path: &Path, parent: &Path, holder: &Stamp) -> Result<(), CommitError> {
        if self.simple.contains(parent) {
            return Ok(());
        }
        let mut list = [0; 0];
        let has_list = match rustix::fs::lgetxattr(parent, "system.posix_acl_default", &mut list[..]) {
            Ok(_) | Err(Errno::RANGE) => true,
            Err(_) => false,
        };
        if has_list {
            return Err(CommitError::refused(path, "its directory has a default access list"));
        }
        let own_group = rustix::process::getegid().as_raw();
        if self.user != 0 && holder.mode & 0o2000 != 0 && holder.gid != own_group {
            return Err(CommitError::refused(path, "it gets the group of its directory"));
        }
        self.simple.insert(parent.to_owned());
        Ok(())
    }

    /// A file gets a further name (proc_sys_fs(5), `protected_hardlinks`).
    pub(super) fn check_link(&self, path: &Path, source: &Stamp) -> Result<(), CommitError> {
        if self.owns(source) {
            return Ok(());
        }
        Err(CommitError::refused(path, "it is another name of somebody else's file"))
    }

    /// A directory is removed while others are made: the job may have moved it, with what a view
    /// does not show.
    pub(super) fn check_moved(&self, path: &Path, here: &Stamp) -> Result<(), CommitError> {
        if !self.owns(here) {
            return Err(CommitError::refused(
                path,
                "it belongs to somebody else, and may have been moved",
            ));
        }
        check_unmarked(path)
    }

    /// A file or directory is changed in place.
    pub(super) fn check_alter(&self, path: &Path, here: &Stamp, alter: &Alter) -> Result<(), CommitError> {
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
        // With a content, the kernel's time has to do, and a directory's follows from its names.
        let is_given = |explicit: bool| explicit || here.kind == Kind::File;
        if alter.content.is_none() && alter.mtime.is_some_and(|time| is_given(time.explicit)) {
            return Err(CommitError::refused(path, theirs("time")));
        }
        if here.kind == Kind::File && alter.content.is_some() {
            return self.check_write(path, here);
        }
        Ok(())
    }

    /// A content is written into a file. Whether its mode lets its owner write was for the
    /// job's own kernel to say; a worker that maps one user only cannot know that a file
    /// is somebody else's.
    pub(super) fn check_write(&self, path: &Path, here: &Stamp) -> Result<(), CommitError> {
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

/// Refuses what has extended attributes, where the job may have moved it to another name or put
/// something else in its place, and a view tells neither.
pub(super) fn check_unmarked(path: &Path) -> Result<(), CommitError> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut names = names[..length].split(|byte| *byte == 0);
    // Those are the kernel's own, for new files as well (xattr(7)).
    let is_given = |name: &[u8]| name.starts_with(b"security.") && name != b"security.capability";
    match names.find(|name| !name.is_empty() && !is_given(name)) {
        Some(name) => {
            let why = format!(
                "it has the attribute {}, and may have been moved or replaced",
                name.escape_ascii()
            );
            Err(CommitError::refused(path, why))
        }
        None => Ok(()),
    }
}

/// What keeps a name where it is.
const FIXED: StatxAttributes = StatxAttributes::MOUNT_ROOT
    .union(StatxAttributes::APPEND)
    .union(StatxAttributes::IMMUTABLE);

/// Refuses a change of a name that the kernel would refuse for reasons that no view shows
/// (statx(2)).
fn check_fixed(path: &Path, dir: &OwnedFd, name: &OsStr, fixed: StatxAttributes) -> Result<(), CommitError> {
    let stat = rustix::fs::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE)
        .map_err(CommitError::forbidden(path))?;
    let found = stat.stx_attributes & fixed;
    match found {
        _ if found.is_empty() => Ok(()),
        _ if found.contains(StatxAttributes::MOUNT_ROOT) => Err(CommitError::refused(path, "it is a mount point")),
        _ => Err(CommitError::refused(path, "it is append-only or immutable")),
    }
}

/// Devices, FIFOs and sockets are not shown to jobs, so none of them can be meant.
pub(super) fn check_kind(path: &Path, here: &Stamp) -> Result<(), CommitError> {
    if matches!(here.kind, Kind::Special(_)) {
        return Err(CommitError::refused(path, "a device, FIFO or socket is there"));
    }
    Ok(())
}
