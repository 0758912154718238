//! What a view asks of the client: listings, files and their bytes. Knows nothing of
//! how the question travels.

use std::path::{Path, PathBuf};
use termite_types::{Attr, BlobHash, Holder, Listing, Resource, UserAnswer, UserQuery};

/// The client's tree as its file server shows it. Calls block; they come from many
/// threads at once.
pub trait Files: Send + Sync {
    /// Names and attributes of a directory. The final component is not followed.
    fn read_dir(&self, path: &Path) -> Result<Listing, FilesError>;

    /// Attributes (with hash) and first bytes of a regular file, as they are now. The
    /// final component is not followed.
    fn open(&self, path: &Path) -> Result<OpenedFile, FilesError>;

    /// The listings of the first of some directories, at least one.
    fn read_dirs(&self, paths: &[PathBuf]) -> Vec<Result<Listing, FilesError>> {
        paths.iter().take(1).map(|path| self.read_dir(path)).collect()
    }

    /// The first of some files as [`Self::open`] gives them, at least one.
    fn open_all(&self, paths: &[PathBuf]) -> Vec<Result<OpenedFile, FilesError>> {
        paths.iter().take(1).map(|path| self.open(path)).collect()
    }

    /// The bytes `from..until` of a blob that `open` named, piece by piece. Where they end
    /// early the client has no more of it.
    fn read(&self, hash: &BlobHash, from: u64, until: u64) -> Pieces<'_>;

    /// The same from another worker.
    fn read_from(&self, holder: &Holder, _hash: &BlobHash, _from: u64, _until: u64) -> Pieces<'_> {
        let unknown = FilesError::Lost(format!("{} is not known", holder.address));
        Box::new(std::iter::once(Err(unknown)))
    }

    /// Whether the client's own machine has something.
    fn machine_has(&self, _resource: &Resource) -> Result<bool, FilesError> {
        Ok(false)
    }

    /// What the client's name services know of a user or group.
    fn find_user(&self, _query: &UserQuery) -> Result<UserAnswer, FilesError> {
        Ok(UserAnswer::InFiles)
    }

    /// Another worker gave something else than it was asked for.
    fn distrust(&self, _holder: &Holder) {}
}

/// Bytes as they arrive.
pub type Pieces<'a> = Box<dyn Iterator<Item = Result<Vec<u8>, FilesError>> + 'a>;

/// A file as the client opened it.
#[derive(Clone, Debug)]
pub struct OpenedFile {
    /// Its attributes; the node is a file with its hash.
    pub attr: Attr,
    /// Its first bytes, all of it where it is small.
    pub head: Vec<u8>,
    /// Workers who have it or are getting it, the best first.
    pub holders: Vec<Holder>,
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
