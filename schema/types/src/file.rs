//! Files as one side describes them to the other: attributes, listings, updates.
//! Knows nothing of how they are stored.

use crate::BlobHash;
use std::ffi::OsString;
use std::path::PathBuf;

/// Time since 1970 in seconds and nanoseconds; before it, `sec` is negative.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub struct FileTime {
    /// Whole seconds, rounded down.
    pub sec: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nsec: u32,
}

/// A worker who can give content that the client has, too.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Holder {
    /// `unix:PATH` or `HOST:PORT`.
    pub address: String,
    /// Of the client's session there. A secret of the client and its workers.
    pub ticket: Vec<u8>,
}

/// Attributes of a file, a directory or a symlink, with what its kind adds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attr {
    /// Permission bits with set-id and sticky, `0o7777`.
    pub mode: u32,
    /// Owner on the client.
    pub uid: u32,
    /// Group on the client.
    pub gid: u32,
    /// Time of last modification by the client's clock.
    pub mtime: FileTime,
    /// What it is.
    pub node: Node,
}

/// The kinds of file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Node {
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// Of its content, where the client knows it without reading.
        hash: Option<BlobHash>,
    },
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink {
        /// What it holds, as it stands.
        target: PathBuf,
    },
    /// What only the client's machine has. A view shows its name in its directory, and a job that
    /// looks for it is for the client.
    Special(Special),
}

/// The kinds of file that are no store of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Special {
    /// A FIFO.
    Fifo,
    /// A UNIX socket.
    Socket,
    /// A block or character device.
    Device,
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// A single component, never `.` or `..`.
    pub name: OsString,
    /// What it names.
    pub attr: Attr,
}

/// A directory and all its names, in the order in which the client lists them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// Of the directory itself.
    pub attr: Attr,
    /// Its names.
    pub entries: Vec<Entry>,
}

/// What a job is expected to use and its worker was not told of before. A wrong guess
/// costs bytes and nothing else.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expected {
    /// Directories that it looks into, parents first.
    pub dirs: Vec<PathBuf>,
    /// Regular files that it reads, in directories that are among those or known.
    pub files: Vec<PathBuf>,
}

impl Expected {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.dirs.is_empty() && self.files.is_empty()
    }
}

/// One path as it stands on the client since it changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// What changed.
    pub path: PathBuf,
    /// What is there; `None`: nothing.
    pub attr: Option<Attr>,
    /// Only names in this directory changed, and those in it that were served are told by
    /// themselves. Any other directory told has lost its completeness: its listing must be
    /// asked for again before it is trusted.
    pub names_told: bool,
}

impl Update {
    /// A path by itself.
    pub fn new(path: impl Into<PathBuf>, attr: Option<Attr>) -> Self {
        Self {
            path: path.into(),
            attr,
            names_told: false,
        }
    }
}

impl Attr {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.node, Node::Dir)
    }

    /// Bytes of a file's content; of anything else none.
    pub fn size(&self) -> u64 {
        match self.node {
            Node::File { size, .. } => size,
            Node::Dir | Node::Symlink { .. } | Node::Special(_) => 0,
        }
    }
}

/// Whether all bytes are zeros, as those of a hole in a file are.
pub fn is_zeros(bytes: &[u8]) -> bool {
    // Each byte is the one before it, and the first is zero.
    bytes
        .split_first()
        .is_none_or(|(first, rest)| *first == 0 && *rest == bytes[..rest.len()])
}
