//! The client's file server: the tree, as one worker may ask for it. Knows which worker
//! asks; knows nothing of jobs.

use crate::blob_locations::BlobLocations;
use crate::machine;
use crate::traffic::Traffic;
use crate::tree::{self, ServeError, Tree, WorkerKey};
use crate::users;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use termite_types::{BlobHash, Holder, Listing, Node, Resource, Snapshot, UserAnswer, UserQuery};
use termite_wire::client_services::FileService;
use termite_wire::peer::{Listed, Opened};

/// So many names are sent with one answer, and what the last directory has beyond them.
const NAMES: usize = 1 << 14;
/// So many bytes of files are sent with one answer, and the head of one file more.
const BYTES: usize = 4 << 20;

/// The tree as served to one worker.
pub struct Files {
    tree: Arc<Tree>,
    worker: WorkerKey,
    traffic: Rc<Traffic>,
    holders: Rc<BlobLocations>,
}

impl Files {
    /// Serves `tree` to `worker`.
    pub fn new(tree: Arc<Tree>, worker: WorkerKey, traffic: Rc<Traffic>, holders: Rc<BlobLocations>) -> Self {
        Self {
            tree,
            worker,
            traffic,
            holders,
        }
    }

    /// The worker is up; `here`: on this machine.
    pub fn met(&self, here: bool) {
        if here {
            self.tree.is_here(self.worker);
        }
    }

    /// Other workers can ask this one at an address, with a ticket.
    pub fn met_peers(&self, address: String, ticket: &[u8]) {
        let ticket = ticket.to_vec();
        self.holders.add(self.worker, Holder { address, ticket });
    }

    /// The connection is gone, and with it what the worker knew.
    pub fn forget(&self) {
        self.tree.forget(self.worker);
        self.holders.remove(self.worker);
    }

    /// Leaves it to other workers to give what they have.
    fn shared(&self, mut opened: Opened) -> Opened {
        if let Opened::File { attr, head, holders } = &mut opened {
            if let Node::File { size, hash: Some(hash) } = attr.node {
                *holders = self.holders.others(self.worker, &hash);
                self.holders.record(self.worker, hash, size);
            }
            if !holders.is_empty() {
                head.clear();
            }
            self.traffic.sent(head.len() as u64);
        }
        opened
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
    type Error = UnreadBlob;

    async fn read_dir(&self, _snapshot: Snapshot, path: PathBuf) -> Listed {
        self.with_tree(move |tree, worker| listed(tree.read_dir(worker, &path)))
            .await
    }

    async fn open(&self, _snapshot: Snapshot, path: PathBuf) -> Opened {
        let opened = self
            .with_tree(move |tree, worker| opened(tree.open_file(worker, &path)))
            .await;
        self.shared(opened)
    }

    async fn read_dirs(&self, _snapshot: Snapshot, paths: Vec<PathBuf>) -> Vec<Listed> {
        let names = |listed: &Listed| match listed {
            Listed::Listing(listing) => listing.entries.len(),
            Listed::Errno(_) => 0,
        };
        self.with_tree(move |tree, worker| {
            let all = paths.iter().map(|path| listed(tree.read_dir(worker, path)));
            up_to(NAMES, all, names)
        })
        .await
    }

    async fn open_all(&self, _snapshot: Snapshot, paths: Vec<PathBuf>) -> Vec<Opened> {
        let all = self
            .with_tree(move |tree, worker| {
                let all = paths.iter().map(|path| opened(tree.open_file(worker, path)));
                up_to(BYTES, all, head)
            })
            .await;
        all.into_iter().map(|opened| self.shared(opened)).collect()
    }

    async fn machine_has(&self, resource: Resource) -> bool {
        self.with_tree(move |_, _| machine::has(&resource)).await
    }

    async fn find_user(&self, query: UserQuery) -> UserAnswer {
        self.with_tree(move |_, _| users::answer(&query)).await
    }

    async fn read(&self, hash: BlobHash, offset: u64, length: u32) -> Result<Vec<u8>, UnreadBlob> {
        let piece = self
            .with_tree(move |tree, worker| tree.read_blob(worker, &hash, offset, length))
            .await;
        let bytes = piece.map_err(|error| UnreadBlob { hash, error })?;
        self.traffic.sent(bytes.len() as u64);
        Ok(bytes)
    }
}

/// A content that cannot be given.
#[derive(Debug, thiserror::Error)]
#[error("blob {hash}: {error}")]
pub struct UnreadBlob {
    hash: BlobHash,
    #[source]
    error: ServeError,
}

fn listed(found: Result<Listing, ServeError>) -> Listed {
    match found {
        Ok(listing) => Listed::Listing(listing),
        Err(ServeError::Errno(errno)) => Listed::Errno(errno as u32),
        Err(ServeError::Denied) => Listed::Errno(libc::EACCES as u32),
    }
}

fn opened(found: Result<tree::Opened, ServeError>) -> Opened {
    match found {
        Ok(tree::Opened { attr, head }) => Opened::File {
            attr,
            head,
            holders: Vec::new(),
        },
        Err(ServeError::Errno(errno)) => Opened::Errno(errno as u32),
        Err(ServeError::Denied) => Opened::Denied,
    }
}

/// Bytes of content that an answer carries.
fn head(opened: &Opened) -> usize {
    match opened {
        Opened::File { head, .. } => head.len(),
        Opened::Errno(_) | Opened::Denied => 0,
    }
}

/// The first of some answers until they have `room` together. Later ones are not asked for.
fn up_to<T>(room: usize, all: impl Iterator<Item = T>, size: impl Fn(&T) -> usize) -> Vec<T> {
    let mut taken = 0;
    let mut answers = Vec::new();
    for answer in all {
        taken += size(&answer);
        answers.push(answer);
        if taken >= room {
            break;
        }
    }
    answers
}
