//! The order in which jobs that wait get their slots, in a build whose time is simulated:
//! first with lengths that are not known, then with those that the first build told.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use termite_core::placement::{Queue, Ticket};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// When it comes and how long it takes.
type Job = (Duration, Duration);

struct Build {
    /// Numbers of jobs in the order in which they began.
    began: Vec<usize>,
    took: Duration,
}

/// Runs jobs, sorted by when they come, on some slots. `known`: their lengths by number.
fn build(jobs: &[Job], slots: usize, known: &[Option<Duration>]) -> Build {
    let mut queue = Queue::default();
    let mut waiting: HashMap<Ticket, usize> = HashMap::new();
    let mut coming = jobs.iter().enumerate().peekable();
    let (mut began, mut now) = (Vec::new(), Duration::ZERO);
    // Ends of running jobs, and how many end then.
    let mut ends: BTreeMap<Duration, usize> = BTreeMap::new();
    loop {
        while let Some((number, _)) = coming.next_if(|(_, (comes, _))| *comes <= now) {
            waiting.insert(queue.join(known[number]), number);
        }
        for ticket in queue.in_order() {
            if ends.values().sum::<usize>() == slots {
                break;
            }
            queue.serve(ticket);
            let number = waiting.remove(&ticket).unwrap();
            began.push(number);
            *ends.entry(now + jobs[number].1).or_default() += 1;
        }
        let end = ends.keys().next().copied();
        let comes = coming.peek().map(|(_, (comes, _))| *comes);
        now = match (end, comes) {
            (Some(end), Some(comes)) => end.min(comes),
            (Some(next), None) | (None, Some(next)) => next,
            (None, None) => return Build { began, took: now },
        };
        ends.remove(&now);
    }
}

/// Five short jobs and then a long one, as make starts them: at once, one after another.
fn five_short_and_a_long() -> Vec<Job> {
    let short = (0..5).map(|number| (ms(number), ms(150)));
    short.chain([(ms(5), ms(500))]).collect()
}

#[test]
fn without_lengths_it_is_first_come_first_served() {
    let jobs = five_short_and_a_long();
    let first = build(&jobs, 1, &[None; 6]);
    assert_eq!(first.began, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn the_longest_job_that_waits_goes_first_once_its_length_is_known() {
    let jobs = five_short_and_a_long();
    let known: Vec<_> = jobs.iter().map(|(_, takes)| Some(*takes)).collect();
    let second = build(&jobs, 1, &known);
    assert_eq!(
        second.began,
        [0, 5, 1, 2, 3, 4],
        "the first had the slot as the long one came"
    );
    let at_once: Vec<_> = jobs.iter().map(|(_, takes)| (ms(0), *takes)).collect();
    assert_eq!(build(&at_once, 1, &known).began, [5, 0, 1, 2, 3, 4]);
}

#[test]
fn a_long_job_does_not_run_alone_at_the_end() {
    let jobs = five_short_and_a_long();
    let known: Vec<_> = jobs.iter().map(|(_, takes)| Some(*takes)).collect();
    let (blind, seeing) = (build(&jobs, 2, &[None; 6]), build(&jobs, 2, &known));
    assert!(
        seeing.took < ms(700) && blind.took > ms(800),
        "{:?}, {:?}",
        seeing.took,
        blind.took
    );
}
