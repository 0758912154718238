//! The places of one case: how a client's tree is laid out, and what is compared of it
//! after a job. Knows no daemon.

use crate::sequence::{Kind, Seed};
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use termite_e2e::Tree;

/// Times that a test or a job has set lie before this, the present after it.
const SET: i64 = 1_500_000_000;
const BYTES: &[u8] = b"what the client has: ";

/// What two runs must agree about.
pub(crate) struct Left {
    tree: Tree,
    /// Of names whose time was set.
    times: BTreeMap<PathBuf, (i64, i64)>,
    has_links: bool,
}

/// Makes the tree at `root`. `seen` is the path under which the jobs will see it.
pub(crate) fn lay(seeds: &[Seed], root: &Path, seen: &Path) -> Result<()> {
    fs::create_dir_all(root)?;
    for seed in seeds {
        let path = root.join(&seed.path);
        let parent = path.parent().context("a seed without a name")?;
        // In the way of a seed may be an earlier one, or it may lead elsewhere.
        let taken = path.symlink_metadata().is_ok() || !plain_below(root, parent);
        if taken || fs::create_dir_all(parent).is_err() {
            continue;
        }
        make(seed, &path, seen).with_context(|| format!("making {}", path.display()))?;
    }
    set_times(root)
}

/// Whether no name from `root` to `dir` is a symbolic link.
fn plain_below(root: &Path, dir: &Path) -> bool {
    dir.ancestors()
        .take_while(|above| *above != root)
        .all(|above| !above.is_symlink())
}

fn make(seed: &Seed, path: &Path, seen: &Path) -> Result<()> {
    match &seed.kind {
        Kind::Dir => fs::create_dir(path)?,
        Kind::Crowd(count) => {
            fs::create_dir(path)?;
            (0..*count).try_for_each(|number| fs::write(path.join(format!("{number:04}")), ""))?;
        }
        Kind::File(size) => {
            let bytes: Vec<_> = BYTES.iter().cycle().take(*size).copied().collect();
            fs::write(path, bytes)?;
        }
        Kind::Link(target) => {
            let target = target.replace('@', &seen.display().to_string());
            return Ok(symlink(target, path)?);
        }
    }
    // A directory stays open to its owner, since more may have to be made in it.
    let open = if path.is_dir() { 0o700 } else { 0 };
    Ok(fs::set_permissions(path, Permissions::from_mode(seed.mode | open))?)
}

/// Gives everything a time of the past, names within a directory before it.
fn set_times(path: &Path) -> Result<()> {
    let stat = path.symlink_metadata()?;
    if stat.is_dir() {
        fs::read_dir(path)?.try_for_each(|entry| set_times(&entry?.path()))?;
    }
    let time = Timespec {
        tv_sec: 1_400_000_000,
        tv_nsec: 123_456_789,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

impl Left {
    /// Reads what lies below `dir`.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let mut left = Self {
            tree: Tree::read(dir)?,
            times: BTreeMap::new(),
            has_links: false,
        };
        left.add(dir, dir)?;
        Ok(left)
    }

    fn add(&mut self, root: &Path, path: &Path) -> Result<()> {
        let stat = path.symlink_metadata()?;
        if stat.mtime() < SET {
            let place = path.strip_prefix(root)?.to_owned();
            self.times.insert(place, (stat.mtime(), stat.mtime_nsec()));
        }
        if stat.is_dir() {
            return fs::read_dir(path)?.try_for_each(|entry| self.add(root, &entry?.path()));
        }
        self.has_links |= stat.nlink() > 1;
        Ok(())
    }

    /// Whether a file or symlink has several names. A view holds each name of the client's
    /// by itself, and a symlink's are committed by themselves, so that the next job would not see what a tmpfs shows.
    pub(crate) fn has_links(&self) -> bool {
        self.has_links
    }

    /// How the other one differs from this, a line each. An ordinary user's overlay moves no
    /// directories; what is made in their place has not always their time.
    pub(crate) fn differences(&self, other: &Self, with_times: bool) -> String {
        let mut text = other.tree.differences(&self.tree).join("\n");
        let names = self.times.keys().chain(other.times.keys());
        for name in names.filter(|_| with_times) {
            let (want, have) = (self.times.get(name), other.times.get(name));
            if want != have {
                // Writing to a string cannot fail.
                let _ = write!(text, "\ntime of {}: {have:?}, expected {want:?}", name.display());
            }
        }
        text
    }
}
