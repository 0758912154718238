//! When jobs on workers are called home because others of their build may wait for them, which they
//! do not see there: who waits for a file, a FIFO, a socket or a signal does nothing itself, and for
//! whom it waits mostly does nothing, too. Knows neither processes nor clocks: somebody looks at the
//! jobs every now and then.

use std::collections::{BTreeSet, HashMap};
use termite_types::BuildId;

/// After so many looks at which no job of a build did anything they are called, though nobody waits
/// at home: they may wait for each other, or for what another one has made since they looked.
const LOOKS: u32 = 5;
/// The same of one that no other job is beside any more.
const LOOKS_ALONE: u32 = 30;

/// What the jobs of a build did between two looks.
#[derive(Clone, Debug)]
pub struct Look {
    /// Those that workers run, by number.
    pub on_workers: BTreeSet<u32>,
    /// Those of them that did next to nothing.
    pub idle: BTreeSet<u32>,
    /// A command of the build is on the client, and did next to nothing.
    pub sleeps_at_home: bool,
    /// How many jobs the build has had so far, those that wait for a worker, too.
    pub jobs: u32,
}

/// How long the jobs of each build have done nothing.
#[derive(Default, Debug)]
pub struct Standstill(HashMap<BuildId, u32>);

impl Standstill {
    /// Nobody has looked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Somebody looked at the jobs of builds, and at all that there are. Returns those that are called
    /// home.
    pub fn called(&mut self, looks: &[(BuildId, Look)]) -> Vec<(BuildId, u32)> {
        let mut before = std::mem::take(&mut self.0);
        let mut called = Vec::new();
        for (build, look) in looks {
            let stands_still = look.idle == look.on_workers && look.jobs > 1;
            let looks = match stands_still {
                true => before.remove(build).unwrap_or_default() + 1,
                false => 0,
            };
            let most = if look.on_workers.len() > 1 { LOOKS } else { LOOKS_ALONE };
            if look.sleeps_at_home || looks >= most {
                called.extend(look.idle.iter().map(|number| (*build, *number)));
            }
            self.0.insert(*build, looks);
        }
        called
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILD: BuildId = BuildId(7);
    const NOBODY: [u32; 0] = [];

    fn looked(idle: &[u32], sleeps_at_home: bool, jobs: u32, still: &mut Standstill) -> Vec<u32> {
        let look = Look {
            on_workers: BTreeSet::from([1, 2]),
            idle: idle.iter().copied().collect(),
            sleeps_at_home,
            jobs,
        };
        let called = still.called(&[(BUILD, look.clone())]);
        called.into_iter().map(|(_, number)| number).collect()
    }

    #[test]
    fn who_does_nothing_is_called_by_who_sleeps_at_home() {
        let mut still = Standstill::new();
        assert_eq!(looked(&[2], true, 3, &mut still), [2]);
        assert_eq!(looked(&[], true, 3, &mut still), NOBODY);
        assert_eq!(looked(&[2], false, 3, &mut still), NOBODY);
    }

    #[test]
    fn all_are_called_that_do_nothing_for_long() {
        let mut still = Standstill::new();
        for _ in 1..LOOKS {
            assert_eq!(looked(&[1, 2], false, 2, &mut still), NOBODY);
        }
        assert_eq!(looked(&[1], false, 2, &mut still), NOBODY, "one of them woke up");
        for _ in 1..LOOKS {
            assert_eq!(looked(&[1, 2], false, 2, &mut still), NOBODY);
        }
        assert_eq!(looked(&[1, 2], false, 2, &mut still), [1, 2]);
    }

    #[test]
    fn who_was_ever_alone_in_its_build_may_sleep() {
        let mut still = Standstill::new();
        let alone = BTreeSet::from([1]);
        for jobs in [1, 2] {
            let look = Look {
                on_workers: alone.clone(),
                idle: alone.clone(),
                sleeps_at_home: false,
                jobs,
            };
            let called = (0..LOOKS_ALONE).flat_map(|_| still.called(&[(BUILD, look.clone())]));
            let called = called.count();
            assert_eq!(called as u32, jobs - 1);
        }
    }
}
