//! The file system of a slot: an overlay of the mirror and the job's own upper layer,
//! with `/proc` and `/dev`, made the root of a mount namespace. Knows nothing of what
//! the mirror holds.

use super::Step;
use super::context::{DEV, SpawnerContext};
use super::error::{During, Refusal};
use super::plan::EncodedSlotPlan;
use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MoveMountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, move_mount, unmount,
};
use rustix::process::{Gid, Uid};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Makes the slot's file system and enters it. In the slot's own mount namespace, with
/// the store's tmpfs as root directory.
pub(super) fn build(plan: &EncodedSlotPlan, context: &SpawnerContext, served: Option<&OwnedFd>) -> Result<(), Refusal> {
    let dir = &plan.dir;
    make_directories(plan, context).during(Step::Directories)?;
    let merged = dir.join("merged");
    let lower = match served {
        None => plan.lower.clone(),
        Some(served) => attach(served, dir.join("lower")).during(Step::Lower)?,
    };
    mount_overlay(
        LowerLayer {
            at: &lower,
            is_elsewhere: served.is_some(),
        },
        &dir.join("upper"),
        &dir.join("work"),
        &merged,
        context.root_user,
    )
    .during(Step::Overlay)?;
    mount_proc(&merged.join("proc"), context.root_user).during(Step::Proc)?;
    mount_dev(dir, &merged.join("dev")).during(Step::Dev)?;
    enter(&merged).during(Step::Pivot)
}

/// Mounts the file system that serves the lower layer.
fn attach(served: &OwnedFd, at: PathBuf) -> Result<PathBuf, Errno> {
    rustix::fs::mkdir(&at, Mode::from_raw_mode(0o755))?;
    move_mount(served, "", CWD, &at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(at)
}

/// What an overlay lies over.
pub(super) struct LowerLayer<'a> {
    pub at: &'a Path,
    /// It is on another file system than the upper layer.
    pub is_elsewhere: bool,
}

/// Mounts an overlay as every slot has it.
pub(super) fn mount_overlay(
    lower: LowerLayer<'_>,
    upper: &Path,
    work: &Path,
    at: &Path,
    root_user: bool,
) -> Result<(), Errno> {
    let mut options = Vec::new();
    for (name, path) in [("lowerdir", lower.at), ("upperdir", upper), ("workdir", work)] {
        options.extend_from_slice(name.as_bytes());
        options.push(b'=');
        for &byte in path.as_os_str().as_bytes() {
            if matches!(byte, b'\\' | b':' | b',') {
                options.push(b'\\');
            }
            options.push(byte);
        }
        options.push(b',');
    }
    // A user namespace has no trusted attributes, and without those no redirects.
    let how: &[u8] = if root_user { b"redirect_dir=on" } else { b"userxattr" };
    options.extend_from_slice(how);
    options.extend_from_slice(b",index=off,metacopy=off");
    if lower.is_elsewhere {
        // Telling layers apart in the high bits of inode numbers would keep a number when a
        // file is copied up, and make `stat` fail in 32-bit programs without large files.
        options.extend_from_slice(b",xino=off");
    }
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
    mount(
        "overlay",
        at,
        "overlay",
        MountFlags::NODEV | MountFlags::NOSUID,
        options.as_c_str(),
    )
}

/// Makes the directories of the slot: the layers of the overlay, and what is mounted over it.
fn make_directories(plan: &EncodedSlotPlan, context: &SpawnerContext) -> Result<(), Errno> {
    let dir = &plan.dir;
    for (name, mode) in [
        ("upper", 0o755),
        ("work", 0o700),
        ("merged", 0o755),
        ("shm", 0o1777),
        ("termite", 0o755),
    ] {
        rustix::fs::mkdir(dir.join(name), Mode::from_raw_mode(mode))?;
    }
    for name in ["dev", "proc"] {
        match rustix::fs::mkdir(plan.lower.join(name), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    copy_attributes(&plan.lower, &dir.join("upper"))?;

    // Links, not mounts of their own: one bind of the directory serves both.
    let own = dir.join("termite");
    rustix::fs::link(&plan.shared, own.join("shared"))?;
    if context.root_user {
        let (uid, gid) = (Uid::from_raw(plan.owner.uid), Gid::from_raw(plan.owner.gid));
        rustix::fs::chown(&plan.shared, Some(uid), Some(gid))?;
    }
    rustix::fs::chmod(&plan.shared, Mode::from_raw_mode(0o666))?;
    match &plan.shim {
        Some(shim) => rustix::fs::link(shim, own.join("libtermite.so")),
        None => Ok(()),
    }
}

/// The merged root directory shows the attributes of the upper one.
fn copy_attributes(from: &Path, to: &Path) -> Result<(), Errno> {
    let stat = rustix::fs::stat(from)?;
    rustix::fs::chown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::chmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as _),
    };
    rustix::fs::utimensat(CWD, to, &times, AtFlags::empty())
}

/// A job that runs as the machine's own root must not reach `/proc/sys` and its like,
/// which ask for a user and not for a capability: there, all of `/proc` is read-only.
fn mount_proc(at: &Path, root_user: bool) -> Result<(), Errno> {
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if root_user {
        flags |= MountFlags::RDONLY;
    }
    mount("proc", at, "proc", flags, None)
}

/// The read-only `/dev` of all slots, and in it what each slot has for itself.
fn mount_dev(dir: &Path, at: &Path) -> Result<(), Errno> {
    mount_bind_recursive(DEV, at)?;
    let devpts = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount(
        "devpts",
        at.join("pts"),
        "devpts",
        devpts,
        c"newinstance,ptmxmode=0666,mode=0620",
    )?;
    mount_bind(dir.join("shm"), at.join("shm"))?;
    let own: PathBuf = at.join(".termite");
    mount_bind(dir.join("termite"), own)
}

/// Makes `root` the root directory and lets go of the one before.
fn enter(root: &Path) -> Result<(), Errno> {
    rustix::process::chdir(root)?;
    // pivot_root(2), "pivot_root(".", ".")": the old root ends on top of the new one.
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}
