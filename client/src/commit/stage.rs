//! Contents that a commit is going to need, written into temporary files on the file
//! systems of their targets. Changes nothing that was there.

use super::name::open_dir;
use super::plan::Plan;
use super::present::in_words;
use super::reserve::reserve;
use super::temporary::Temporary;
use super::{CommitError, Contents};
use crate::tree::Stamp;
use rustix::fs::{FallocateFlags, XattrFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use termite_types::{BLOB_PIECE, BlobHash, ChangeKind, Content, Node, Xattr, is_zeros};

/// Bytes of the shortest run of zeros that is left out of a file.
const HOLE: usize = 64 << 10;

/// A content, or the end of it that is to be appended.
pub(super) struct Staged {
    /// Its bytes.
    pub file: Temporary,
    /// Of the whole content, of which this may be the end.
    pub hash: BlobHash,
}

/// By index of the change.
pub(super) type StagedByChange = HashMap<usize, Staged>;

/// Which bytes are to be staged, and how they are checked.
struct Wanted<'a> {
    content: &'a Content,
    size: u64,
    hash: Option<BlobHash>,
    /// Offset of the first of them.
    from: u64,
}

/// Writes all contents of a list.
pub(super) fn stage(plan: &Plan<'_>, contents: &dyn Contents) -> Result<StagedByChange, CommitError> {
    let mut staged = StagedByChange::new();
    for (index, change) in plan.changes.iter().enumerate() {
        let wanted = match &change.kind {
            ChangeKind::File { attr, content, .. } => {
                let Node::File { size, hash } = attr.node else {
                    return Err(wrong(&change.path, "its attributes are not those of a file"));
                };
                let from = 0;
                Wanted {
                    content,
                    size,
                    hash,
                    from,
                }
            }
            _ => continue,
        };
        let one = stage_one(&change.path, plan, &wanted, contents)?;
        if let Some(xattrs) = plan.xattrs.get(change.path.as_path()) {
            set_xattrs(&one.file, xattrs).map_err(CommitError::at("set an extended attribute of", &change.path))?;
        }
        staged.insert(index, one);
    }
    for (index, path, alter) in plan.alters() {
        let Some(edit) = &alter.content else { continue };
        if edit.appended && edit.size < edit.base.size {
            return Err(wrong(path, "it was appended to and is shorter than before"));
        }
        let wanted = Wanted {
            content: &edit.content,
            size: edit.size,
            hash: Some(edit.hash),
            from: if edit.appended { edit.base.size } else { 0 },
        };
        staged.insert(index, stage_one(path, plan, &wanted, contents)?);
    }
    Ok(staged)
}

/// Writes the content of one file under a temporary name beside its place, with its attributes.
fn stage_one(
    path: &Path,
    plan: &Plan<'_>,
    wanted: &Wanted<'_>,
    contents: &dyn Contents,
) -> Result<Staged, CommitError> {
    let dir = plan.stage_dir(path);
    let holder = open_dir(dir).map_err(|errno| no_directory(path, dir, errno))?;
    let (temporary, mut file) = Temporary::create(dir, &holder).map_err(|errno| match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => CommitError::forbidden(path)(errno),
        errno => CommitError::at("create a file beside", path)(errno),
    })?;
    let length = wanted.size - wanted.from;
    if *wanted.content == Content::OnWorker {
        reserve(&file, 0, length).map_err(CommitError::at("write", path))?;
    }
    if length >= HOLE as u64 {
        // Its end may be a hole, and what is reserved behind its end cannot be given back in part.
        file.set_len(length).map_err(CommitError::at("write", path))?;
    }
    let mut hasher = blake3::Hasher::new();
    let mut put = |bytes: &[u8]| {
        hasher.update(bytes);
        write_sparsely(&mut file, bytes).map_err(CommitError::at("write", path))
    };
    match wanted.content {
        Content::Inline(bytes) if bytes.len() as u64 == wanted.size => put(&bytes[wanted.from as usize..])?,
        Content::Inline(bytes) => {
            let why = format!("{} bytes in the place of {}", bytes.len(), wanted.size);
            return Err(wrong(path, why));
        }
        Content::OnWorker => fetch(path, wanted, contents, put)?,
    }
    let found = BlobHash(*hasher.finalize().as_bytes());
    let hash = match wanted.hash {
        // What precedes the end of a content is the target's; both are hashed when they meet.
        Some(hash) if wanted.from > 0 || hash == found => hash,
        Some(hash) => return Err(wrong(path, format!("hash {found} in the place of {hash}"))),
        None => found,
    };
    Ok(Staged { file: temporary, hash })
}

/// Writes at a file's position, but leaves holes for long runs of zeros, as whoever made the file
/// may have done: of what travels, holes cannot be told. The file has its size by then.
fn write_sparsely(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let make_hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    for run in bytes.chunks(HOLE) {
        let is_hole = run.len() == HOLE && is_zeros(run) && {
            let at = file.stream_position()?;
            // Space may be reserved there; a file system that has no holes gets zeros.
            rustix::fs::fallocate(&*file, make_hole, at, run.len() as u64).is_ok()
        };
        if is_hole {
            file.seek(SeekFrom::Current(run.len() as i64))?;
        } else {
            file.write_all(run)?;
        }
    }
    Ok(())
}

/// Sets extended attributes early, so that a file system that does not have them says so before
/// anything is changed.
fn set_xattrs(file: &Temporary, xattrs: &[Xattr]) -> Result<(), Errno> {
    let file = file.open()?;
    let set = |xattr: &Xattr| rustix::fs::fsetxattr(&file, &xattr.name, &xattr.value, XattrFlags::empty());
    xattrs.iter().try_for_each(set)
}

/// Reads a content from the worker, piece by piece.
fn fetch(
    path: &Path,
    wanted: &Wanted<'_>,
    contents: &dyn Contents,
    mut put: impl FnMut(&[u8]) -> Result<(), CommitError>,
) -> Result<(), CommitError> {
    let hash = wanted
        .hash
        .ok_or_else(|| wrong(path, "no hash is given to ask for it"))?;
    let mut at = wanted.from;
    while at < wanted.size {
        let length = u32::try_from(wanted.size - at).unwrap_or(BLOB_PIECE).min(BLOB_PIECE);
        let piece = contents
            .read(hash, at, length)
            .map_err(|error| wrong(path, error.to_string()))?;
        if piece.is_empty() || piece.len() > length as usize {
            let why = format!("{} bytes at {at} of {}", piece.len(), wanted.size);
            return Err(wrong(path, why));
        }
        put(&piece)?;
        at += piece.len() as u64;
    }
    Ok(())
}

fn wrong(path: &Path, why: impl Into<String>) -> CommitError {
    CommitError::Content {
        path: path.to_owned(),
        why: why.into(),
    }
}

/// The job was in a directory that cannot be opened.
fn no_directory(path: &Path, dir: &Path, errno: Errno) -> CommitError {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => {
            CommitError::conflict(path, "its directory", in_words(Stamp::at_path(dir).as_ref()))
        }
        errno => CommitError::forbidden(path)(errno),
    }
}

/// Copies what is left of `from` to where `to` stands. Returns the bytes.
pub(super) fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<u64> {
    let mut buffer = vec![0; BLOB_PIECE as usize];
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
