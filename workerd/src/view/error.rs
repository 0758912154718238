//! Why a call of a job cannot simply go on: an errno for the call, or the end of the job
//! on this worker. Knows no call and no file.

use super::files::FilesError;
use rustix::io::Errno;
use std::path::Path;
use termite_types::{Abandon, Conflict};

/// What stands in the way.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FaultError {
    /// The call fails like this, as it would on the client.
    #[error("errno {0}")]
    Errno(i32),
    /// The job cannot go on here.
    #[error(transparent)]
    Abandon(#[from] Abandon),
}

impl FaultError {
    /// What the client said about `path`.
    pub(super) fn from_client(error: FilesError, path: &Path) -> Self {
        match error {
            FilesError::Errno(errno) => Self::Errno(errno),
            FilesError::Denied => Self::Abandon(Abandon::Denied(path.to_path_buf())),
            FilesError::Lost(why) => Self::Abandon(Abandon::Files(format!("{}: {why}", path.display()))),
        }
    }

    /// The job goes by a tree that has moved on: the kernel still shows it what was there, and
    /// its call would act on that.
    pub(super) fn moved_on(path: &Path) -> Self {
        Self::Abandon(Conflict::new(path, "what was there when it looked", "something else").into())
    }

    /// What the client said when it was to give what is in a file or directory that the job was
    /// told of: it may be of another kind by now, which is no answer to the job's call.
    pub(super) fn of_seen(self, path: &Path) -> Self {
        match self {
            Self::Errno(libc::ENOTDIR | libc::EISDIR | libc::ELOOP) => Self::moved_on(path),
            error => error,
        }
    }

    /// The same where the call would make what is not there.
    pub(super) fn of_needed(self, path: &Path) -> Self {
        match self {
            Self::Errno(libc::ENOENT) => Self::moved_on(path),
            error => error.of_seen(path),
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
