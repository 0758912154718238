//! The moment a job's outputs become the client's files: first everything is checked,
//! then contents are written beside their targets, and only then anything changes.
//!
//! Knows no worker: contents come from whoever implements [`Contents`]. Commits of one
//! process take turns once they begin to change things.

mod apply;
mod check;
mod clock;
mod file;
mod stage;

#[cfg(test)]
mod tests;

pub use clock::ClockShift;
pub(crate) use stage::is_temporary;

use crate::tree::{CommittedPath, DenyRules};
use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use termite_types::{BlobHash, Change, Conflict};

/// Contents that are not in the list of changes itself.
pub trait Contents {
    /// A piece of a content; shorter only at its end.
    fn read(&self, hash: BlobHash, offset: u64, length: u32) -> io::Result<Vec<u8>>;
}

/// What a job left.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// Parents before children, removals before what takes their place.
    pub changes: Vec<Change>,
    /// From the times of the changes to the client's.
    pub clock: ClockShift,
}

/// What a commit did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Committed {
    /// Each path of the request, in its order, for [`crate::tree::Tree::committed`].
    pub paths: Vec<CommittedPath>,
}

/// Why nothing, or not everything, was committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The job wrote what it could not have written here. Nothing was changed.
    #[error("{}: {why}", path.display())]
    Refused {
        /// The first such path.
        path: PathBuf,
        /// Which rule or permission stands against it.
        why: String,
    },
    /// The job was told something that does not hold any more. Nothing was changed.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The content did not come, or is not what it was said to be. Nothing was changed.
    #[error("content of {}: {why}", path.display())]
    Content {
        /// Of this file.
        path: PathBuf,
        /// What came instead.
        why: String,
    },
    /// A system call failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Failed {
        /// On this path.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// Its error.
        source: io::Error,
        /// Nothing was changed before.
        untouched: bool,
    },
}

impl CommitError {
    /// Whether the client's files are as they were before.
    pub fn is_untouched(&self) -> bool {
        !matches!(self, Self::Failed { untouched: false, .. })
    }

    /// For `map_err` of a system call on `path`.
    fn at<E: Into<io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |error| Self::Failed {
            path: path.to_owned(),
            doing,
            source: error.into(),
            untouched: true,
        }
    }

    fn refused(path: &Path, why: impl Into<String>) -> Self {
        Self::Refused {
            path: path.to_owned(),
            why: why.into(),
        }
    }
}

/// Held while anything is changed. Fetching and writing contents happens before, so that
/// this is a matter of renames.
static TURN: Mutex<()> = Mutex::new(());

/// Makes the changes of a job the client's. An error of the kinds that say so leaves all
/// as it was; temporary files are gone in any case.
pub fn commit(request: &CommitRequest, contents: &dyn Contents, deny: &DenyRules) -> Result<Committed, CommitError> {
    let plan = check::check(&request.changes, deny)?;
    let staged = stage::stage(&request.changes, &plan, contents)?;
    let _turn = TURN.lock();
    apply::apply(request, &plan, staged, contents)
}
