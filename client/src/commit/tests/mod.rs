//! Commits into real directories. Here: what the tests share.

mod alter;
mod join;
mod kinds;
mod links;
mod log;
mod names;
mod premises;
mod random;
mod refuse;
mod share;

use super::{ClockShift, CommitError, CommitRequest, Committed, Contents, commit};
use crate::tree::DenyRules;
use log::Log;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use termite_types::{
    Alter, Attr, Base, BlobHash, Change, ChangeKind, Check, Conflict, Content, Edit, FileTime, IfPresent, Node,
    Premises, Seen, SetTime,
};

/// Contents of a worker.
#[derive(Default)]
pub(super) struct Worker(pub HashMap<BlobHash, Vec<u8>>);

impl Contents for Worker {
    fn read(&self, hash: BlobHash, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        let content = self.0.get(&hash).ok_or(io::ErrorKind::NotFound)?;
        let rest = content.get(offset as usize..).unwrap_or_default();
        Ok(rest[..rest.len().min(length as usize)].to_vec())
    }
}

/// A directory to commit into.
pub(super) struct Bench {
    pub top: PathBuf,
    pub worker: Worker,
    pub clock: ClockShift,
    pub log: Log,
    _dir: tempfile::TempDir,
}

pub(super) fn hash(bytes: &[u8]) -> BlobHash {
    BlobHash(*blake3::hash(bytes).as_bytes())
}

pub(super) fn base(bytes: &[u8]) -> Base {
    Base {
        size: bytes.len() as u64,
        hash: hash(bytes),
    }
}

pub(super) fn edit(before: &[u8], after: &[u8], appended: bool) -> Edit {
    Edit {
        base: base(before),
        size: after.len() as u64,
        hash: hash(after),
        content: Content::Inline(after.to_vec()),
        appended,
    }
}

pub(super) fn content(edit: Edit) -> Alter {
    Alter {
        content: Some(edit),
        ..Alter::default()
    }
}

pub(super) const OLD: FileTime = FileTime {
    sec: 1_000_000_000,
    nsec: 123_456_789,
};

/// Attributes of a file of this user.
pub(super) fn attr(mode: u32, node: Node) -> Attr {
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
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let top = dir.path().canonicalize().expect("a path");
        Self {
            top,
            worker: Worker::default(),
            clock: ClockShift::default(),
            log: Log::default(),
            _dir: dir,
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    pub(super) fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).expect("written");
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("a file")
    }

    fn change(&self, name: &str, kind: ChangeKind) -> Change {
        Change {
            path: self.path(name),
            kind,
        }
    }

    /// A file with its content in the list.
    pub(super) fn file(&self, name: &str, content: &[u8]) -> Change {
        let node = Node::File {
            size: content.len() as u64,
            hash: Some(hash(content)),
        };
        let kind = ChangeKind::File {
            attr: attr(0o640, node),
            explicit_mtime: false,
            content: Content::Inline(content.to_vec()),
            if_present: IfPresent::Replace,
        };
        self.change(name, kind)
    }

    /// A file whose content was all appended.
    pub(super) fn log(&self, name: &str, content: &[u8]) -> Change {
        self.file_if(name, content, IfPresent::Append)
    }

    /// A file with its content in the list, which meets one that is there in this way.
    pub(super) fn file_if(&self, name: &str, content: &[u8], met: IfPresent) -> Change {
        let mut change = self.file(name, content);
        if let ChangeKind::File { if_present, .. } = &mut change.kind {
            *if_present = met;
        }
        change
    }

    /// A file with its content on the worker.
    pub(super) fn remote(&mut self, name: &str, bytes: &[u8]) -> Change {
        self.worker.0.insert(hash(bytes), bytes.to_vec());
        let mut change = self.file(name, bytes);
        if let ChangeKind::File { content, .. } = &mut change.kind {
            *content = Content::OnWorker;
        }
        change
    }

    /// A directory that mkdir(1) made with `-p` or another program by mkdir(2).
    pub(super) fn dir(&self, name: &str, mode: u32) -> Change {
        let kind = ChangeKind::MakeDir {
            attr: attr(mode, Node::Dir),
            explicit_mtime: false,
            plain: false,
        };
        self.change(name, kind)
    }

    /// A directory that mkdir(1) made without `-p`.
    pub(super) fn plain_dir(&self, name: &str) -> Change {
        let mut change = self.dir(name, 0o755);
        if let ChangeKind::MakeDir { plain, .. } = &mut change.kind {
            *plain = true;
        }
        change
    }

    pub(super) fn symlink(&self, name: &str, target: &str) -> Change {
        let attr = attr(0o777, Node::Symlink { target: target.into() });
        self.change(name, ChangeKind::Symlink { attr })
    }

    pub(super) fn link(&self, name: &str, to: &str) -> Change {
        self.change(name, ChangeKind::Link { to: self.path(to) })
    }

    pub(super) fn remove(&self, name: &str) -> Change {
        self.change(name, ChangeKind::Remove { dir: false })
    }

    pub(super) fn remove_dir(&self, name: &str) -> Change {
        self.change(name, ChangeKind::Remove { dir: true })
    }

    /// Another name of a file of the client's, whose content the job did not see.
    pub(super) fn name(&self, name: &str, from: &str) -> Change {
        let from = self.path(from);
        self.change(name, ChangeKind::Name { from, hash: None })
    }

    pub(super) fn alter(&self, name: &str, alter: Alter) -> Change {
        self.change(name, ChangeKind::Alter(alter))
    }

    pub(super) fn chmod(&self, name: &str, mode: u32) -> Change {
        let mode = Some(mode);
        self.alter(
            name,
            Alter {
                mode,
                ..Alter::default()
            },
        )
    }

    /// A file that was written over in place.
    pub(super) fn edit(&self, name: &str, before: &[u8], after: &[u8]) -> Change {
        self.alter(name, content(edit(before, after, false)))
    }

    /// A file of which the end of `after` was appended.
    pub(super) fn append(&self, name: &str, before: &[u8], after: &[u8]) -> Change {
        self.alter(name, content(edit(before, after, true)))
    }

    /// Sets the time of a file or directory.
    pub(super) fn make_old(&self, name: &str) {
        let alter = Alter {
            mtime: Some(SetTime {
                time: OLD,
                explicit: true,
            }),
            ..Alter::default()
        };
        self.commit(vec![self.alter(name, alter)]).expect("committed");
    }

    pub(super) fn commit(&self, changes: Vec<Change>) -> Result<Committed, CommitError> {
        self.commit_if(changes, Vec::new())
    }

    /// With what the job was told.
    pub(super) fn commit_if(&self, changes: Vec<Change>, checks: Vec<(&str, Seen)>) -> Result<Committed, CommitError> {
        let checks = checks.into_iter().map(|(name, seen)| Check {
            path: self.path(name),
            seen,
        });
        let premises = Premises {
            checks: checks.collect(),
            ..Premises::default()
        };
        self.commit_by(changes, premises)
    }

    pub(super) fn commit_by(&self, changes: Vec<Change>, premises: Premises) -> Result<Committed, CommitError> {
        let deny = DenyRules::new(&[], Path::new("/home/nobody-at-all")).expect("usable rules");
        let request = CommitRequest {
            changes,
            premises,
            trace: Vec::new(),
            cwd: self.top.clone(),
            began: Default::default(),
            clock: self.clock,
        };
        let done = commit(&request, &self.worker, &deny, &Default::default(), &self.log);
        assert_eq!(temporaries(&self.top), Vec::<PathBuf>::new());
        done.map(|(committed, _)| committed)
    }

    /// Expects a conflict that leaves all as it was.
    pub(super) fn conflict(&self, changes: Vec<Change>, checks: Vec<(&str, Seen)>) -> Conflict {
        let before = self.tree();
        let error = self.commit_if(changes, checks).expect_err("a conflict");
        assert_eq!(self.tree(), before, "{error}");
        match error {
            CommitError::Conflict(conflict) => conflict,
            error => panic!("{error}"),
        }
    }

    /// The same of files that are too long to be compared.
    pub(super) fn conflict_without_tree(&self, checks: Vec<(&str, Seen)>) -> Conflict {
        match self.commit_if(Vec::new(), checks) {
            Err(CommitError::Conflict(conflict)) => conflict,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn inode(&self, name: &str) -> u64 {
        self.stat(name).ino()
    }

    pub(super) fn stat(&self, name: &str) -> fs::Metadata {
        fs::symlink_metadata(self.path(name)).expect(name)
    }

    pub(super) fn mode(&self, name: &str) -> u32 {
        self.stat(name).mode() & 0o7777
    }

    pub(super) fn mtime(&self, name: &str) -> FileTime {
        let stat = self.stat(name);
        FileTime {
            sec: stat.mtime(),
            nsec: stat.mtime_nsec() as u32,
        }
    }

    /// Every path below the top with what it holds.
    pub(super) fn tree(&self) -> Vec<(PathBuf, Vec<u8>)> {
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
        if crate::temporary_name::is_temporary(path.file_name().expect("a name")) {
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
