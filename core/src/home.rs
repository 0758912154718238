//! How many commands may run on the client at a time that would else be jobs of workers: as many as
//! there are processors. One that sleeps does not count, since it may wait for one that has not
//! begun. Knows neither processes nor clocks: somebody looks at them every now and then.

use crate::activity::Activity;
use std::collections::VecDeque;
use std::time::Duration;

/// After so many looks at which none could begin, one begins nevertheless: those inside may wait for
/// it without sleeping.
const LOOKS_IN_VAIN: u32 = 50;

/// The commands that run on the client, and those that wait for that.
#[derive(Debug)]
pub struct Home {
    processors: usize,
    inside: Vec<Inside>,
    waiting: VecDeque<u64>,
    in_vain: u32,
}

#[derive(Debug)]
struct Inside {
    id: u64,
    /// At the last look.
    before: Option<Activity>,
    sleeps: bool,
}

impl Home {
    /// Nobody is inside.
    pub fn new(processors: usize) -> Self {
        Self {
            processors: processors.max(1),
            inside: Vec::new(),
            waiting: VecDeque::new(),
            in_vain: 0,
        }
    }

    /// A command wants to begin. True: it may.
    pub fn ask(&mut self, id: u64) -> bool {
        self.waiting.push_back(id);
        self.admit().contains(&id)
    }

    /// A command has ended, or does not want to begin any more. Returns those that may begin now.
    pub fn leave(&mut self, id: u64) -> Vec<u64> {
        self.inside.retain(|inside| inside.id != id);
        self.waiting.retain(|waiting| *waiting != id);
        self.admit()
    }

    /// Somebody looks at those inside, so long after the last time. Returns those that may begin now.
    pub fn look(&mut self, time: Duration, activity: impl Fn(u64) -> Activity) -> Vec<u64> {
        for inside in &mut self.inside {
            let now = activity(inside.id);
            let before = inside.before.replace(now);
            inside.sleeps = before.is_some_and(|before| now.sleeps_since(before, time));
        }
        let admitted = self.admit();
        if !admitted.is_empty() || self.waiting.is_empty() {
            return admitted;
        }
        self.in_vain += 1;
        if self.in_vain < LOOKS_IN_VAIN {
            return admitted;
        }
        self.let_in().into_iter().collect()
    }

    fn admit(&mut self) -> Vec<u64> {
        let mut admitted = Vec::new();
        while self.inside.iter().filter(|inside| !inside.sleeps).count() < self.processors
            && let Some(id) = self.let_in()
        {
            admitted.push(id);
        }
        admitted
    }

    fn let_in(&mut self) -> Option<u64> {
        let id = self.waiting.pop_front()?;
        self.in_vain = 0;
        self.inside.push(Inside {
            id,
            before: None,
            sleeps: false,
        });
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(200);
    const NOBODY: [u64; 0] = [];

    #[test]
    fn as_many_as_there_are_processors_in_their_order() {
        let mut home = Home::new(2);
        assert_eq!([1, 2, 3, 4].map(|id| home.ask(id)), [true, true, false, false]);
        assert_eq!(home.leave(2), [3]);
        assert_eq!(home.leave(9), NOBODY);
        assert_eq!(home.leave(4), NOBODY, "it waits no longer");
        assert_eq!(home.leave(1), NOBODY);
        assert!(home.ask(5));
    }

    #[test]
    fn who_sleeps_does_not_count_as_long_as_it_sleeps() {
        let mut home = Home::new(1);
        assert_eq!([1, 2, 3].map(|id| home.ask(id)), [true, false, false]);
        let asleep = |_| Activity { spent: 7, runs: false };
        assert_eq!(home.look(TIME, asleep), NOBODY, "it has been seen once");
        assert_eq!(home.look(TIME, asleep), [2]);
        let second_runs = |id| Activity {
            spent: 7,
            runs: id == 2,
        };
        assert_eq!(home.look(TIME, second_runs), NOBODY);
        let first_woke = |id| Activity {
            spent: if id == 1 { 27 } else { 7 },
            runs: false,
        };
        assert_eq!(home.look(TIME, first_woke), NOBODY, "the first one counts again");
        assert_eq!(home.leave(1), [3]);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let mut home = Home::new(1);
        assert_eq!([1, 2, 3].map(|id| home.ask(id)), [true, false, false]);
        let busy = |_| Activity { spent: 0, runs: true };
        let begun: Vec<_> = (0..2 * LOOKS_IN_VAIN).map(|_| home.look(TIME, busy)).collect();
        let at = |look: u32| begun[look as usize - 1].clone();
        assert_eq!((at(LOOKS_IN_VAIN), at(2 * LOOKS_IN_VAIN)), (vec![2], vec![3]));
        assert_eq!(begun.concat(), [2, 3]);
    }
}
