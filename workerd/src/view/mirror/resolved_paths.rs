//! Spellings that jobs have found to lead through complete directories only, and those that
//! lead to a file with its content, for the jobs to come: what one compiler learnt about its
//! search path and its libraries the next one need not ask.
//!
//! They hold for the mirror alone, hence only what a job learns before it has moved or
//! removed anything that paths lead through. Knows no I/O.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Spellings of directories and symlinks beyond that are not kept, which each job is told.
const MOST: usize = 1 << 12;
/// Spellings of files beyond that are not kept.
const MOST_FILES: usize = 1 << 15;

/// What is known of a spelling.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::view) enum PathFact {
    /// It is a complete directory, or there is no such directory.
    Dir,
    /// All that following it looks at is complete.
    Link,
    /// It is a directory and no symlink, and everybody may search all that it lies in.
    Plain,
}

/// Where a spelled path leads, and through what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::view) struct Way {
    /// A directory; `None`: it leads to something else.
    pub to: Option<Arc<Path>>,
    /// The symlinks on the way, in their order.
    pub symlinks: Arc<[PathBuf]>,
}

/// The known spellings.
#[derive(Default)]
pub(super) struct ResolvedPathCache {
    /// Counts the times that all was forgotten.
    turn: u64,
    /// Of directories, with the client path of one that is there.
    dirs: HashMap<Box<[u8]>, Option<Arc<Path>>>,
    /// Of symlinks.
    links: HashSet<Box<[u8]>>,
    /// Of directories that no symlink leads to.
    plain: HashSet<Box<[u8]>>,
    /// The ways of spelled directories, complete or not, and of paths that symlinks are at the end of.
    ways: HashMap<Box<[u8]>, Way>,
    /// Inode numbers of files by the spellings that lead to them, symlinks followed.
    files: HashMap<Box<[u8]>, u64>,
}

impl ResolvedPathCache {
    /// A directory or symlink came, went or fell into doubt where names were known.
    pub(super) fn void(&mut self) {
        self.turn += 1;
        self.dirs.clear();
        self.links.clear();
        self.plain.clear();
        self.ways.clear();
        self.files.clear();
    }

    /// Takes in what a job learnt that began at `turn`; `to`: the directory's client path.
    pub(super) fn learn(&mut self, turn: u64, lead: PathFact, spelled: &[u8], to: Option<&Path>) {
        if turn != self.turn || self.dirs.len() + self.links.len() >= MOST {
            return;
        }
        match lead {
            PathFact::Dir => drop(self.dirs.insert(spelled.into(), to.map(Arc::from))),
            PathFact::Link => drop(self.links.insert(spelled.into())),
            PathFact::Plain => drop(self.plain.insert(spelled.into())),
        }
    }

    /// The complete directory that a spelling leads to, for a job that began at `turn`.
    pub(super) fn dir(&self, turn: u64, spelled: &[u8]) -> Option<Arc<Path>> {
        self.dirs.get(spelled).filter(|_| turn == self.turn)?.clone()
    }

    /// Whether a spelling is known to be that of no directory, for a job that began at `turn`.
    pub(super) fn is_nowhere(&self, turn: u64, spelled: &[u8]) -> bool {
        turn == self.turn && matches!(self.dirs.get(spelled), Some(None))
    }

    /// Takes in the way of a spelled path, of which all is known.
    pub(super) fn learn_way(&mut self, turn: u64, spelled: &[u8], way: Way) {
        if turn == self.turn && self.ways.len() < MOST {
            self.ways.insert(spelled.into(), way);
        }
    }

    /// The way of a spelled path, for a job that began at `turn`.
    pub(super) fn way(&self, turn: u64, spelled: &[u8]) -> Option<Way> {
        self.ways.get(spelled).filter(|_| turn == self.turn).cloned()
    }

    /// Takes in a file that a spelling leads to.
    pub(super) fn learn_file(&mut self, turn: u64, spelled: &[u8], ino: u64) {
        if turn == self.turn && self.files.len() < MOST_FILES {
            self.files.insert(spelled.into(), ino);
        }
    }

    /// The file that a spelling leads to, for a job that began at `turn`.
    pub(super) fn file(&self, turn: u64, spelled: &[u8]) -> Option<u64> {
        self.files.get(spelled).copied().filter(|_| turn == self.turn)
    }

    /// All but files, and the turn that it is of.
    pub(super) fn recall(&self, mut each: impl FnMut(PathFact, &[u8])) -> u64 {
        self.dirs.keys().for_each(|spelled| each(PathFact::Dir, spelled));
        self.links.iter().for_each(|spelled| each(PathFact::Link, spelled));
        self.plain.iter().for_each(|spelled| each(PathFact::Plain, spelled));
        self.turn
    }
}
