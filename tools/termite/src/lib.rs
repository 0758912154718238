//! What people type: the `termite` command and `termite-env`.
//!
//! Knows the command line, the daemon's socket and how to start programs; nothing of
//! workers or of where a job runs.

#![forbid(unsafe_code)]

mod ask;
pub mod cli;
pub mod env;
mod go;
mod lookup;
mod prompt;
mod seen;
mod serve;
mod spelling;
mod supervise;
mod wrapper;

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Wrong use, or a part of the contract that is not built yet.
const USAGE: u8 = 2;

/// One line on stderr.
fn complain(what: impl std::fmt::Display) {
    say(format_args!("termite: {what}"));
}

/// The same as it is. Where nobody can be told, what was done stays as it is.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether this is a job: what it starts belongs where it is.
fn is_in_slot() -> bool {
    Path::new(OsStr::from_bytes(termite_abi::SHARED_FILE.to_bytes())).exists()
}
