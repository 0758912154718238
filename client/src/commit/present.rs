//! What is at a path while a commit compares, and how it is called in a conflict. Looks at
//! each path once, as nothing changes meanwhile. Knows no changes.

use super::CommitError;
use super::name::open_dir;
use crate::tree::{Kind, Stamp, open_canonical};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use termite_types::BlobHash;

/// What was found.
#[derive(Default)]
pub(super) struct Present(HashMap<PathBuf, Option<Stamp>>);

impl Present {
    /// What is at a canonical path; nothing is where a symlink stands in its middle.
    pub(super) fn at(&mut self, path: &Path) -> Result<Option<Stamp>, CommitError> {
        if let Some(known) = self.0.get(path) {
            return Ok(*known);
        }
        let found = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => match open_dir(parent).and_then(|dir| Stamp::at(&dir, name)) {
                Ok(stamp) => Some(stamp),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
                Err(errno) => return Err(CommitError::forbidden(path)(errno)),
            },
            _ => Some(
                open_dir(path)
                    .and_then(Stamp::of_fd)
                    .map_err(CommitError::forbidden(path))?,
            ),
        };
        self.0.insert(path.to_owned(), found);
        Ok(found)
    }

    /// A regular file with several names at a canonical path.
    pub(super) fn linked_at(&mut self, path: &Path) -> Result<Option<Stamp>, CommitError> {
        let stamp = self.at(path)?;
        Ok(stamp.filter(|stamp| stamp.kind == Kind::File && stamp.links > 1))
    }

    /// Times of last modification of all that was found.
    pub(super) fn times(&self) -> impl Iterator<Item = termite_types::FileTime> {
        self.0.values().flatten().map(|stamp| stamp.mtime)
    }
}

/// What is there, in words.
pub(super) fn in_words(found: Option<&Stamp>) -> &'static str {
    match found.map(|stamp| stamp.kind) {
        None => "nothing",
        Some(Kind::File) => "a file",
        Some(Kind::Dir) => "a directory",
        Some(Kind::Symlink) => "a symlink",
        Some(Kind::Special(_)) => "a device, FIFO or socket",
    }
}

/// A content in words.
pub(super) fn content_in_words(size: u64, hash: Option<BlobHash>) -> String {
    match hash {
        None => format!("a file of {size} bytes"),
        Some(BlobHash([a, b, c, ..])) => format!("a file of {size} bytes (hash {a:02x}{b:02x}{c:02x}…)"),
    }
}

/// A regular file at a canonical path, for reading.
pub(super) fn open_file(path: &Path) -> Result<std::fs::File, Errno> {
    open_canonical(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK).map(std::fs::File::from)
}

/// The hash of all that `reader` gives.
pub(super) fn hash_of(reader: impl Read) -> std::io::Result<BlobHash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(reader)?;
    Ok(BlobHash(*hasher.finalize().as_bytes()))
}
