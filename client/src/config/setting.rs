//! One value of one key before it has a type, and the ways to give it one. Knows where
//! the value came from, so that every complaint says so.

use super::ConfigError;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value was set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// On the command line.
    Flag(String),
    /// In this environment variable.
    Environment(String),
    /// In a file, at a line from 1.
    File(PathBuf, usize),
    /// Nowhere.
    Default,
}

/// A value as its source spells it.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Raw {
    /// From a flag or a variable, or a string in a file.
    Text(String),
    /// An array of strings.
    List(Vec<String>),
    /// A whole number.
    Number(u64),
    /// A truth value.
    Bool(bool),
}

/// The strongest value of a key.
pub(super) struct Setting {
    pub key: &'static str,
    pub raw: Option<Raw>,
    pub origin: Origin,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Environment(name) => f.write_str(name),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::List(items) => f.write_str(&items.join(",")),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bool(truth) => write!(f, "{truth}"),
        }
    }
}

impl Setting {
    /// The complaint that this value is wrong.
    pub(super) fn wrong(&self, why: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            origin: self.origin.clone(),
            key: self.key,
            why: why.into(),
        }
    }

    /// A list; a text is split at commas.
    pub(super) fn list(&self) -> Result<Option<Vec<String>>, ConfigError> {
        match &self.raw {
            None => Ok(None),
            Some(Raw::List(items)) => Ok(Some(items.clone())),
            Some(Raw::Text(text)) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(Some(items.map(str::to_owned).collect()))
            }
            Some(_) => Err(self.wrong("write a list of strings")),
        }
    }

    /// A path; a relative one counts from the file that says it, else from `cwd`.
    pub(super) fn path(&self, cwd: &Path) -> Result<Option<PathBuf>, ConfigError> {
        match &self.raw {
            None => Ok(None),
            Some(Raw::Text(text)) if !text.is_empty() => Ok(Some(self.base(cwd).join(text))),
            Some(_) => Err(self.wrong("write a path as a string")),
        }
    }

    /// The directory that relative paths count from.
    pub(super) fn base<'a>(&'a self, cwd: &'a Path) -> &'a Path {
        match &self.origin {
            Origin::File(path, _) => path.parent().unwrap_or(cwd),
            _ => cwd,
        }
    }

    /// A whole number in a range.
    pub(super) fn number(&self, min: u64, max: u64) -> Result<Option<u64>, ConfigError> {
        let number = match &self.raw {
            None => return Ok(None),
            Some(Raw::Number(number)) => Some(*number),
            Some(Raw::Text(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        match number.filter(|n| (min..=max).contains(n)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(format!("write a whole number from {min} to {max}"))),
        }
    }

    /// A number of bytes: `4096`, `512M`, `4G`.
    pub(super) fn size(&self) -> Result<Option<u64>, ConfigError> {
        let bytes = match &self.raw {
            None => return Ok(None),
            Some(Raw::Number(bytes)) => Some(*bytes),
            Some(Raw::Text(text)) => parse_size(text),
            Some(_) => None,
        };
        match bytes.filter(|bytes| *bytes > 0) {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(self.wrong("write a number of bytes, such as 512M or 4G")),
        }
    }

    /// One of a few words.
    pub(super) fn one_of(&self, words: &[&str]) -> Result<Option<String>, ConfigError> {
        match &self.raw {
            None => Ok(None),
            Some(Raw::Text(text)) if words.contains(&text.as_str()) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(format!("write one of: {}", words.join(" or ")))),
        }
    }

    /// A truth value that has to be false.
    pub(super) fn must_be_off(&self, why: &str) -> Result<(), ConfigError> {
        match &self.raw {
            None | Some(Raw::Bool(false)) => Ok(()),
            Some(Raw::Text(text)) if matches!(text.as_str(), "" | "0" | "false" | "no") => Ok(()),
            Some(Raw::Bool(true)) => Err(self.wrong(why)),
            Some(Raw::Text(text)) if matches!(text.as_str(), "1" | "true" | "yes") => Err(self.wrong(why)),
            Some(_) => Err(self.wrong("write true or false")),
        }
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        "T" | "TB" | "TIB" => 1u64 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}
