//! Whether files of settings have changed since they were read.

use crate::tree::Stamp;
use std::path::PathBuf;

/// Some files as they were at one time, and which of them were missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilesState(Vec<Option<Stamp>>);

impl FilesState {
    /// As they are now.
    pub fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let stamp = |path: PathBuf| rustix::fs::stat(&path).ok().map(|stat| Stamp::of(&stat));
        Self(files.into_iter().map(stamp).collect())
    }
}
