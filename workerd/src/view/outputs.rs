//! The files that a finished job left, to be read by hash until they are merged or
//! dropped. Knows nothing of who asks.

use super::confine;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use termite_types::{BlobHash, Change, Premises};

/// Everything that a job changed.
pub struct Harvest {
    /// Directories that it made before what is in them, removed ones behind.
    pub changes: Vec<Change>,
    /// What has to hold for them.
    pub premises: Premises,
    /// The contents that the changes name.
    pub outputs: Outputs,
}

/// Contents of a finished job's files. Holds its upper directory open.
pub struct Outputs {
    upper: OwnedFd,
    held: HashMap<BlobHash, PathBuf>,
    /// Files of the upper directory by path, with their content.
    files: HashMap<PathBuf, BlobHash>,
}

impl Outputs {
    pub(super) fn new(upper: OwnedFd) -> Self {
        Self {
            upper,
            held: HashMap::new(),
            files: HashMap::new(),
        }
    }

    pub(super) fn upper(&self) -> BorrowedFd<'_> {
        self.upper.as_fd()
    }

    pub(super) fn hold_upper(&mut self, path: &Path, hash: BlobHash) {
        self.files.insert(path.to_path_buf(), hash);
        self.held.insert(hash, path.to_path_buf());
    }

    /// Where in the upper directory the output with this path and content is.
    pub(super) fn upper_file<'a>(&self, path: &'a Path, hash: &BlobHash) -> Option<&'a Path> {
        (self.files.get(path) == Some(hash)).then_some(path)
    }

    /// Up to `len` bytes of an output, fewer only at its end. `None`: this job left no
    /// such content, or it was merged already.
    pub fn read(&self, hash: &BlobHash, offset: u64, len: u32) -> io::Result<Option<Vec<u8>>> {
        let Some(path) = self.held.get(hash) else {
            return Ok(None);
        };
        let file = confine::file(&self.upper, path);
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
