//! What the spawner's processes know of where they are. Its root directory is the store's own tmpfs,
//! so that a slot inherits nothing of the host's tree.

/// What the spawner's process knows about the store. Copied into each slot.
#[derive(Clone, Debug)]
pub(crate) struct SpawnerContext {
    /// Real root: devices and trusted attributes are allowed.
    pub root_user: bool,
}

/// The store as the spawner's processes see it.
pub(crate) const STORE: &str = "/store";
/// workerd's own `/proc` as they see it.
pub(crate) const PROC: &str = "/proc";
/// The `/dev` of all slots as they see it.
pub(crate) const DEV: &str = "/dev";
