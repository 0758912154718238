//! Who goes next, and where: the order of the jobs that wait for a place, and the choice
//! between workers that have room. Knows lengths, loads and speeds; knows nothing of links,
//! commands or files.

use std::cmp::Reverse;
use std::time::Duration;

/// A job that so many younger ones have gone before is the next to go.
const PATIENCE: u32 = 16;
/// What one more job counts in a worker's speed.
const WEIGHT: f64 = 1.0 / 8.0;
/// Shorter jobs tell more of the way to a worker than of its speed.
const TELLING: Duration = Duration::from_millis(50);
/// A single job changes a speed by no more than this factor.
const MOST_CHANGE: f64 = 4.0;
/// Speeds that differ by less than that part of the fastest are the same.
const STEPS: f64 = 4.0;

/// Names a waiting job. Older ones are less.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(u64);

/// The jobs that wait. The longest goes first, so that it does not run alone at the end of
/// the build; a job of unknown length counts as long. Nobody is overtaken for ever.
#[derive(Default, Debug)]
pub struct Queue {
    /// Oldest first.
    waiting: Vec<Waiting>,
    tickets: u64,
}

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    length: Duration,
    overtaken: u32,
}

impl Queue {
    /// A job comes that takes so long, where that is known.
    pub fn join(&mut self, length: Option<Duration>) -> Ticket {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.waiting.push(Waiting {
            ticket,
            length: length.unwrap_or(Duration::MAX),
            overtaken: 0,
        });
        ticket
    }

    /// All that wait, who goes next first.
    pub fn in_order(&self) -> Vec<Ticket> {
        let mut order: Vec<_> = self.waiting.iter().collect();
        order.sort_by_key(|job| (job.overtaken < PATIENCE, Reverse(job.rank()), job.ticket));
        order.into_iter().map(|job| job.ticket).collect()
    }

    /// A job has its place, before all that are older.
    pub fn serve(&mut self, ticket: Ticket) {
        self.leave(ticket);
        let older = self.waiting.iter_mut().take_while(|job| job.ticket < ticket);
        older.for_each(|job| job.overtaken += 1);
    }

    /// A job waits no more.
    pub fn leave(&mut self, ticket: Ticket) {
        self.waiting.retain(|job| job.ticket != ticket);
    }
}

impl Waiting {
    /// Among the impatient only age counts.
    fn rank(&self) -> Duration {
        match self.overtaken < PATIENCE {
            true => self.length,
            false => Duration::ZERO,
        }
    }
}

/// How fast a worker is, by the jobs whose length was known before: 1.0 takes as long as
/// usual, 2.0 half of that.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct Speed(f64);

impl Default for Speed {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Speed {
    /// With one more job, which usually takes this long, and took that long here.
    pub fn with(self, usual: Duration, took: Duration) -> Self {
        if usual < TELLING {
            return self;
        }
        let ratio = usual.as_secs_f64() / took.as_secs_f64().max(f64::MIN_POSITIVE);
        let ratio = ratio.clamp(self.0 / MOST_CHANGE, self.0 * MOST_CHANGE);
        Self(self.0 + (ratio - self.0) * WEIGHT)
    }

    /// As a number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The part of the fastest one's, in steps.
    fn beside(self, fastest: Self) -> f64 {
        ((self.0 / fastest.0 * STEPS).round() / STEPS).max(1.0 / STEPS)
    }
}

/// A worker with room for a job.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Jobs that it runs.
    pub running: u32,
    /// Jobs that it takes at once.
    pub slots: u32,
    /// How fast it is.
    pub speed: Speed,
    /// Directories and files that the job is expected to use and it was not told of.
    pub lacking: usize,
    /// It ran the last job of the directory.
    pub is_home: bool,
}

/// The place in the list of the worker that takes a job: with it the least loaded one, whose
/// slots count by its speed; of several such the one that lacks the least of what the job
/// uses.
pub fn best(candidates: &[Candidate]) -> Option<usize> {
    let speeds = candidates.iter().map(|candidate| candidate.speed);
    let fastest = speeds.max_by(|a, b| a.0.total_cmp(&b.0))?;
    let load = |candidate: &Candidate| {
        let worth = f64::from(candidate.slots.max(1)) * candidate.speed.beside(fastest);
        f64::from(candidate.running + 1) / worth
    };
    (0..candidates.len()).min_by(|&a, &b| {
        let (a, b) = (&candidates[a], &candidates[b]);
        let inputs = |candidate: &Candidate| (candidate.lacking, !candidate.is_home);
        load(a).total_cmp(&load(b)).then(inputs(a).cmp(&inputs(b)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn worker(running: u32, slots: u32) -> Candidate {
        Candidate {
            running,
            slots,
            speed: Speed::default(),
            lacking: 0,
            is_home: false,
        }
    }

    #[test]
    fn the_longest_goes_first_and_the_unknown_before_it() {
        let mut queue = Queue::default();
        let [short, long, unknown, as_long] =
            [Some(ms(10)), Some(ms(900)), None, Some(ms(900))].map(|length| queue.join(length));
        assert_eq!(queue.in_order(), [unknown, long, as_long, short]);
        queue.leave(unknown);
        queue.serve(long);
        assert_eq!(queue.in_order(), [as_long, short]);
    }

    #[test]
    fn first_come_first_served_where_nothing_is_known() {
        let mut queue = Queue::default();
        let tickets: Vec<_> = (0..50).map(|_| queue.join(None)).collect();
        assert_eq!(queue.in_order(), tickets);
    }

    proptest! {
        #[test]
        fn nobody_is_overtaken_more_often_than_patience_has_it(
            lengths in prop::collection::vec(0u64..1000, 1..200),
            batch in 1usize..20,
        ) {
            let mut queue = Queue::default();
            let mut gone = Vec::new();
            let mut coming = lengths.iter().map(|length| Some(ms(*length)));
            loop {
                coming.by_ref().take(batch).for_each(|length| _ = queue.join(length));
                let Some(&next) = queue.in_order().first() else { break };
                queue.serve(next);
                gone.push(next);
            }
            prop_assert_eq!(gone.len(), lengths.len());
            for (at, ticket) in gone.iter().enumerate() {
                let overtakers = gone[..at].iter().filter(|other| *other > ticket).count();
                prop_assert!(overtakers <= PATIENCE as usize);
            }
        }
    }

    #[test]
    fn the_least_loaded_takes_it_by_its_slots() {
        assert_eq!(best(&[]), None);
        assert_eq!(best(&[worker(1, 2), worker(0, 2)]), Some(1));
        assert_eq!(best(&[worker(1, 2), worker(3, 16)]), Some(1));
        assert_eq!(best(&[worker(0, 4), worker(0, 4)]), Some(0));
    }

    #[test]
    fn where_its_inputs_are_within_load() {
        let lacking = |lacking, running| Candidate {
            lacking,
            ..worker(running, 4)
        };
        assert_eq!(best(&[lacking(90, 1), lacking(3, 1), lacking(4, 1)]), Some(1));
        assert_eq!(best(&[lacking(90, 1), lacking(3, 2)]), Some(0));
        let home = Candidate {
            is_home: true,
            ..worker(1, 4)
        };
        assert_eq!(best(&[worker(1, 4), home]), Some(1));
    }

    #[test]
    fn a_slower_worker_gets_less() {
        let mut slow = worker(0, 8);
        (0..60).for_each(|_| slow.speed = slow.speed.with(ms(100), ms(400)));
        assert!((slow.speed.get() - 0.25).abs() < 0.01, "{:?}", slow.speed);
        let mut fleet = [slow, worker(0, 8)];
        for _ in 0..10 {
            let taken = best(&fleet).unwrap();
            fleet[taken].running += 1;
        }
        assert_eq!([fleet[0].running, fleet[1].running], [2, 8]);
    }

    #[test]
    fn a_speed_is_moved_by_many_jobs_and_not_by_one() {
        let usual = Speed::default();
        assert_eq!(usual.with(ms(49), ms(5000)), usual, "too short to tell");
        assert!(usual.with(ms(1000), Duration::ZERO).get() < 1.5);
        assert!(usual.with(ms(1000), ms(1_000_000)).get() > 0.9);
        let nearly = Candidate {
            speed: Speed(0.95),
            lacking: 0,
            ..worker(0, 4)
        };
        let lacks = Candidate {
            lacking: 5,
            ..worker(0, 4)
        };
        assert_eq!(best(&[lacks, nearly]), Some(1), "a small difference is none");
    }
}
