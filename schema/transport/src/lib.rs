//! Where workers listen, and the connections to them: one address, one dialler, one listener.
//!
//! Knows unix sockets and TCP; knows nothing of what travels over a connection, nor who may use it.

#![forbid(unsafe_code)]

mod address;
mod dial;
mod listen;

pub use address::{Address, AddressError};
pub use dial::{DialError, dial};
pub use listen::{ListenError, Listener};

use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;

/// A connection of either kind.
pub type Stream = Either<UnixStream, TcpStream>;
