//! What can be wrong with a message. Knows the words for it, not who sent it.

/// Why a message was not accepted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WireError {
    /// The bytes are no message of this schema.
    #[error("malformed message: {0}")]
    Malformed(#[from] capnp::Error),
    /// A union or an enum has a value that the schema does not know.
    #[error("malformed message: {0}")]
    Unknown(#[from] capnp::NotInSchema),
    /// A field holds something that our types must not hold.
    #[error("bad {field} in a message: {fault}")]
    Bad {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// A NUL byte, which no path, argument or variable can hold.
    #[error("it holds a NUL byte")]
    Nul,
    /// A name with a slash in it.
    #[error("it holds a slash")]
    Slash,
    /// `.` or `..` where a name or a plain path must be.
    #[error("it holds `.` or `..`")]
    Dots,
    /// A path that does not begin with a slash.
    #[error("it is not absolute")]
    Relative,
    /// A path with a doubled or a trailing slash.
    #[error("it holds an empty component")]
    EmptyComponent,
    /// A hash of another length than 32 bytes.
    #[error("it has {0} bytes instead of 32")]
    HashLength(usize),
    /// A number beyond its range.
    #[error("{0} is out of range")]
    Range(u64),
    /// Longer than its like can be.
    #[error("{0} of them are too many")]
    TooMany(u32),
    /// A file, directory or symlink where another of these must be.
    #[error("it is another kind of file")]
    Kind,
    /// Text that is not UTF-8.
    #[error("it is not UTF-8")]
    NotText,
}

impl WireError {
    pub(crate) fn bad(field: &'static str, fault: Fault) -> Self {
        Self::Bad { field, fault }
    }
}

/// A server's answer to a call whose parameters were not accepted.
impl From<WireError> for capnp::Error {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Malformed(error) => error,
            other => capnp::Error::failed(other.to_string()),
        }
    }
}
