//! Addresses as people write them. While connections have no keys, these are unix sockets and TCP
//! ports of the loopback interface.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a worker listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// `unix:PATH`, a unix socket. A relative path counts from the working directory.
    Unix(PathBuf),
    /// `HOST:PORT`, of the loopback interface.
    Tcp(String),
}

/// An address that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// It has no known form.
    #[error("`{0}` is no worker address; write unix:/PATH or HOST:PORT")]
    Shape(String),
    /// A relative path in a place that has no working directory.
    #[error("`{0}` is relative; write the socket's absolute path")]
    Relative(String),
    /// A name for many workers.
    #[error("`{0}` needs encrypted links, which are not built yet; use unix:/PATH or a loopback HOST:PORT")]
    Dns(String),
    /// It is on another machine, or reachable from one.
    #[error("`{0}` is not on this machine; until links have keys only unix sockets and loopback TCP are used")]
    NotLoopback(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let owned = || text.to_owned();
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(AddressError::Shape(owned())),
                path => Ok(Self::Unix(path.into())),
            };
        }
        if text.starts_with("dns:") {
            return Err(AddressError::Dns(owned()));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| AddressError::Shape(owned()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(AddressError::Shape(owned()));
        }
        let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if is_loopback {
            Ok(Self::Tcp(owned()))
        } else {
            Err(AddressError::NotLoopback(owned()))
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(to) => f.write_str(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_unix_paths_and_loopback_ports() {
        assert_eq!("unix:/a/b".parse(), Ok(Address::Unix("/a/b".into())));
        for tcp in ["127.0.0.1:7000", "localhost:7000", "[::1]:7000"] {
            assert_eq!(tcp.parse(), Ok(Address::Tcp(tcp.into())));
        }
    }

    #[test]
    fn refuses_everything_else_with_a_sentence() {
        for (text, why) in [
            ("0.0.0.0:7000", "not on this machine"),
            ("[::]:1", "not on this machine"),
            ("example.org:7000", "not on this machine"),
            ("unix:", "no worker address"),
            ("x", "no worker address"),
            ("127.0.0.1:port", "no worker address"),
            ("dns:workers:7000", "encrypted"),
        ] {
            let refused = text.parse::<Address>().unwrap_err().to_string();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
