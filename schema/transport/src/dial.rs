//! Connecting to a worker.

use crate::{Address, Stream};
use std::io;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The other side cannot be reached.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The connection cannot be told to send small messages at once.
    #[error("cannot set TCP_NODELAY: {0}")]
    NoDelay(#[source] io::Error),
}

/// Connects to an address. Waits for as long as the kernel does.
pub async fn dial(address: &Address) -> Result<Stream, DialError> {
    match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(DialError::Connect)?;
            Ok(Either::Left(stream))
        }
        Address::Tcp(to) => {
            let stream = TcpStream::connect(to).await.map_err(DialError::Connect)?;
            stream.set_nodelay(true).map_err(DialError::NoDelay)?;
            Ok(Either::Right(stream))
        }
    }
}
