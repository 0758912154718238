//! What a job changed, as the client has to repeat it. Knows nothing of overlay layers.

use crate::{Attr, BlobHash};
use std::path::PathBuf;

/// One path that a job left different.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Where.
    pub path: PathBuf,
    /// How it stands.
    pub kind: ChangeKind,
}

/// What to do at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    /// Nothing is there any more, nor below it.
    Remove,
    /// A directory with these attributes; names in it that no other change mentions stay.
    Dir {
        /// Its attributes.
        attr: Attr,
        /// Set by the job itself (`utimensat`), so it must stay as it is.
        explicit_mtime: bool,
    },
    /// A symbolic link.
    Symlink {
        /// Its attributes; the node is a symlink.
        attr: Attr,
    },
    /// A regular file with this content.
    File {
        /// Its attributes; the node is a file with its hash.
        attr: Attr,
        /// Set by the job itself (`utimensat`), so it must stay as it is.
        explicit_mtime: bool,
        /// The file it was made from, if the job changed one that was there.
        base: Option<Base>,
        /// Its bytes, or where they are.
        content: Content,
    },
    /// Another name of a file that stands earlier in the list.
    Link {
        /// That earlier path.
        to: PathBuf,
    },
}

/// What a changed file held before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Base {
    /// Bytes.
    pub size: u64,
    /// Content.
    pub hash: BlobHash,
    /// The new content begins with all of the old.
    pub is_prefix: bool,
}

/// The bytes of an output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Here.
    Inline(Vec<u8>),
    /// To be read from the worker by the hash in the attributes.
    OnWorker,
}
