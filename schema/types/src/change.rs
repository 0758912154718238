//! What a job changed, as the client has to repeat it, and what has to hold for that.
//! Knows nothing of overlay layers.
//!
//! A list of changes says what the job left different, not how it got there. Paths that
//! name what was there before (`Alter`, `Name::from`) are those of the client's tree
//! before any of the list is done.

use crate::{Attr, BlobHash, FileTime};
use std::ffi::OsString;
use std::path::PathBuf;

/// One name that a job left different, or one file behind a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The name.
    pub path: PathBuf,
    /// What became of it.
    pub kind: ChangeKind,
}

/// What to do at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    /// The job removed the name. What was in a directory stands before it in the list.
    Remove {
        /// The name was a directory's.
        dir: bool,
    },
    /// The job made a directory. One that another job made meanwhile is joined with it.
    MakeDir {
        /// Its attributes.
        attr: Attr,
        /// Set by the job itself (`utimensat`), so it must stay as it is.
        explicit_mtime: bool,
        /// Made by mkdir(1) without `-p`, which fails where a directory is.
        plain: bool,
    },
    /// The job made a symbolic link.
    Symlink {
        /// Its attributes; the node is a symlink.
        attr: Attr,
    },
    /// The job made a regular file.
    File {
        /// Its attributes; the node is a file with its hash.
        attr: Attr,
        /// Set by the job itself (`utimensat`), so it must stay as it is.
        explicit_mtime: bool,
        /// Its bytes, or where they are.
        content: Content,
        /// What becomes of a file that is there by now.
        if_present: IfPresent,
    },
    /// Another name of a file that the job made, which stands earlier in the list.
    Link {
        /// That earlier path.
        to: PathBuf,
    },
    /// The name now leads to a file of the client's: the job renamed or linked it.
    Name {
        /// Where the file was.
        from: PathBuf,
        /// Its content as the job left it, where that is known.
        hash: Option<BlobHash>,
    },
    /// The client's file or directory at the path was changed in place.
    Alter(Alter),
    /// The job set extended attributes of the file or directory that is at the path once all
    /// else of the list is done.
    SetXattrs(Vec<Xattr>),
}

impl ChangeKind {
    /// Whether it makes, replaces or removes the name. Others change what the name leads to.
    pub fn is_of_name(&self) -> bool {
        !matches!(self, Self::Alter(_) | Self::SetXattrs(_))
    }
}

/// What becomes of a regular file that is at the path by now, where the job found nothing and
/// made a file: what its own call would have done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IfPresent {
    /// It is replaced: the job renamed the file to the path.
    Replace,
    /// The content goes behind its content: the job only appended (`O_APPEND`).
    Append,
    /// It keeps its inode and attributes and gets the content: the job opened the path
    /// with truncation.
    Overwrite,
}

/// An extended attribute (`xattr(7)`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Xattr {
    /// With its name space: `user.`.
    pub name: OsString,
    /// Its value.
    pub value: Vec<u8>,
}

/// What a job changed of a file or directory that it did not make. Only what is given
/// here is touched.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Alter {
    /// Permission bits, `0o7777`.
    pub mode: Option<u32>,
    /// User and group.
    pub owner: Option<(u32, u32)>,
    /// Time of last modification. Content without it is modified when it is committed.
    pub mtime: Option<SetTime>,
    /// Of a file.
    pub content: Option<Edit>,
}

impl Alter {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A time of last modification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetTime {
    /// By the worker's clock, unless it is explicit.
    pub time: FileTime,
    /// Set by the job itself (`utimensat`), so it must stay as it is.
    pub explicit: bool,
}

/// A new content of a file that keeps its inode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    /// Content before, as the job saw it.
    pub base: Base,
    /// Bytes of the new content.
    pub size: u64,
    /// Of the new content.
    pub hash: BlobHash,
    /// The new content, or where it is.
    pub content: Content,
    /// It is `base` with bytes behind it that were only appended (`O_APPEND`): they go
    /// behind whatever is there.
    pub appended: bool,
}

/// A content by its size and hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Base {
    /// Bytes.
    pub size: u64,
    /// Content.
    pub hash: BlobHash,
}

/// The bytes of an output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Here.
    Inline(Vec<u8>),
    /// To be read from the worker by its hash.
    OnWorker,
}

/// What a job was told of a path. If it does not hold any more when the job is to be
/// committed, the job runs again.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Check {
    /// On the client.
    pub path: PathBuf,
    /// What the job was told.
    pub seen: Seen,
}

/// What a path showed to a job.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Seen {
    /// There was nothing: the job made the name by a call that fails where something is.
    Nothing,
    /// There was something that is no directory: the job removed or renamed it.
    Leaf,
    /// There was a regular file whose content the job read, and then changed, replaced or
    /// removed. Where the content is by now what the job would put there, nothing is lost.
    Content(Base),
    /// There was nothing, and the job may have gone by that: it had looked for the path, or
    /// opened a new file without truncation, or appended to one and read it. Where the
    /// content is by now what the job would put there, nothing is lost.
    Absent,
    /// The job changed the file and then took its last name away, and with it what it changed, or,
    /// where no call is seen, took the name of a symlink away, which it may have given another one:
    /// what has another name cannot be left as the job would have left it, so that the
    /// client runs the job.
    OnlyName,
    /// There was a symlink with this target, and a call of the job that changed something went
    /// through it.
    Symlink(PathBuf),
    /// What was there had these permission bits, `0o7777`: the job gave it others, or moved or
    /// replaced it and may have given the successor the same. Where it has the bits by now that
    /// the job would give, nothing is lost.
    Mode(u32),
    /// The same of its owner and group.
    Owner(u32, u32),
    /// There was a regular file, to which the job gave another name.
    File,
    /// There was a regular file, and the job renamed the one at this other path to it. Where both
    /// are one file, the call would have done nothing (rename(2)), so that the client runs the job.
    OtherFile(PathBuf),
}

/// What a job's changes depend on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Premises {
    /// What must hold, each by itself.
    pub checks: Vec<Check>,
    /// The job took a lock (`flock`, `F_SETLK`, `F_OFD_SETLK`) on a file that it had not
    /// made or that it left: all that its trace says it used must be as it was when it began.
    pub locked: bool,
    /// The job's calls were not seen, so that it may have taken a lock: the same, but that
    /// listings do not count.
    pub unseen: bool,
    /// Names that it made by a call that fails where something is, or whose file it made and
    /// locked, and that it removed again. The same name of another job makes both of them lock holders.
    pub passing_names: Vec<PathBuf>,
    /// Files that it took a lock on and that it had not made, or that it left: other processes
    /// hold no lock on them while it is committed.
    pub locks: Vec<PathBuf>,
}
