//! Spellings that jobs have found to lead through complete directories only, for the jobs
//! to come: what one compiler learnt about its search path the next one need not ask.
//!
//! They hold for the mirror alone, hence only what a job learns before it has moved or
//! removed anything that paths lead through. Knows no I/O.

use std::collections::HashSet;

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
    known: HashSet<(Lead, Box<[u8]>)>,
}

impl Leads {
    /// A directory or symlink came, went or fell into doubt where names were known.
    pub fn void(&mut self) {
        self.turn += 1;
        self.known.clear();
    }

    /// Takes in what a job learnt that began at `turn`.
    pub fn learn(&mut self, turn: u64, lead: Lead, spelled: &[u8]) {
        if turn == self.turn && self.known.len() < MOST {
            self.known.insert((lead, spelled.into()));
        }
    }

    /// All of it, and the turn that it is of.
    pub fn recall(&self, mut each: impl FnMut(Lead, &[u8])) -> u64 {
        for (lead, spelled) in &self.known {
            each(*lead, spelled);
        }
        self.turn
    }
}
