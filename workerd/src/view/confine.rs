//! Opening what lies below a directory without ever leaving it: `openat2(2)` confined
//! to a root, no symlink followed, no FIFO waited for. Knows nothing of whose tree it is.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat2, statx};
use rustix::io::Errno;
use std::path::Path;

/// What a look at a name is about.
const LOOK: StatxFlags = StatxFlags::BASIC_STATS;

/// A handle on what `path` names below `root`, whatever that is; a symlink at its end is
/// opened itself, one on the way is ELOOP.
pub(super) fn handle(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    open(root, path, OFlags::PATH | OFlags::NOFOLLOW)
}

/// A directory below `root`, to be listed or worked in.
pub(super) fn directory(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    open(root, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
}

/// A regular file below `root` for reading. Anything else is EINVAL, and is not waited for.
pub(super) fn file(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let file = open(
        root,
        path,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY,
    )?;
    let is_file = is_file(&stat(&file)?);
    is_file.then_some(file).ok_or(Errno::INVAL)
}

/// The content of a regular file below `root`.
pub fn read_below(root: impl AsFd, path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::from(file(root, path)?), &mut bytes)?;
    Ok(bytes)
}

/// Attributes of what a handle stands for.
pub(super) fn stat(file: impl AsFd) -> Result<Statx, Errno> {
    statx(file, c"", AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW, LOOK)
}

/// Attributes of one name in a directory, not followed.
pub(super) fn stat_name(dir: impl AsFd, name: &Path) -> Result<Statx, Errno> {
    statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, LOOK)
}

/// Whether it is a directory.
pub(super) fn is_dir(stat: &Statx) -> bool {
    u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFDIR
}

/// Whether it is a regular file.
pub(super) fn is_file(stat: &Statx) -> bool {
    u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFREG
}

/// Whether it is a symbolic link.
pub(super) fn is_symlink(stat: &Statx) -> bool {
    u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFLNK
}

fn open(root: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    loop {
        match openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), within) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            done => return done,
        }
    }
}
