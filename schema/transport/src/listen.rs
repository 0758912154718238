//! Listening for clients and other workers.

use crate::{Address, Stream};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::either::Either;

/// Why an address cannot be listened on, or no connection be taken.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process listens there.
    #[error("another process listens on {} already: stop that worker or choose another path", .0.display())]
    Taken(PathBuf),
    /// A step failed.
    #[error("cannot {doing}: {error}")]
    Io {
        /// What was being done, to what.
        doing: String,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

impl ListenError {
    fn at(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io {
            doing: doing.into(),
            error,
        }
    }
}

/// A bound address.
pub enum Listener {
    /// A unix socket that its owner alone may connect to; the file is removed when this is dropped.
    Unix(UnixListener, PathBuf),
    /// A TCP socket.
    Tcp(TcpListener),
}

impl Listener {
    /// Binds an address. A socket file that no process listens on any more is replaced.
    pub async fn bind(address: &Address) -> Result<Self, ListenError> {
        match address {
            Address::Unix(path) => bind_unix(path),
            Address::Tcp(to) => {
                // By its name it would be the port of one address family, whichever comes first.
                let numeric = to.replacen("localhost:", "127.0.0.1:", 1);
                let listener = TcpListener::bind(numeric).await;
                listener
                    .map(Self::Tcp)
                    .map_err(ListenError::at(format!("listen on {to}")))
            }
        }
    }

    /// The next connection.
    pub async fn accept(&self) -> Result<Stream, ListenError> {
        let failed = || ListenError::at("accept a connection");
        match self {
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await.map_err(failed())?;
                Ok(Either::Left(stream))
            }
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await.map_err(failed())?;
                stream.set_nodelay(true).map_err(ListenError::at("set TCP_NODELAY"))?;
                Ok(Either::Right(stream))
            }
        }
    }
}

fn bind_unix(path: &Path) -> Result<Listener, ListenError> {
    let shown = path.display();
    if UnixStream::connect(path).is_ok() {
        return Err(ListenError::Taken(path.to_owned()));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(ListenError::at(format!("replace {shown}"))(error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(ListenError::at(format!("listen on {shown}")))?;
    let bound = Listener::Unix(listener, path.to_owned());
    let owner_only = fs::Permissions::from_mode(0o600);
    fs::set_permissions(path, owner_only).map_err(ListenError::at(format!("protect {shown}")))?;
    Ok(bound)
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // It may be gone, or in a directory that is gone.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dial;

    #[tokio::test]
    async fn meets_its_diallers_and_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.sock");
        let address = Address::Unix(path.clone());
        let listener = Listener::bind(&address).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (accepted, dialled) = tokio::join!(listener.accept(), dial(&address));
        assert!(accepted.is_ok() && dialled.is_ok());
        let second = Listener::bind(&address).await;
        assert!(matches!(second, Err(ListenError::Taken(taken)) if taken == path));
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn replaces_a_socket_without_a_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(Listener::bind(&Address::Unix(path)).await.is_ok());
    }
}
