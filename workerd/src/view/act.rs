//! What a call does at its path, by the call and its arguments: the question that decides what
//! is taken down of it. Knows no names.

/// What a call does to the name or the file that a path leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Nothing: it looks.
    Look,
    /// The same, and asks whether it may write (`access(2)`).
    TestWrite,
    /// Opens a file for writing, and makes it where it is missing if the use says so.
    Open {
        /// How what is there is going to be written.
        writes: Writes,
        /// It fails where something is (`O_EXCL`).
        exclusive: bool,
    },
    /// Makes a directory; `plain`: by mkdir(1) without `-p`.
    MakeDir {
        /// Whose user expects it to fail where a directory is.
        plain: bool,
    },
    /// Makes something else by a call that fails where something is.
    Make,
    /// Takes the name away.
    Remove {
        /// Of a directory, and of nothing else.
        dir: bool,
    },
    /// Takes the name away from what gets another.
    MoveAway,
    /// Gives the name to something else.
    MoveHere {
        /// It fails where something is (`RENAME_NOREPLACE`).
        exclusive: bool,
        /// What is moved is a directory, which takes only the place of one.
        dir: bool,
    },
    /// The name changes places with another.
    Exchange,
    /// Gives the file a further name.
    Link,
    /// Changes attributes.
    Attributes {
        /// So may who may write, as the time to the present one. Others only the owner changes.
        by_writers: bool,
    },
}

impl Act {
    /// Whether a file of the client's at the path is copied up by it. Its content is there
    /// then.
    pub(super) fn copies_up(self) -> bool {
        match self {
            Self::Open { exclusive, .. } => !exclusive,
            Self::MoveAway | Self::Exchange | Self::Link | Self::Attributes { .. } => true,
            Self::Look
            | Self::TestWrite
            | Self::MakeDir { .. }
            | Self::Make
            | Self::Remove { .. }
            | Self::MoveHere { .. } => false,
        }
    }

    /// Whether it may be how the job takes a lock: of those who do it, one succeeds.
    pub(super) fn is_contended(self) -> bool {
        matches!(self, Self::Remove { .. } | Self::MoveAway | Self::MakeDir { .. }) || self.is_exclusive()
    }

    /// Whether its user expects it to fail where something is.
    pub(super) fn is_exclusive(self) -> bool {
        match self {
            Self::Open { exclusive, .. } | Self::MoveHere { exclusive, .. } => exclusive,
            Self::MakeDir { plain } => plain,
            Self::Make => true,
            _ => false,
        }
    }
}

/// How a file is written through a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writes {
    /// Only behind its end, and never read (`O_WRONLY | O_APPEND`).
    Append,
    /// From nothing (`O_TRUNC`).
    Anew,
    /// Anyhow.
    Within,
}
