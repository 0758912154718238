//! Paths as they are spelled. Knows no file system: it cannot tell a symlink from a directory.

use std::path::{Component, Path, PathBuf};

/// An absolute path without `.`, and with each `..` taken literally.
pub fn lexical(spelled: &Path) -> PathBuf {
    let mut path = PathBuf::from("/");
    for part in spelled.components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => drop(path.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path
}
