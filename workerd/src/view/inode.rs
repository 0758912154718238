//! What single inodes hold: the content that attributes name, extended attributes. Knows neither
//! names nor layers.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use termite_types::{Attr, Base, BlobHash, Node, Xattr};

/// Extended attributes in the users' name space but for overlayfs' own, and access lists (acl(5)).
pub(super) fn all_xattrs(file: &OwnedFd) -> Result<Vec<Xattr>, Errno> {
    let mut names = [0; 4096];
    let len = match rustix::fs::flistxattr(file, &mut names[..]) {
        Ok(len) => len,
        Err(Errno::NOTSUP) => 0,
        Err(errno) => return Err(errno),
    };
    let is_own =
        |name: &&[u8]| name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") || is_access_list(name);
    let own = names[..len].split(|byte| *byte == 0).filter(is_own);
    let value_of = |name: &[u8]| {
        let mut value = vec![0; 64 << 10];
        let len = rustix::fs::fgetxattr(file, name, &mut value[..])?;
        value.truncate(len);
        Ok(Xattr {
            name: OsString::from_vec(name.to_vec()),
            value,
        })
    };
    own.map(value_of).collect()
}

/// Whether an extended attribute of this name is an access list (acl(5)).
pub(super) fn is_access_list(name: &[u8]) -> bool {
    name.starts_with(b"system.posix_acl_")
}

/// Size and hash of a file's content, where they are known.
pub(super) fn content_of(attr: &Attr) -> Option<Base> {
    match attr.node {
        Node::File { size: 0, .. } => Some(nothing()),
        Node::File { size, hash: Some(hash) } => Some(Base { size, hash }),
        _ => None,
    }
}

/// No content.
pub(super) fn nothing() -> Base {
    Base {
        size: 0,
        hash: BlobHash(*blake3::hash(&[]).as_bytes()),
    }
}
