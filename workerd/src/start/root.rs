//! workerd's namespaces and its root directory: the host's tree as it was, with the
//! store's tmpfs lying over its top directory, where `/..` leads to it.
//!
//! Covering `/` hides nothing: a path that begins at a process's root directory begins
//! below what is mounted there, and only `..` steps up onto it. So no directory has to
//! be made or given up for the store, not even in a root that has none.
//! Knows nothing of what the store will hold.

use super::nodes::{self, HostNodes};
use super::{StartError, Store, StoreOptions};
use crate::slot::sys;
use rustix::fs::{CWD, Mode, OFlags, StatxFlags, mkdir, open, statx};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsmount, fsopen, mount, mount_change, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, chroot, fchdir, pivot_root};
use rustix::thread::UnshareFlags;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of the store for each inode, by default.
const BYTES_PER_INODE: u64 = 8 << 10;
const LEAST_INODES: u64 = 1 << 16;

const NAMESPACES: &str = "allow user namespaces (sysctl user.max_user_namespaces, \
     kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns; \
     they cannot be made inside a chroot) or start workerd as root";
const MOUNTS: &str = "workerd needs to mount inside namespaces of its own: in a container, \
     give it CAP_SYS_ADMIN or an unmasked /proc, else start it outside";
const STORE: &str = "check the directory, the size and the number of inodes given for the store";

/// Enters namespaces in which this process may mount; the pid namespace is for its children.
pub(super) fn own_namespaces() -> Result<(), StartError> {
    let wanted = UnshareFlags::NEWNS | UnshareFlags::NEWPID;
    match sys::new_namespaces(wanted) {
        Err(Errno::PERM) => {}
        other => return other.map_err(StartError::at("make mount and pid namespaces", NAMESPACES)),
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    sys::new_namespaces(UnshareFlags::NEWUSER).map_err(StartError::at("make a user namespace", NAMESPACES))?;
    let write = |file: &str, text: &str| {
        std::fs::write(file, text).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    };
    write("/proc/self/setgroups", "deny")
        .and_then(|()| write("/proc/self/uid_map", &format!("0 {uid} 1\n")))
        .and_then(|()| write("/proc/self/gid_map", &format!("0 {gid} 1\n")))
        .map_err(StartError::at("write the map of the user namespace", NAMESPACES))?;
    sys::new_namespaces(wanted).map_err(StartError::at("make mount and pid namespaces", NAMESPACES))
}

/// Makes the private root directory and the store. Also returns the top of the store's
/// tmpfs, which the spawner retires to. In the child, pid 1 of its namespace.
pub(super) fn make(options: StoreOptions) -> Result<(Store, PathBuf), StartError> {
    let cwd = std::env::current_dir().ok();
    let covered = own_root().map_err(StartError::at("make a private copy of the mounts", MOUNTS))?;
    // Asked for while the host's own /proc is still here: the kernel lets a user
    // namespace mount /proc only where one can be seen already.
    let proc = new_proc().map_err(StartError::at("mount /proc for a new pid namespace", MOUNTS))?;
    let host_nodes = nodes::host_nodes(covered.as_fd());
    let fuse = nodes::fuse(covered.as_fd()).map(Arc::new);
    uncover(covered).map_err(StartError::at("leave the host's mounts", MOUNTS))?;

    let bytes = options.bytes.unwrap_or_else(|| sys::memory_bytes() / 2);
    let inodes = options
        .inodes
        .unwrap_or_else(|| (bytes / BYTES_PER_INODE).max(LEAST_INODES));
    let tree = mount_store(options.dir.as_deref(), bytes, inodes)?;
    furnish(&tree, &proc, &host_nodes)?;
    let apart = tree.join("store/apart");
    mkdir(&apart, Mode::RWXU)
        .and_then(|()| mount_tmpfs(&apart, bytes, inodes))
        .map_err(StartError::at("mount the store's second tmpfs", STORE))?;
    if let Some(cwd) = cwd {
        // One that is gone, or not to be entered, leaves workerd at the root directory.
        let _ = chdir(&cwd);
    }
    let uid_map = std::fs::read_to_string(tree.join("proc/self/uid_map")).unwrap_or_default();
    let root_user = uid_map.split_whitespace().eq(["0", "0", "4294967295"]);
    Ok((
        Store {
            root: tree.join("store"),
            apart,
            proc: tree.join("proc"),
            root_user,
            fuse,
            bytes,
            inodes,
        },
        tree,
    ))
}

/// The spawner's last step before it serves: out of workerd's session, descriptors and
/// root directory into the store's tmpfs alone.
pub(super) fn retire_to(tree: &Path, socket: OwnedFd) -> Result<OwnedFd, StartError> {
    let moving = || StartError::at("move into the store", MOUNTS);
    rustix::process::setsid().map_err(moving())?;
    sys::default_signals();
    let socket = sys::keep_only(socket).map_err(moving())?;
    sys::new_namespaces(UnshareFlags::NEWNS).map_err(moving())?;
    chdir(tree).map_err(moving())?;
    pivot_root(".", ".").map_err(moving())?;
    unmount(".", UnmountFlags::DETACH).map_err(moving())?;
    chdir("/").map_err(moving())?;
    Ok(socket)
}

/// Leaves this process in a recursive, private copy of the tree below its root
/// directory, as root of its mount namespace, also when it is in a chroot. Returns what
/// was the namespace's root directory, which still covers the copy if this process
/// could take its place (see [`uncover`]).
fn own_root() -> Result<OwnedFd, Errno> {
    let dir = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = open("/", dir, Mode::empty())?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let copy = open_tree(CWD, "/", clone)?;

    // Out of a chroot: with a root directory elsewhere, ".." leads up to the real one.
    fchdir(&copy)?;
    chroot(".")?;
    fchdir(&here)?;
    climb()?;
    chroot(".")?;
    let outside = open(".", dir, Mode::empty())?;
    mount_change(".", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;

    move_mount(&copy, "", CWD, ".", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    fchdir(&copy)?;
    mount_change(".", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    match pivot_root(".", ".") {
        Ok(()) => {}
        // A root directory that is the initial ramfs can only be covered.
        Err(Errno::INVAL) => chroot(".")?,
        Err(errno) => return Err(errno),
    }
    Ok(outside)
}

/// Changes to the topmost directory that `..` leads to.
fn climb() -> Result<(), Errno> {
    let place = || {
        let at = statx(
            CWD,
            ".",
            rustix::fs::AtFlags::empty(),
            StatxFlags::INO | StatxFlags::MNT_ID,
        )?;
        Ok::<_, Errno>((at.stx_mnt_id, at.stx_dev_major, at.stx_dev_minor, at.stx_ino))
    };
    let mut before = place()?;
    loop {
        chdir("..")?;
        let after = place()?;
        if after == before {
            return Ok(());
        }
        before = after;
    }
}

/// Lets go of the mounts that cover the private copy, if they do.
fn uncover(covered: OwnedFd) -> Result<(), Errno> {
    let on_top = mount_id(&covered)? != mount_id(&open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)?;
    fchdir(&covered)?;
    drop(covered);
    match unmount(".", UnmountFlags::DETACH) {
        Ok(()) => {}
        // It lies below, and everything else stands on it.
        Err(Errno::INVAL | Errno::BUSY) if on_top => {}
        Err(errno) => return Err(errno),
    }
    chdir("/")
}

fn mount_id(fd: &OwnedFd) -> Result<u64, Errno> {
    Ok(statx(fd, "", rustix::fs::AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id)
}

fn new_proc() -> Result<OwnedFd, Errno> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let flags =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

/// Mounts the tmpfs and returns a path to it.
fn mount_store(dir: Option<&Path>, bytes: u64, inodes: u64) -> Result<PathBuf, StartError> {
    let mounting = || StartError::at("mount the store", STORE);
    let (target, tree) = match dir {
        Some(dir) => (
            dir.to_owned(),
            std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()),
        ),
        None => (PathBuf::from("/"), PathBuf::from("/..")),
    };
    mount_tmpfs(&target, bytes, inodes).map_err(mounting())?;
    let is_store = rustix::fs::statfs(&tree).map_err(mounting())?.f_type as u64 == TMPFS_MAGIC
        && rustix::fs::stat(&tree).map_err(mounting())?.st_dev != rustix::fs::stat("/").map_err(mounting())?.st_dev;
    if is_store {
        Ok(tree)
    } else {
        Err(mounting()(Errno::NODEV))
    }
}

fn mount_tmpfs(at: &Path, bytes: u64, inodes: u64) -> Result<(), Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    let base = format!("mode=0700,size={bytes},nr_inodes={inodes}");
    let attempt = |options: String| {
        let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
        mount("termite", at, "tmpfs", flags, options.as_c_str())
    };
    match attempt(format!("{base},huge=within_size")) {
        // A kernel without transparent huge pages does not know the option.
        Err(Errno::INVAL) => attempt(base),
        other => other,
    }
}

/// statfs(2).
const TMPFS_MAGIC: u64 = 0x0102_1994;

fn furnish(tree: &Path, proc: &OwnedFd, host: &HostNodes) -> Result<(), StartError> {
    for (name, mode) in [("store", 0o700), ("proc", 0o555), ("dev", 0o755)] {
        mkdir(tree.join(name), Mode::from_raw_mode(mode)).map_err(StartError::at("fill the store", STORE))?;
    }
    move_mount(
        proc,
        "",
        CWD,
        tree.join("proc"),
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .map_err(StartError::at("attach /proc", MOUNTS))?;
    nodes::furnish(&tree.join("dev"), host).map_err(StartError::at(
        "make device nodes for slots",
        "give workerd CAP_MKNOD or a /dev with null, zero, full, random, urandom and tty",
    ))
}
