//! A client's tree as far as it is known here: the lower layer of its jobs' views.
//!
//! The tree itself is a directory of the store; the tables beside it say which
//! directories are complete and which files hold their content. Both are found by inode
//! number too, because an overlay reports a lower directory or file under its own
//! number wherever the job moved it, and an upper one under a number that no mirror has.
//! Layers share one file system, so numbers do not collide, and tmpfs reuses none.
//!
//! Knows nothing of jobs and of who asks.

mod complete;
mod evict;
mod fill;
mod give;
mod merge;
mod place;
mod prefetch;
mod resolved_paths;
mod sparse;
mod special;
mod tables;
mod unmade;
mod update;

use super::SharedMap;
use super::confine;
use super::files::Files;
use super::programs::Programs;
use evict::Uses;
use parking_lot::{Condvar, Mutex};
use rustix::fd::OwnedFd;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tables::Tables;
use termite_types::{Attr, BlobHash, FileTime, Node};

pub use evict::Evicted;
pub(super) use place::{Workplace, is_placeholder, names_in, seen};
pub(super) use resolved_paths::{PathFact, Way};
pub(super) use sparse::Presence;
pub use special::is_absent;
pub(super) use tables::{Fill, Shifts};

/// Top-level names that every view has of its own: mount points that the client's tree
/// never fills.
pub(super) const OWN_NAMES: [&str; 3] = ["proc", "dev", "sys"];

/// Whose the files of a mirror are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owners {
    /// The client's users and groups.
    Client,
    /// The worker's own user, for want of the right to give files away.
    Own,
}

impl Owners {
    /// What a worker can do that runs as the real root user, or not.
    pub fn of(root_user: bool) -> Self {
        if root_user { Self::Client } else { Self::Own }
    }
}

/// One client's tree. All of it may be used from many threads at once.
pub struct Mirror {
    root_path: PathBuf,
    root: OwnedFd,
    /// Files under construction, on the same file system, outside of the tree.
    staging: OwnedFd,
    files: Arc<dyn Files>,
    owners: Owners,
    tables: Mutex<Tables>,
    /// Something in the tables has ceased to be under way.
    settled: Condvar,
    /// Changes of names come one at a time; reads and fills do not wait for them.
    naming: Mutex<()>,
    fetches: AtomicU64,
    from_peers: AtomicU64,
    names: AtomicU64,
    /// Directories of more names are sparse.
    many: usize,
    uses: Mutex<Uses>,
    /// What is known of the programs in it.
    pub(super) programs: Programs,
}

/// A job that sees the mirror. While it runs, files that lose their name stay as they were.
pub(super) struct ReaderPin {
    mirror: Arc<Mirror>,
    reader: u64,
}

impl ReaderPin {
    /// What has changed in the mirror since the job began.
    pub(super) fn shifts(&self) -> Shifts {
        self.mirror.tables.lock().shifts(self.reader)
    }
}

impl Drop for ReaderPin {
    fn drop(&mut self) {
        let names = self.mirror.tables.lock().leave(self.reader);
        for name in names {
            if let Err(errno) = rustix::fs::unlinkat(&self.mirror.staging, &name, AtFlags::empty()) {
                tracing::warn!("a former file stays in the store: {errno}");
            }
        }
        self.mirror.settled.notify_all();
    }
}

/// How a name stands in the mirror.
pub(super) struct Known {
    /// As the client told, with the hash where it is known.
    pub attr: Attr,
    /// Inode number.
    pub ino: u64,
    /// For a file: whether the content is there.
    pub fill: Fill,
}

/// A file that stands at its place with its content.
pub(super) struct KnownFile {
    dir: Arc<Path>,
    name: OsString,
    /// Inode number.
    pub ino: u64,
    /// Its content, where that is known.
    pub content: Option<BlobHash>,
}

impl KnownFile {
    /// Its client path.
    pub(super) fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }
}

impl Mirror {
    /// An empty mirror in `dir`, which is made.
    pub fn new(dir: &Path, files: Arc<dyn Files>, owners: Owners) -> io::Result<Self> {
        let root_path = dir.join("root");
        let mut private = std::fs::DirBuilder::new();
        private.recursive(true).mode(0o755).create(&root_path)?;
        let staging = dir.join("staging");
        private.mode(0o700).create(&staging)?;
        for name in OWN_NAMES {
            std::fs::DirBuilder::new().mode(0o755).create(root_path.join(name))?;
        }
        let root: OwnedFd = std::fs::File::open(&root_path)?.into();
        let tables = Tables::new(confine::stat(&root)?.stx_ino);
        Ok(Self {
            root_path,
            root,
            staging: std::fs::File::open(staging)?.into(),
            files,
            owners,
            tables: Mutex::new(tables),
            settled: Condvar::new(),
            naming: Mutex::new(()),
            fetches: AtomicU64::new(0),
            from_peers: AtomicU64::new(0),
            names: AtomicU64::new(0),
            many: sparse::MANY,
            uses: Mutex::default(),
            programs: Programs::default(),
        })
    }

    /// The same whose directories are sparse beyond so many names.
    #[cfg(test)]
    pub fn sparse_beyond(self, many: usize) -> Self {
        Self { many, ..self }
    }

    /// A job begins to see it.
    pub(super) fn enter(self: &Arc<Self>, shared: Arc<SharedMap>) -> ReaderPin {
        ReaderPin {
            mirror: self.clone(),
            reader: self.tables.lock().enter(shared),
        }
    }

    /// Hands over what jobs have learnt about spellings; the number says how old it is.
    pub(super) fn recall(&self, each: impl FnMut(PathFact, &[u8])) -> u64 {
        self.tables.lock().resolved.recall(each)
    }

    /// Takes in what a job learnt that recalled things at `turn`; `to`: where the directory is.
    pub(super) fn learn(&self, turn: u64, lead: PathFact, spelled: &[u8], to: Option<&Path>) {
        self.tables.lock().resolved.learn(turn, lead, spelled, to);
    }

    /// Whether a path is a directory of the client's to which everybody may go.
    pub(super) fn is_open_to_all(&self, path: &Path) -> bool {
        self.tables.lock().is_open_to_all(path)
    }

    /// The complete directory that a spelling is known to lead to, for a job that began at
    /// `turn`.
    pub(super) fn leads_to_dir(&self, turn: u64, spelled: &[u8]) -> Option<Arc<Path>> {
        self.tables.lock().resolved.dir(turn, spelled)
    }

    /// Whether a spelling is known to be that of no directory, for a job that began at `turn`.
    pub(super) fn leads_nowhere(&self, turn: u64, spelled: &[u8]) -> bool {
        self.tables.lock().resolved.is_nowhere(turn, spelled)
    }

    /// Whether a name is that of a symlink, or was at some time.
    pub(super) fn may_be_symlink(&self, path: &Path) -> bool {
        self.tables.lock().may_be_symlink(path)
    }

    /// Takes in the way of a spelled path, by names that were all known.
    pub(super) fn learn_way(&self, turn: u64, spelled: &[u8], way: Way) {
        self.tables.lock().resolved.learn_way(turn, spelled, way);
    }

    /// The way of a spelled path, for a job that began at `turn`.
    pub(super) fn way(&self, turn: u64, spelled: &[u8]) -> Option<Way> {
        self.tables.lock().resolved.way(turn, spelled)
    }

    /// Takes in a spelling, symlinks followed, that leads to this file at `path`.
    pub(super) fn learn_file(&self, turn: u64, spelled: &[u8], path: &Path, ino: u64) {
        let mut tables = self.tables.lock();
        if tables.ready_file(ino).is_some_and(|file| file.is_at(path)) {
            tables.resolved.learn_file(turn, spelled, ino);
        }
    }

    /// The file, with its content there, that a spelling is known to lead to, symlinks
    /// followed, for a job that began at `turn`.
    pub(super) fn leads_to_file(&self, turn: u64, spelled: &[u8]) -> Option<KnownFile> {
        let tables = self.tables.lock();
        let ino = tables.resolved.file(turn, spelled)?;
        let file = tables.ready_file(ino)?;
        Some(KnownFile {
            dir: file.dir.clone(),
            name: file.name.clone(),
            ino,
            content: file.content(),
        })
    }

    /// The content of the file with this inode number, if it stands at `path`.
    pub(super) fn content_of(&self, ino: u64, path: &Path) -> Option<BlobHash> {
        let tables = self.tables.lock();
        tables.ready_file(ino).filter(|file| file.is_at(path))?.content()
    }

    /// The directory that overlay mounts take as their lower layer.
    pub fn root(&self) -> &Path {
        &self.root_path
    }

    /// The client.
    pub(super) fn files(&self) -> &Arc<dyn Files> {
        &self.files
    }

    /// How many directories were listed and files fetched.
    pub fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::Relaxed)
    }

    /// Bytes of content that other workers gave since this was asked last.
    pub fn take_from_peers(&self) -> u64 {
        self.from_peers.swap(0, Ordering::Relaxed)
    }

    fn count_fetch(&self) {
        self.fetches.fetch_add(1, Ordering::Relaxed);
    }

    /// The mirror's directory at a client path, to work in. `None`: there is none.
    fn open_dir(&self, path: &Path) -> Result<Option<OwnedFd>, Errno> {
        match confine::directory(&self.root, path) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The modification time that a directory has here, which is not the client's where
    /// outputs of jobs were merged into it.
    pub(super) fn dir_mtime(&self, path: &Path) -> Result<Option<FileTime>, Errno> {
        let Some(dir) = self.open_dir(path)? else {
            return Ok(None);
        };
        let stat = confine::stat(&dir)?;
        Ok(Some(place::seen(&stat, Node::Dir).mtime))
    }

    /// The owner to record for a file: `None` where the mirror cannot give it away.
    fn owner(&self, attr: &Attr) -> Option<(u32, u32)> {
        (self.owners == Owners::Client).then_some((attr.uid, attr.gid))
    }

    /// Whether owners in the mirror are the client's.
    pub(super) fn keeps_owners(&self) -> bool {
        self.owners == Owners::Client
    }
}
