//! Commits into real directories. Here: what the tests share.

mod kinds;
mod refuse;
mod share;

use super::{ClockShift, CommitError, CommitRequest, Committed, Contents, commit};
use crate::tree::DenyRules;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use termite_types::{Attr, Base, BlobHash, Change, ChangeKind, Content, FileTime, Node};

/// Contents of a worker.
#[derive(Default)]
pub struct Worker(pub HashMap<BlobHash, Vec<u8>>);

impl Contents for Worker {
    fn read(&self, hash: BlobHash, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        let content = self.0.get(&hash).ok_or(io::ErrorKind::NotFound)?;
        let rest = content.get(offset as usize..).unwrap_or_default();
        Ok(rest[..rest.len().min(length as usize)].to_vec())
    }
}

/// A directory to commit into.
pub struct Bench {
    pub top: PathBuf,
    pub worker: Worker,
    pub clock: ClockShift,
    _dir: tempfile::TempDir,
}

pub fn hash(bytes: &[u8]) -> BlobHash {
    BlobHash(*blake3::hash(bytes).as_bytes())
}

pub fn base(bytes: &[u8], is_prefix: bool) -> Option<Base> {
    Some(Base {
        size: bytes.len() as u64,
        hash: hash(bytes),
        is_prefix,
    })
}

pub const OLD: FileTime = FileTime {
    sec: 1_000_000_000,
    nsec: 123_456_789,
};

/// Attributes of a file of this user.
pub fn attr(mode: u32, node: Node) -> Attr {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Attr {
        mode,
        uid,
        gid,
        mtime: OLD,
        node,
    }
}

impl Bench {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let top = dir.path().canonicalize().expect("a path");
        Self {
            top,
            worker: Worker::default(),
            clock: ClockShift::default(),
            _dir: dir,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    pub fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).expect("written");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("a file")
    }

    /// A file with its content in the list.
    pub fn file(&self, name: &str, content: &[u8]) -> Change {
        self.changed(name, content, None)
    }

    /// A file made from another.
    pub fn changed(&self, name: &str, content: &[u8], base: Option<Base>) -> Change {
        let node = Node::File {
            size: content.len() as u64,
            hash: Some(hash(content)),
        };
        let attr = attr(0o640, node);
        let content = Content::Inline(content.to_vec());
        Change {
            path: self.path(name),
            kind: ChangeKind::File {
                attr,
                explicit_mtime: false,
                base,
                content,
            },
        }
    }

    /// The same with its content on the worker.
    pub fn remote(&mut self, name: &str, bytes: &[u8], base: Option<Base>) -> Change {
        self.worker.0.insert(hash(bytes), bytes.to_vec());
        let mut change = self.changed(name, bytes, base);
        if let ChangeKind::File { content, .. } = &mut change.kind {
            *content = Content::OnWorker;
        }
        change
    }

    pub fn dir(&self, name: &str, mode: u32) -> Change {
        let kind = ChangeKind::Dir {
            attr: attr(mode, Node::Dir),
            explicit_mtime: false,
        };
        Change {
            path: self.path(name),
            kind,
        }
    }

    pub fn symlink(&self, name: &str, target: &str) -> Change {
        let kind = ChangeKind::Symlink {
            attr: attr(0o777, Node::Symlink { target: target.into() }),
        };
        Change {
            path: self.path(name),
            kind,
        }
    }

    pub fn link(&self, name: &str, to: &str) -> Change {
        Change {
            path: self.path(name),
            kind: ChangeKind::Link { to: self.path(to) },
        }
    }

    pub fn remove(&self, name: &str) -> Change {
        Change {
            path: self.path(name),
            kind: ChangeKind::Remove,
        }
    }

    pub fn commit(&self, changes: Vec<Change>) -> Result<Committed, CommitError> {
        let deny = DenyRules::new(&[], Path::new("/home/nobody-at-all")).expect("usable rules");
        let done = commit(
            &CommitRequest {
                changes,
                clock: self.clock,
            },
            &self.worker,
            &deny,
        );
        assert_eq!(temporaries(&self.top), Vec::<PathBuf>::new());
        done
    }

    /// Every path below the top with what it holds.
    pub fn tree(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        walk(&self.top, &mut |path| {
            let content = match fs::symlink_metadata(path).expect("a file") {
                stat if stat.is_file() => fs::read(path).expect("a file"),
                stat if stat.is_symlink() => b"symlink".to_vec(),
                _ => b"dir".to_vec(),
            };
            found.push((path.to_owned(), content));
        });
        found
    }
}

fn temporaries(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(top, &mut |path| {
        if super::is_temporary(path.file_name().expect("a name")) {
            found.push(path.to_owned());
        }
    });
    found
}

fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    let mut paths: Vec<_> = fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("a name").path())
        .collect();
    paths.sort();
    for path in paths {
        visit(&path);
        if fs::symlink_metadata(&path).expect("a file").is_dir() {
            walk(&path, visit);
        }
    }
}
