//! The client's tree as workers see it: listings and contents, what was served to whom,
//! and what has changed since. Watches are set before anything is listed, so that every
//! change by path that was complete before [`Tree::drain`] is in its snapshot.
//!
//! Knows no jobs and no wire; every call may block on the disk.

mod deny;
mod drain;
mod hashes;
mod log;
mod records;
mod serve;
mod stamp;
mod watch;

#[cfg(test)]
mod measure;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use deny::{DenyError, DenyRules};
pub use serve::{Opened, ServeError};
pub use stamp::{Kind, Stamp};
pub(crate) use stamp::{is_canonical, open_canonical};

use hashes::Hashes;
use parking_lot::Mutex;
use records::Records;
use serve::Blobs;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use termite_types::Snapshot;
use watch::Watcher;

/// One worker, for as long as it is connected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct WorkerKey(pub u32);

/// What a tree needs to be opened.
#[derive(Clone, Debug)]
pub struct TreeOptions {
    /// Directory for the hash cache.
    pub cache_dir: PathBuf,
    /// What workers may not read.
    pub deny: Arc<DenyRules>,
}

/// A tree that cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch the client's files (inotify): {0}; is fs.inotify.max_user_instances used up?")]
pub struct OpenError(#[from] rustix::io::Errno);

/// A path as a commit has left it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedPath {
    /// Where.
    pub path: PathBuf,
    /// What the commit put there; `None`: nothing.
    pub stamp: Option<Stamp>,
    /// Its content, where it is all the job's: `None` for anything but files, and for a
    /// file to which others had appended meanwhile.
    pub hash: Option<termite_types::BlobHash>,
    /// False: the commit found a directory as it should be and did not touch it.
    pub touched: bool,
    /// It was written into the file that was there, where others may write too.
    pub in_place: bool,
}

/// The client's files, as served to workers.
pub struct Tree {
    deny: Arc<DenyRules>,
    hashes: Hashes,
    blobs: Mutex<Blobs>,
    records: Mutex<Records>,
    watcher: Watcher,
    /// A directory could not be watched, which was said.
    unwatched: AtomicBool,
    /// Workers that run on this machine.
    here: Mutex<HashSet<WorkerKey>>,
    options: Behaviour,
}

/// What tests change.
#[derive(Clone, Copy, Default)]
struct Behaviour {
    /// Watch nothing, as if no file system told of changes.
    silent: bool,
}

impl Tree {
    /// Nothing is served yet.
    pub fn open(options: TreeOptions) -> Result<Self, OpenError> {
        Ok(Self {
            deny: options.deny,
            hashes: Hashes::open(&options.cache_dir),
            blobs: Mutex::default(),
            records: Mutex::default(),
            watcher: Watcher::new(),
            unwatched: AtomicBool::new(false),
            here: Mutex::default(),
            options: Behaviour::default(),
        })
    }

    /// Says that a worker runs on this machine, where files that only their owner may
    /// read can be served to it. To be repeated after [`Self::forget`].
    pub fn is_here(&self, worker: WorkerKey) {
        self.here.lock().insert(worker);
    }

    /// The worker is gone, and with it what it knew. If it comes back it is a new one, in
    /// another epoch.
    pub fn forget(&self, worker: WorkerKey) {
        self.here.lock().remove(&worker);
        self.records.lock().forget(worker);
    }

    /// The names of a file that has several, as far as workers were told of them.
    pub fn names_of(&self, file: &Stamp) -> Vec<PathBuf> {
        self.records.lock().names_of(file)
    }

    /// Writes the hash cache to disk. For idle moments, and before the end.
    pub fn flush(&self) {
        self.hashes.flush();
    }

    /// The version in which a worker is served: epochs differ from worker to worker and
    /// from connection to connection.
    fn snapshot(&self, records: &mut Records, worker: WorkerKey) -> Snapshot {
        let epoch = records.epoch_of(worker, random_epoch);
        Snapshot {
            epoch,
            count: records.log.count(),
        }
    }
}

/// Not zero, which stands for "has seen nothing".
fn random_epoch() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::time::SystemTime::now()) | 1
}
