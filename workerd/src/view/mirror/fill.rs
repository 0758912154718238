//! Filling placeholders with their content, in place, so that overlays that hold the
//! inode see it. One thread fills, the others wait. Knows nothing of who opens the file.

use super::Mirror;
use super::tables::{File, Fill};
use crate::view::confine;
use crate::view::files::{FilesError, OpenedFile};
use crate::view::mapped::with_bytes;
use crate::view::trouble::Trouble;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::path::Path;
use termite_types::{Attr, BlobHash, Node};

/// Bytes asked for at once.
const PIECE: u32 = 1 << 20;

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

    /// Gives the file with this inode number its content. Blocks.
    pub(in crate::view) fn fill(&self, ino: u64) -> Result<(), Trouble> {
        let Some(file) = self.claim_fill(ino)? else {
            return Ok(());
        };
        let path = file.dir.join(&file.name);
        self.count_fetch();
        let filled = self.fill_claimed(ino, &file, &path);
        let mut tables = self.tables.lock();
        match &filled {
            Ok(attr) => {
                tables.set_attr(ino, attr.clone());
                tables.set_fill(ino, Fill::Filled);
            }
            Err(trouble) if vanished(trouble) => tables.set_fill(ino, Fill::Gone),
            Err(_) => tables.set_fill(ino, Fill::Placeholder),
        }
        self.settled.notify_all();
        drop(tables);
        if let Err(trouble) = &filled
            && vanished(trouble)
        {
            self.forget_vanished(ino, &file, &path)?;
        }
        filled.map(drop)
    }

    /// `Some`: it is this thread's to fill. `None`: nothing to do.
    fn claim_fill(&self, ino: u64) -> Result<Option<File>, Trouble> {
        let mut tables = self.tables.lock();
        loop {
            let Some(file) = tables.file(ino) else { return Ok(None) };
            match file.fill {
                Fill::Filled => return Ok(None),
                Fill::Gone => return Err(Trouble::Errno(libc::ENOENT)),
                Fill::Filling => self.settled.wait(&mut tables),
                Fill::Placeholder => {
                    let file = file.clone();
                    tables.set_fill(ino, Fill::Filling);
                    return Ok(Some(file));
                }
            }
        }
    }

    fn fill_claimed(&self, ino: u64, file: &File, path: &Path) -> Result<Attr, Trouble> {
        let store = |errno| Trouble::from_store(errno, path);
        let target = self
            .open_target(ino, file)
            .map_err(store)?
            .ok_or(Trouble::Errno(libc::ENOENT))?;
        let target = target.as_fd();
        if let Node::File { hash: Some(hash), size } = file.attr.node
            && self.copy_local(target, &hash, size).map_err(store)?
        {
            return self.finish(target, &file.attr).map_err(store);
        }
        for _ in 0..2 {
            let opened = self
                .files
                .open(path)
                .map_err(|error| Trouble::from_client(error, path))?;
            let Node::File { hash: Some(hash), size } = opened.attr.node else {
                return Err(Trouble::from_client(
                    FilesError::Lost("opened without a hash".into()),
                    path,
                ));
            };
            let whole = self.copy_local(target, &hash, size).map_err(store)?
                || self.receive(target, &opened, &hash, size, path)?;
            if whole {
                return self.finish(target, &opened.attr).map_err(store);
            }
        }
        Err(Trouble::from_client(
            FilesError::Lost("its content keeps changing".into()),
            path,
        ))
    }

    /// The last act of a fill: attributes, and the access time that tells of content.
    fn finish(&self, target: BorrowedFd<'_>, attr: &Attr) -> Result<Attr, Errno> {
        self.dress_file(target, attr, Fill::Filled)?;
        Ok(attr.clone())
    }

    /// Opens the file with this inode number for writing, where it is now.
    fn open_target(&self, ino: u64, file: &File) -> Result<Option<OwnedFd>, Errno> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let kept_as = || self.tables.lock().file(ino).and_then(|file| file.kept_as.clone());
        if kept_as().is_none()
            && let Some(dir) = self.open_dir(&file.dir)?
        {
            match rustix::fs::openat(dir, &file.name, flags, Mode::empty()) {
                Ok(target) if confine::stat(&target)?.stx_ino == ino => return Ok(Some(target)),
                Ok(_) | Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
        // Another file may have taken its place just now.
        kept_as()
            .map(|kept| rustix::fs::openat(&self.nursery, kept, flags, Mode::empty()))
            .transpose()
    }

    /// Copies from another file of the mirror that holds the same content, if one does.
    pub(super) fn copy_local(&self, target: BorrowedFd<'_>, hash: &BlobHash, size: u64) -> Result<bool, Errno> {
        let Some((ino, path)) = self.tables.lock().holder(hash) else {
            return Ok(false);
        };
        let source = match confine::file(&self.root, &path) {
            Ok(source) => source,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL) => return Ok(false),
            Err(errno) => return Err(errno),
        };
        let stat = confine::stat(&source)?;
        if stat.stx_ino != ino || stat.stx_size != size {
            return Ok(false);
        }
        rustix::fs::ftruncate(target, size)?;
        copy(source.as_fd(), target, size)
    }

    /// Writes what the client sends. False: it is not what `open` named.
    fn receive(
        &self,
        target: BorrowedFd<'_>,
        opened: &OpenedFile,
        hash: &BlobHash,
        size: u64,
        path: &Path,
    ) -> Result<bool, Trouble> {
        let store = |errno| Trouble::from_store(errno, path);
        rustix::fs::ftruncate(target, size).map_err(store)?;
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        let mut piece = std::borrow::Cow::Borrowed(&opened.head[..]);
        loop {
            if at + piece.len() as u64 > size {
                return Ok(false);
            }
            hasher.update(&piece);
            write_all(target, &piece, at).map_err(store)?;
            at += piece.len() as u64;
            if at == size {
                return Ok(hasher.finalize().as_bytes() == &hash.0);
            }
            let wanted = (size - at).min(u64::from(PIECE)) as u32;
            piece = self
                .files
                .read(hash, at, wanted)
                .map_err(|error| Trouble::from_client(error, path))?
                .into();
            if piece.is_empty() {
                return Ok(false);
            }
        }
    }

    /// The name is no file of the client's any more: its directory is to be listed anew.
    fn forget_vanished(&self, ino: u64, file: &File, path: &Path) -> Result<(), Trouble> {
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
        forget().map_err(|errno| Trouble::from_store(errno, path))
    }
}

/// Whether the client says that there is no such file.
fn vanished(trouble: &Trouble) -> bool {
    matches!(
        trouble,
        Trouble::Errno(libc::ENOENT | libc::ENOTDIR | libc::EISDIR | libc::ELOOP)
    )
}

/// Copies `size` bytes from the beginning of one file to that of another, neither of which
/// is changed by anybody else. False: the source is shorter.
pub(super) fn copy(source: BorrowedFd<'_>, target: BorrowedFd<'_>, size: u64) -> Result<bool, Errno> {
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

/// The same between file systems.
fn copy_bytes(source: BorrowedFd<'_>, target: BorrowedFd<'_>, size: u64) -> Result<bool, Errno> {
    let copied = with_bytes(source, |bytes| match bytes.get(..size as usize) {
        Some(bytes) => write_all(target, bytes, 0).map(|()| true),
        None => Ok(false),
    });
    copied.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?
}

fn write_all(target: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = rustix::io::pwrite(target, bytes, at)?;
        bytes = &bytes[written..];
        at += written as u64;
    }
    Ok(())
}
