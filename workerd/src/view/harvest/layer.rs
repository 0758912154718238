//! Reading single files and directories of an upper layer: what overlayfs noted on them,
//! their extended attributes, their contents. Knows neither the client's tree nor the job.

use crate::view::inode::{all_xattrs, is_access_list};
use crate::view::outputs::piece;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use termite_types::{Base, BlobHash, Xattr};

use super::INLINE_MAX;

/// What overlayfs wrote down about an upper directory.
pub(super) struct Marks {
    /// Nothing below shows through.
    pub opaque: bool,
    /// Where the client's directory is: a sibling's name, or a path from the root.
    pub redirect: Option<PathBuf>,
}

impl Marks {
    /// The client's directory that shows through one at `name`, in a directory over `below`.
    pub(super) fn leads_to(&self, below: Option<&Path>, name: &OsStr) -> Option<PathBuf> {
        match (&self.redirect, below) {
            _ if self.opaque => None,
            (Some(path), _) if path.is_absolute() => Some(path.clone()),
            (Some(sibling), Some(below)) => Some(below.join(sibling)),
            (None, Some(below)) => Some(below.join(name)),
            (_, None) => None,
        }
    }
}

impl Marks {
    /// Of an open directory of the upper layer.
    pub(super) fn of(dir: &OwnedFd) -> Self {
        let opaque = mark(dir, "opaque").is_some_and(|value| value == b"y");
        let redirect = mark(dir, "redirect").map(|value| PathBuf::from(OsString::from_vec(value)));
        Self { opaque, redirect }
    }
}

/// A note of overlayfs, whichever way the mount keeps them.
fn mark(file: &OwnedFd, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; libc::PATH_MAX as usize];
    ["trusted", "user"].into_iter().find_map(|space| {
        let len = rustix::fs::fgetxattr(file, format!("{space}.overlay.{name}"), &mut value[..]).ok()?;
        Some(value[..len].to_vec())
    })
}

/// Extended attributes in the users' name space but for overlayfs' own; `None`: it has an access
/// list (acl(5)).
pub(super) fn xattrs(file: &OwnedFd) -> Result<Option<Vec<Xattr>>, Errno> {
    let all = all_xattrs(file)?;
    let has_list = all.iter().any(|xattr| is_access_list(xattr.name.as_bytes()));
    Ok((!has_list).then_some(all))
}

/// Whether overlayfs noted that.
pub(super) fn has_mark(file: &OwnedFd, name: &str) -> bool {
    mark(file, name).is_some()
}

/// What a look through an output tells.
pub(super) struct Seen {
    /// Of the whole.
    pub hash: BlobHash,
    /// It begins with what was there before.
    pub begins: bool,
    /// All of it, if that is little.
    pub inline: Option<Vec<u8>>,
}

/// Reads an output of this size once; `before`: what was there. Maps nothing: a hole that is
/// looked at like that takes memory, and without any left the reader is killed.
pub(super) fn look_through(file: &OwnedFd, size: u64, before: Option<Base>) -> std::io::Result<Seen> {
    let (mut hasher, mut at, mut begins) = (blake3::Hasher::new(), 0, false);
    loop {
        let bytes = piece(file, at, (size - at).min(INLINE_MAX) as u32)?;
        let end = at + bytes.len() as u64;
        if let Some(before) = before.filter(|before| (at..=end).contains(&before.size)) {
            let head = hasher.clone().update(&bytes[..(before.size - at) as usize]).finalize();
            begins = head.as_bytes() == &before.hash.0;
        }
        hasher.update(&bytes);
        if bytes.is_empty() || end == size {
            return Ok(Seen {
                hash: BlobHash(*hasher.finalize().as_bytes()),
                begins,
                inline: (at == 0 && end <= INLINE_MAX).then_some(bytes),
            });
        }
        at = end;
    }
}
