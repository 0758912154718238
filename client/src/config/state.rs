//! Whether files of settings have changed since they were read.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Some files as they were at one time, and which of them were missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilesState(Vec<Option<Stamp>>);

/// What differs after any change of a file: device, inode, bytes, and the times of the last
/// change of content and of anything (seconds, nanoseconds).
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

impl FilesState {
    /// As they are now.
    pub fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let stamp = |file: Metadata| {
            let (mtime, ctime) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
            (file.dev(), file.ino(), file.len(), mtime, ctime)
        };
        Self(files.into_iter().map(|path| path.metadata().ok().map(stamp)).collect())
    }
}
