//! Making and removing single names in the mirror's tree, with their entries in the
//! tables. Knows nothing of listings and of why.

use super::tables::{File, Fill};
use super::{Known, Mirror};
use crate::view::confine::{self, is_dir, is_file, is_symlink};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Statx, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use termite_abi::{PLACEHOLDER_ATIME_NSEC, PLACEHOLDER_ATIME_SEC};
use termite_types::{Attr, FileTime, Node, Special};

/// A directory of the mirror that is being worked in.
pub(in crate::view) struct Workplace {
    pub path: Arc<Path>,
    pub fd: OwnedFd,
}

impl Workplace {
    pub(crate) fn child(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }
}

impl Mirror {
    /// How `name` stands in a directory. `None`: not there, or about to go.
    pub(super) fn known(&self, dir: &Workplace, name: &OsStr) -> Result<Option<Known>, Errno> {
        let stat = match confine::stat_name(&dir.fd, Path::new(name)) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let ino = stat.stx_ino;
        if is_symlink(&stat) {
            let target = rustix::fs::readlinkat(&dir.fd, name, Vec::new())?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            return Ok(Some(Known {
                attr: seen(&stat, Node::Symlink { target }),
                ino,
                fill: Fill::Filled,
            }));
        }
        if let Some(special) = stood_for(&stat) {
            return Ok(Some(Known {
                attr: seen(&stat, Node::Special(special)),
                ino,
                fill: Fill::Filled,
            }));
        }
        let tables = self.tables.lock();
        if is_dir(&stat) {
            let seen = seen(&stat, Node::Dir);
            // Names that came and went since it was told have given it another time.
            let told = tables.dirs.get(dir.child(name).as_path()).map(|dir| Attr {
                mtime: seen.mtime,
                ..dir.attr.clone()
            });
            return Ok(Some(Known {
                attr: told.unwrap_or(seen),
                ino,
                fill: Fill::Filled,
            }));
        }
        Ok(tables.file(ino).map(|file| Known {
            attr: file.attr.clone(),
            ino,
            fill: file.fill,
        }))
    }

    /// Makes a name that is not there.
    pub(super) fn make(&self, dir: &Workplace, name: &OsStr, attr: &Attr) -> Result<(), Errno> {
        match &attr.node {
            Node::Dir => self.make_dir(dir, name, attr),
            Node::Symlink { target } => {
                let mut tables = self.tables.lock();
                if tables.is_complete(&dir.path) {
                    tables.resolved.void();
                }
                tables.note_symlink(dir.child(name));
                rustix::fs::symlinkat(target, &dir.fd, name)?;
                drop(tables);
                self.give(dir.fd.as_fd(), name, attr)?;
                set_mtime(dir.fd.as_fd(), name, attr.mtime)
            }
            Node::Special(special) => self.make_special(dir, name, *special, attr),
            Node::File { .. } => {
                let (ino, fill) = self.make_placeholder(dir.fd.as_fd(), name, attr)?;
                self.note_file(dir, name, ino, attr, fill);
                Ok(())
            }
        }
    }

    /// Puts a fresh placeholder in the place of another file, in one step.
    pub(super) fn make_over(&self, dir: &Workplace, name: &OsStr, attr: &Attr) -> Result<(), Errno> {
        let beside = self.staging_name();
        let (ino, fill) = self.make_placeholder(self.staging.as_fd(), &beside, attr)?;
        self.note_file(dir, name, ino, attr, fill);
        self.place_over(&beside, dir, name)
    }

    /// Moves a file that the tables have already out of the staging directory, to where nothing or
    /// another file is. The other one keeps a name in the staging directory while a job may hold it:
    /// of a lower file without a name, overlayfs does not note that it copied it up.
    pub(super) fn place_over(&self, beside: &OsStr, dir: &Workplace, name: &OsStr) -> Result<(), Errno> {
        let former = match confine::stat_name(&dir.fd, Path::new(name)) {
            Ok(stat) => Some(stat.stx_ino),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno),
        };
        let before = seen(&confine::stat(&dir.fd)?, Node::Dir).mtime;
        let mut tables = self.tables.lock();
        let is_held = former.is_some_and(|ino| tables.is_held(ino));
        let (how, kept_as) = if is_held {
            (RenameFlags::EXCHANGE, Some(beside.to_owned()))
        } else {
            (RenameFlags::empty(), None)
        };
        rustix::fs::renameat_with(&self.staging, beside, &dir.fd, name, how)?;
        if let Some(ino) = former {
            tables.forget_file(ino, kept_as);
            // No name has come or gone, so that the client's directory has its old time too.
            set_mtime(dir.fd.as_fd(), OsStr::new("."), before)?;
        }
        Ok(())
    }

    /// Brings a placeholder's attributes up to date without giving it another inode: a
    /// running job may hold it, and has seen nothing of its content.
    pub(super) fn remake_placeholder(&self, dir: &Workplace, name: &OsStr, ino: u64, attr: &Attr) -> Result<(), Errno> {
        let file = rustix::fs::openat(
            &dir.fd,
            name,
            OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let fill = self.finish_placeholder(file.as_fd(), attr)?;
        drop(file);
        let mut tables = self.tables.lock();
        tables.set_attr(ino, attr.clone());
        tables.set_fill(ino, fill);
        Ok(())
    }

    /// Sets mode, owner and modification time of what holds its content already.
    pub(super) fn apply_attrs(&self, dir: BorrowedFd<'_>, name: &OsStr, attr: &Attr) -> Result<(), Errno> {
        self.give(dir, name, attr)?;
        if !matches!(attr.node, Node::Symlink { .. }) {
            rustix::fs::chmodat(dir, name, Mode::from_raw_mode(attr.mode), AtFlags::empty())?;
        }
        let atime = if attr.is_dir() { omit() } else { timespec(attr.mtime) };
        let times = Timestamps {
            last_access: atime,
            last_modification: timespec(attr.mtime),
        };
        rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Removes a name and everything below it. Not being there is no error.
    pub(super) fn remove(&self, dir: &Workplace, name: &OsStr) -> Result<(), Errno> {
        let stat = match confine::stat_name(&dir.fd, Path::new(name)) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        if !is_dir(&stat) {
            let mut tables = self.tables.lock();
            if is_symlink(&stat) {
                tables.forget_link(&dir.child(name));
            }
            let is_filled = tables.file(stat.stx_ino).is_some_and(|file| file.fill == Fill::Filled);
            let is_held = is_filled && tables.is_held(stat.stx_ino);
            let kept_as = is_held.then(|| self.staging_name());
            match &kept_as {
                Some(kept) => rustix::fs::renameat(&dir.fd, name, &self.staging, kept)?,
                None => rustix::fs::unlinkat(&dir.fd, name, AtFlags::empty())?,
            }
            tables.forget_file(stat.stx_ino, kept_as);
            return Ok(());
        }
        let path = dir.child(name);
        let below = Workplace {
            path: path.as_path().into(),
            fd: confine::directory(&dir.fd, Path::new(name))?,
        };
        for inner in names_in(below.fd.as_fd())? {
            self.remove(&below, &inner)?;
        }
        self.tables.lock().forget_dir(&path);
        rustix::fs::unlinkat(&dir.fd, name, AtFlags::REMOVEDIR)
    }

    /// Enters a file into the tables.
    pub(super) fn note_file(&self, dir: &Workplace, name: &OsStr, ino: u64, attr: &Attr, fill: Fill) {
        let file = File {
            dir: dir.path.clone(),
            name: name.to_os_string(),
            attr: attr.clone(),
            fill,
            kept_as: None,
        };
        self.tables.lock().add_file(ino, file);
    }

    /// A name in the staging directory that nobody else uses.
    pub(super) fn staging_name(&self) -> OsString {
        self.names.fetch_add(1, Ordering::Relaxed).to_string().into()
    }

    fn make_dir(&self, dir: &Workplace, name: &OsStr, attr: &Attr) -> Result<(), Errno> {
        rustix::fs::mkdirat(&dir.fd, name, Mode::RWXU)?;
        self.apply_attrs(dir.fd.as_fd(), name, attr)?;
        let ino = confine::stat_name(&dir.fd, Path::new(name))?.stx_ino;
        self.tables.lock().add_dir(&dir.child(name), ino, attr.clone());
        Ok(())
    }

    fn make_placeholder(&self, dir: BorrowedFd<'_>, name: &OsStr, attr: &Attr) -> Result<(u64, Fill), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?;
        let fill = self.finish_placeholder(file.as_fd(), attr)?;
        Ok((confine::stat(&file)?.stx_ino, fill))
    }

    /// An empty file has all of its content at once.
    pub(super) fn finish_placeholder(&self, file: BorrowedFd<'_>, attr: &Attr) -> Result<Fill, Errno> {
        let Node::File { size, .. } = attr.node else {
            return Err(Errno::INVAL);
        };
        rustix::fs::ftruncate(file, size)?;
        let fill = if size == 0 { Fill::Filled } else { Fill::Placeholder };
        self.apply_file_attrs(file, attr, fill)?;
        Ok(fill)
    }

    /// Owner, mode and times of an open file; the times last, because the access time
    /// tells the shim that all the rest is right.
    pub(super) fn apply_file_attrs(&self, file: BorrowedFd<'_>, attr: &Attr, fill: Fill) -> Result<(), Errno> {
        if let Some((uid, gid)) = self.owner(attr) {
            rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(attr.mode))?;
        let last_access = match fill {
            Fill::Placeholder => Timespec {
                tv_sec: PLACEHOLDER_ATIME_SEC,
                tv_nsec: PLACEHOLDER_ATIME_NSEC,
            },
            _ => timespec(attr.mtime),
        };
        rustix::fs::futimens(
            file,
            &Timestamps {
                last_access,
                last_modification: timespec(attr.mtime),
            },
        )
    }

    fn give(&self, dir: BorrowedFd<'_>, name: &OsStr, attr: &Attr) -> Result<(), Errno> {
        let Some((uid, gid)) = self.owner(attr) else {
            return Ok(());
        };
        rustix::fs::chownat(
            dir,
            name,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
    }
}

/// The names in an open directory but for `.` and `..`.
pub(in crate::view) fn names_in(dir: BorrowedFd<'_>) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_os_string());
        }
    }
    Ok(names)
}

/// A time as system calls take it.
pub(super) fn timespec(time: FileTime) -> Timespec {
    Timespec {
        tv_sec: time.sec,
        tv_nsec: i64::from(time.nsec),
    }
}

/// Attributes as the file system has them.
pub(in crate::view) fn seen(stat: &Statx, node: Node) -> Attr {
    Attr {
        mode: u32::from(stat.stx_mode) & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        mtime: FileTime {
            sec: stat.stx_mtime.tv_sec,
            nsec: stat.stx_mtime.tv_nsec,
        },
        node,
    }
}

/// Whether a file is marked as a placeholder.
pub(in crate::view) fn is_placeholder(stat: &Statx) -> bool {
    is_file(stat)
        && stat.stx_atime.tv_sec == PLACEHOLDER_ATIME_SEC
        && i64::from(stat.stx_atime.tv_nsec) == PLACEHOLDER_ATIME_NSEC
}

/// Sets the modification time of a name that is not followed; the access time stays.
pub(super) fn set_mtime(dir: BorrowedFd<'_>, name: &OsStr, mtime: FileTime) -> Result<(), Errno> {
    let times = Timestamps {
        last_access: omit(),
        last_modification: timespec(mtime),
    };
    rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

fn omit() -> Timespec {
    Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    }
}

/// The kind of file that has the name in the mirror's tree. Nobody can make a device there.
pub(super) fn stand_in(special: Special) -> FileType {
    match special {
        Special::Fifo => FileType::Fifo,
        Special::Socket | Special::Device => FileType::Socket,
    }
}

/// Whether the names of both have the same kind of file in the mirror's tree.
pub(super) fn look_alike(a: Special, b: Special) -> bool {
    stand_in(a) == stand_in(b)
}

/// What a file of the mirror's tree stands for.
pub(super) fn stood_for(stat: &Statx) -> Option<Special> {
    match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::Fifo => Some(Special::Fifo),
        FileType::Socket => Some(Special::Socket),
        _ => None,
    }
}
