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

/// The file that a daemon locks from before it listens on `socket` until all that it does is
/// done.
pub fn lock_path(socket: &Path) -> PathBuf {
    beside(socket, ".lock")
}

/// The journal of commits of the daemon that listens on `socket`.
pub fn journal_path(socket: &Path) -> PathBuf {
    beside(socket, ".journal")
}

/// The builds that were under way when the daemon on `socket` was stopped, one id a line: their
/// jobs start no other daemon.
pub fn stopped_path(socket: &Path) -> PathBuf {
    beside(socket, ".stopped")
}

fn beside(socket: &Path, ending: &str) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
