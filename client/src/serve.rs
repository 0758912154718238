//! The client's file server: the tree, as one worker may ask for it. Knows which worker
//! asks; knows nothing of jobs.

use crate::build::Traffic;
use crate::tree::{ServeError, Tree, WorkerKey};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use termite_types::{BlobHash, Snapshot};
use termite_wire::offer::FileService;
use termite_wire::peer::{Listed, Opened};

/// The tree as served to one worker.
pub struct Files {
    tree: Arc<Tree>,
    worker: WorkerKey,
    traffic: Rc<Traffic>,
}

impl Files {
    /// Serves `tree` to `worker`.
    pub fn new(tree: Arc<Tree>, worker: WorkerKey, traffic: Rc<Traffic>) -> Self {
        Self { tree, worker, traffic }
    }

    /// The worker is up; `here`: on this machine.
    pub fn met(&self, here: bool) {
        if here {
            self.tree.is_here(self.worker);
        }
    }

    /// The connection is gone, and with it what the worker knew.
    pub fn forget(&self) {
        self.tree.forget(self.worker);
    }

    fn count(&self, bytes: usize) {
        self.traffic.sent.set(self.traffic.sent.get() + bytes as u64);
    }

    async fn with_tree<T: Send + 'static>(&self, ask: impl FnOnce(&Tree, WorkerKey) -> T + Send + 'static) -> T {
        let (tree, worker) = (self.tree.clone(), self.worker);
        match tokio::task::spawn_blocking(move || ask(&tree, worker)).await {
            Ok(answer) => answer,
            // Panics abort, and the runtime outlives its tasks: nothing else ends one.
            Err(gone) => unreachable!("file server task: {gone}"),
        }
    }
}

impl FileService for Files {
    async fn read_dir(&self, _snapshot: Snapshot, path: PathBuf) -> Listed {
        match self.with_tree(move |tree, worker| tree.read_dir(worker, &path)).await {
            Ok(listing) => Listed::Listing(listing),
            Err(ServeError::Errno(errno)) => Listed::Errno(errno as u32),
            Err(ServeError::Denied) => Listed::Errno(libc::EACCES as u32),
        }
    }

    async fn open(&self, _snapshot: Snapshot, path: PathBuf) -> Opened {
        match self.with_tree(move |tree, worker| tree.open_file(worker, &path)).await {
            Ok(opened) => {
                self.count(opened.head.len());
                Opened::File {
                    attr: opened.attr,
                    head: opened.head,
                }
            }
            Err(ServeError::Errno(errno)) => Opened::Errno(errno as u32),
            Err(ServeError::Denied) => Opened::Denied,
        }
    }

    async fn read(&self, hash: BlobHash, offset: u64, length: u32) -> Result<Vec<u8>, String> {
        let piece = self
            .with_tree(move |tree, worker| tree.read_blob(worker, &hash, offset, length))
            .await;
        let bytes = piece.map_err(|error| format!("blob {hash}: {error}"))?;
        self.count(bytes.len());
        Ok(bytes)
    }
}
