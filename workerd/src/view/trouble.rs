//! Why a call of a job cannot simply go on: an errno for the call, or the end of the job
//! on this worker. Knows no call and no file.

use super::files::FilesError;
use rustix::io::Errno;
use std::path::Path;
use termite_types::{Abandon, Conflict};

/// What stands in the way.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Trouble {
    /// The call fails like this, as it would on the client.
    #[error("errno {0}")]
    Errno(i32),
    /// The job cannot go on here.
    #[error(transparent)]
    Abandon(#[from] Abandon),
}

impl Trouble {
    /// What the client said about `path`.
    pub(super) fn from_client(error: FilesError, path: &Path) -> Self {
        match error {
            FilesError::Errno(errno) => Self::Errno(errno),
            FilesError::Denied => Self::Abandon(Abandon::Denied(path.to_path_buf())),
            FilesError::Lost(why) => Self::Abandon(Abandon::Files(format!("{}: {why}", path.display()))),
        }
    }

    /// The same of a file that the job was told of: it goes by a tree that has moved on.
    pub(super) fn of_vanished(self, path: &Path) -> Self {
        match self {
            Self::Errno(libc::ENOENT) => Self::Abandon(Abandon::Conflict(Conflict {
                path: path.to_path_buf(),
                seen: "a file".to_owned(),
                found: "nothing".to_owned(),
            })),
            trouble => trouble,
        }
    }

    /// What this machine's kernel said while the mirror was changed at `path`.
    pub(super) fn from_store(errno: Errno, path: &Path) -> Self {
        let told = format!("{}: {errno}", path.display());
        Self::Abandon(match errno {
            Errno::NOSPC | Errno::DQUOT | Errno::NOMEM | Errno::MFILE | Errno::NFILE => Abandon::Full(told),
            _ => Abandon::Slot(format!("keeping the view of {told}")),
        })
    }
}
