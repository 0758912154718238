//! The FUSE device and file systems made through it. Knows mounts (`fuse(4)`), not what
//! is served.

use crate::store::Store;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use std::sync::Arc;

/// `/dev/fuse` of this host.
#[derive(Clone, Debug)]
pub struct Device {
    node: Arc<OwnedFd>,
    /// workerd's own `/proc`: the way from a handle to the file.
    proc: Arc<OwnedFd>,
    is_root_user: bool,
}

/// Why a host has no FUSE.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {errno}")]
pub struct Absent {
    what: &'static str,
    errno: Errno,
}

impl Device {
    /// The device, if this user may use it and the kernel makes file systems through it.
    pub fn find(store: &Store) -> Result<Self, Absent> {
        let absent = |what| move |errno| Absent { what, errno };
        let node = store.fuse.clone().ok_or(Errno::NOENT).map_err(absent("no /dev/fuse"))?;
        let proc = open(
            &store.proc,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(absent("opening /proc"))?;
        let device = Self {
            node,
            proc: Arc::new(proc),
            is_root_user: store.root_user,
        };
        device.open().map_err(absent("opening /dev/fuse"))?;
        device.connect().map_err(absent("making a FUSE file system"))?;
        Ok(device)
    }

    /// Whether workerd is the machine's own root.
    pub fn is_root_user(&self) -> bool {
        self.is_root_user
    }

    /// A new file system, not mounted anywhere, and the connection to serve it by.
    pub(super) fn connect(&self) -> Result<(OwnedFd, OwnedFd), Errno> {
        let connection = self.open()?;
        let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let number = connection.as_raw_fd().to_string();
        for (key, value) in [
            ("source", "termite"),
            ("fd", &number),
            ("rootmode", "40755"),
            ("user_id", "0"),
            ("group_id", "0"),
        ] {
            fsconfig_set_string(&context, key, value)?;
        }
        // Permissions are the kernel's matter, by the client's modes and owners.
        fsconfig_set_flag(&context, "default_permissions")?;
        fsconfig_set_flag(&context, "allow_other")?;
        fsconfig_create(&context)?;
        let flags =
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_RDONLY;
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
        Ok((connection, mount))
    }

    fn open(&self) -> Result<OwnedFd, Errno> {
        let link = format!("self/fd/{}", self.node.as_raw_fd());
        openat(&*self.proc, link, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
    }
}
