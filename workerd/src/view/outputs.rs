//! The files that a finished job left, to be read by hash until they are merged or
//! dropped. Knows nothing of who asks.

use super::confine;
use super::mirror::Mirror;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use termite_types::{BlobHash, Change};

/// Everything that a job changed.
pub struct Harvest {
    /// Parents before children, removals before what takes their place.
    pub changes: Vec<Change>,
    /// The contents that the changes name.
    pub outputs: Outputs,
}

/// Contents of a finished job's files. Holds its upper directory open.
pub struct Outputs {
    upper: OwnedFd,
    mirror: Arc<Mirror>,
    held: HashMap<BlobHash, Held>,
    /// Files of the upper directory by path, with their content.
    files: HashMap<PathBuf, BlobHash>,
}

enum Held {
    Upper(PathBuf),
    /// Below a directory that the job moved: still in the mirror, by its client path.
    Mirror(PathBuf),
}

impl Outputs {
    pub(super) fn new(upper: OwnedFd, mirror: Arc<Mirror>) -> Self {
        Self {
            upper,
            mirror,
            held: HashMap::new(),
            files: HashMap::new(),
        }
    }

    pub(super) fn upper(&self) -> BorrowedFd<'_> {
        self.upper.as_fd()
    }

    pub(super) fn hold_upper(&mut self, path: &Path, hash: BlobHash) {
        self.files.insert(path.to_path_buf(), hash);
        self.held.insert(hash, Held::Upper(path.to_path_buf()));
    }

    pub(super) fn hold_mirror(&mut self, path: &Path, hash: BlobHash) {
        self.held
            .entry(hash)
            .or_insert_with(|| Held::Mirror(path.to_path_buf()));
    }

    /// Where in the upper directory the output with this path and content is.
    pub(super) fn upper_file<'a>(&self, path: &'a Path, hash: &BlobHash) -> Option<&'a Path> {
        (self.files.get(path) == Some(hash)).then_some(path)
    }

    /// Up to `len` bytes of an output, fewer only at its end. `None`: this job left no
    /// such content, or it was merged already.
    pub fn read(&self, hash: &BlobHash, offset: u64, len: u32) -> io::Result<Option<Vec<u8>>> {
        let file = match self.held.get(hash) {
            None => return Ok(None),
            Some(Held::Upper(path)) => confine::file(&self.upper, path),
            Some(Held::Mirror(path)) => self.mirror.open_file(path),
        };
        let file = match file {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        piece(&file, offset, len).map(Some)
    }
}

/// Up to `len` bytes of a file, fewer only at its end.
pub(super) fn piece(file: &OwnedFd, offset: u64, len: u32) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::io::pread(file, &mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
