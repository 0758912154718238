//! The addresses of workers in settings: relative sockets, lists, and which of them need a token.

use super::setting::Setting;
use super::{ConfigError, Origin};
use std::path::Path;
use termite_transport::{Address, AddressError};

/// The addresses, each `unix:/PATH` or a loopback `HOST:PORT`; an item may also be
/// several of them with commas between.
pub fn parse_workers(list: &[String]) -> Result<Vec<Address>, AddressError> {
    let items = list.iter().flat_map(|item| item.split(',')).map(str::trim);
    items.filter(|item| !item.is_empty()).map(parse).collect()
}

fn parse(text: &str) -> Result<Address, AddressError> {
    match text.parse()? {
        Address::Unix(path) if path.is_relative() => Err(AddressError::Relative(text.to_owned())),
        address => Ok(address),
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
