//! Process numbers for jobs: what `/proc` tells of this machine's processes, for the allocator in
//! `core`. Knows nothing of jobs or workers.
//!
//! A process that starts while a job runs may get a number of the job's where the job lasts so long
//! that the kernel's counter comes round to it; see [`termite_core::pids`] for how that is put off. Of
//! threads only the first of each process counts: no other one is found by its number in `/proc`.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use termite_core::pids::{PidAllocator, Request};
use termite_types::PidRange;

/// A list of the processes is older than this only if hardly any process started since.
const MAX_AGE: Duration = Duration::from_secs(1);
/// `pid_max` where it cannot be read: the kernel's default.
const DEFAULT_LIMIT: u32 = 1 << 15;

/// The numbers of all jobs of a daemon.
pub(crate) struct JobPids {
    allocator: RefCell<PidAllocator>,
    /// Its fifth word is the number that was given last (proc(5)).
    loadavg: Option<File>,
    listed: Cell<Option<Instant>>,
}

/// A job's numbers, or none; given back when dropped.
pub(crate) struct PidLease<'a> {
    of: &'a JobPids,
    /// The numbers; `None`: no choice was possible.
    pub range: Option<PidRange>,
}

impl JobPids {
    /// No job has numbers yet. Where `/proc` tells nothing, jobs are kept apart from each other only.
    pub(crate) fn new() -> Self {
        let limit = std::fs::read_to_string("/proc/sys/kernel/pid_max");
        let limit = limit.ok().and_then(|text| text.trim().parse().ok());
        Self {
            allocator: RefCell::new(PidAllocator::new(limit.unwrap_or(DEFAULT_LIMIT))),
            loadavg: File::open("/proc/loadavg").ok(),
            listed: Cell::new(None),
        }
    }

    /// Takes numbers for a job on a worker that takes numbers below `limit`; `jobs` may run at once.
    pub(crate) fn lease(&self, limit: u32, jobs: u32) -> PidLease<'_> {
        self.refresh();
        let range = self.allocator.borrow_mut().lease(Request { limit, jobs });
        PidLease { of: self, range }
    }

    /// Lists the processes where too many have started since, or too long ago to know.
    fn refresh(&self) {
        let mut allocator = self.allocator.borrow_mut();
        let last = self.last();
        let is_stale = last.is_some_and(|last| allocator.note_last(last));
        let is_old = self.listed.get().is_none_or(|listed| listed.elapsed() > MAX_AGE);
        if is_stale || is_old {
            let living = living().unwrap_or_default();
            let last = last.or_else(|| living.iter().copied().max());
            allocator.set_living(last.unwrap_or_default(), living);
            self.listed.set(Some(Instant::now()));
        }
    }

    /// The number that this machine's kernel has given last.
    fn last(&self) -> Option<u32> {
        let mut bytes = [0; 128];
        let len = self.loadavg.as_ref()?.read_at(&mut bytes, 0).ok()?;
        std::str::from_utf8(&bytes[..len])
            .ok()?
            .split_whitespace()
            .nth(4)?
            .parse()
            .ok()
    }
}

/// The numbers of all processes that this one can see.
fn living() -> io::Result<Vec<u32>> {
    let mut living = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        living.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(living)
}

impl Drop for PidLease<'_> {
    fn drop(&mut self) {
        if let Some(range) = self.range {
            self.of.allocator.borrow_mut().release(range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_have_numbers_that_no_process_has() {
        let pids = JobPids::new();
        let me = std::process::id();
        assert!(living().unwrap().contains(&me) && pids.last().is_some());
        let leases: Vec<_> = (0..8).map(|_| pids.lease(DEFAULT_LIMIT, 8)).collect();
        let ranges: Vec<_> = leases.iter().filter_map(|lease| lease.range).collect();
        assert_eq!(ranges.len(), 8);
        for (at, range) in ranges.iter().enumerate() {
            let numbers = range.first..range.end();
            assert!(!numbers.contains(&me) && !numbers.contains(&1), "{range:?}");
            assert!(
                ranges[..at]
                    .iter()
                    .all(|other| other.end() <= range.first || range.end() <= other.first)
            );
        }
        drop(leases);
        assert_eq!(pids.lease(0, 8).range, None);
    }
}
