//! Worker addresses as people write them. Knows which of them may be used while links
//! have no keys: unix sockets, and loopback TCP with a token file.

use super::setting::Setting;
use super::{ConfigError, Origin};
use crate::link::Address;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// An address that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// Nothing that we know.
    #[error("`{0}` is no worker address; write unix:/PATH or HOST:PORT")]
    Shape(String),
    /// A socket without its directory.
    #[error("`{0}` is relative; write the socket's absolute path")]
    Relative(String),
    /// A name for many workers.
    #[error("`{0}` needs encrypted links, which are not built yet; use unix:/PATH or a loopback HOST:PORT")]
    Dns(String),
    /// Beyond this machine.
    #[error("`{0}` is not on this machine; until links have keys only unix sockets and loopback TCP are dialled")]
    NotLoopback(String),
}

/// The addresses, each `unix:/PATH` or a loopback `HOST:PORT`; an item may also be
/// several of them with commas between.
pub fn parse_workers(list: &[String]) -> Result<Vec<Address>, AddressError> {
    let items = list.iter().flat_map(|item| item.split(',')).map(str::trim);
    items.filter(|item| !item.is_empty()).map(parse).collect()
}

fn parse(text: &str) -> Result<Address, AddressError> {
    let owned = || text.to_owned();
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            "" => Err(AddressError::Shape(owned())),
            path if path.starts_with('/') => Ok(Address::Unix(PathBuf::from(path))),
            _ => Err(AddressError::Relative(owned())),
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
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if loopback {
        Ok(Address::Tcp(owned()))
    } else {
        Err(AddressError::NotLoopback(owned()))
    }
}

/// The workers of a setting; relative sockets count from where it was said.
pub(super) fn of_setting(setting: Setting, cwd: &Path) -> Result<Vec<Address>, ConfigError> {
    let items = setting.list()?.unwrap_or_default();
    let base = setting.base(cwd);
    let absolute: Vec<String> = items
        .iter()
        .map(|item| match item.strip_prefix("unix:") {
            Some(path) if !path.is_empty() && !path.starts_with('/') => format!("unix:{}/{path}", base.display()),
            _ => item.clone(),
        })
        .collect();
    parse_workers(&absolute).map_err(|why| setting.wrong(why.to_string()))
}

/// Loopback TCP is open to every user of the machine: it needs the secret.
pub(super) fn check_token(workers: &[Address], token_file: Option<&Path>) -> Result<(), ConfigError> {
    match workers.iter().find(|worker| matches!(worker, Address::Tcp(_))) {
        Some(Address::Tcp(address)) if token_file.is_none() => Err(ConfigError::Value {
            origin: Origin::Default,
            key: "token_file",
            why: format!("{address} needs a token file, the same on both sides; set token_file or use a unix socket"),
        }),
        _ => Ok(()),
    }
}
