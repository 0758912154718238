//! What a commit did, by path and by file: a file that several paths of a list lead to is
//! as the last change left it. Makes no change.

use crate::commit::Committed;
use crate::commit::plan::Plan;
use crate::commit::present::{hash_of, open_file};
use crate::tree::{CommittedPath, Kind, Stamp};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use termite_types::{BlobHash, ChangeKind};

/// Files that only got another name, or were changed in place, are read again up to so many
/// bytes, to know what they hold.
const VERIFIED: u64 = 16 << 20;

/// What was done.
#[derive(Default)]
pub(super) struct Done<'a> {
    paths: HashMap<&'a Path, CommittedPath>,
    /// Files changed in place, by device and inode.
    files: HashMap<(u64, u64), InPlace>,
}

/// A file that was changed in place.
struct InPlace {
    /// After the last change.
    stamp: Stamp,
    /// Its content, where that is all the job's.
    hash: Option<BlobHash>,
}

impl<'a> Done<'a> {
    /// A path is done, for this time: a later note about it counts.
    pub(super) fn note(&mut self, path: &'a Path, stamp: Option<Stamp>, hash: Option<BlobHash>, touched: bool) {
        let committed = CommittedPath {
            path: path.to_owned(),
            stamp,
            hash,
            touched,
            in_place: false,
        };
        self.paths.insert(path, committed);
    }

    /// A file was changed in place.
    pub(super) fn changed_in_place(&mut self, stamp: Stamp, hash: Option<BlobHash>) {
        self.files.insert((stamp.dev, stamp.ino), InPlace { stamp, hash });
    }

    /// Whether this commit changed a file in place.
    pub(super) fn has_changed(&self, stamp: &Stamp) -> bool {
        self.files.contains_key(&(stamp.dev, stamp.ino))
    }

    /// The content of a file that this commit wrote.
    pub(super) fn hash_in_place(&self, stamp: &Stamp) -> Option<BlobHash> {
        self.files.get(&(stamp.dev, stamp.ino)).and_then(|file| file.hash)
    }

    /// The content at a path that is done.
    pub(super) fn hash_at(&self, path: &Path) -> Option<BlobHash> {
        self.paths.get(path).and_then(|done| done.hash)
    }

    /// Whether a path is done.
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.paths.contains_key(path)
    }

    /// The directories that touched paths are in.
    pub(super) fn holders(&self) -> HashSet<&'a Path> {
        let touched = self.paths.iter().filter(|(_, done)| done.touched);
        touched.filter_map(|(path, _)| path.parent()).collect()
    }

    /// Paths that are as the job left them where the commit fails now, sorted. A name that was to
    /// be replaced may still be there, or be there again.
    pub(super) fn changed(&self) -> Vec<PathBuf> {
        let is_gone = |done: &&CommittedPath| done.stamp.is_none() && Stamp::at_path(&done.path).is_some();
        let changed = self.paths.values().filter(|done| !is_gone(done));
        let mut changed: Vec<_> = changed.map(|done| done.path.clone()).collect();
        changed.sort();
        changed
    }

    /// Each path once, where the list mentions it last.
    pub(super) fn report(mut self, plan: &Plan<'_>) -> Committed {
        let mut paths = Vec::with_capacity(self.paths.len());
        for change in plan.changes.iter().rev() {
            if let Some(done) = self.paths.remove(change.path.as_path()) {
                paths.push(self.settle(done));
            }
        }
        paths.reverse();
        Committed { paths }
    }

    /// The stamp at the end of the commit, where it is still what was put there: a hard link
    /// made later has changed it.
    fn settle(&self, mut committed: CommittedPath) -> CommittedPath {
        let Some(mut put) = committed.stamp else {
            return committed;
        };
        // A directory may have got the inode number of a file that was changed and removed.
        let changed = self.files.get(&(put.dev, put.ino));
        if let Some(file) = changed.filter(|file| file.stamp.same_inode(&put)) {
            (put, committed.hash, committed.in_place) = (file.stamp, file.hash, true);
        }
        let same =
            |is: &Stamp| is.same_inode(&put) && (put.kind == Kind::Dir || (is.size, is.mtime) == (put.size, put.mtime));
        committed.stamp = Stamp::at_path(&committed.path).filter(same).or(Some(put));
        committed
    }
}

/// Files that only got another name, or were changed in place, hold what they are said to,
/// unless another process wrote to them: so they are read. Needs no turn.
pub(crate) fn verify_hashes(plan: &Plan<'_>, committed: &mut Committed) {
    for committed in &mut committed.paths {
        let named = match plan.put(&committed.path) {
            Some(ChangeKind::Name { hash, .. }) => *hash,
            _ => None,
        };
        let (Some(hash), Some(stamp)) = (committed.hash.or(named), committed.stamp) else {
            continue;
        };
        if committed.in_place || committed.hash.is_none() {
            let is_short_file = stamp.kind == Kind::File && stamp.size <= VERIFIED;
            let holds = is_short_file && hash_with_stamp(&committed.path, &stamp) == Some(hash);
            committed.hash = holds.then_some(hash);
        }
    }
}

/// The hash of a file that is and stays as `stamp` says.
fn hash_with_stamp(path: &Path, stamp: &Stamp) -> Option<BlobHash> {
    let file = open_file(path).ok()?;
    let is_it = || Stamp::of_fd(&file).is_ok_and(|is| is == *stamp);
    let hash = is_it().then(|| hash_of(&file).ok())??;
    is_it().then_some(hash)
}
