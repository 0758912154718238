//! What a worker asks of the client's own machine on behalf of a job.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Something that a machine may have.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Resource {
    /// A process with this number.
    Process(u32),
    /// A process with this number, or below -1 a process group, that the client's user may send
    /// a signal (kill(2)).
    Target(i32),
    /// A service at this address: of the machine's own a socket that listens, of others a way
    /// to get there.
    Service(SocketAddr),
    /// A socket with this abstract name (unix(7)), without the leading null byte.
    AbstractSocket(Vec<u8>),
    /// A socket at this absolute path.
    Socket(PathBuf),
    /// Anything at this absolute path, a symlink itself.
    Name(PathBuf),
    /// An object of System V IPC (sysvipc(7)).
    Object(ObjectKind, ObjectName),
    /// A file or directory at this absolute path that the client's user may write to.
    Writable(PathBuf),
    /// Something else than files where users or groups are looked for (nsswitch.conf(5)).
    NameServices,
}

/// The kinds of System V IPC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectKind {
    /// A segment of shared memory.
    Memory,
    /// A set of semaphores.
    Semaphores,
    /// A message queue.
    Queue,
}

/// How an object of System V IPC is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectName {
    /// The one with this key.
    Key(i32),
    /// The one with this identifier.
    Id(i32),
    /// Whichever there are.
    Any,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "shared memory segment",
            Self::Semaphores => "semaphore set",
            Self::Queue => "message queue",
        })
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(number) => write!(f, "process {number}"),
            Self::Target(number) if *number < 0 => write!(f, "process group {}", number.unsigned_abs()),
            Self::Target(number) => write!(f, "process {number}"),
            Self::Service(address) => write!(f, "a service at {address}"),
            Self::Socket(path) => write!(f, "the socket {}", path.display()),
            Self::Name(path) => write!(f, "{}", path.display()),
            Self::Object(kind, ObjectName::Key(key)) => write!(f, "{kind} with key {key:#x}"),
            Self::Object(kind, ObjectName::Id(id)) => write!(f, "{kind} with number {id}"),
            Self::Object(kind, ObjectName::Any) => write!(f, "the list of each {kind}"),
            Self::Writable(path) => write!(f, "the right to write to {}", path.display()),
            Self::NameServices => f.write_str("the machine's name services"),
            Self::AbstractSocket(name) => write!(f, "the socket @{}", name.escape_ascii()),
        }
    }
}
