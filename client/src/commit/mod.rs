//! The moment a job's outputs become the client's files. Contents are written beside their
//! targets first; then, while no other commit runs, everything is compared with what is
//! there by now, and only then anything changes. A commit does what the list says and
//! nothing else.
//!
//! Knows no worker: contents come through [`Contents`].

mod apply;
mod clock;
mod joinable;
mod links;
mod locks;
mod log;
mod name;
mod permit;
mod plan;
#[cfg(any(test, feature = "planted-faults"))]
mod planted;
mod premise;
mod present;
mod recover;
mod reserve;
mod stage;
mod sys;
mod temporary;
mod validate;

#[cfg(test)]
mod tests;

pub use clock::ClockShift;
pub(crate) use links::looks_at_links;
pub use log::CommitLog;
#[cfg(test)]
pub(crate) use log::Unlogged;
pub use recover::{Leftovers, clear};

use crate::overlap::{Overlap, Pending};
use crate::tree::{CommittedPath, DenyRules};
use joinable::JoinableDirs;
use locks::Locks;
use parking_lot::Mutex;
use plan::Plan;
use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use termite_core::overlap::{Done, Moment};
use termite_types::{BlobHash, Change, Conflict, Premises, TraceItem};

/// Contents that are not in the list of changes itself.
pub trait Contents {
    /// A piece of a content; shorter only at its end.
    fn read(&self, hash: BlobHash, offset: u64, length: u32) -> io::Result<Vec<u8>>;
}

/// What a job left.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// As [`Change`] says; a path is put in place at most once.
    pub changes: Vec<Change>,
    /// What has to hold for them.
    pub premises: Premises,
    /// What the job used.
    pub trace: Vec<TraceItem>,
    /// Where the job ran.
    pub cwd: PathBuf,
    /// When it began.
    pub began: Moment,
    /// From the times of the changes to the client's.
    pub clock: ClockShift,
}

/// What a commit did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Committed {
    /// Each path that differs, once, for [`crate::tree::Tree::committed`]: in the order in
    /// which the request mentions them last.
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
    #[error("cannot {doing} {}: {source}{}", path.display(), in_words(changed.as_deref()))]
    Failed {
        /// On this path.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// Its error.
        source: io::Error,
        /// What is as the job left it by now, where something is; the path itself may be
        /// changed in part. `None`: nothing was changed.
        changed: Option<Vec<PathBuf>>,
    },
}

impl CommitError {
    /// Whether the client's files are as they were before.
    pub fn is_untouched(&self) -> bool {
        !matches!(self, Self::Failed { changed: Some(_), .. })
    }

    /// For `map_err` of a system call on `path`.
    fn at<E: Into<io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |error| Self::Failed {
            path: path.to_owned(),
            doing,
            source: error.into(),
            changed: None,
        }
    }

    /// For `map_err` of a look that permission stands against.
    fn forbidden<E: Into<io::Error>>(path: &Path) -> impl FnOnce(E) -> Self {
        move |error| Self::refused(path, error.into().to_string())
    }

    fn refused(path: &Path, why: impl Into<String>) -> Self {
        Self::Refused {
            path: path.to_owned(),
            why: why.into(),
        }
    }

    fn conflict(path: &Path, seen: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Conflict(Conflict::new(path, seen, found))
    }
}

/// What a failed commit changed.
fn in_words(changed: Option<&[PathBuf]>) -> String {
    match changed {
        None => String::new(),
        Some([]) => "; this may be done in part, nothing else of it is".to_owned(),
        Some([only]) => format!("; {} is changed already", only.display()),
        Some([first, others @ ..]) => format!("; {} and {} more are changed already", first.display(), others.len()),
    }
}

/// Held while a commit compares and changes. Contents are fetched and written before, so
/// that this is a matter of a few looks and renames.
static TURN: Mutex<JoinableDirs> = Mutex::new(JoinableDirs::new());

/// What is done on a path before it is changed.
const NOTE: &str = "write into the journal about";

/// Makes the changes of a job the client's. An error of the kinds that say so leaves all
/// as it was; temporary files are gone in any case. What is returned besides is to be kept
/// until the tree has the changes on record.
pub fn commit(
    request: &CommitRequest,
    contents: &dyn Contents,
    deny: &DenyRules,
    overlap: &Arc<Overlap>,
    log: &dyn CommitLog,
) -> Result<(Committed, Pending), CommitError> {
    #[cfg(any(test, feature = "planted-faults"))]
    let request = &planted::distort(request);
    let plan = Plan::of(request, deny)?;
    let dirs = plan.temporary_dirs();
    if let Some(first) = dirs.first() {
        log.staging(&dirs).map_err(CommitError::at(NOTE, first))?;
    }
    let (mut committed, pending) = change(request, &plan, contents, overlap, log).inspect_err(|error| {
        if error.is_untouched() {
            log.undone();
        }
    })?;
    apply::verify_hashes(&plan, &mut committed);
    Ok((committed, pending))
}

/// All of a commit between the first temporary file and the last, which are gone at its end.
fn change(
    request: &CommitRequest,
    plan: &Plan<'_>,
    contents: &dyn Contents,
    overlap: &Arc<Overlap>,
    log: &dyn CommitLog,
) -> Result<(Committed, Pending), CommitError> {
    let staged = stage::stage(plan, contents)?;
    let _locks = Locks::take(request, plan)?;
    let mut joinable = TURN.lock();
    let changes = overlap.with_other_names(&request.changes);
    overlap.check(request.began, &changes, &request.trace, &request.premises)?;
    let validated = validate::validate(request, plan, &staged, &mut joinable)?;
    overlap.check_names(request.began, &request.trace, &validated.changed)?;
    if let Some(first) = request.changes.first() {
        let (path, others) = (first.path.as_path(), request.changes.len() - 1);
        log.begun(path, others).map_err(CommitError::at(NOTE, path))?;
    }
    let pending = overlap.begin_commit(&request.changes);
    let committed = apply::apply(request, plan, staged, &validated, &mut joinable, log)?;
    if !request.changes.is_empty() {
        log.done();
    }
    let done = Done {
        changes: &changes,
        trace: &request.trace,
        passing: &request.premises.passing_names,
        created: Cow::Borrowed(&validated.created),
        whole: Cow::Borrowed(&validated.whole),
        dirs: Cow::Borrowed(&validated.dirs),
    };
    overlap.committed(done, validated.parted);
    Ok((committed, pending))
}
