//! Where the client daemon listens, the same for everybody who looks for it. Reads no
//! environment itself.

use crate::PROTOCOL;
use std::path::{Path, PathBuf};

/// The daemon's socket of a user where `TERMITE_SOCKET` names none. `runtime` is
/// `$XDG_RUNTIME_DIR`, if that is set and a directory.
pub fn socket_path(runtime: Option<&Path>, uid: u32) -> PathBuf {
    let dir = match runtime {
        Some(runtime) => runtime.join("termite"),
        None => PathBuf::from(format!("/tmp/termite-{uid}")),
    };
    dir.join(format!("v{PROTOCOL}.sock"))
}
