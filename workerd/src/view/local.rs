//! A directory of this machine in the role of the client. Serves tests and self-tests;
//! a worker's views never have a directory of their host.

use super::files::{Files, FilesError, OpenedFile, Pieces};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use termite_types::{Attr, BLOB_PIECE, BlobHash, Entry, FileTime, Listing, Node, Resource, Special};

/// Bytes that an answer to `open` carries.
const HEAD: usize = 256 << 10;

/// Serves the tree below a directory as if that were the client's root.
pub struct LocalFiles {
    root: PathBuf,
    blobs: Mutex<HashMap<BlobHash, PathBuf>>,
    asked: AtomicU64,
}

impl LocalFiles {
    /// Serves the tree below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            blobs: Mutex::default(),
            asked: AtomicU64::new(0),
        }
    }

    /// How many questions it answered.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    fn locate(&self, path: &Path) -> Result<PathBuf, FilesError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let names = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        });
        Ok(names.fold(self.root.clone(), |at, name| at.join(name)))
    }
}

impl Files for LocalFiles {
    fn read_dir(&self, path: &Path) -> Result<Listing, FilesError> {
        let at = self.locate(path)?;
        let own = fs::symlink_metadata(&at)?;
        if !own.is_dir() {
            return Err(FilesError::Errno(libc::ENOTDIR));
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(&at)? {
            let entry = entry?;
            // A name may go between the listing and the look at it.
            let Ok(meta) = fs::symlink_metadata(entry.path()) else {
                continue;
            };
            entries.push(Entry {
                name: entry.file_name(),
                attr: attr_of(&entry.path(), &meta)?,
            });
        }
        let attr = attr_of(&at, &own)?;
        Ok(Listing { attr, entries })
    }

    fn machine_has(&self, resource: &Resource) -> Result<bool, FilesError> {
        Ok(match resource {
            Resource::Name(path) => self.locate(path)?.symlink_metadata().is_ok(),
            _ => false,
        })
    }

    fn open(&self, path: &Path) -> Result<OpenedFile, FilesError> {
        let at = self.locate(path)?;
        let meta = fs::symlink_metadata(&at)?;
        if !meta.is_file() {
            return Err(FilesError::Errno(if meta.is_dir() {
                libc::EISDIR
            } else {
                libc::ELOOP
            }));
        }
        let content = fs::read(&at)?;
        let hash = BlobHash(*blake3::hash(&content).as_bytes());
        self.blobs.lock().insert(hash, at.clone());
        let mut attr = attr_of(&at, &meta)?;
        attr.node = Node::File {
            size: content.len() as u64,
            hash: Some(hash),
        };
        Ok(OpenedFile {
            holders: Vec::new(),
            attr,
            head: content[..content.len().min(HEAD)].to_vec(),
        })
    }

    fn read(&self, hash: &BlobHash, from: u64, until: u64) -> Pieces<'_> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let at = self.blobs.lock().get(hash).cloned();
        let at = at.ok_or_else(|| FilesError::Lost(format!("nobody opened {hash}")));
        let file = match at.and_then(|at| Ok(File::open(at)?)) {
            Ok(file) => file,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        Box::new((from..until).step_by(BLOB_PIECE as usize).map(move |at| {
            let mut bytes = vec![0; (until - at).min(BLOB_PIECE.into()) as usize];
            file.read_exact_at(&mut bytes, at)?;
            Ok(bytes)
        }))
    }
}

/// Attributes as the client's file server would give them.
fn attr_of(path: &Path, meta: &Metadata) -> Result<Attr, FilesError> {
    let kind = meta.file_type();
    let node = if meta.is_dir() {
        Node::Dir
    } else if meta.is_file() {
        Node::File {
            size: meta.len(),
            hash: None,
        }
    } else if meta.is_symlink() {
        Node::Symlink {
            target: fs::read_link(path)?,
        }
    } else if kind.is_fifo() {
        Node::Special(Special::Fifo)
    } else if kind.is_socket() {
        Node::Special(Special::Socket)
    } else {
        Node::Special(Special::Device)
    };
    Ok(Attr {
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        mtime: FileTime {
            sec: meta.mtime(),
            nsec: meta.mtime_nsec() as u32,
        },
        node,
    })
}
