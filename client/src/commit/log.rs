//! Whom a commit tells how far it has come, before and after it does so. Knows neither who
//! reads that nor when.

use std::io;
use std::path::Path;

/// Told in this order: `staging`, `begun`, `moving`, and at last `undone` or `done`; neither
/// of these if a commit failed after it had changed something. An error of a call means that
/// what it announces does not happen.
pub trait CommitLog {
    /// Temporary files are about to be made in these directories, some of which may not be
    /// there before the commit has made them.
    fn staging(&self, dirs: &[&Path]) -> io::Result<()>;
    /// The client's files are about to be changed: this one and so many others.
    fn begun(&self, path: &Path, others: usize) -> io::Result<()>;
    /// A file of the client's is about to be held by a temporary name.
    fn moving(&self, from: &Path, temporary: &Path, to: &Path) -> io::Result<()>;
    /// Nothing is changed, and no temporary file is left.
    fn undone(&self);
    /// All is changed, and no temporary file is left.
    fn done(&self);
}

/// Hears nothing.
#[cfg(test)]
pub(crate) struct Unlogged;

#[cfg(test)]
impl CommitLog for Unlogged {
    fn staging(&self, _: &[&Path]) -> io::Result<()> {
        Ok(())
    }

    fn begun(&self, _: &Path, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn moving(&self, _: &Path, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn undone(&self) {}

    fn done(&self) {}
}
