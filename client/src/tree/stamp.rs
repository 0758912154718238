//! What a name leads to, as the kernel tells it, and how paths are looked up without
//! following symlinks. Knows nothing of who was served what.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use termite_core::overlap::FileName;
use termite_types::{Attr, BlobHash, FileTime, Node, Special};

/// The kinds of file that the tree tells apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A device, FIFO or socket: its name is served, and never what is behind it.
    Special(Special),
}

/// Everything of `lstat(2)` that tells one state of a file from another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Device of its file system.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub links: u64,
    /// Bytes.
    pub size: u64,
    /// Last modification of the content.
    pub mtime: FileTime,
    /// Last change of anything; no program can set it.
    pub ctime: FileTime,
}

impl Stamp {
    /// Of what `stat(2)` said.
    pub fn of(stat: &Stat) -> Self {
        let time = |sec: i64, nsec: u64| FileTime { sec, nsec: nsec as u32 };
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            kind: match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Kind::File,
                FileType::Directory => Kind::Dir,
                FileType::Symlink => Kind::Symlink,
                FileType::Fifo => Kind::Special(Special::Fifo),
                FileType::Socket => Kind::Special(Special::Socket),
                FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => Kind::Special(Special::Device),
            },
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            links: stat.st_nlink,
            size: stat.st_size as u64,
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Of an open descriptor.
    pub fn of_fd(fd: impl AsFd) -> Result<Self, Errno> {
        rustix::fs::fstat(fd).map(|stat| Self::of(&stat))
    }

    /// Of a name in an open directory, not followed.
    pub fn at(dir: impl AsFd, name: &OsStr) -> Result<Self, Errno> {
        rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Self::of(&stat))
    }

    /// Of a canonical path; `None`: nothing is there that a view can hold, or a parent
    /// is a symlink.
    pub fn at_path(path: &Path) -> Option<Self> {
        Self::of_any_at(path).filter(|stamp| !matches!(stamp.kind, Kind::Special(_)))
    }

    /// The same, whatever is there.
    pub fn of_any_at(path: &Path) -> Option<Self> {
        let stamp = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Self::at(open_dir_path(parent).ok()?, name),
            _ => rustix::fs::lstat(path).map(|stat| Self::of(&stat)),
        };
        stamp.ok()
    }

    /// It as a file with this name.
    pub fn named(&self, path: &Path) -> FileName {
        FileName {
            dev: self.dev,
            ino: self.ino,
            path: path.to_path_buf(),
        }
    }

    /// Whether both are the same inode of the same kind.
    pub fn same_inode(&self, other: &Self) -> bool {
        self.dev == other.dev && self.ino == other.ino && self.kind == other.kind
    }

    /// Whether a worker that was told `self` must be told `other`. The times and size of
    /// a directory follow from its names, which are reported by themselves; those of a FIFO are
    /// nothing to it.
    pub fn differs(&self, other: &Self) -> bool {
        if !self.same_inode(other) || (self.mode, self.uid, self.gid) != (other.mode, other.uid, other.gid) {
            return true;
        }
        matches!(self.kind, Kind::File | Kind::Symlink)
            && (self.size, self.mtime, self.ctime) != (other.size, other.mtime, other.ctime)
    }

    /// As the wire tells it.
    pub fn attr(&self, hash: Option<BlobHash>, target: PathBuf) -> Attr {
        let node = match self.kind {
            Kind::Dir => Node::Dir,
            Kind::Symlink => Node::Symlink { target },
            Kind::File => Node::File { size: self.size, hash },
            Kind::Special(special) => Node::Special(special),
        };
        Attr {
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime,
            node,
        }
    }
}

/// Whether a path is absolute and spelled without `.`, `..` or a trailing slash.
pub(crate) fn is_canonical(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let bytes = path.as_os_str().as_bytes();
    let mut parts = path.components();
    parts.next() == Some(Component::RootDir)
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && (bytes == b"/" || !bytes.ends_with(b"/"))
        && !bytes.windows(2).any(|pair| pair == b"//")
        && !bytes.windows(3).any(|three| three == b"/./")
        && !bytes.ends_with(b"/.")
}

/// Opens without following any symlink, also none in the middle.
pub(crate) fn open_canonical(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(CWD, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // A rename elsewhere disturbed the walk.
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return done,
        }
    }
}

/// A directory for looking up names only.
pub(super) fn open_dir_path(path: &Path) -> Result<OwnedFd, Errno> {
    open_canonical(path, OFlags::PATH | OFlags::DIRECTORY)
}

/// What a symlink holds.
pub(super) fn read_link(dir: impl AsFd, name: &OsStr) -> Result<PathBuf, Errno> {
    use std::os::unix::ffi::OsStringExt;
    let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes())))
}
