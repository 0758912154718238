//! The builds that go on without a daemon, since the user stopped it: stubs of theirs start no
//! other one. Knows one file beside the socket.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use termite_types::{BuildId, stopped_path};

/// Keeps these for their stubs. Where there are none, nothing is left.
pub(crate) fn note(socket: &Path, builds: &BTreeSet<BuildId>) -> io::Result<()> {
    if builds.is_empty() {
        return Ok(());
    }
    let lines: String = builds.iter().map(|build| format!("{build}\n")).collect();
    std::fs::write(stopped_path(socket), lines)
}

/// A daemon listens again.
pub(crate) fn clear(socket: &Path) -> io::Result<()> {
    match std::fs::remove_file(stopped_path(socket)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
