//! Whether what jobs answered and left can come about on one machine: a search over all
//! orders of their calls, which drops an order at the first answer that was not observed.
//! Does not know who ran the jobs.
//!
//! Termite promises less than one machine in four respects, which [`Verdict::Allowed`] names.
//! A job that holds no lock is not run again because something that it only looked at has
//! changed since, so that two jobs may each miss what the other one has made meanwhile; a file
//! that it opened with O_CREAT, found and did not write to, it only looked at. And
//! directories that two jobs make and leave behind are joined, so that mkdir(2) succeeds in
//! both. Then each job's changes happen at its commit, all at once, and what it only looked
//! at, or failed at, may be as it was after any earlier commit. And a view shows each name of a
//! client's file as a file of its own, so that its link count there is that of the names which
//! the job gave it. A job that was told ENOENT below a directory that was not there is not run
//! again because there is a file by now, which would give ENOTDIR.

use crate::language::{Call, Program, Seed};
use crate::model::{Ino, Inode, Kind, State, Tree};
use crate::step::Step;
use std::collections::{BTreeMap, HashSet};

/// Inode numbers that each job has for the files it makes.
const NUMBERS: Ino = 1000;

/// What was seen of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Observed {
    /// Of each job, the answers to its calls.
    pub answers: Vec<Vec<String>>,
    /// The tree at the end.
    pub tree: Tree,
}

/// What an outcome is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// One machine can do that.
    OneMachine,
    /// One machine cannot, but the rules of commits allow it.
    Allowed,
    /// No order explains it.
    Wrong,
}

/// The state before the jobs, and the seeds that could be made.
pub(crate) fn start(program: &Program) -> (State, Vec<Seed>) {
    let mut state = State::new(program.jobs.len());
    let mut made = Vec::new();
    for (number, seed) in program.seeds.iter().enumerate() {
        let fresh = number as Ino + 1;
        let plant = |path: &str, state: &mut State, inode: Inode| {
            let place = state.walk(path, false).ok().filter(|found| found.ino.is_none());
            place.map(|found| state.make(fresh, &found, inode)).is_some()
        };
        let is_made = match seed {
            Seed::Dir(path) => plant(path, &mut state, Inode::new(Kind::Dir(BTreeMap::new()), 0o755)),
            Seed::File(path, text, mode) => {
                let mut inode = Inode::new(Kind::File(text.clone().into_bytes()), *mode);
                inode.time = Some(crate::fixture::START);
                plant(path, &mut state, inode)
            }
            Seed::Soft(target, path) => plant(path, &mut state, Inode::new(Kind::Link(target.clone()), 0o777)),
            Seed::Hard(path, name) => {
                let file = state.find(path, false).ok();
                let file = file.filter(|ino| matches!(state.inode(*ino).kind, Kind::File(_)));
                let place = state.walk(name, false).ok().filter(|found| found.ino.is_none());
                file.zip(place)
                    .map(|(ino, found)| state.add_name(&found, ino))
                    .is_some()
            }
        };
        if is_made {
            made.push(seed.clone());
        }
    }
    (state, made)
}

/// The number of the inode that a call makes: the same in each order of the calls.
fn fresh(job: usize, at: usize) -> Ino {
    (job as Ino + 1) * NUMBERS + at as Ino
}

/// Judges an outcome.
pub(crate) fn verdict_on(program: &Program, observed: &Observed) -> Verdict {
    if is_reachable(program, observed) {
        Verdict::OneMachine
    } else if some_order_explains(program, observed, but_for_links) || commits_explain(program, observed) {
        Verdict::Allowed
    } else {
        Verdict::Wrong
    }
}

/// Whether some order of all calls gives these answers and this tree.
pub(crate) fn is_reachable(program: &Program, observed: &Observed) -> bool {
    some_order_explains(program, observed, |one, other| one == other)
}

/// Whether two answers are one.
type Same = fn(&str, &str) -> bool;

fn some_order_explains(program: &Program, observed: &Observed, same: Same) -> bool {
    let positions = vec![0; program.jobs.len()];
    let mut seen = HashSet::new();
    let mut open = vec![(positions, start(program).0)];
    while let Some((positions, state)) = open.pop() {
        if (0..positions.len()).all(|job| positions[job] == program.jobs[job].len()) {
            if state.tree() == observed.tree {
                return true;
            }
            continue;
        }
        let next = follow(program, observed, &positions, &state, same);
        open.extend(next.into_iter().filter(|next| seen.insert(next.clone())));
    }
    false
}

type Position = (Vec<usize>, State);

/// The states after one more call of each job, where its answer is the observed one.
fn follow(program: &Program, observed: &Observed, positions: &[usize], state: &State, same: Same) -> Vec<Position> {
    let waiting = |job: &usize| positions[*job] < program.jobs[*job].len();
    let alone = (0..positions.len()).filter(waiting).find(|job| {
        let call = program.call(*job, positions[*job]);
        is_private(state, *job, call)
    });
    let jobs: Vec<_> = match alone {
        Some(job) => vec![job],
        None => (0..positions.len()).filter(waiting).collect(),
    };
    let mut next = Vec::new();
    for job in jobs {
        let (at, mut state) = (positions[job], state.clone());
        let mut positions = positions.to_vec();
        match state.step(job, fresh(job, at), program.call(job, at)) {
            Step::Ended(answer) if same(&answer, &observed.answers[job][at]) => {
                positions[job] += 1;
                if positions[job] == program.jobs[job].len() {
                    state.end(job);
                }
                next.push((positions, state));
            }
            Step::Begun => next.push((positions, state)),
            Step::Ended(_) | Step::Waits => {}
        }
    }
    next
}

/// Whether a call neither depends on what other jobs do nor matters to them, so that it may
/// come at once: one on a slot that is not open.
fn is_private(state: &State, job: usize, call: &Call) -> bool {
    match call {
        Call::Close(slot) | Call::Read(slot, _) | Call::Pread(slot, ..) | Call::Write(slot, _) => {
            state.jobs[job].slots[usize::from(*slot)].is_none()
        }
        Call::Pwrite(slot, ..) | Call::Fstat(slot) | Call::Ftruncate(slot, _) => {
            state.jobs[job].slots[usize::from(*slot)].is_none()
        }
        _ => false,
    }
}

/// Makes a call that no other job can be in the way of.
fn alone(state: &mut State, program: &Program, job: usize, at: usize) -> String {
    loop {
        match state.step(job, fresh(job, at), program.call(job, at)) {
            Step::Ended(answer) => return answer,
            Step::Begun => {}
            Step::Waits => unreachable!("a job that is alone waits for no lock"),
        }
    }
}

/// The answers of a job that is alone, and the state after it.
pub(crate) fn run_alone(mut state: State, program: &Program, job: usize) -> (Vec<String>, State) {
    let calls = 0..program.jobs[job].len();
    let answers = calls.map(|at| alone(&mut state, program, job, at)).collect();
    state.end(job);
    (answers, state)
}

/// Whether it matters which job runs first, of each two that run before all others.
pub(crate) fn orders_differ(program: &Program) -> bool {
    let run = |jobs: [usize; 2]| {
        let (first, state) = run_alone(start(program).0, program, jobs[0]);
        let (second, state) = run_alone(state, program, jobs[1]);
        let answers = if jobs[0] < jobs[1] {
            [first, second]
        } else {
            [second, first]
        };
        (answers, state.tree())
    };
    let jobs = 0..program.jobs.len();
    let mut pairs = jobs.clone().flat_map(|one| (0..one).map(move |other| [one, other]));
    pairs.any(|[one, other]| run([one, other]) != run([other, one]))
}

/// Whether some order of commits explains the outcome, where jobs without locks may have
/// looked at the state after any earlier one.
fn commits_explain(program: &Program, observed: &Observed) -> bool {
    let mut open = vec![(Vec::new(), vec![start(program).0])];
    while let Some((done, states)) = open.pop() {
        let jobs = 0..program.jobs.len();
        if done.len() == jobs.len() && states.last().is_some_and(|state| state.tree() == observed.tree) {
            return true;
        }
        for job in jobs.filter(|job| !done.contains(job)) {
            for state in commit(program, observed, job, &states) {
                let done: Vec<_> = done.iter().copied().chain([job]).collect();
                let states: Vec<_> = states.iter().cloned().chain([state]).collect();
                open.push((done, states));
            }
        }
    }
    false
}

fn but_for_links(one: &str, other: &str) -> bool {
    without_links(one) == without_links(other)
}

/// Whether a job may have been told one thing though its commit would have given the other.
fn alike(one: &str, other: &str) -> bool {
    let in_vain = |answer: &str| matches!(answer, "ENOENT" | "ENOTDIR");
    but_for_links(one, other) || in_vain(one) && in_vain(other)
}

/// An answer but for a link count at its end.
fn without_links(answer: &str) -> &str {
    let is_count = |word: &str| {
        let count = word.strip_suffix('n');
        count.is_some_and(|count| !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match answer.rsplit_once(' ') {
        Some((rest, last)) if is_count(last) => rest,
        _ => answer,
    }
}

/// How a call goes in a job that is alone on a state.
struct Alone {
    answer: String,
    /// It opened a file that was there, and kept what was in it.
    found: bool,
}

fn view(mut state: State, program: &Program, job: usize) -> Vec<Alone> {
    let calls = 0..program.jobs[job].len();
    let answer = |at| {
        let found = match program.call(job, at) {
            Call::Open(_, path, how, _) => !how.contains('t') && state.find(path, true).is_ok(),
            _ => false,
        };
        let answer = alone(&mut state, program, job, at);
        let found = found && answer == "0";
        Alone { answer, found }
    };
    calls.map(answer).collect()
}

/// A job on its way to its commit.
#[derive(Clone)]
struct Partial<'p> {
    state: State,
    /// Directories that it made and that are there already.
    joined: Vec<&'p str>,
}

/// The states after the commit of a job on the last of `states`; none if its answers do not
/// allow it to come there.
fn commit(program: &Program, observed: &Observed, job: usize, states: &[State]) -> Vec<State> {
    let answers = &observed.answers[job];
    let views: Vec<_> = states.iter().map(|state| view(state.clone(), program, job)).collect();
    let calls = 0..program.jobs[job].len();
    let takes_lock = |at: usize| program.call(job, at).is_lock() && answers[at] == "0";
    let is_locked = calls.clone().any(takes_lock);
    let begun = states.last().map(|state| Partial {
        state: state.clone(),
        joined: Vec::new(),
    });
    let mut partial: Vec<_> = begun.into_iter().collect();
    for at in calls {
        let (call, answer) = (program.call(job, at), &answers[at]);
        let seen: Vec<_> = views
            .iter()
            .map(|view| &view[at])
            .filter(|alone| !is_locked && alike(&alone.answer, answer))
            .collect();
        let is_look = call.is_look() || answer.starts_with('E');
        let may_be_stale = seen.iter().any(|alone| is_look || alone.found);
        let mut next = Vec::new();
        for before in partial {
            let mut after = before.clone();
            let same = alike(&alone(&mut after.state, program, job, at), answer);
            let makes = || after.state.tree().len() > before.state.tree().len();
            if may_be_stale && (!same || makes()) {
                let mut before = before;
                if let Call::Open(slot, ..) = call {
                    // The slot holds nothing then that a change could be made by.
                    let _ = before.state.close(job, usize::from(*slot));
                }
                next.push(before);
            }
            if same {
                next.push(after);
            } else if let Call::Mkdir(path, _) = call
                && answer == "0"
                && !seen.is_empty()
            {
                after.joined.push(path);
                next.push(after);
            }
        }
        partial = next;
    }
    // A directory that is gone at the end of the job was an exclusive name.
    let is_dir = |state: &State, path: &str| state.find(path, false).is_ok_and(|ino| state.inode(ino).is_dir());
    partial.retain(|partial| partial.joined.iter().all(|path| is_dir(&partial.state, path)));
    let ended = partial.into_iter().map(|Partial { mut state, .. }| {
        state.end(job);
        state
    });
    ended.collect()
}
