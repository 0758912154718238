//! What a commit left whose daemon was killed: temporary files, which are removed, and files
//! of the client's under temporary names, which get one of their own names back. Changes
//! nothing else; knows no jobs.

use super::name::{discard, open_dir, unnoticed};
use crate::temporary_name::is_of;
use crate::tree::{Stamp, open_canonical};
use rustix::fs::{OFlags, RenameFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a killed daemon may have left.
#[derive(Default)]
pub struct Leftovers {
    /// Part of the names of its temporary files.
    pub mark: u64,
    /// Where they may be.
    pub dirs: BTreeSet<PathBuf>,
    /// Files of the client's that may have a temporary name: where they were, that name, and
    /// where they were going.
    pub moves: Vec<[PathBuf; 3]>,
}

/// Clears them away. What cannot be cleared is logged.
pub fn clear(left: &Leftovers) {
    let mut kept = BTreeSet::new();
    for [from, temporary, to] in &left.moves {
        if let Err(errno) = give_back(from, temporary, to) {
            tracing::error!("{} is {} by now: {errno}", from.display(), temporary.display());
            kept.insert(temporary.as_path());
        }
    }
    for dir in &left.dirs {
        match clear_dir(dir, left.mark, &kept) {
            // It was going to be made.
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => tracing::warn!("temporary files may stay in {}: {errno}", dir.display()),
        }
    }
}

fn clear_dir(dir: &Path, mark: u64, kept: &BTreeSet<&Path>) -> Result<(), Errno> {
    let listed = open_canonical(dir, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let names = rustix::fs::Dir::read_from(&listed)?;
    for entry in names {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if is_of(name, mark) && !kept.contains(dir.join(name).as_path()) {
            discard(&listed, name);
        }
    }
    Ok(())
}

/// Gives a file of the client's one of its names, unless it has one.
fn give_back(from: &Path, temporary: &Path, to: &Path) -> Result<(), Errno> {
    let Some(held) = Stamp::at_path(temporary) else {
        return Ok(());
    };
    let (dir, name) = parent(temporary)?;
    let has = |path: &Path| Stamp::at_path(path).is_some_and(|stamp| (stamp.dev, stamp.ino) == (held.dev, held.ino));
    if has(from) || has(to) {
        discard(&dir, name);
        return Ok(());
    }
    let rename = |path: &Path| {
        let (target, last) = parent(path)?;
        unnoticed(&dir, || {
            rustix::fs::renameat_with(&dir, name, &target, last, RenameFlags::NOREPLACE)
        })
    };
    rename(from).or_else(|_| rename(to))
}

fn parent(path: &Path) -> Result<(rustix::fd::OwnedFd, &OsStr), Errno> {
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => Ok((open_dir(dir)?, name)),
        _ => Err(Errno::INVAL),
    }
}
