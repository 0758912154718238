//! Spellings that jobs have found to lead through complete directories only, and those that
//! lead to a file with its content, for the jobs to come: what one compiler learnt about its
//! search path and its libraries the next one need not ask.
//!
//! They hold for the mirror alone, hence only what a job learns before it has moved or
//! removed anything that paths lead through. Knows no I/O.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Spellings beyond that are not kept.
const MOST: usize = 1 << 12;

/// What is known of a spelling.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::view) enum Lead {
    /// It is a complete directory, or there is no such directory.
    Dir,
    /// All that following it looks at is complete.
    Link,
}

/// The known spellings.
#[derive(Default)]
pub(super) struct Leads {
    /// Counts the times that all was forgotten.
    turn: u64,
    /// With the client path of a directory that is there.
    known: HashMap<(Lead, Box<[u8]>), Option<Arc<Path>>>,
    /// Inode numbers of files by the spellings that lead to them, symlinks followed.
    files: HashMap<Box<[u8]>, u64>,
}

impl Leads {
    /// A directory or symlink came, went or fell into doubt where names were known.
    pub fn void(&mut self) {
        self.turn += 1;
        self.known.clear();
        self.files.clear();
    }

    /// Takes in what a job learnt that began at `turn`; `to`: the directory's client path.
    pub fn learn(&mut self, turn: u64, lead: Lead, spelled: &[u8], to: Option<&Path>) {
        if turn == self.turn && self.known.len() < MOST {
            self.known.insert((lead, spelled.into()), to.map(Arc::from));
        }
    }

    /// The complete directory that a spelling leads to, for a job that began at `turn`.
    pub fn dir(&self, turn: u64, spelled: &[u8]) -> Option<Arc<Path>> {
        let to = self
            .known
            .get(&(Lead::Dir, spelled.into()))
            .filter(|_| turn == self.turn);
        to?.clone()
    }

    /// The same of a file.
    pub fn learn_file(&mut self, turn: u64, spelled: &[u8], ino: u64) {
        if turn == self.turn && self.files.len() < MOST {
            self.files.insert(spelled.into(), ino);
        }
    }

    /// The file that a spelling leads to, for a job that began at `turn`.
    pub fn file(&self, turn: u64, spelled: &[u8]) -> Option<u64> {
        self.files.get(spelled).copied().filter(|_| turn == self.turn)
    }

    /// All of directories and links, and the turn that it is of.
    pub fn recall(&self, mut each: impl FnMut(Lead, &[u8])) -> u64 {
        for (lead, spelled) in self.known.keys() {
            each(*lead, spelled);
        }
        self.turn
    }
}
