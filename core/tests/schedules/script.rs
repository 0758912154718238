//! What the jobs of a schedule do, and what may go wrong. Knows nothing of machines.

use crate::random::{Random, mix};
use std::collections::BTreeSet;
use std::path::PathBuf;
use termite_core::writers::CommandKey;

/// A job: it reads some paths, one after another, and then writes some.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub command: CommandKey,
    pub reads: Vec<PathBuf>,
    pub writes: Vec<PathBuf>,
    /// It adds 1 to what it read; otherwise it writes something that only it would write.
    pub counts: bool,
    /// Exit status is 0.
    pub succeeds: bool,
}

impl Script {
    /// What it writes after it read these values.
    pub(crate) fn value(&self, job: usize, read: &[u64]) -> u64 {
        match self.counts {
            true => read.iter().fold(1, |sum, value| sum.wrapping_add(*value)),
            false => read.iter().fold(mix(job as u64), |value, more| mix(value ^ more)),
        }
    }
}

/// Chances of what may go wrong, of 1,000.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Faults {
    pub worker_lost: u32,
    pub caller_leaves: u32,
    pub interrupted: u32,
    pub outside_write: u32,
    pub refused: u32,
    /// A commit fails after it has changed the tree.
    pub half_committed: u32,
    pub abandoned: u32,
    pub duplicated: u32,
    /// The worker says that there is a conflict where there is none.
    pub false_conflict: u32,
    pub shown: u32,
    /// The daemon is stopped, as one job sees it.
    pub stopped: u32,
}

/// A schedule's jobs and workers.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub jobs: Vec<Script>,
    /// Slots of each worker.
    pub workers: Vec<usize>,
    pub faults: Faults,
}

fn path(number: usize) -> PathBuf {
    format!("/p/{number}").into()
}

impl Plan {
    /// Anything.
    pub(crate) fn random(random: &mut Random) -> Self {
        let paths = 1 + random.below(6);
        let kinds = 1 + random.below(4);
        let jobs = (0..1 + random.below(24)).map(|job| Script::random(random, job, paths, kinds));
        let jobs = jobs.collect();
        let workers = (0..1 + random.below(4)).map(|_| 1 + random.below(4)).collect();
        let mut chance = |most: usize| {
            if random.permille(500) {
                random.below(most) as u32
            } else {
                0
            }
        };
        let faults = Faults {
            worker_lost: chance(40),
            caller_leaves: chance(30),
            interrupted: chance(30),
            outside_write: chance(60),
            refused: chance(60),
            half_committed: chance(60),
            abandoned: chance(100),
            duplicated: chance(200),
            false_conflict: chance(200),
            shown: chance(200),
            stopped: chance(20),
        };
        Self { jobs, workers, faults }
    }

    /// Jobs of one kind that all count one counter up.
    pub(crate) fn storm(jobs: usize, slots: usize) -> Self {
        let script = |job: usize| Script {
            command: CommandKey {
                exact: job as u128,
                alike: 1 << 64,
            },
            reads: vec![path(0)],
            writes: vec![path(0)],
            counts: true,
            succeeds: true,
        };
        Self {
            jobs: (0..jobs).map(script).collect(),
            workers: vec![slots],
            faults: Faults::default(),
        }
    }

    /// Jobs of one kind with an output each, of which the first two have the same.
    pub(crate) fn compiles(jobs: usize, slots: usize) -> Self {
        let mut plan = Self::storm(jobs, slots);
        for (number, job) in plan.jobs.iter_mut().enumerate() {
            let output = path(number.max(1));
            (job.reads, job.writes, job.counts) = (vec![output.clone()], vec![output], false);
        }
        plan
    }
}

impl Script {
    fn random(random: &mut Random, job: usize, paths: usize, kinds: usize) -> Self {
        let mut some = |most: usize| {
            let count = random.below(most + 1);
            let set: BTreeSet<_> = (0..count).map(|_| path(random.below(paths))).collect();
            set.into_iter().collect::<Vec<_>>()
        };
        let (reads, writes) = (some(3), some(2));
        Self {
            reads,
            writes,
            command: CommandKey {
                exact: random.below(2 * job + 1) as u128,
                alike: (1 << 64) + random.below(kinds) as u128,
            },
            counts: random.permille(500),
            succeeds: random.permille(900),
        }
    }
}
