//! What a directory holds, and how two of them differ: kind, mode, owner and content
//! of each name. Times are not part of it. Does not know who made the files.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// A directory's names, by path below it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tree(BTreeMap<String, Node>);

/// One name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Node {
    mode: u32,
    uid: u32,
    gid: u32,
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Kind {
    Dir,
    File { size: u64, hash: String },
    Symlink { target: String },
    Other,
}

impl Tree {
    /// Reads everything below `dir`.
    pub fn read(dir: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.add(dir, dir)?;
        Ok(tree)
    }

    /// Paths below the directory, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is such a path.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// Leaves one path out.
    pub fn forget(&mut self, path: &str) {
        self.0.remove(path);
    }

    /// One line for each path that differs, beginning with what is wrong about `self`.
    pub fn differences(&self, expected: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, want) in &expected.0 {
            match self.0.get(path) {
                None => lines.push(format!("missing: {path}")),
                Some(have) if have != want => lines.push(format!("differs: {path}: {have:?}, expected {want:?}")),
                Some(_) => {}
            }
        }
        lines.extend(
            self.paths()
                .filter(|path| !expected.has(path))
                .map(|path| format!("too much: {path}")),
        );
        lines
    }

    fn add(&mut self, root: &Path, dir: &Path) -> Result<()> {
        let entries = fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))?;
        for entry in entries {
            let path = entry?.path();
            let stat = fs::symlink_metadata(&path).with_context(|| format!("looking at {}", path.display()))?;
            let kind = kind_of(&path, &stat)?;
            if kind == Kind::Dir {
                self.add(root, &path)?;
            }
            let below = path.strip_prefix(root)?.as_os_str().as_bytes();
            let node = Node {
                mode: stat.mode() & 0o7777,
                uid: stat.uid(),
                gid: stat.gid(),
                kind,
            };
            self.0.insert(below.escape_ascii().to_string(), node);
        }
        Ok(())
    }
}

fn kind_of(path: &Path, stat: &fs::Metadata) -> Result<Kind> {
    let kind = stat.file_type();
    Ok(if kind.is_dir() {
        Kind::Dir
    } else if kind.is_symlink() {
        Kind::Symlink {
            target: fs::read_link(path)?.as_os_str().as_bytes().escape_ascii().to_string(),
        }
    } else if kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
        Kind::Other
    } else {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Kind::File {
            size: stat.len(),
            hash: blake3::hash(&bytes).to_hex().to_string(),
        }
    })
}
