//! Contents of outputs, written into temporary files on the file system of their
//! targets. Changes nothing that was there.

use super::check::Plan;
use super::{CommitError, Contents};
use crate::tree::{Kind, Stamp, open_canonical};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use termite_types::{Attr, Base, BlobHash, Change, ChangeKind, Content, Node};

const PREFIX: &[u8] = b".termite-commit-";
const PIECE: u32 = 1 << 20;

/// Whether a name is one of a commit in progress, which nobody else needs to see.
pub fn is_temporary(name: &OsStr) -> bool {
    let digits = name.as_bytes().strip_prefix(PREFIX);
    digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

/// A name that nothing has.
pub fn temporary_name() -> OsString {
    use std::hash::{BuildHasher, RandomState};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = RandomState::new().hash_one((std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    OsString::from(format!(".termite-commit-{number:016x}"))
}

/// A file beside its target, removed when dropped unless it was moved away.
pub struct Temporary {
    dir: PathBuf,
    name: OsString,
    /// Offset in the whole content of its first byte: not 0 for what is to be appended.
    pub from: u64,
    /// Of the whole content.
    pub hash: BlobHash,
    is_moved: bool,
}

/// Does something to the names in a directory that leaves its modification time alone:
/// the job itself changed none of them. Whoever else makes a name there at the very same
/// moment is not noticed either.
pub fn unnoticed<T>(dir: &OwnedFd, change: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let before = rustix::fs::statat(dir, c"", AtFlags::EMPTY_PATH)?;
    let done = change()?;
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: before.st_mtime,
            tv_nsec: before.st_mtime_nsec as _,
        },
    };
    match rustix::fs::utimensat(dir, c"", &times, AtFlags::EMPTY_PATH) {
        // The directory is somebody else's.
        Ok(()) | Err(Errno::PERM | Errno::ACCESS) => Ok(done),
        Err(error) => Err(error),
    }
}

/// By index of the change.
pub type Staged = HashMap<usize, Temporary>;

impl Temporary {
    /// The directory that it is in, and its name.
    pub fn place(&self) -> Result<(OwnedFd, &OsStr), Errno> {
        Ok((open_canonical(&self.dir, OFlags::PATH | OFlags::DIRECTORY)?, &self.name))
    }

    /// It became its target.
    pub fn moved(mut self) {
        self.is_moved = true;
    }

    /// Its content from the beginning, to be read.
    pub fn open(&self) -> Result<File, Errno> {
        let (dir, name) = self.place()?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(dir, name, flags, Mode::empty()).map(File::from)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.is_moved {
            return;
        }
        let removed = self
            .place()
            .and_then(|(dir, name)| unnoticed(&dir, || rustix::fs::unlinkat(&dir, name, AtFlags::empty())));
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => tracing::warn!("{} stays in {}: {error}", self.name.display(), self.dir.display()),
        }
    }
}

/// Writes the contents of all files among `changes`.
pub fn stage(changes: &[Change], plan: &Plan, contents: &dyn Contents) -> Result<Staged, CommitError> {
    let mut staged = Staged::new();
    for (index, change) in changes.iter().enumerate() {
        if let ChangeKind::File {
            attr, base, content, ..
        } = &change.kind
        {
            let tail = base.as_ref().filter(|base| may_append(&change.path, base, attr));
            let from = tail.map_or(0, |base| base.size);
            staged.insert(index, stage_file(&change.path, plan, attr, content, contents, from)?);
        }
    }
    Ok(staged)
}

/// Whether it looks as if the content could be appended to what is there.
fn may_append(path: &Path, base: &Base, attr: &Attr) -> bool {
    let is_longer = matches!(attr.node, Node::File { size, .. } if size >= base.size);
    let is_long_enough = |stamp: Stamp| stamp.kind == Kind::File && stamp.size >= base.size;
    base.is_prefix && is_longer && Stamp::at_path(path).is_some_and(is_long_enough)
}

/// Writes one content from offset `from` on.
pub fn stage_file(
    path: &Path,
    plan: &Plan,
    attr: &Attr,
    content: &Content,
    contents: &dyn Contents,
    from: u64,
) -> Result<Temporary, CommitError> {
    let wrong = |why: String| CommitError::Content {
        path: path.to_owned(),
        why,
    };
    let Node::File { size, hash } = attr.node else {
        return Err(wrong("its attributes are not those of a file".into()));
    };
    let (dir, holder) = plan
        .stage_dir(path)
        .ok_or_else(|| CommitError::refused(path, "no directory to write it in"))?;
    let name = temporary_name();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let make = || rustix::fs::openat(&holder, &name, flags, Mode::RUSR | Mode::WUSR);
    let file = unnoticed(&holder, make);
    let mut file = File::from(file.map_err(CommitError::at("create a file beside", path))?);
    let mut temporary = Temporary {
        dir: dir.to_owned(),
        name,
        from,
        hash: BlobHash([0; 32]),
        is_moved: false,
    };
    let mut hasher = blake3::Hasher::new();
    let mut put = |bytes: &[u8]| {
        hasher.update(bytes);
        file.write_all(bytes).map_err(CommitError::at("write", path))
    };
    match content {
        Content::Inline(bytes) if bytes.len() as u64 == size => put(&bytes[from.min(size) as usize..])?,
        Content::Inline(bytes) => return Err(wrong(format!("{} bytes in the place of {size}", bytes.len()))),
        Content::OnWorker => {
            let hash = hash.ok_or_else(|| wrong("no hash is given to ask for it".into()))?;
            let mut at = from;
            while at < size {
                let length = u32::try_from(size - at).unwrap_or(PIECE).min(PIECE);
                let piece = contents.read(hash, at, length).map_err(|e| wrong(e.to_string()))?;
                if piece.is_empty() || piece.len() > length as usize {
                    return Err(wrong(format!("{} bytes at {at} of {size}", piece.len())));
                }
                put(&piece)?;
                at += piece.len() as u64;
            }
        }
    }
    let found = BlobHash(*hasher.finalize().as_bytes());
    match hash {
        // What precedes a tail is the target's; both are hashed when they meet.
        Some(hash) if from > 0 || hash == found => temporary.hash = hash,
        Some(hash) => return Err(wrong(format!("hash {found} in the place of {hash}"))),
        None if from > 0 => return Err(wrong("no hash is given to check it by".into())),
        None => temporary.hash = found,
    }
    Ok(temporary)
}

/// Copies what is left of `from` to where `to` stands. Returns the bytes.
pub fn copy(from: &mut File, to: &mut File) -> std::io::Result<u64> {
    let mut buffer = vec![0; PIECE as usize];
    let mut copied = 0;
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(copied),
            read => {
                to.write_all(&buffer[..read])?;
                copied += read as u64;
            }
        }
    }
}
