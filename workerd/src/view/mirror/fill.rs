//! Filling placeholders with their content, in place, so that overlays that hold the
//! inode see it. One thread fills, the others wait. Knows nothing of who opens the file.

use super::Mirror;
use super::give::Arrival;
use super::tables::{File, Fill};
use crate::view::confine;
use crate::view::error::FaultError;
use crate::view::files::{FilesError, OpenedFile, Pieces};
use crate::view::mapped::FillMapping;
use crate::view::outputs::piece;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use termite_types::{Attr, BLOB_PIECE, BlobHash, Node, is_zeros};

/// So often a file that gets another length all the time is renewed before a job looks at it.
const RENEWALS: u32 = 8;

/// What came for a claimed file.
#[derive(Debug)]
pub(super) enum Fetched {
    Whole(Attr),
    /// Nothing: the client's has another length by now. The kernel of a running job may go by the
    /// one that was told.
    Resized(Attr),
}

/// How a file stands that was to be filled.
enum Brought {
    /// With its content.
    Whole,
    /// Not as it was told: at this path is another placeholder now, which has the new length.
    Resized(PathBuf),
}

impl Mirror {
    /// How far the file with this inode number is filled. `None`: it is none of the
    /// mirror's, or has nothing to be filled with.
    pub(in crate::view) fn fill_state(&self, ino: u64) -> Option<Fill> {
        self.tables.lock().file(ino).map(|file| file.fill)
    }

    /// How the client's file with this inode number stands, if it is the one at `path`.
    pub(in crate::view) fn attr_of(&self, ino: u64, path: &Path) -> Option<Attr> {
        self.tables.lock().attr_of(ino, path).cloned()
    }

    /// The client's file with this inode number: where it stands or stood, and as what.
    pub(in crate::view) fn file_of(&self, ino: u64) -> Option<(PathBuf, Attr)> {
        let tables = self.tables.lock();
        let file = tables.known_file(ino)?;
        Some((file.path(), file.attr.clone()))
    }

    /// Gives the file with this inode number its content. Blocks.
    pub(in crate::view) fn fill(&self, ino: u64) -> Result<(), FaultError> {
        match self.try_fill(ino)? {
            Brought::Whole => Ok(()),
            Brought::Resized(path) => Err(FaultError::moved_on(&path)),
        }
    }

    /// The inode number of the client's file at a path, if it has no content yet. What cannot be
    /// looked at has none: who goes on sees why.
    pub(in crate::view) fn unfilled_at(&self, path: &Path) -> Option<u64> {
        let (parent, name) = (path.parent()?, path.file_name()?);
        let dir = self.workplace(parent).ok().flatten()?;
        let known = self.known(&dir, name).ok().flatten()?;
        (known.fill != Fill::Filled).then_some(known.ino)
    }

    /// Gives the client's file at a path its content before the kernel of a job looks at it,
    /// which goes by the length that it sees first. Blocks.
    pub(in crate::view) fn fill_unseen(&self, path: &Path) -> Result<(), FaultError> {
        for _ in 0..RENEWALS {
            let Some(ino) = self.unfilled_at(path) else { break };
            match self.try_fill(ino) {
                Ok(Brought::Resized(_)) => {}
                // Who looks then sees what is there.
                Ok(Brought::Whole) | Err(FaultError::Errno(_)) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Fills a file once, unless another thread does so or has done so.
    fn try_fill(&self, ino: u64) -> Result<Brought, FaultError> {
        let Some(file) = self.claim_fill(ino)? else {
            return Ok(Brought::Whole);
        };
        let path = file.path();
        self.count_fetch();
        match self.fill_claimed(ino, &file, &path) {
            Ok(Fetched::Whole(attr)) => {
                self.end_fill(ino, Fill::Filled, Some(attr));
                Ok(Brought::Whole)
            }
            Ok(Fetched::Resized(attr)) => {
                // Who holds the lock on names may wait for this file.
                self.end_fill(ino, Fill::Placeholder, None);
                self.renew(ino, &file, &attr)
                    .map_err(|errno| FaultError::from_store(errno, &path))?;
                Ok(Brought::Resized(path))
            }
            Err(error) if vanished(&error) => {
                self.end_fill(ino, Fill::Gone, None);
                self.forget_vanished(ino, &file, &path)?;
                Err(error)
            }
            Err(error) => {
                self.end_fill(ino, Fill::Placeholder, None);
                Err(error)
            }
        }
    }

    /// Lets those go on that wait for a claimed file, which stands as it says now.
    pub(super) fn end_fill(&self, ino: u64, fill: Fill, attr: Option<Attr>) {
        let mut tables = self.tables.lock();
        if let Some(attr) = attr {
            tables.set_attr(ino, attr);
        }
        tables.set_fill(ino, fill);
        match fill {
            Fill::Filled => self.uses.lock().begin(ino),
            Fill::Placeholder => self.uses.lock().fail(ino),
            Fill::Filling | Fill::Gone => {}
        }
        self.settled.notify_all();
    }

    /// `Some`: it is this thread's to fill. `None`: nothing to do.
    fn claim_fill(&self, ino: u64) -> Result<Option<File>, FaultError> {
        let mut tables = self.tables.lock();
        loop {
            let Some(file) = tables.file(ino) else { return Ok(None) };
            match file.fill {
                Fill::Filled => return Ok(None),
                Fill::Gone => return Err(FaultError::Errno(libc::ENOENT)),
                Fill::Filling => self.settled.wait(&mut tables),
                Fill::Placeholder => return Ok(tables.claim_fill(ino)),
            }
        }
    }

    fn fill_claimed(&self, ino: u64, file: &File, path: &Path) -> Result<Fetched, FaultError> {
        if let Some(attr) = self.fill_locally(ino, file, path)? {
            return Ok(Fetched::Whole(attr));
        }
        for _ in 0..2 {
            let opened = self.files.open(path);
            let opened = opened.map_err(|error| FaultError::from_client(error, path))?;
            if let Some(fetched) = self.fill_from(ino, file, &opened, path)? {
                return Ok(fetched);
            }
        }
        Err(FaultError::from_client(
            FilesError::Lost("its content keeps changing".into()),
            path,
        ))
    }

    /// Puts another file in the place of one that has another length by now.
    fn renew(&self, ino: u64, file: &File, attr: &Attr) -> Result<(), Errno> {
        let _turn = self.naming.lock();
        match self.workplace(&file.dir)? {
            Some(dir) if self.known(&dir, &file.name)?.is_some_and(|known| known.ino == ino) => {
                self.make_over(&dir, &file.name, attr)
            }
            _ => Ok(()),
        }
    }

    /// Fills a claimed file with what another file here holds. `None`: none does.
    pub(super) fn fill_locally(&self, ino: u64, file: &File, path: &Path) -> Result<Option<Attr>, FaultError> {
        let store = |errno| FaultError::from_store(errno, path);
        let Node::File { hash: Some(hash), .. } = file.attr.node else {
            return Ok(None);
        };
        let target = self.open_target(ino, file).map_err(store)?;
        if self.copy_local(target.as_fd(), &file.attr, &hash).map_err(store)? {
            self.finish(target.as_fd(), &file.attr).map_err(store).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Fills a claimed file with what the client gives. `None`: that is not what it had said.
    pub(super) fn fill_from(
        &self,
        ino: u64,
        file: &File,
        opened: &OpenedFile,
        path: &Path,
    ) -> Result<Option<Fetched>, FaultError> {
        let store = |errno| FaultError::from_store(errno, path);
        let Node::File { hash: Some(hash), .. } = opened.attr.node else {
            let error = FilesError::Lost("opened without a hash".into());
            return Err(FaultError::from_client(error, path));
        };
        if opened.attr.size() != file.attr.size() {
            return Ok(Some(Fetched::Resized(opened.attr.clone())));
        }
        let target = self.open_target(ino, file).map_err(store)?;
        let target = target.as_fd();
        let whole = self.copy_local(target, &opened.attr, &hash).map_err(store)?
            || self.receive(target, opened, &hash, path)?;
        if !whole {
            return Ok(None);
        }
        let attr = self.finish(target, &opened.attr).map_err(store)?;
        Ok(Some(Fetched::Whole(attr)))
    }

    /// The last act of a fill: attributes, and the access time that tells of content.
    fn finish(&self, target: BorrowedFd<'_>, attr: &Attr) -> Result<Attr, Errno> {
        self.apply_file_attrs(target, attr, Fill::Filled)?;
        Ok(attr.clone())
    }

    /// Opens the file with this inode number for writing, where it is now.
    pub(super) fn open_target(&self, ino: u64, file: &File) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let kept_as = || self.tables.lock().file(ino).and_then(|file| file.kept_as.clone());
        if kept_as().is_none()
            && let Some(dir) = self.open_dir(&file.dir)?
        {
            match rustix::fs::openat(dir, &file.name, flags, Mode::empty()) {
                Ok(target) if confine::stat(&target)?.stx_ino == ino => return Ok(target),
                Ok(_) | Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
        // Another file may have taken its place just now.
        let kept = kept_as().ok_or(Errno::NOENT)?;
        rustix::fs::openat(&self.staging, kept, flags, Mode::empty())
    }

    /// Copies from another file of the mirror that holds the same content, if one does.
    fn copy_local(&self, target: BorrowedFd<'_>, attr: &Attr, hash: &BlobHash) -> Result<bool, Errno> {
        let Some((source, _)) = self.open_holder(hash)? else {
            return Ok(false);
        };
        if confine::stat(&source)?.stx_size != attr.size() {
            return Ok(false);
        }
        let mut mapping = self.mapping(target, attr)?;
        each_piece(&source, attr.size(), |piece, at| mapping.put(piece, at))
    }

    /// Opens the place for the content of a file that looks like this.
    fn mapping(&self, target: BorrowedFd<'_>, attr: &Attr) -> Result<FillMapping, Errno> {
        if confine::stat(target)?.stx_size != attr.size() {
            rustix::fs::ftruncate(target, attr.size())?;
            self.apply_file_attrs(target, attr, Fill::Placeholder)?;
        }
        FillMapping::new(target, attr.size())
    }

    /// Puts in what other workers hold or the client sends. False: it is not what `open`
    /// named.
    fn receive(
        &self,
        target: BorrowedFd<'_>,
        opened: &OpenedFile,
        hash: &BlobHash,
        path: &Path,
    ) -> Result<bool, FaultError> {
        let _arrival = Arrival::of(self, *hash);
        let (head, size) = (opened.head.len() as u64, opened.attr.size());
        let mapping = self.mapping(target, &opened.attr);
        let mut mapping = mapping.map_err(|errno| FaultError::from_store(errno, path))?;
        let mut put = |pieces: Pieces<'_>| put_whole(&mut mapping, &opened.head, pieces, size, hash);
        let holders = if head < size { &opened.holders[..] } else { &[] };
        for holder in holders {
            match put(self.files.read_from(holder, hash, head, size)) {
                Ok(true) => {
                    self.from_peers.fetch_add(size - head, Ordering::Relaxed);
                    return Ok(true);
                }
                Ok(false) => self.files.distrust(holder),
                Err(Unfilled::Source(error)) => tracing::debug!("{} does not give {hash}: {error}", holder.address),
                Err(Unfilled::Store(errno)) => return Err(FaultError::from_store(errno, path)),
            }
        }
        let rest = match head < size {
            true => self.files.read(hash, head, size),
            false => Box::new(std::iter::empty()),
        };
        put(rest).map_err(|why| match why {
            Unfilled::Source(error) => FaultError::from_client(error, path),
            Unfilled::Store(errno) => FaultError::from_store(errno, path),
        })
    }

    /// The name is no file of the client's any more: its directory is to be listed anew.
    fn forget_vanished(&self, ino: u64, file: &File, path: &Path) -> Result<(), FaultError> {
        let _turn = self.naming.lock();
        let forget = || {
            let Some(dir) = self.workplace(&file.dir)? else {
                return Ok(());
            };
            if matches!(self.known(&dir, &file.name)?, Some(known) if known.ino == ino) {
                self.remove(&dir, &file.name)?;
            }
            self.tables.lock().doubt_dir(&file.dir);
            Ok(())
        };
        forget().map_err(|errno| FaultError::from_store(errno, path))
    }
}

/// Why a content did not come.
enum Unfilled {
    Source(FilesError),
    Store(Errno),
}

/// Puts in a head and what follows it. False: the whole is something else.
fn put_whole(
    mapping: &mut FillMapping,
    head: &[u8],
    pieces: Pieces<'_>,
    size: u64,
    hash: &BlobHash,
) -> Result<bool, Unfilled> {
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    let mut put = |piece: &[u8]| {
        let fits = mapping.put(piece, at).map_err(Unfilled::Store);
        hasher.update(piece);
        at += piece.len() as u64;
        fits
    };
    if !put(head)? {
        return Ok(false);
    }
    for piece in pieces {
        if !put(&piece.map_err(Unfilled::Source)?)? {
            return Ok(false);
        }
    }
    Ok(at == size && hasher.finalize().as_bytes() == &hash.0)
}

/// Whether the client says that there is no such file.
fn vanished(error: &FaultError) -> bool {
    matches!(
        error,
        FaultError::Errno(libc::ENOENT | libc::ENOTDIR | libc::EISDIR | libc::ELOOP)
    )
}

/// Copies `size` bytes from the beginning of one file to that of another, neither of which
/// is changed by anybody else. False: the source is shorter.
pub(super) fn copy(source: &OwnedFd, target: BorrowedFd<'_>, size: u64) -> Result<bool, Errno> {
    let (mut from, mut to) = (0, 0);
    while to < size {
        let left = usize::try_from(size - to).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), left) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(Errno::XDEV) => return copy_bytes(source, target, size),
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

/// The same between file systems, to a new file, in which runs of zeros take no memory.
fn copy_bytes(source: &OwnedFd, target: BorrowedFd<'_>, size: u64) -> Result<bool, Errno> {
    rustix::fs::ftruncate(target, size)?;
    each_piece(source, size, |piece, at| {
        if !is_zeros(piece) {
            write_all(target, piece, at)?;
        }
        Ok(true)
    })
}

/// Hands the first `size` bytes of a file to `take`, until it says false. False: it did, or the
/// file is shorter. Maps nothing: a hole that is looked at like that takes memory.
fn each_piece(
    file: &OwnedFd,
    size: u64,
    mut take: impl FnMut(&[u8], u64) -> Result<bool, Errno>,
) -> Result<bool, Errno> {
    let mut at = 0;
    while at < size {
        let bytes = piece(file, at, (size - at).min(BLOB_PIECE.into()) as u32);
        let bytes = bytes.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        if bytes.is_empty() || !take(&bytes, at)? {
            return Ok(false);
        }
        at += bytes.len() as u64;
    }
    Ok(true)
}

fn write_all(target: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = rustix::io::pwrite(target, bytes, at)?;
        bytes = &bytes[written..];
        at += written as u64;
    }
    Ok(())
}
