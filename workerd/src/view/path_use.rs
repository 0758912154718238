//! What a call is about to do at a path, and what the view answers. Knows no call and no tree.

use super::act::Act;

/// Where a relative path begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The working directory.
    Cwd,
    /// An open descriptor of the task.
    Descriptor(i32),
}

/// What is to be done to what a path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// Look at attributes or a link target, enter, or just resolve.
    Stat,
    /// Open for reading; of a directory, its names.
    Read,
    /// Open for its names: nothing but a directory will do.
    List,
    /// Open for reading and writing.
    Update,
    /// Open for writing behind the end, and not for reading.
    Append,
    /// Change content or attributes, or take the name away.
    Change,
    /// Give another name to the same file.
    Share,
    /// Make, or remove what is no directory.
    Name,
    /// Remove or replace a directory, which must be seen to be empty.
    Empty,
    /// Execute.
    Exec,
}

impl Intent {
    /// Whether a file's content is looked at.
    pub(super) fn is_for_content(self) -> bool {
        matches!(self, Self::Read | Self::Update | Self::Append | Self::Exec)
    }
}

/// One path of a call.
#[derive(Clone, Copy, Debug)]
pub struct PathUse<'a> {
    /// Where it begins if it is relative. An empty path names the origin itself.
    pub origin: Origin,
    /// As the job gave it.
    pub path: &'a [u8],
    /// A symlink at its end is followed.
    pub follow: bool,
    /// What is to be done there.
    pub intent: Intent,
    /// It is made where it is missing.
    pub makes: bool,
    /// What the call does there.
    pub act: Act,
}

/// Whether a fault may wait for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocking {
    /// No: it says [`Reply::NeedsFetch`] instead.
    Never,
    /// Yes.
    Allowed,
}

/// What a fault came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The kernel may go on.
    Ready(Resolved),
    /// The client has to be asked: call again where it may block.
    NeedsFetch,
    /// The call fails like this.
    Errno(i32),
}

/// What a path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolved {
    /// Nothing, or nothing that can be reached.
    Missing,
    /// Something that is neither a directory nor a symlink.
    File,
    /// A directory; `below`: the client's tree has it too.
    Dir {
        /// It is not the job's own.
        below: bool,
    },
    /// A symlink that is not followed.
    Symlink,
    /// Nothing of a view's: the slot's own files, pipes, deleted files.
    Outside,
}
