//! What a mirror remembers of its directories and files. Knows no I/O.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use termite_types::{Attr, BlobHash, FileTime, Node};

/// How far a directory of the mirror is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Names {
    /// Names may be missing or stale: to be listed before it is looked into.
    Partial,
    /// Being listed by a thread; others wait.
    Listing {
        /// It changed meanwhile: the listing may be older than that.
        again: bool,
    },
    /// Has exactly the client's names.
    Complete,
}

/// How far a file of the mirror holds its content. A file moves `Placeholder` ->
/// `Filling` -> `Filled`, back to `Placeholder` where filling failed, and to `Gone` where
/// the client has it no more. [`Tables::set_fill`] makes every such step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::view) enum Fill {
    /// Right attributes, no content; marked by its access time.
    Placeholder,
    /// Being filled by a thread; others wait.
    Filling,
    /// Holds its content.
    Filled,
    /// Removed before it was filled; a running job may still hold its name.
    Gone,
}

/// A directory of the mirror.
pub(super) struct Dir {
    pub ino: u64,
    pub names: Names,
    pub attr: Attr,
}

/// A regular file of the mirror.
#[derive(Clone)]
pub(super) struct File {
    pub dir: Arc<Path>,
    pub name: OsString,
    pub attr: Attr,
    pub fill: Fill,
}

/// Directories by client path, everything by inode number, content by hash.
pub(super) struct Tables {
    pub dirs: HashMap<Arc<Path>, Dir>,
    dir_of: HashMap<u64, Arc<Path>>,
    files: HashMap<u64, File>,
    filled: HashMap<BlobHash, u64>,
    /// Filled files that lost their name: a running job may have looked one up, and change
    /// it yet. tmpfs gives no inode number twice.
    former: HashMap<u64, Attr>,
    root: u64,
}

impl Tables {
    pub fn new(root: u64) -> Self {
        let mut tables = Self {
            dirs: HashMap::new(),
            dir_of: HashMap::new(),
            files: HashMap::new(),
            filled: HashMap::new(),
            former: HashMap::new(),
            root,
        };
        let attr = Attr {
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: FileTime::default(),
            node: Node::Dir,
        };
        tables.add_dir(Path::new("/"), root, attr);
        tables
    }

    pub fn root(&self) -> u64 {
        self.root
    }

    pub fn add_dir(&mut self, path: &Path, ino: u64, attr: Attr) {
        let path: Arc<Path> = path.into();
        self.dir_of.insert(ino, path.clone());
        self.dirs.insert(
            path,
            Dir {
                ino,
                names: Names::Partial,
                attr,
            },
        );
    }

    /// The client's directory changed: what is known of its names may be wrong.
    pub fn doubt_dir(&mut self, path: &Path) {
        if let Some(dir) = self.dirs.get_mut(path) {
            dir.names = match dir.names {
                Names::Listing { .. } => Names::Listing { again: true },
                Names::Partial | Names::Complete => Names::Partial,
            };
        }
    }

    /// A name in a directory changed. A listing under way may be older than that.
    pub fn doubt_listing(&mut self, path: &Path) {
        if matches!(
            self.dirs.get(path),
            Some(Dir {
                names: Names::Listing { .. },
                ..
            })
        ) {
            self.doubt_dir(path);
        }
    }

    pub fn forget_dir(&mut self, path: &Path) {
        if let Some(dir) = self.dirs.remove(path) {
            self.dir_of.remove(&dir.ino);
        }
    }

    pub fn dir_path(&self, ino: u64) -> Option<&Arc<Path>> {
        self.dir_of.get(&ino)
    }

    /// The table's own copy of a directory's path.
    pub fn interned(&self, path: &Path) -> Option<Arc<Path>> {
        self.dirs.get_key_value(path).map(|(path, _)| path.clone())
    }

    pub fn add_file(&mut self, ino: u64, file: File) {
        let fill = file.fill;
        self.files.insert(ino, file);
        self.set_fill(ino, fill);
    }

    pub fn file(&self, ino: u64) -> Option<&File> {
        self.files.get(&ino)
    }

    /// How a file stands, or stood when its name went.
    pub fn attr_of(&self, ino: u64) -> Option<&Attr> {
        self.files
            .get(&ino)
            .map(|file| &file.attr)
            .or_else(|| self.former.get(&ino))
    }

    /// Takes note of changed attributes of a file.
    pub fn set_attr(&mut self, ino: u64, attr: Attr) {
        if let Some(file) = self.files.get_mut(&ino) {
            file.attr = attr;
        }
    }

    /// The one place where a file's state changes.
    pub fn set_fill(&mut self, ino: u64, fill: Fill) {
        let Some(file) = self.files.get_mut(&ino) else { return };
        file.fill = fill;
        let Node::File { hash: Some(hash), .. } = file.attr.node else {
            return;
        };
        if fill == Fill::Filled {
            self.filled.insert(hash, ino);
        } else if self.filled.get(&hash) == Some(&ino) {
            self.filled.remove(&hash);
        }
    }

    /// The name of a file went. What was never filled stays known as gone.
    pub fn forget_file(&mut self, ino: u64) {
        let Some(file) = self.files.get(&ino) else { return };
        let was_filled = file.fill == Fill::Filled;
        self.set_fill(ino, Fill::Gone);
        if was_filled && let Some(file) = self.files.remove(&ino) {
            self.former.insert(ino, file.attr);
        }
    }

    /// Where a filled file with this content is.
    pub fn holder(&self, hash: &BlobHash) -> Option<(u64, PathBuf)> {
        let ino = *self.filled.get(hash)?;
        let file = self.files.get(&ino)?;
        Some((ino, file.dir.join(&file.name)))
    }
}
