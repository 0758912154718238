//! Where workerd keeps files. Knows nothing of who made it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// The store, mounted. It ends with workerd, however workerd ends.
#[derive(Clone, Debug)]
pub struct Store {
    /// Its directory, mode 0700, empty at the start but for `apart`. An absolute path for use in
    /// workerd's own processes only; it may begin with `/..`, so it must not be
    /// normalised by text.
    pub root: PathBuf,
    /// A directory in it where another tmpfs is, of the same size: what jobs hold there
    /// shares no lock of the kernel's with what is elsewhere in the store.
    pub apart: PathBuf,
    /// A `/proc` of workerd's own pid namespace (the host's root may have none).
    pub proc: PathBuf,
    /// workerd is the machine's own root: slots have trusted attributes and devices.
    /// Otherwise it is root of a user namespace only.
    pub root_user: bool,
    /// The host's `/dev/fuse`, not opened, if it has one.
    pub fuse: Option<Arc<OwnedFd>>,
    /// Bytes that it may hold.
    pub bytes: u64,
    /// Inodes that it may hold.
    pub inodes: u64,
}
