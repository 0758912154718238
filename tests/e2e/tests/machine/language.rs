//! Random programs of parallel jobs, each a list of file operations over a small tree of
//! the client's, as `calls.c` reads them. Knows neither what the operations do nor who
//! carries them out.

use crate::search::orders_differ;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::fmt;
use std::ops::RangeInclusive;
use termite_e2e::reference::long;

/// Few, so that jobs meet.
const PATHS: [&str; 8] = ["a", "b", "c", "d", "a/b", "a/c", "a/d", "d/b"];
/// Of which a program uses some, so that its jobs meet the more.
const NEIGHBOURS: [&[&str]; 6] = [
    &["a", "b"],
    &["a", "a/b"],
    &["a/b", "a/c", "a"],
    &["b", "c", "d"],
    &["a/b", "d/b", "b", "a"],
    &PATHS,
];
const FILE_MODES: [u16; 3] = [0o644, 0o600, 0o755];
/// One, since two directories that are joined have one mode.
const DIR_MODE: u16 = 0o755;
/// Modes that leave everything open to the owner, whether file or directory.
const CHANGED_MODES: [u16; 2] = [0o711, 0o750];
/// Times that jobs set, seconds since 1970.
const TIMES: [i64; 2] = [1_200_000_010, 1_200_000_020];

/// One operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    /// Slot, path, flags as letters, mode.
    Open(u8, String, &'static str, u16),
    /// Slot.
    Close(u8),
    /// Slot, bytes.
    Read(u8, usize),
    /// Slot, bytes, offset.
    Pread(u8, usize, usize),
    /// Slot, text.
    Write(u8, String),
    /// Slot, text, offset.
    Pwrite(u8, String, usize),
    /// Slot, size.
    Ftruncate(u8, usize),
    /// Slot.
    Fstat(u8),
    /// Slot, and `x`, `s` or `u`: flock(2).
    Flock(u8, char),
    /// Slot, and `w` or `u`: F_SETLKW of the whole file.
    Record(u8, char),
    /// Path.
    Stat(String),
    /// Path.
    Lstat(String),
    /// Path of a directory.
    List(String),
    /// Path.
    Readlink(String),
    /// How, from, to.
    Rename(Rename, String, String),
    /// Path, new name.
    Link(String, String),
    /// Target, path.
    Symlink(String, String),
    /// Path.
    Unlink(String),
    /// Path.
    Rmdir(String),
    /// Path, mode.
    Mkdir(String, u16),
    /// Path, mode.
    Chmod(String, u16),
    /// Path, seconds since 1970.
    Utimens(String, i64),
    /// Path, size.
    Truncate(String, usize),
    /// Path, value.
    Setxattr(String, String),
}

/// The kinds of renameat2(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rename {
    /// Without flags.
    Replace,
    /// RENAME_EXCHANGE.
    Exchange,
    /// RENAME_NOREPLACE.
    NoReplace,
}

/// One name of the tree before the jobs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seed {
    /// A directory.
    Dir(String),
    /// A file with its content and mode.
    File(String, String, u16),
    /// A file's path, and a further name of it.
    Hard(String, String),
    /// Target and path of a symbolic link.
    Soft(String, String),
}

/// A tree and the jobs that run over it at once.
#[derive(Clone)]
pub(crate) struct Program {
    /// In the order in which they are made. One that cannot be made is left out.
    pub seeds: Vec<Seed>,
    /// Each call with the milliseconds that the job sleeps before it.
    pub jobs: Vec<Vec<(u8, Call)>>,
    /// How long each job sleeps after its last call, milliseconds, so that others end
    /// before it.
    pub rests: Vec<u8>,
}

impl Call {
    /// Whether it takes a lock, for which it may have to wait.
    pub(crate) fn is_lock(&self) -> bool {
        matches!(self, Self::Flock(_, 'x' | 's') | Self::Record(_, 'w'))
    }

    fn paths_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::Open(_, path, _, _) => vec![path],
            Self::Stat(path) | Self::Lstat(path) | Self::List(path) | Self::Readlink(path) => vec![path],
            Self::Rename(_, path, other) | Self::Link(path, other) | Self::Symlink(path, other) => vec![path, other],
            Self::Unlink(path) | Self::Rmdir(path) | Self::Mkdir(path, _) => vec![path],
            Self::Chmod(path, _) | Self::Utimens(path, _) => vec![path],
            Self::Truncate(path, _) | Self::Setxattr(path, _) => vec![path],
            _ => Vec::new(),
        }
    }

    /// Whether it never changes a file.
    pub(crate) fn is_look(&self) -> bool {
        match self {
            Self::Open(_, _, how, _) => !how.contains(['c', 't']),
            Self::Read(..) | Self::Pread(..) | Self::Fstat(_) | Self::Close(_) => true,
            Self::Stat(_) | Self::Lstat(_) | Self::List(_) | Self::Readlink(_) => true,
            // It does nothing (rename(2)).
            Self::Rename(Rename::Replace, from, to) => from == to,
            _ => false,
        }
    }
}

impl Seed {
    fn paths_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::Dir(path) | Self::File(path, _, _) => vec![path],
            Self::Hard(path, other) | Self::Soft(path, other) => vec![path, other],
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(slot, path, how, mode) => write!(f, "open {slot} {path} {how} {mode:o}"),
            Self::Close(slot) => write!(f, "close {slot}"),
            Self::Read(slot, count) => write!(f, "read {slot} {count}"),
            Self::Pread(slot, count, at) => write!(f, "pread {slot} {count} {at}"),
            Self::Write(slot, text) => write!(f, "write {slot} {text}"),
            Self::Pwrite(slot, text, at) => write!(f, "pwrite {slot} {text} {at}"),
            Self::Ftruncate(slot, size) => write!(f, "ftruncate {slot} {size}"),
            Self::Fstat(slot) => write!(f, "fstat {slot}"),
            Self::Flock(slot, how) => write!(f, "flock {slot} {how}"),
            Self::Record(slot, how) => write!(f, "record {slot} {how}"),
            Self::Stat(path) => write!(f, "stat {path}"),
            Self::Lstat(path) => write!(f, "lstat {path}"),
            Self::List(path) => write!(f, "list {path}"),
            Self::Readlink(path) => write!(f, "readlink {path}"),
            Self::Rename(Rename::Replace, from, to) => write!(f, "rename {from} {to}"),
            Self::Rename(Rename::Exchange, from, to) => write!(f, "exchange {from} {to}"),
            Self::Rename(Rename::NoReplace, from, to) => write!(f, "noreplace {from} {to}"),
            Self::Link(from, to) => write!(f, "link {from} {to}"),
            Self::Symlink(target, path) => write!(f, "symlink {target} {path}"),
            Self::Unlink(path) => write!(f, "unlink {path}"),
            Self::Rmdir(path) => write!(f, "rmdir {path}"),
            Self::Mkdir(path, mode) => write!(f, "mkdir {path} {mode:o}"),
            Self::Chmod(path, mode) => write!(f, "chmod {path} {mode:o}"),
            Self::Utimens(path, time) => write!(f, "utimens {path} {time}"),
            Self::Truncate(path, size) => write!(f, "truncate {path} {size}"),
            Self::Setxattr(path, value) => write!(f, "setxattr {path} {value}"),
        }
    }
}

impl Program {
    /// The list of a job as `calls.c` reads it.
    pub(crate) fn list(&self, job: usize) -> String {
        let line = |(pause, call): &(u8, Call)| format!("{pause} {call}\n");
        let lines: String = self.jobs[job].iter().map(line).collect();
        format!("{lines}{} rest\n", self.rests[job])
    }

    fn paths_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let seeds = self.seeds.iter_mut().flat_map(Seed::paths_mut);
        let calls = self.jobs.iter_mut().flatten().map(|(_, call)| call);
        seeds.chain(calls.flat_map(Call::paths_mut))
    }

    /// The call of a job at a position.
    pub(crate) fn call(&self, job: usize, at: usize) -> &Call {
        &self.jobs[job][at].1
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{:?}", self.seeds)?;
        let mut jobs = 0..self.jobs.len();
        jobs.try_for_each(|job| write!(f, "\njob {job}:\n{}", self.list(job)))
    }
}

/// Programs of so many jobs with so many calls at most.
pub(crate) fn programs(jobs: RangeInclusive<usize>, calls: usize) -> impl Strategy<Value = Program> {
    let pause = select(vec![0, 0, 3, 10, 25]);
    let job = (vec((pause, piece()), 1..=calls), select(vec![0, 20, 60, 120]));
    (select(&NEIGHBOURS), vec(seed(), 0..7), vec(job, jobs)).prop_map(move |(paths, seeds, jobs)| {
        let (lists, rests): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
        let lists = lists.into_iter().enumerate();
        let jobs = lists.map(|(job, pieces)| flatten(job, pieces, calls)).collect();
        let mut program = Program { seeds, jobs, rests };
        program.paths_mut().for_each(|path| narrow(path, paths));
        program
    })
}

/// Programs for parallel runs: up to 3 jobs of 6 calls, in the long form 4 of 8. In most of
/// them, the order of the jobs matters.
pub(crate) fn parallel() -> impl Strategy<Value = Program> {
    let (jobs, calls) = if long() { (4, 8) } else { (3, 6) };
    prop_oneof![
        6 => programs(2..=jobs, calls).prop_filter("the jobs do not meet", orders_differ),
        1 => programs(2..=jobs, calls),
    ]
}

/// Replaces a path by one of these, always by the same one.
fn narrow(path: &mut String, paths: &[&str]) {
    if let Some(number) = PATHS.iter().position(|known| known == path) {
        paths[number % paths.len()].clone_into(path);
    }
}

/// Cuts the pieces to so many calls, gives each write a text of its own and leaves the job
/// one lock at most, so that no two jobs wait for each other.
fn flatten(job: usize, pieces: Vec<(u8, Vec<Call>)>, calls: usize) -> Vec<(u8, Call)> {
    let mut list = Vec::new();
    let mut is_locked = false;
    for (pause, piece) in pieces {
        for (at, mut call) in piece.into_iter().enumerate() {
            if call.is_lock() && std::mem::replace(&mut is_locked, true) {
                continue;
            }
            let letter = ["p", "q", "r", "s"][job % 4];
            let mark = format!("{letter}{}", list.len());
            match &mut call {
                Call::Write(_, text) | Call::Pwrite(_, text, _) | Call::Setxattr(_, text) => *text = mark,
                Call::Truncate(_, size) => *size = BLOCK * (1 + 8 * job + list.len()),
                _ => {}
            }
            let own = call.paths_mut().into_iter().filter(|path| *path == OWN);
            own.for_each(|path| *path = format!("own.{letter}"));
            list.push((if at == 0 { pause } else { pause / 3 }, call));
        }
    }
    list.truncate(calls);
    list
}

/// Each truncate(2) has a size of its own, since file systems disagree about the time of a
/// file whose size is as before. No job writes so much that sizes meet, bytes.
const BLOCK: usize = 16;
/// Stands for a name that only one job uses.
const OWN: &str = "own";

fn path() -> impl Strategy<Value = String> {
    select(&PATHS).prop_map(str::to_owned)
}

fn seed() -> impl Strategy<Value = Seed> {
    let text = select(vec!["", "x", "base", "longer-text"]).prop_map(str::to_owned);
    prop_oneof![
        3 => path().prop_map(Seed::Dir),
        5 => (path(), text, select(&FILE_MODES)).prop_map(|(path, text, mode)| Seed::File(path, text, mode)),
        3 => (path(), path()).prop_map(|(path, name)| Seed::Hard(path, name)),
        1 => (path(), path()).prop_map(|(target, path)| Seed::Soft(target, path)),
    ]
}

fn open(slot: u8, how: &'static [&'static str]) -> impl Strategy<Value = Call> {
    (path(), select(how), select(&FILE_MODES)).prop_map(move |(path, how, mode)| Call::Open(slot, path, how, mode))
}

/// Some calls that belong together, or one alone.
fn piece() -> impl Strategy<Value = Vec<Call>> {
    let text = String::new;
    let append =
        open(0, &["wca", "wca", "wa"]).prop_map(move |open| vec![open, Call::Write(0, text()), Call::Close(0)]);
    let overwrite = open(0, &["wct"]).prop_map(move |open| vec![open, Call::Write(0, text())]);
    let exclusive = open(1, &["wcx"]).prop_map(move |open| vec![open, Call::Write(1, text())]);
    let update = (open(0, &["+", "+c"]), 0..5usize)
        .prop_map(move |(open, at)| vec![open, Call::Pread(0, 20, 0), Call::Pwrite(0, text(), at)]);
    let how = select(vec![Call::Flock(0, 'x'), Call::Flock(0, 's'), Call::Record(0, 'w')]);
    let locked = (open(0, &["+", "+c"]), how, 0..5usize)
        .prop_map(move |(open, lock, at)| vec![open, lock, Call::Pread(0, 20, 0), Call::Pwrite(0, text(), at)]);
    let move_in = path().prop_map(move |path| {
        let open = Call::Open(1, OWN.to_owned(), "wct", 0o644);
        vec![
            open,
            Call::Write(1, text()),
            Call::Rename(Rename::Replace, OWN.to_owned(), path),
        ]
    });
    prop_oneof![
        2 => append,
        1 => overwrite,
        1 => exclusive,
        2 => update,
        2 => locked,
        2 => move_in,
        5 => naming().prop_map(|call| vec![call]),
        3 => looking().prop_map(|call| vec![call]),
        2 => changing().prop_map(|call| vec![call]),
        3 => opened().prop_map(|call| vec![call]),
    ]
}

/// A name that something gets: often one that is free.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![2 => path(), 1 => Just(OWN.to_owned())]
}

fn naming() -> impl Strategy<Value = Call> {
    let how = select(vec![
        Rename::Replace,
        Rename::Replace,
        Rename::Exchange,
        Rename::NoReplace,
    ]);
    prop_oneof![
        4 => (how, path(), name()).prop_map(|(how, from, to)| Call::Rename(how, from, to)),
        3 => (path(), name()).prop_map(|(path, name)| Call::Link(path, name)),
        1 => (path(), path()).prop_map(|(target, path)| Call::Symlink(target, path)),
        3 => path().prop_map(Call::Unlink),
        2 => path().prop_map(Call::Rmdir),
        3 => path().prop_map(|path| Call::Mkdir(path, DIR_MODE)),
    ]
}

fn looking() -> impl Strategy<Value = Call> {
    let dir = prop_oneof![Just(".".to_owned()), path()];
    prop_oneof![
        2 => path().prop_map(Call::Stat),
        1 => path().prop_map(Call::Lstat),
        2 => dir.prop_map(Call::List),
        1 => path().prop_map(Call::Readlink),
    ]
}

fn changing() -> impl Strategy<Value = Call> {
    prop_oneof![
        3 => (path(), select(&CHANGED_MODES)).prop_map(|(path, mode)| Call::Chmod(path, mode)),
        1 => (path(), select(&TIMES)).prop_map(|(path, time)| Call::Utimens(path, time)),
        2 => path().prop_map(|path| Call::Truncate(path, 0)),
        1 => path().prop_map(|path| Call::Setxattr(path, String::new())),
    ]
}

fn opened() -> impl Strategy<Value = Call> {
    let slot = || 0..2u8;
    prop_oneof![
        3 => (slot(), path(), select(vec!["r", "w", "+", "rc", "wcx", "+ca"]))
            .prop_map(|(slot, path, how)| Call::Open(slot, path, how, 0o644)),
        1 => slot().prop_map(Call::Close),
        2 => (slot(), 1..9usize).prop_map(|(slot, count)| Call::Read(slot, count)),
        1 => (slot(), 0..9usize).prop_map(|(slot, size)| Call::Ftruncate(slot, size)),
        1 => slot().prop_map(Call::Fstat),
        1 => slot().prop_map(|slot| Call::Flock(slot, 'u')),
        1 => slot().prop_map(|slot| Call::Record(slot, 'u')),
    ]
}
