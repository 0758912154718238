//! Whether a slot can stand on FUSE here: one is made, over a client with one file, and
//! the file is read through its overlay. Knows nothing of who wants to know.

use super::Device;
use crate::guard::Events;
use crate::slot::{Spawner, TrialError, trial};
use crate::store::Store;
use crate::view::{Files, FilesError, Lower, Mirror, OpenedFile, Owners, Pieces, SharedMap, read_below};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use termite_types::{Abandon, Attr, BlobHash, Entry, FileTime, Listing, Node};

/// Why slots cannot stand on FUSE.
#[derive(Debug, thiserror::Error)]
pub enum FuseTestError {
    /// The test could not be set up.
    #[error("testing FUSE: {0}")]
    Setup(#[from] io::Error),
    /// No slot could be made.
    #[error("testing FUSE: {0}")]
    Slot(#[from] TrialError),
    /// What was read is not what is there.
    #[error("testing FUSE: a file read through an overlay over FUSE has other bytes")]
    Wrong,
}

const NAME: &str = "file";
const CONTENT: &[u8] = b"what the client has";

/// Runs the test in a directory of its own in the store. Blocks for some milliseconds.
pub fn self_test(device: &Device, spawner: &Spawner, store: &Store) -> Result<(), FuseTestError> {
    let dir = store.root.join(".fuse-test");
    std::fs::create_dir(&dir)?;
    let read = read_through(device, spawner, store, &dir);
    std::fs::remove_dir_all(&dir)?;
    match read? {
        bytes if bytes == CONTENT => Ok(()),
        _ => Err(FuseTestError::Wrong),
    }
}

fn read_through(device: &Device, spawner: &Spawner, store: &Store, dir: &Path) -> Result<Vec<u8>, FuseTestError> {
    let mirror = Mirror::new(&dir.join("mirror"), Arc::new(OneFile), Owners::of(store.root_user))?;
    let mirror = Arc::new(mirror);
    let shared = SharedMap::new(std::fs::File::create_new(dir.join("shared"))?.as_fd())?;
    shared.init(u64::MAX);
    let proc = std::fs::File::open(&store.proc)?.into();
    let lower = Lower::new(mirror, proc, Arc::new(shared)).map_err(io::Error::from)?;
    let (mount, _service) = super::serve(device, Arc::new(lower), Vec::new(), Arc::new(Nobody))?;
    let read = trial(spawner, &dir.join("slot"), Some(mount), |slot| {
        read_below(&slot.root, Path::new(NAME))
    })?;
    Ok(read?)
}

struct Nobody;

impl Events for Nobody {
    fn want_input(&self) {}

    fn abandon(&self, why: Abandon) {
        tracing::warn!("testing FUSE: {why}");
    }
}

/// A client whose tree is one file.
struct OneFile;

impl OneFile {
    fn attr(node: Node) -> Attr {
        Attr {
            mode: if node == Node::Dir { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            mtime: FileTime { sec: 1, nsec: 2 },
            node,
        }
    }

    fn file() -> Attr {
        Self::attr(Node::File {
            size: CONTENT.len() as u64,
            hash: Some(BlobHash(*blake3::hash(CONTENT).as_bytes())),
        })
    }
}

impl Files for OneFile {
    fn read_dir(&self, _: &Path) -> Result<Listing, FilesError> {
        Ok(Listing {
            attr: Self::attr(Node::Dir),
            entries: vec![Entry {
                name: NAME.into(),
                attr: Self::file(),
            }],
        })
    }

    fn open(&self, _: &Path) -> Result<OpenedFile, FilesError> {
        Ok(OpenedFile {
            holders: Vec::new(),
            attr: Self::file(),
            head: CONTENT.to_vec(),
        })
    }

    fn read(&self, _: &BlobHash, _: u64, _: u64) -> Pieces<'_> {
        Box::new(std::iter::once(Err(FilesError::Lost("all of it came at once".into()))))
    }
}
