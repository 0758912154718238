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
        let path = file.path();
        self.count_fetch();
        match self.fill_claimed(ino, &file, &path) {
            Ok(attr) => self.end_fill(ino, Fill::Filled, Some(attr)),
            Err(trouble) if vanished(&trouble) => {
                self.end_fill(ino, Fill::Gone, None);
                self.forget_vanished(ino, &file, &path)?;
                return Err(trouble);
            }
            Err(trouble) => {
                self.end_fill(ino, Fill::Placeholder, None);
                return Err(trouble);
            }
        }
        Ok(())
    }

    /// Lets those go on that wait for a claimed file, which stands as it says now.
    pub(super) fn end_fill(&self, ino: u64, fill: Fill, attr: Option<Attr>) {
        let mut tables = self.tables.lock();
        if let Some(attr) = attr {
            tables.set_attr(ino, attr);
        }
        tables.set_fill(ino, fill);
        self.settled.notify_all();
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
                Fill::Placeholder => return Ok(tables.claim_fill(ino)),
            }
        }
    }

    fn fill_claimed(&self, ino: u64, file: &File, path: &Path) -> Result<Attr, Trouble> {
        if let Some(attr) = self.fill_locally(ino, file, path)? {
            return Ok(attr);
        }
        for _ in 0..2 {
            let opened = self.files.open(path);
            let opened = opened.map_err(|error| Trouble::from_client(error, path))?;
            if let Some(attr) = self.fill_from(ino, file, &opened, path)? {
                return Ok(attr);
            }
        }
        Err(Trouble::from_client(
            FilesError::Lost("its content keeps changing".into()),
            path,
        ))
    }

    /// Fills a claimed file with what another file here holds. `None`: none does.
    pub(super) fn fill_locally(&self, ino: u64, file: &File, path: &Path) -> Result<Option<Attr>, Trouble> {
        let store = |errno| Trouble::from_store(errno, path);
        let Node::File { hash: Some(hash), size } = file.attr.node else {
            return Ok(None);
        };
        let target = self.open_target(ino, file).map_err(store)?;
        if self.copy_local(target.as_fd(), &hash, size).map_err(store)? {
            self.finish(target.as_fd(), &file.attr).map_err(store).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Fills a claimed file with what the client gives. `None`: that is not what it said.
    pub(super) fn fill_from(
        &self,
        ino: u64,
        file: &File,
        opened: &OpenedFile,
        path: &Path,
    ) -> Result<Option<Attr>, Trouble> {
        let store = |errno| Trouble::from_store(errno, path);
        let Node::File { hash: Some(hash), size } = opened.attr.node else {
            let error = FilesError::Lost("opened without a hash".into());
            return Err(Trouble::from_client(error, path));
        };
        let target = self.open_target(ino, file).map_err(store)?;
        let target = target.as_fd();
        let whole =
            self.copy_local(target, &hash, size).map_err(store)? || self.receive(target, opened, &hash, size, path)?;
        if whole {
            self.finish(target, &opened.attr).map_err(store).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The last act of a fill: attributes, and the access time that tells of content.
    fn finish(&self, target: BorrowedFd<'_>, attr: &Attr) -> Result<Attr, Errno> {
        self.dress_file(target, attr, Fill::Filled)?;
        Ok(attr.clone())
    }

    /// Opens the file with this inode number for writing, where it is now.
    fn open_target(&self, ino: u64, file: &File) -> Result<OwnedFd, Errno> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
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
        rustix::fs::openat(&self.nursery, kept, flags, Mode::empty())
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
        let mut take = |piece: &[u8]| -> Result<bool, Trouble> {
            if at + piece.len() as u64 > size {
                return Ok(false);
            }
            hasher.update(piece);
            write_all(target, piece, at).map_err(store)?;
            at += piece.len() as u64;
            Ok(true)
        };
        if !take(&opened.head)? {
            return Ok(false);
        }
        if (opened.head.len() as u64) < size {
            for piece in self.files.read(hash, opened.head.len() as u64, size) {
                let piece = piece.map_err(|error| Trouble::from_client(error, path))?;
                if !take(&piece)? {
                    return Ok(false);
                }
            }
        }
        Ok(at == size && hasher.finalize().as_bytes() == &hash.0)
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
