//! The words of the design as plain Rust types: what client and worker tell each
//! other about files and jobs.
//!
//! Knows neither the wire nor any I/O. Paths are absolute client paths, bytes
//! without NUL; they are never assumed to be text.

#![forbid(unsafe_code)]

mod change;
mod file;
mod id;
mod job;
pub mod journal;
mod machine;
mod place;
mod user;

pub use change::{Alter, Base, Change, ChangeKind, Check, Content, Edit, IfPresent, Premises, Seen, SetTime, Xattr};
pub use file::{Attr, Entry, Expected, FileTime, Holder, Listing, Node, Special, Update, is_zeros};
pub use id::{BLOB_PIECE, BlobHash, BuildId, JobId, RequestId, Snapshot};
pub use job::{
    Abandon, Conflict, JobEnd, JobResult, JobSpec, Jobserver, Limit, Owner, Phases, PidRange, Stdin, Stdio,
    TerminalSize, TraceItem, Usage, Use,
};
pub use machine::{ObjectKind, ObjectName, Resource};
pub use place::{journal_path, lock_path, socket_path, stopped_path};
pub use user::{Group, User, UserAnswer, UserQuery};

/// Version of both protocols, one number, apart from the release version. It grows
/// with every change of a schema.
pub const PROTOCOL: u32 = 10;
