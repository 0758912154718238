//! Which process numbers a job gets: a range for each job that runs, disjoint from the ranges of all
//! other jobs, without the number of any living process of the client. Knows numbers; reads no `/proc`
//! and starts no process.
//!
//! The kernel gives numbers upwards from the last one, and begins anew at 300 when it has reached
//! `pid_max` (proc(5)). So a number that the client's kernel cannot give is the best one for a job: a
//! worker may take numbers from the client's `pid_max` on. After those come the numbers that the
//! client's kernel gives last.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use termite_types::PidRange;

/// The smallest number that the kernel gives to a process that does not start the machine
/// (`RESERVED_PIDS`, kernel/pid.c).
const FIRST: u32 = 300;
/// Largest width of a range: what a whole machine has by default.
const WIDEST: u32 = 1 << 15;
/// Smallest width of a range. A job that finds no gap of that width gets no range.
const NARROWEST: u32 = 8;
/// All ranges in use together take no more than this part of the numbers, where they can be wide.
const SHARE: u32 = 4;
/// How many numbers at the beginning of a range rest after the job's end: what most jobs use.
const RESTING: u32 = 8;
/// Largest number of ranges whose beginnings rest.
const MOST_RESTING: usize = 4096;

/// What a job needs.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The worker takes numbers below this.
    pub limit: u32,
    /// Jobs that may run at once on all workers.
    pub jobs: u32,
}

/// The ranges of all running jobs, and what is known of the client's processes.
#[derive(Debug)]
pub struct PidAllocator {
    /// The client's `pid_max`: its kernel gives smaller numbers only.
    client_limit: u32,
    /// Numbers of the client's processes, as they were listed last.
    living: BTreeSet<u32>,
    /// The number that the client's kernel had given last when that list was begun.
    listed_at: u32,
    /// The number that it has given last.
    last: u32,
    /// First number and end of each range in use.
    leased: BTreeMap<u32, u32>,
    /// First numbers of ranges that were used before, and in the order of their ends.
    resting: BTreeSet<u32>,
    resting_order: VecDeque<u32>,
    /// Where the next range is looked for first.
    cursor: u32,
    /// A gap of this width is not passed over for a wider one: hardly any was found of late.
    enough: u32,
}

impl PidAllocator {
    /// No range is in use, no process is known. `client_limit` is the client's `pid_max`.
    pub fn new(client_limit: u32) -> Self {
        Self {
            client_limit: client_limit.clamp(2 * FIRST, PidRange::LIMIT),
            living: BTreeSet::new(),
            listed_at: FIRST,
            last: FIRST,
            leased: BTreeMap::new(),
            resting: BTreeSet::new(),
            resting_order: VecDeque::new(),
            cursor: 0,
            enough: u32::MAX,
        }
    }

    /// Notes the number that the client's kernel has given last. Returns whether it has given so many
    /// that the processes have to be listed anew before the next [`Self::lease`].
    pub fn note_last(&mut self, last: u32) -> bool {
        self.last = last.clamp(FIRST, self.client_limit - 1);
        self.given_since_listing() > self.client_numbers() / 16
    }

    /// Replaces the list of the client's living processes; `last` is the number that was given last
    /// before the list was begun.
    pub fn set_living(&mut self, last: u32, living: impl IntoIterator<Item = u32>) {
        self.living = living.into_iter().collect();
        self.listed_at = last.clamp(FIRST, self.client_limit - 1);
        self.last = self.listed_at;
        self.enough = u32::MAX;
    }

    /// Takes a range. It is as wide as the number of jobs allows, or half of that; where no such gap is
    /// left, the widest one is taken; `None` where no gap is left at all. A first number comes again as
    /// late as possible.
    pub fn lease(&mut self, request: Request) -> Option<PidRange> {
        let windows = self.windows(request.limit);
        let numbers = windows.iter().flatten().map(|span| span.end - span.start).sum::<u32>();
        let jobs = request.jobs.max(self.leased.len() as u32 + 1);
        let widest = (numbers / SHARE / jobs).clamp(NARROWEST, WIDEST);
        let enough = (widest / 2).min(self.enough).max(NARROWEST);
        let mut found = self.find(&windows, enough);
        if found.is_none() && !self.resting.is_empty() {
            self.resting.clear();
            self.resting_order.clear();
            found = self.find(&windows, enough);
        }
        let gap = found?;
        let width = gap.end - gap.start;
        if width < enough {
            self.enough = width / 2;
        }
        let range = PidRange {
            first: gap.start,
            count: width.min(widest),
        };
        self.leased.insert(range.first, range.end());
        self.cursor = range.first + RESTING;
        Some(range)
    }

    /// Gives a range back.
    pub fn release(&mut self, range: PidRange) {
        if self.leased.remove(&range.first).is_none() {
            return;
        }
        if self.resting.insert(range.first) {
            self.resting_order.push_back(range.first);
        }
        let most = MOST_RESTING.min((self.client_numbers() / RESTING / 4) as usize);
        if self.resting_order.len() > most
            && let Some(oldest) = self.resting_order.pop_front()
        {
            self.resting.remove(&oldest);
        }
    }

    /// How many numbers the client's kernel gives before it comes to one again.
    fn client_numbers(&self) -> u32 {
        self.client_limit - FIRST
    }

    /// How many numbers the client's kernel has given since the processes were listed.
    fn given_since_listing(&self) -> u32 {
        let numbers = self.client_numbers();
        (self.last + numbers - self.listed_at) % numbers
    }

    /// Where ranges may lie, the best window first: what the client's kernel cannot give, what it
    /// gives last, what it does not give soon. What it has given since the processes were listed, and
    /// what it gives next, is in none.
    fn windows(&self, limit: u32) -> [Vec<Range<u32>>; 3] {
        let numbers = self.client_numbers();
        let beyond = self.client_limit..limit.min(PidRange::LIMIT);
        let known = numbers.saturating_sub(self.given_since_listing());
        let ahead = |from: u32, to: u32| {
            // Numbers by how many are given before them.
            let start = FIRST + (self.last + 1 - FIRST + from) % numbers;
            let end = start + to.saturating_sub(from);
            let parts = [start..end.min(self.client_limit), FIRST..end.saturating_sub(numbers)];
            parts
                .map(|part| part.start..part.end.min(limit))
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect()
        };
        [
            Some(beyond).into_iter().filter(|span| !span.is_empty()).collect(),
            ahead(numbers / 2, known),
            ahead(numbers / 8, known.min(numbers / 2)),
        ]
    }

    /// The first gap that is wide enough, from the cursor on in each window; else the widest one.
    fn find(&self, windows: &[Vec<Range<u32>>], enough: u32) -> Option<Range<u32>> {
        let mut widest = None;
        for window in windows {
            for span in self.parts_from_cursor(window) {
                let gap = self.find_in(span, enough);
                if gap.as_ref().is_some_and(|gap| gap.len() >= enough as usize) {
                    return gap;
                }
                widest = widest.into_iter().chain(gap).max_by_key(Range::len);
            }
        }
        widest.filter(|gap| gap.len() >= NARROWEST as usize)
    }

    /// A window's parts in the order in which ranges are looked for.
    fn parts_from_cursor(&self, window: &[Range<u32>]) -> Vec<Range<u32>> {
        let Some(at) = window.iter().position(|span| span.contains(&self.cursor)) else {
            return window.to_vec();
        };
        let (before, after) = (window[at].start..self.cursor, self.cursor..window[at].end);
        let mut parts = vec![after];
        parts.extend_from_slice(&window[at + 1..]);
        parts.extend_from_slice(&window[..at]);
        parts.push(before);
        parts
    }

    /// The same in one span.
    fn find_in(&self, span: Range<u32>, enough: u32) -> Option<Range<u32>> {
        let mut widest: Option<Range<u32>> = None;
        let mut at = span.start;
        while at < span.end {
            let used = self.next_used(at);
            let end = used.start.min(span.end);
            let best = widest.as_ref().map_or(0, Range::len);
            // Looking for a start that has rested costs more than the comparison.
            if at + (best as u32) < end {
                let start = self.rested_from(at);
                if start + (best as u32) < end {
                    widest = Some(start..end);
                }
                if end.saturating_sub(start) >= enough {
                    break;
                }
            }
            at = used.end;
        }
        widest
    }

    /// The first range or process at or after a number; without one, an empty span at the end.
    fn next_used(&self, at: u32) -> Range<u32> {
        let before = self.leased.range(..=at).next_back().filter(|(_, end)| **end > at);
        let leased = before.or_else(|| self.leased.range(at..).next());
        let leased = leased.map_or(u32::MAX..u32::MAX, |(start, end)| *start..*end);
        match self.living.range(at..leased.start.max(at)).next() {
            Some(process) => *process..*process + 1,
            None => leased,
        }
    }

    /// The first number from `at` on with which no range may begin too soon after another one.
    fn rested_from(&self, mut at: u32) -> u32 {
        while let Some(resting) = self
            .resting
            .range((at + 1).saturating_sub(RESTING)..at + RESTING)
            .next_back()
        {
            at = resting + RESTING;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// The default `pid_max`.
    const SMALL: u32 = 32_768;

    fn request(limit: u32, jobs: u32) -> Request {
        Request { limit, jobs }
    }

    fn allocator(client_limit: u32, last: u32, living: &[u32]) -> PidAllocator {
        let mut allocator = PidAllocator::new(client_limit);
        allocator.set_living(last, living.iter().copied());
        allocator
    }

    #[test]
    fn numbers_that_the_client_cannot_give_come_first() {
        let mut pids = allocator(SMALL, 5000, &[]);
        let range = pids.lease(request(PidRange::LIMIT, 8)).unwrap();
        assert_eq!((range.first, range.count), (SMALL, WIDEST));
        let next = pids.lease(request(PidRange::LIMIT, 8)).unwrap();
        assert_eq!(next.first, range.end());
        // A worker that takes less gets what the client's kernel gives last.
        let low = pids.lease(request(SMALL, 8)).unwrap();
        assert_eq!(low.first, 5001 + (SMALL - FIRST) / 2);
    }

    #[test]
    fn the_clients_counter_comes_to_a_range_late() {
        for last in [FIRST, 10_000, 20_000, 32_767] {
            let mut pids = allocator(SMALL, last, &[]);
            for _ in 0..8 {
                let range = pids.lease(request(SMALL, 8)).unwrap();
                let turn = SMALL - FIRST;
                let ahead = (range.first + turn - last) % turn;
                assert!(ahead >= turn / 2, "{range:?} is {ahead} after {last}");
            }
        }
    }

    #[test]
    fn ranges_are_wide_while_jobs_are_few() {
        let width = |client, jobs| allocator(client, 400, &[]).lease(request(client, jobs)).unwrap().count;
        assert!(width(SMALL, 2) > 3000 && width(SMALL, 8) > 800 && width(SMALL, 64) > 100);
        assert_eq!(width(PidRange::LIMIT, 16), WIDEST);
    }

    #[test]
    fn a_worker_with_a_smaller_limit_gets_numbers_below_it() {
        let mut pids = allocator(PidRange::LIMIT, 3_000_000, &[]);
        for _ in 0..20 {
            let range = pids.lease(request(SMALL, 4)).unwrap();
            assert!(range.end() <= SMALL, "{range:?}");
        }
        assert_eq!(pids.lease(request(0, 4)), None);
        assert_eq!(pids.lease(request(FIRST, 4)), None);
    }

    #[test]
    fn what_the_client_was_given_since_the_listing_is_left_alone() {
        let mut pids = allocator(SMALL, 1000, &[]);
        assert!(!pids.note_last(2000));
        assert!(pids.note_last(30_000));
        while let Some(range) = pids.lease(request(SMALL, 100)) {
            let is_new = range.end() > 1001 && range.first <= 30_000;
            assert!(!is_new, "{range:?}");
        }
    }

    #[test]
    fn with_more_jobs_than_numbers_ranges_get_narrow_and_then_there_are_none() {
        let mut pids = allocator(SMALL, 1000, &[]);
        let mut widths = Vec::new();
        while let Some(range) = pids.lease(request(SMALL, 1)) {
            widths.push(range.count);
        }
        assert!(widths.len() > 30 && widths[0] > 4000, "{widths:?}");
        assert!(widths.iter().all(|width| *width >= NARROWEST), "{widths:?}");
        assert!(widths[widths.len() - 1] < widths[0] / 30, "{widths:?}");
        let mut pids = allocator(SMALL, 1000, &[]);
        let foreseen = std::iter::from_fn(|| pids.lease(request(SMALL, 1000))).count();
        assert!(foreseen > 1000, "{foreseen}");
    }

    #[test]
    fn a_first_number_comes_again_late() {
        for (client, worker) in [(SMALL, SMALL), (SMALL, PidRange::LIMIT)] {
            let mut pids = allocator(client, 1000, &[20_000, 20_001, 31_000]);
            let mut seen = HashSet::new();
            let mut running = VecDeque::new();
            let mut count = 0;
            loop {
                let range = pids.lease(request(worker, 4)).unwrap();
                if !seen.insert(range.first) {
                    break;
                }
                running.push_back(range);
                count += 1;
                if count == 20_000 {
                    break;
                }
                if running.len() == 4 {
                    pids.release(running.pop_front().unwrap());
                }
            }
            assert!(count > 1000, "again after {count} jobs");
        }
    }

    proptest! {
        #[test]
        fn ranges_are_apart_and_hold_no_process(
            (client, worker) in prop::sample::select(vec![(SMALL, SMALL), (2000, 2000), (1 << 16, SMALL), (SMALL, 40_000)]),
            living in prop::collection::btree_set(1u32..SMALL, 0..300),
            steps in prop::collection::vec((any::<u16>(), 0u32..400, 1u32..100), 1..300),
        ) {
            let mut pids = PidAllocator::new(client);
            let mut last = 1000;
            pids.set_living(last, living.iter().copied());
            let mut running: Vec<PidRange> = Vec::new();
            for (choice, forks, jobs) in steps {
                if choice % 3 == 0 && !running.is_empty() {
                    pids.release(running.swap_remove(usize::from(choice / 3) % running.len()));
                    continue;
                }
                last += forks;
                if last >= client {
                    last = last - client + FIRST;
                }
                if pids.note_last(last) {
                    pids.set_living(last, living.iter().copied());
                }
                let Some(range) = pids.lease(request(worker, jobs)) else { continue };
                prop_assert!(range.first >= FIRST && range.count >= NARROWEST && range.end() <= worker);
                prop_assert_eq!(living.range(range.first..range.end()).next(), None);
                for other in &running {
                    prop_assert!(range.end() <= other.first || other.end() <= range.first, "{range:?} {other:?}");
                }
                running.push(range);
            }
        }
    }
}
