//! The `/dev` that all slots share: the few devices that programs expect, read-only,
//! with empty places for what a slot has of its own. Knows nothing of slots.

use rustix::fs::{CWD, Dev, FileType, Mode, OFlags, fstat, makedev, mkdir, mknodat, openat, symlink};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount, mount_remount, move_mount, open_tree};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// Names and numbers (Documentation/admin-guide/devices.txt).
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// Mount points of a slot's own things.
const PLACES: [&str; 3] = ["pts", "shm", ".termite"];

/// The host's device nodes, each as a mount that is not attached anywhere yet.
pub(super) struct HostNodes([Option<OwnedFd>; NODES.len()]);

/// Takes hold of the nodes, of this root directory or, in a bare root, of the one
/// around it.
pub(super) fn host_nodes(outside: BorrowedFd<'_>) -> HostNodes {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    HostNodes(NODES.map(|(name, major, minor)| {
        let right = |fd: &OwnedFd| is_device(fd, major, minor);
        let here = open_tree(CWD, format!("/dev/{name}"), flags).ok().filter(right);
        here.or_else(|| open_tree(outside, format!("dev/{name}"), flags).ok().filter(right))
    }))
}

fn is_device(fd: &OwnedFd, major: u32, minor: u32) -> bool {
    fstat(fd).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev as Dev == makedev(major, minor)
    })
}

/// A handle on the host's `/dev/fuse`, of this root directory or the one around it.
pub(super) fn fuse(outside: BorrowedFd<'_>) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let right = |fd: &OwnedFd| is_device(fd, 10, 229);
    let here = openat(CWD, "/dev/fuse", flags, Mode::empty()).ok().filter(right);
    here.or_else(|| openat(outside, "dev/fuse", flags, Mode::empty()).ok().filter(right))
}

/// Fills a new file system at `dev`.
pub(super) fn furnish(dev: &Path, host: &HostNodes) -> Result<(), Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("termite-dev", dev, "tmpfs", flags, c"mode=0755,size=1m,nr_inodes=64")?;
    for ((name, major, minor), host) in NODES.iter().zip(&host.0) {
        let at = dev.join(name);
        let mode = Mode::from_raw_mode(0o666);
        match mknodat(CWD, &at, FileType::CharacterDevice, mode, makedev(*major, *minor)) {
            Ok(()) => rustix::fs::chmod(&at, mode)?,
            Err(Errno::PERM) => {
                let node = host.as_ref().ok_or(Errno::PERM)?;
                mknodat(CWD, &at, FileType::RegularFile, mode, 0)?;
                move_mount(node, "", CWD, &at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            }
            Err(errno) => return Err(errno),
        }
    }
    LINKS
        .iter()
        .try_for_each(|(name, target)| symlink(*target, dev.join(name)))?;
    PLACES
        .iter()
        .try_for_each(|name| mkdir(dev.join(name), Mode::from_raw_mode(0o755)))?;
    mount_remount(dev, flags | MountFlags::RDONLY, c"")
}
