//! What a view asks of the client: listings, files and their bytes. Knows nothing of
//! how the question travels.

use std::path::Path;
use termite_types::{Attr, BlobHash, Listing};

/// The client's tree as its file server shows it. Calls block; they come from many
/// threads at once.
pub trait Files: Send + Sync {
    /// Names and attributes of a directory. The final component is not followed.
    fn read_dir(&self, path: &Path) -> Result<Listing, FilesError>;

    /// Attributes (with hash) and first bytes of a regular file, as they are now. The
    /// final component is not followed.
    fn open(&self, path: &Path) -> Result<OpenedFile, FilesError>;

    /// `len` bytes (fewer only at the end) of a blob that `open` named.
    fn read(&self, hash: &BlobHash, offset: u64, len: u32) -> Result<Vec<u8>, FilesError>;
}

/// A file as the client opened it.
#[derive(Clone, Debug)]
pub struct OpenedFile {
    /// Its attributes; the node is a file with its hash.
    pub attr: Attr,
    /// Its first bytes, all of it where it is small.
    pub head: Vec<u8>,
}

/// Why the client did not give what was asked for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FilesError {
    /// What the system call would say there (`ENOENT`, `ENOTDIR`, `EACCES`, ...).
    #[error("errno {0}")]
    Errno(i32),
    /// A rule keeps it from workers.
    #[error("not served")]
    Denied,
    /// The client could not be asked, or its answer could not be used.
    #[error("{0}")]
    Lost(String),
}

impl From<rustix::io::Errno> for FilesError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Errno(errno.raw_os_error())
    }
}

impl From<std::io::Error> for FilesError {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::Errno(errno),
            None => Self::Lost(error.to_string()),
        }
    }
}
