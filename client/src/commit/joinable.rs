//! Which directories commits of this daemon made otherwise than for `mkdir` without `-p`:
//! another job that makes the same one joins it. Where a job made one by such a `mkdir`, one
//! that somebody else has made would have let it fail, if it is none of these: whether a
//! process of the client made that with `-p`, nobody saw. Pure, bounded: what is forgotten
//! is not joined.

use crate::tree::Stamp;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// So many are remembered, the newest ones.
const MOST: usize = 1024;

/// Paths with device and inode, oldest first.
pub(super) struct JoinableDirs(VecDeque<(PathBuf, u64, u64)>);

impl JoinableDirs {
    /// None yet.
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// A commit made this directory.
    pub(super) fn made(&mut self, path: &Path, stamp: &Stamp) {
        self.forget(path);
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back((path.to_owned(), stamp.dev, stamp.ino));
    }

    /// Whether a commit made the directory that is at `path`. One that another directory
    /// has replaced is forgotten.
    pub(super) fn contains(&mut self, path: &Path, stamp: &Stamp) -> bool {
        let found = self.0.iter().find(|(made, ..)| made == path);
        let is_it = found.map(|(_, dev, ino)| (*dev, *ino) == (stamp.dev, stamp.ino));
        if is_it == Some(false) {
            self.forget(path);
        }
        is_it == Some(true)
    }

    /// The directory is removed.
    pub(super) fn forget(&mut self, path: &Path) {
        self.0.retain(|(made, ..)| made != path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_known_until_another_one_is_in_its_place() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, two] = dirs
            .each_ref()
            .map(|dir| Stamp::at_path(&dir.path().canonicalize().unwrap()).unwrap());
        let mut joinable = JoinableDirs::new();
        let path = Path::new("/d");
        joinable.made(path, &one);
        assert!(joinable.contains(path, &one));
        assert!(!joinable.contains(Path::new("/e"), &one));
        assert!(!joinable.contains(path, &two));
        assert!(!joinable.contains(path, &one), "forgotten");
        for number in 0..=MOST {
            joinable.made(&Path::new("/").join(number.to_string()), &one);
        }
        assert!(!joinable.contains(Path::new("/0"), &one), "the oldest");
        assert!(joinable.contains(Path::new("/1"), &one));
    }
}
