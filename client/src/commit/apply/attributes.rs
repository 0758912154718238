//! Mode, owner, times and extended attributes of what is put in place. Knows one name at a
//! time.

use super::Apply;
use crate::commit::name::{open_dir, set_time};
use crate::commit::stage::copy;
use crate::commit::temporary::Temporary;
use crate::tree::{Kind, Stamp};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use termite_types::{Attr, FileTime};

impl Apply<'_> {
    /// Makes owner and group of a name what they are to be, where this user may.
    pub(super) fn give(&self, parent: &OwnedFd, name: &OsStr, owner: (u32, u32)) -> Result<(), Errno> {
        let present = Stamp::at(parent, name)?;
        if (present.uid, present.gid) == owner {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        if self.is_root {
            return rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
        }
        if present.gid != owner.1 {
            match rustix::fs::chownat(parent, name, None, Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
                // A group that this user is not in: as when the file is made here.
                Err(Errno::PERM) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Owner, mode and time of a file that is about to get its place.
    pub(super) fn apply_attr(&self, dir: &OwnedFd, name: &OsStr, attr: &Attr, time: FileTime) -> Result<(), Errno> {
        self.give(dir, name, (attr.uid, attr.gid))?;
        set_mode(dir, name, attr.mode)?;
        set_time(dir, name, time)
    }

    /// Another file with the content and attributes of the one at a name, in the directory
    /// at `beside`: as far as this user may.
    pub(super) fn duplicate(&self, dir: &OwnedFd, name: &OsStr, beside: &Path) -> Result<Temporary, Errno> {
        let present = Stamp::at(dir, name)?;
        let holder = open_dir(beside)?;
        if present.kind == Kind::Symlink {
            let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
            let temporary = Temporary::reserve(beside);
            rustix::fs::symlinkat(&*target, &holder, temporary.name())?;
            self.give(&holder, temporary.name(), (present.uid, present.gid))?;
            set_time(&holder, temporary.name(), present.mtime)?;
            return Ok(temporary);
        }
        let (temporary, mut to) = Temporary::create(beside, &holder)?;
        let mut from = open_for_reading(dir, name)?;
        copy(&mut from, &mut to).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        self.keep_attributes(&from, &to, &holder, &temporary, &present)?;
        set_time(&holder, temporary.name(), present.mtime)?;
        Ok(temporary)
    }

    /// Gives a file beside its target what the present one has: extended attributes, with
    /// the access list among them, owner and mode.
    pub(super) fn keep_attributes(
        &self,
        from: &File,
        to: &File,
        holder: &OwnedFd,
        temporary: &Temporary,
        present: &Stamp,
    ) -> Result<(), Errno> {
        self.give(holder, temporary.name(), (present.uid, present.gid))?;
        copy_xattrs(from, to);
        set_mode(holder, temporary.name(), present.mode)
    }
}

/// For copying: a mode that keeps its owner out does not keep root out.
pub(super) fn open_for_reading(dir: &OwnedFd, name: &OsStr) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty()).map(File::from)
}

/// Sets the mode of a name that is no symlink, if it has another.
pub(super) fn set_mode(dir: &OwnedFd, name: &OsStr, mode: u32) -> Result<(), Errno> {
    if Stamp::at(dir, name)?.mode == mode {
        return Ok(());
    }
    rustix::fs::chmodat(dir, name, Mode::from_raw_mode(mode), AtFlags::empty())
}

/// Copies what can be copied; some are the kernel's own.
fn copy_xattrs(from: &File, to: &File) {
    let mut names = vec![0_u8; 64 << 10];
    let Ok(length) = rustix::fs::flistxattr(from, &mut names[..]) else {
        return;
    };
    let mut value = vec![0_u8; 64 << 10];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let copied = rustix::fs::fgetxattr(from, name, &mut value[..])
            .and_then(|length| rustix::fs::fsetxattr(to, name, &value[..length], rustix::fs::XattrFlags::empty()));
        if let Err(errno) = copied {
            tracing::debug!("attribute {} is not copied: {errno}", String::from_utf8_lossy(name));
        }
    }
}
