//! What parallel jobs leave behind, in full: kind, mode, owner, content, groups of hard
//! links, extended attributes and the times that were set. [`crate::Tree`] compares builds
//! by less. Does not know who made the files.

use anyhow::{Context, Result};
use rustix::fs::{lgetxattr, llistxattr};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Times that a test or a job has set lie before this, the present lies after it
/// (seconds since 1970).
pub const SET_TIME: i64 = 1_500_000_000;
/// Longer contents are compared by their hash and shown without their text.
const SHOWN: usize = 60;
/// Bytes of an attribute's value, and of the names of a file's attributes.
const XATTR_ROOM: usize = 4096;

/// A line of text for each path below a directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EndState(BTreeMap<String, String>);

impl EndState {
    /// Reads everything below `dir`. The lines of the files that `is_unordered` names may
    /// stand in any order. Paths are relative to `dir`.
    pub fn read(dir: &Path, is_unordered: impl Fn(&str) -> bool) -> Result<Self> {
        let mut walk = Walk {
            root: dir,
            is_unordered: &is_unordered,
            first_names: BTreeMap::new(),
            lines: BTreeMap::new(),
        };
        walk.add(dir)?;
        Ok(Self(walk.lines))
    }

    /// One line for each path that is not as expected.
    pub fn differences(&self, expected: &Self) -> Vec<String> {
        let paths = self
            .0
            .keys()
            .chain(expected.0.keys().filter(|path| !self.0.contains_key(*path)));
        let differs = paths.filter(|path| self.0.get(*path) != expected.0.get(*path));
        let show = |state: &Self, path: &String| state.0.get(path).cloned().unwrap_or_else(|| "nothing".to_owned());
        differs
            .map(|path| format!("{path}: {}, expected {}", show(self, path), show(expected, path)))
            .collect()
    }
}

struct Walk<'a> {
    root: &'a Path,
    is_unordered: &'a dyn Fn(&str) -> bool,
    /// The first path of each inode that has several names.
    first_names: BTreeMap<(u64, u64), String>,
    lines: BTreeMap<String, String>,
}

impl Walk<'_> {
    /// Reads a directory in the order of its names, so that the same name of a group of
    /// hard links is the first one in each run.
    fn add(&mut self, dir: &Path) -> Result<()> {
        let entries = fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        paths.sort();
        for path in paths {
            let below = path.strip_prefix(self.root)?.as_os_str().as_bytes();
            let below = below.escape_ascii().to_string();
            let line = self.describe(&path, &below)?;
            self.lines.insert(below, line);
            if fs::symlink_metadata(&path)?.is_dir() {
                self.add(&path)?;
            }
        }
        Ok(())
    }

    fn describe(&mut self, path: &Path, below: &str) -> Result<String> {
        let stat = fs::symlink_metadata(path).with_context(|| format!("looking at {}", path.display()))?;
        let kind = stat.file_type();
        let mut text = if kind.is_dir() {
            "directory".to_owned()
        } else if kind.is_symlink() {
            format!("symlink to {:?}", fs::read_link(path)?)
        } else if kind.is_file() {
            self.content(path, below)?
        } else if kind.is_fifo() {
            "fifo".to_owned()
        } else {
            "special file".to_owned()
        };
        if !kind.is_symlink() {
            text += &format!(" {:04o}", stat.mode() & 0o7777);
        }
        text += &format!(" {}:{}", stat.uid(), stat.gid());
        if !kind.is_dir() && stat.nlink() > 1 {
            let first = self.first_names.entry((stat.dev(), stat.ino()));
            let first = first.or_insert_with(|| below.to_owned());
            text += &format!(", {} names, file of {first}", stat.nlink());
        }
        // The time of a directory is that of the last name that came or went.
        if !kind.is_dir() && stat.mtime() < SET_TIME {
            text += &format!(", time {}.{:09}", stat.mtime(), stat.mtime_nsec());
        }
        Ok(text + &xattrs(path)?)
    }

    fn content(&self, path: &Path, below: &str) -> Result<String> {
        let mut bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        if (self.is_unordered)(below) {
            let mut lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            lines.sort();
            bytes = lines.concat();
        }
        Ok(match bytes.len() {
            0..=SHOWN => format!("file {:?}", String::from_utf8_lossy(&bytes)),
            size => format!("file of {size} bytes {}", &blake3::hash(&bytes).to_hex()[..12]),
        })
    }
}

/// The extended attributes of a file, in the order of their names.
fn xattrs(path: &Path) -> Result<String> {
    let mut names = vec![0; XATTR_ROOM];
    let length = match llistxattr(path, &mut names[..]) {
        Err(error) if error.kind() == ErrorKind::Unsupported => 0,
        length => length.with_context(|| format!("listing the attributes of {}", path.display()))?,
    };
    let mut names: Vec<_> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    let mut text = String::new();
    for name in names {
        let mut value = vec![0; XATTR_ROOM];
        let length = lgetxattr(path, name, &mut value[..])?;
        text += &format!(", {}={}", name.escape_ascii(), value[..length].escape_ascii());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn links_modes_and_contents_are_seen() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a"), "2\n1\n")?;
        fs::hard_link(at("a"), at("b"))?;
        let before = EndState::read(dir.path(), |path| path == "a")?;
        fs::write(at("a"), "1\n2\n")?;
        assert_eq!(
            EndState::read(dir.path(), |path| path == "a")?
                .differences(&before)
                .len(),
            1,
            "b has an order"
        );
        assert!(EndState::read(dir.path(), |_| true)? != before);
        fs::write(at("a"), "2\n1\n")?;
        assert_eq!(EndState::read(dir.path(), |path| path == "a")?, before);
        fs::copy(at("a"), at("c"))?;
        fs::rename(at("c"), at("b"))?;
        let differences = EndState::read(dir.path(), |path| path == "a")?.differences(&before);
        assert_eq!(differences.len(), 2, "{differences:?}");
        fs::set_permissions(at("a"), fs::Permissions::from_mode(0o600))?;
        fs::remove_file(at("b"))?;
        let differences = EndState::read(dir.path(), |path| path == "a")?.differences(&before);
        assert!(
            differences[1].starts_with("b: nothing, expected file"),
            "{differences:?}"
        );
        Ok(())
    }
}
