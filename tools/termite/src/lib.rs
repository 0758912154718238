//! What people type: the `termite` command and `termite-env`.
//!
//! Knows the command line, the daemon's socket and how to start programs; nothing of
//! workers or of where a job runs.

#![forbid(unsafe_code)]

mod ask;
pub mod cli;
pub mod env;
mod lookup;
mod prompt;
mod serve;
mod supervise;
mod wrapper;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Wrong use, or a part of the contract that is not built yet.
const USAGE: u8 = 2;

/// One line on stderr.
fn complain(what: impl std::fmt::Display) {
    eprintln!("termite: {what}");
}

/// Whether this is a job: what it starts belongs where it is.
fn is_in_slot() -> bool {
    Path::new(OsStr::from_bytes(termite_abi::SHARED_FILE.to_bytes())).exists()
}
