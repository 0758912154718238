//! Answers to workers: listings, and files by path and by hash. Never follows a symlink,
//! never opens anything but regular files and directories.

use super::records::ListingId;
use super::stamp::{Kind, Stamp, is_canonical, open_canonical, open_dir_path, read_link};
use super::watch::is_silent;
use super::{Tree, WorkerKey};
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use termite_types::{Attr, BlobHash, Entry, Listing};

/// Bytes of a file that are sent with the answer to an open.
pub(super) const HEAD: usize = 256 << 10;
/// So often a file or directory that changes while it is read is read again.
const TRIES: usize = 8;
/// Names of one content that are remembered for reading it.
const PLACES: usize = 4;

/// Why a worker is not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ServeError {
    /// As the system call said.
    #[error("{}", std::io::Error::from_raw_os_error(*.0))]
    Errno(i32),
    /// A rule hides it.
    #[error("hidden by a rule")]
    Denied,
}

impl From<Errno> for ServeError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno.raw_os_error())
    }
}

/// A regular file as it is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// A file, with its hash.
    pub attr: Attr,
    /// Its first 256 KiB.
    pub head: Vec<u8>,
}

/// Where a content was found.
pub(super) type Blobs = HashMap<BlobHash, Vec<(PathBuf, Stamp)>>;

/// A name as it was found.
pub(super) struct Found {
    /// In its directory.
    pub name: OsString,
    /// As `lstat` says.
    pub stamp: Stamp,
    /// Of a symlink.
    pub target: PathBuf,
}

impl Tree {
    /// Lists a directory for a worker, in the order in which the file system does.
    pub fn read_dir(&self, worker: WorkerKey, path: &Path) -> Result<Listing, ServeError> {
        self.allow(path)?;
        let (found, stamp) = self.names_for(worker, path)?;
        Ok(Listing {
            attr: stamp.attr(None, PathBuf::new()),
            entries: self.entries(worker, path, found),
        })
    }

    /// The names of a directory, of whose changes the worker is told from now on.
    pub(super) fn names_for(&self, worker: WorkerKey, path: &Path) -> Result<(Vec<Found>, Stamp), ServeError> {
        for _ in 0..TRIES {
            let (dir, id) = self.begin(worker, path)?;
            // Its time is to be no older than its names.
            let listed = list(&dir).and_then(|found| Ok((found, Stamp::of_fd(&dir)?)));
            let (found, stamp) = match listed {
                Ok(listed) => listed,
                Err(errno) => {
                    let mut records = self.records.lock();
                    records.abort_listing(path, id);
                    self.unwatch_unused(&mut records);
                    return Err(errno.into());
                }
            };
            if self.end(worker, path, id, &found, stamp) {
                return Ok((found, stamp));
            }
        }
        Err(Errno::STALE.into())
    }

    /// Watches a directory and announces that it is going to be listed.
    fn begin(&self, worker: WorkerKey, path: &Path) -> Result<(OwnedFd, ListingId), ServeError> {
        let dir = open_canonical(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK)?;
        let stamp = Stamp::of_fd(&dir)?;
        let silent = self.options.silent || is_silent(&dir);
        let mut records = self.records.lock();
        records.epoch_of(worker, super::random_epoch);
        let watch = if silent { None } else { self.watch(&dir, path) };
        let id = records.begin_listing(path, stamp, watch);
        self.unwatch_unused(&mut records);
        Ok((dir, id))
    }

    fn end(&self, worker: WorkerKey, path: &Path, id: ListingId, found: &[Found], stamp: Stamp) -> bool {
        let listed = found
            .iter()
            .map(|found| (found.name.as_os_str(), found.stamp))
            .collect();
        let mut records = self.records.lock();
        let is_current = records.end_listing(path, id, &listed, worker, |name| Stamp::of_any_at(&path.join(name)));
        if is_current {
            records.observe_dir(path, stamp);
        }
        self.unwatch_unused(&mut records);
        is_current
    }

    /// Under the lock of the records: an event of a watch that they do not know is lost.
    pub(super) fn watch(&self, dir: &OwnedFd, path: &Path) -> Option<i32> {
        match self.watcher.add(dir) {
            Ok(watch) => Some(watch),
            Err(error) => {
                let said = self.unwatched.swap(true, Ordering::Relaxed);
                let dir = path.display();
                if said {
                    tracing::debug!("{dir} is looked at before each job, it cannot be watched: {error}");
                } else {
                    tracing::warn!(
                        "{dir} and maybe more are looked at before each job, which takes time, because they cannot \
                         be watched: {error}; is fs.inotify.max_user_watches or max_user_instances used up?"
                    );
                }
                None
            }
        }
    }

    fn entries(&self, worker: WorkerKey, dir: &Path, found: Vec<Found>) -> Vec<Entry> {
        let is_here = self.here.lock().contains(&worker);
        let hashes = self.hashes.reader();
        let mut known = Vec::new();
        let entries = found.into_iter().map(|Found { name, stamp, target }| {
            let path = dir.join(&name);
            let is_served = stamp.kind == Kind::File && self.is_served(is_here, &path, &stamp);
            let hash = if is_served { hashes.get(&stamp) } else { None };
            known.extend(hash.map(|hash| (hash, path, stamp)));
            Entry {
                name,
                attr: stamp.attr(hash, target),
            }
        });
        let entries = entries.collect();
        self.remember(known);
        entries
    }

    pub(super) fn remember(&self, known: impl IntoIterator<Item = (BlobHash, PathBuf, Stamp)>) {
        let mut blobs = self.blobs.lock();
        for (hash, path, stamp) in known {
            let places = blobs.entry(hash).or_default();
            places.retain(|(other, _)| *other != path);
            places.truncate(PLACES - 1);
            places.insert(0, (path, stamp));
        }
    }

    /// Opens a regular file for a worker.
    pub fn open_file(&self, worker: WorkerKey, path: &Path) -> Result<Opened, ServeError> {
        self.allow(path)?;
        for attempt in 1..=TRIES {
            let (file, before) = self.open_regular(worker, path)?;
            // Some more than there should be, to see a file that grows.
            let room = usize::try_from(before.size)
                .unwrap_or(HEAD)
                .saturating_add(4096)
                .min(HEAD + 1);
            let mut head = read_at(&file, 0, room)?;
            let is_whole = head.len() < room;
            let known = self.hashes.get(&before);
            let hash = match known {
                Some(hash) => hash,
                None if is_whole => BlobHash(*blake3::hash(&head).as_bytes()),
                None => hash_file(&file)?,
            };
            head.truncate(HEAD);
            let after = Stamp::of_fd(&file)?;
            let is_steady = after == before && head.len() as u64 == before.size.min(HEAD as u64);
            if is_steady && known.is_none() {
                self.hashes.learn(&before, hash);
            }
            // What never rests is served as it was read, if all of it is here.
            if is_steady || (attempt == TRIES && is_whole && known.is_none()) {
                let stamp = if is_steady {
                    before
                } else {
                    Stamp {
                        size: head.len() as u64,
                        ..after
                    }
                };
                self.tell(&mut self.records.lock(), path, Some(stamp));
                self.remember([(hash, path.to_owned(), stamp)]);
                return Ok(Opened {
                    attr: stamp.attr(Some(hash), PathBuf::new()),
                    head,
                });
            }
            self.hashes.forget(&before);
        }
        Err(Errno::STALE.into())
    }

    /// A piece of a content that was listed or opened before; short at its end. ESTALE:
    /// no file holds it any more.
    pub fn read_blob(
        &self,
        worker: WorkerKey,
        hash: &BlobHash,
        offset: u64,
        length: u32,
    ) -> Result<Vec<u8>, ServeError> {
        let places = self.blobs.lock().get(hash).cloned().unwrap_or_default();
        let mut refused = ServeError::from(Errno::STALE);
        for (path, stamp) in places {
            match self.read_place(worker, &path, &stamp, offset, length) {
                Ok(bytes) => return Ok(bytes),
                Err(ServeError::Denied) => refused = ServeError::Denied,
                Err(ServeError::Errno(_)) => {
                    let mut blobs = self.blobs.lock();
                    if let Some(places) = blobs.get_mut(hash) {
                        places.retain(|place| *place != (path.clone(), stamp));
                    }
                }
            }
        }
        Err(refused)
    }

    fn read_place(
        &self,
        worker: WorkerKey,
        path: &Path,
        stamp: &Stamp,
        offset: u64,
        length: u32,
    ) -> Result<Vec<u8>, ServeError> {
        let (file, before) = self.open_regular(worker, path)?;
        let length = stamp.size.saturating_sub(offset).min(u64::from(length)) as usize;
        let bytes = read_at(&file, offset, length)?;
        let is_steady = before == *stamp && Stamp::of_fd(&file)? == *stamp && bytes.len() == length;
        if is_steady { Ok(bytes) } else { Err(Errno::STALE.into()) }
    }

    /// Opens a regular file that this worker may read. Looked at before it is opened:
    /// opening a FIFO or device does things.
    fn open_regular(&self, worker: WorkerKey, path: &Path) -> Result<(OwnedFd, Stamp), ServeError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::ISDIR.into());
        };
        let regular = |stamp: Stamp| match stamp.kind {
            Kind::File => Ok(stamp),
            Kind::Dir => Err(Errno::ISDIR),
            Kind::Symlink => Err(Errno::LOOP),
            Kind::Special(_) => Err(Errno::NXIO),
        };
        let parent = open_dir_path(parent)?;
        regular(Stamp::at(&parent, name)?)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, name, flags, rustix::fs::Mode::empty())?;
        let stamp = regular(Stamp::of_fd(&file)?)?;
        let is_here = self.here.lock().contains(&worker);
        if self.is_served(is_here, path, &stamp) {
            Ok((file, stamp))
        } else {
            Err(ServeError::Denied)
        }
    }

    fn allow(&self, path: &Path) -> Result<(), ServeError> {
        if !is_canonical(path) {
            return Err(Errno::INVAL.into());
        }
        if self.deny.hides(path) {
            Err(ServeError::Denied)
        } else {
            Ok(())
        }
    }

    pub(super) fn is_served(&self, is_here: bool, path: &Path, stamp: &Stamp) -> bool {
        (is_here || !self.deny.keeps_home(stamp.mode)) && !self.deny.hides(path)
    }
}

/// Names of an open directory, in the order of the file system.
pub(super) fn list(dir: &OwnedFd) -> Result<Vec<Found>, Errno> {
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." || crate::temporary_name::is_temporary(name) {
            continue;
        }
        match look(dir, name) {
            Ok((stamp, target)) => found.push(Found {
                name: name.to_owned(),
                stamp,
                target,
            }),
            // Removed since its name was read.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// A name's stamp and, of a symlink, its target.
pub(super) fn look(dir: &OwnedFd, name: &OsStr) -> Result<(Stamp, PathBuf), Errno> {
    loop {
        let stamp = Stamp::at(dir, name)?;
        if stamp.kind != Kind::Symlink {
            return Ok((stamp, PathBuf::new()));
        }
        match read_link(dir, name) {
            Ok(target) => return Ok((stamp, target)),
            // No symlink any more.
            Err(Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Up to `length` bytes; fewer only at the end of the file.
fn read_at(file: &OwnedFd, offset: u64, length: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match rustix::io::pread(file, &mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Read in pieces rather than mapped: a file that shrinks under a mapping kills the
/// process that looks.
fn hash_file(file: &OwnedFd) -> Result<BlobHash, Errno> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        match rustix::io::pread(file, &mut buffer[..], at) {
            Ok(0) => return Ok(BlobHash(*hasher.finalize().as_bytes())),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                at += read as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
