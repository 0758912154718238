//! Where the worker listens and who is let in. Knows addresses and tokens; knows
//! nothing of what a client asks for.

use crate::worker::{Worker, WorkerHandle};
use anyhow::{Context, bail};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::str::FromStr;
use termite_wire::meet::{Greeting, Host};
use termite_wire::rpc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `unix:PATH`
    Unix(PathBuf),
    /// `HOST:PORT`, loopback only.
    Tcp(SocketAddr),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("unix: needs a path, as in unix:/run/termite/worker.sock".to_string()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let text = text.replacen("localhost:", "127.0.0.1:", 1);
        let address: SocketAddr = text
            .parse()
            .map_err(|_| format!("{text:?} is neither unix:PATH nor ADDRESS:PORT"))?;
        let loopback = match address.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback(),
        };
        match loopback {
            true => Ok(Self::Tcp(address)),
            false => Err(format!(
                "{address} is not a loopback address: without keys a worker listens only on unix sockets and loopback"
            )),
        }
    }
}

/// A bound address.
pub enum Listener {
    /// A unix socket; the file is removed when dropped.
    Unix(UnixListener, PathBuf),
    /// A TCP socket.
    Tcp(TcpListener),
}

impl Listener {
    /// Binds; a socket file that nobody listens on any more is replaced.
    pub async fn bind(address: &Address) -> anyhow::Result<Self> {
        match address {
            Address::Unix(path) => {
                if std::os::unix::net::UnixStream::connect(path).is_ok() {
                    bail!(
                        "somebody listens on {} already: stop that worker or choose another path",
                        path.display()
                    );
                }
                match std::fs::remove_file(path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error).with_context(|| format!("cannot replace {}", path.display()));
                    }
                    _ => {}
                }
                let listener =
                    UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
                let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                std::fs::set_permissions(path, owner_only)
                    .with_context(|| format!("cannot protect {}", path.display()))?;
                Ok(Self::Unix(listener, path.clone()))
            }
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)
                    .await
                    .with_context(|| format!("cannot listen on {address}"))?;
                Ok(Self::Tcp(listener))
            }
        }
    }

    /// Serves connections for ever; ends when accepting fails.
    pub async fn serve(self, worker: Rc<Worker>) -> anyhow::Result<()> {
        loop {
            match &self {
                Self::Unix(listener, _) => {
                    let (stream, _) = listener.accept().await.context("cannot accept a connection")?;
                    spawn(stream, worker.clone(), Vec::new());
                }
                Self::Tcp(listener) => {
                    let (stream, _) = listener.accept().await.context("cannot accept a connection")?;
                    stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
                    spawn(stream, worker.clone(), worker.options.token.clone());
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self
            && let Err(error) = std::fs::remove_file(&*path)
        {
            tracing::debug!("{} stays behind: {error}", path.display());
        }
    }
}

fn spawn(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, worker: Rc<Worker>, token: Vec<u8>) {
    let greeting = Greeting {
        release: env!("CARGO_PKG_VERSION").to_string(),
        token: Vec::new(),
        hostname: worker.hostname.clone(),
        slots: worker.options.slots,
        machine: worker.machine.clone(),
        pid_limit: worker.pid_limit,
    };
    let host = Host {
        greeting,
        token,
        worker: Rc::new(WorkerHandle(worker)),
    };
    tokio::task::spawn_local(async move {
        if let Err(error) = rpc::answer(stream, host.bootstrap()).await {
            tracing::debug!("connection ended: {error}");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_paths_and_loopback_are_taken() {
        assert_eq!("unix:/a/b".parse(), Ok(Address::Unix("/a/b".into())));
        assert_eq!(
            "127.0.0.1:7000".parse(),
            Ok(Address::Tcp("127.0.0.1:7000".parse().unwrap()))
        );
        assert_eq!(
            "localhost:7000".parse(),
            Ok(Address::Tcp("127.0.0.1:7000".parse().unwrap()))
        );
        assert_eq!("[::1]:7000".parse(), Ok(Address::Tcp("[::1]:7000".parse().unwrap())));
    }

    #[test]
    fn anything_else_is_refused_with_a_sentence() {
        for (text, why) in [
            ("0.0.0.0:7000", "not a loopback"),
            ("[::]:1", "not a loopback"),
            ("unix:", "needs a path"),
            ("x", "neither"),
        ] {
            let refused = text.parse::<Address>().unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
