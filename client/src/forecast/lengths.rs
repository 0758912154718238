//! How long commands run. Knows commands as numbers.

use super::MOST_COMMANDS;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// What one more run counts.
const WEIGHT: f64 = 1.0 / 4.0;
/// A length on disk may be wrong by this part.
const TOLERANCE: f64 = 1.0 / 4.0;

/// The lengths of commands by number.
#[derive(Default)]
pub(super) struct Lengths {
    known: HashMap<u128, Length>,
    unsaved: HashSet<u128>,
}

struct Length {
    usual: Duration,
    /// On disk; zero: not at all.
    saved: Duration,
}

impl Lengths {
    /// Those on disk.
    pub(super) fn saved(lengths: HashMap<u128, Duration>) -> Self {
        let known = |(key, usual)| (key, Length { usual, saved: usual });
        Self {
            known: lengths.into_iter().map(known).collect(),
            unsaved: HashSet::new(),
        }
    }

    /// How long a command usually runs.
    pub(super) fn of(&self, key: u128) -> Option<Duration> {
        self.known.get(&key).map(|length| length.usual)
    }

    /// A command ran so long.
    pub(super) fn add(&mut self, key: u128, took: Duration) {
        if self.known.len() >= MOST_COMMANDS && !self.known.contains_key(&key) {
            return;
        }
        let length = self.known.entry(key).or_insert(Length {
            usual: took,
            saved: Duration::ZERO,
        });
        length.usual = length.usual.mul_f64(1.0 - WEIGHT) + took.mul_f64(WEIGHT);
        if length.usual.abs_diff(length.saved) > length.saved.mul_f64(TOLERANCE) {
            self.unsaved.insert(key);
        }
    }

    /// Those that are not on disk as they are now.
    pub(super) fn take_unsaved(&mut self) -> Vec<(u128, Duration)> {
        let mut taken = Vec::with_capacity(self.unsaved.len());
        for key in self.unsaved.drain() {
            if let Some(length) = self.known.get_mut(&key) {
                length.saved = length.usual;
                taken.push((key, length.usual));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn follows_slowly_and_is_saved_where_it_has_changed() {
        let mut lengths = Lengths::saved(HashMap::from([(1, ms(100))]));
        assert_eq!((lengths.of(1), lengths.of(2)), (Some(ms(100)), None));
        lengths.add(1, ms(180));
        lengths.add(2, ms(40));
        assert_eq!((lengths.of(1), lengths.of(2)), (Some(ms(120)), Some(ms(40))));
        assert_eq!(lengths.take_unsaved(), [(2, ms(40))]);
        lengths.add(1, ms(240));
        assert_eq!(lengths.take_unsaved(), [(1, ms(150))]);
        assert_eq!(lengths.take_unsaved(), []);
    }
}
