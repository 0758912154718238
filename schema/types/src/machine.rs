//! What a worker asks of the client's own machine on behalf of a job.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Something that a machine may have.
#[derive(Clone, PartialEq, Eq, Debug)]
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
            Self::AbstractSocket(name) => write!(f, "the socket @{}", name.escape_ascii()),
        }
    }
}
