//! Calls that fail at one name again and again, or that sleep and look for one: the job waits for
//! others to take a name away or to make it, as for a lock; or for a service to begin. It would wait
//! for ever: what its kernel has shown it of the client's names stays as it was, and those for whom
//! it waits may wait for it. Knows no calls.

use super::View;
use super::act::Act;
use super::confine::read_below;
use super::error::FaultError;
use super::path_use::{Blocking, Reply, Resolved};
use super::walk::{Linked, Stop, Walk, WalkEnd};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use termite_abi::{Access, TRACE_LEN, records};
use termite_core::spelling::lexical;
use termite_types::{Abandon, Conflict, Resource};

/// The client is asked for one of them so often at most.
const PAUSE: Duration = Duration::from_millis(50);
/// Who has failed so often, and for so long, to make one name, waits, and takes the slot from
/// those whom it waits for.
const MANY: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(3);
/// Who has slept so often waits for something.
const SLEEPS: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Who has looked for something in vain after so many sleeps, and for so long, waits for it.
const LOOKS: u32 = 3;
const LONG: Duration = Duration::from_secs(1);
/// So many names are asked for then.
const ASKED: usize = 8;
/// Who was busy and has looked at one name in so many turns, one after another, waits for it.
const TURNS: u32 = 3;
/// So many names are asked for in one turn.
const ASKED_IN_TURN: u32 = 64;
/// So much is remembered at most.
const MOST: usize = 4096;

/// Of one name.
struct Failures {
    since: Instant,
    count: u32,
}

/// Of something that was looked for in vain since the job first slept.
struct Missed {
    since: Instant,
    /// The number of the last sleep before the last look.
    slept: u32,
    /// Sleeps with a look after them.
    looks: u32,
}

/// Of a name that a busy job looks at.
#[derive(Default)]
struct Watched {
    /// The last turn with a look at it.
    turn: u32,
    /// How many turns in a row had one.
    in_a_row: u32,
    /// The last turn in which the client was asked for it.
    asked: u32,
}

/// What calls of a job failed at, and its sleep.
#[derive(Default)]
pub(super) struct Waiting {
    failures: HashMap<PathBuf, Failures>,
    asked: Option<Instant>,
    sleeps: u32,
    missed: HashMap<Resource, Missed>,
    /// How often the job was found busy.
    turn: u32,
    watched: HashMap<PathBuf, Watched>,
    asked_in_turn: u32,
    /// When what the job has seen was compared, and for how long it is not to be again.
    compared: Option<(Instant, Duration)>,
}

impl Waiting {
    /// One more call failed: whether the client is to be asked, and whether the job has waited
    /// long enough.
    fn failed(&mut self, path: &Path) -> (bool, bool) {
        if self.failures.len() == MOST {
            self.failures.clear();
        }
        let now = Instant::now();
        let new = || Failures { since: now, count: 0 };
        let failures = self.failures.entry(path.to_path_buf()).or_insert_with(new);
        failures.count += 1;
        let is_due = self.asked.is_none_or(|asked| now - asked >= PAUSE);
        let is_long = failures.count >= MANY && now - failures.since >= PATIENCE;
        (failures.count > 1 && is_due, is_long)
    }

    /// One more call sleeps: whether what the job has seen is to be compared.
    fn slept(&mut self) -> bool {
        self.sleeps = self.sleeps.saturating_add(1);
        let is_due = self.compared.is_none_or(|(at, pause)| at.elapsed() >= pause);
        self.sleeps >= SLEEPS && is_due
    }

    /// One more look was in vain: whether the job waits for that.
    fn missed(&mut self, what: &Resource) -> bool {
        if self.sleeps == 0 {
            return false;
        }
        if self.missed.len() == MOST {
            self.missed.clear();
        }
        let (since, slept, looks) = (Instant::now(), 0, 0);
        let missed = self.missed.entry(what.clone());
        let missed = missed.or_insert(Missed { since, slept, looks });
        missed.looks += u32::from(missed.slept != self.sleeps);
        missed.slept = self.sleeps;
        missed.looks >= LOOKS && missed.since.elapsed() >= LONG
    }

    /// A busy job looks at a name: whether it has done so for long, and the client has not been
    /// asked in this turn.
    fn watches(&mut self, path: &Path) -> bool {
        if self.watched.len() == MOST {
            self.watched.clear();
        }
        let watched = self.watched.entry(path.to_path_buf()).or_default();
        if watched.turn != self.turn {
            let goes_on = watched.turn + 1 == self.turn;
            watched.in_a_row = if goes_on { watched.in_a_row + 1 } else { 1 };
            watched.turn = self.turn;
        }
        let is_due = watched.in_a_row >= TURNS && watched.asked != self.turn;
        is_due && self.asked_in_turn < ASKED_IN_TURN
    }

    /// The client is asked for a name that a busy job looks at.
    fn ask_for_watched(&mut self, path: &Path) {
        self.asked_in_turn += 1;
        if let Some(watched) = self.watched.get_mut(path) {
            watched.asked = self.turn;
        }
    }

    /// It is compared; the next time later than this time.
    fn compare(&mut self) {
        let pause = self.compared.map_or(PAUSE, |(_, pause)| LONGEST_PAUSE.min(pause * 2));
        self.compared = Some((Instant::now(), pause));
    }
}

impl View {
    /// Takes down that a call of a task sleeps. Where the client has by now what the job has looked
    /// for in vain, or has no more what the job found, and what its kernel will never show it, the
    /// job is to run again.
    pub fn note_sleep(&self, task: u32, blocking: Blocking) -> Result<Reply, Abandon> {
        let done = Ok(Reply::Ready(Resolved::Outside));
        let is_due = self.waiting.lock().slept();
        // So that the next look at each name is seen.
        self.shared().next_epoch();
        if !is_due {
            return done;
        }
        if blocking == Blocking::Never {
            return Ok(Reply::NeedsFetch);
        }
        self.waiting.lock().compare();
        for (path, is_there) in self.looked_at_below(task) {
            if self.machine_has(&Resource::Name(path.clone()))? != is_there {
                return Err(Conflict::awaited(&path, is_there).into());
            }
        }
        done
    }

    /// Somebody looked at the job and found it busy, as he did some time before: a turn begins.
    pub fn note_busy(&self) {
        let mut waiting = self.waiting.lock();
        waiting.turn = waiting.turn.saturating_add(1);
        waiting.asked_in_turn = 0;
        drop(waiting);
        // So that the next look at each name is seen.
        self.shared().next_epoch();
    }

    /// Takes down a look at a name. Where a busy job looks at one below its working directory turn after
    /// turn, and the client has there by now what the job's view does not have, or the other way
    /// round, it is to run again: who waits without sleeping would wait for ever.
    pub(super) fn note_look(&self, walk: &Walk<'_>, path: &Path, is_there: bool) -> Result<(), Stop> {
        let is_watched = |waiting: &mut Waiting| waiting.turn > 0 && waiting.watches(path);
        if !is_watched(&mut self.waiting.lock()) || !self.is_of_client(path) || self.is_named(path) {
            return Ok(());
        }
        let cwd = walk.place_of_task(None).and_then(Linked::there).unwrap_or_default();
        if !path.starts_with(OsStr::from_bytes(&cwd)) {
            return Ok(());
        }
        if walk.blocking == Blocking::Never {
            return Err(Stop::NeedsFetch);
        }
        self.waiting.lock().ask_for_watched(path);
        let has = self.machine_has(&Resource::Name(path.to_path_buf()));
        match has.map_err(FaultError::from)? == is_there {
            true => Ok(()),
            false => Err(FaultError::from(Abandon::from(Conflict::awaited(path, is_there))).into()),
        }
    }

    /// Whether the job itself has made or removed a name.
    fn is_named(&self, path: &Path) -> bool {
        self.acts.lock().of_name(path).is_some_and(|acts| acts.named)
    }

    /// Takes down that a name was looked for in vain. Whoever does so after one sleep and the next
    /// goes where the client's names are seen as they come.
    pub(super) fn note_missing(&self, task: Option<u32>, path: &Path) -> Result<(), Stop> {
        let is_searched = || task.is_some_and(|task| self.searches(task, path));
        let name = Resource::Name(path.to_path_buf());
        if self.waiting.lock().missed(&name) && !is_of_system(path) && self.is_of_client(path) && !is_searched() {
            return Err(FaultError::from(Abandon::Machine(to_see(&name))).into());
        }
        Ok(())
    }

    /// The same of something that neither the slot nor the client's machine has.
    pub fn note_absent(&self, what: &Resource) -> Result<(), Abandon> {
        match self.waiting.lock().missed(what) {
            true => Err(Abandon::Machine(to_see(what))),
            false => Ok(()),
        }
    }

    /// Whether a path is where a task looks for a program, which it may find elsewhere.
    fn searches(&self, task: u32, path: &Path) -> bool {
        let environment = read_below(&self.proc, Path::new(&format!("{task}/environ"))).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        let dirs = variables.find_map(|variable| variable.strip_prefix(b"PATH="));
        let mut dirs = dirs.unwrap_or_default().split(|byte| *byte == b':');
        dirs.any(|dir| Some(Path::new(OsStr::from_bytes(dir))) == path.parent())
    }

    /// The last names below a task's working directory that the job has looked for in vain, and the
    /// last that it found, with whether they are there in its view.
    fn looked_at_below(&self, task: u32) -> Vec<(PathBuf, bool)> {
        let walk = Walk::new(self, Some(task), Blocking::Never);
        let Some(cwd) = walk.place_of_task(None).and_then(Linked::there) else {
            return Vec::new();
        };
        let mut log = vec![0; TRACE_LEN];
        let len = self.shared().copy_trace(&mut log);
        let cwd = Path::new(OsStr::from_bytes(&cwd));
        let last = |looked, is_there: bool| {
            let paths = records(&log[..len]).filter(move |(access, _)| *access == looked);
            let paths = paths.map(|(_, path)| lexical(Path::new(OsStr::from_bytes(path))));
            let is_meant = |path: &PathBuf| {
                let is_missing = || matches!(walk.at(path), WalkEnd::Missing(_));
                path.starts_with(cwd)
                    && path != cwd
                    && is_missing() != is_there
                    && self.is_of_client(path)
                    && !self.is_named(path)
            };
            let mut last: Vec<_> = paths.filter(is_meant).map(|path| (path, is_there)).collect();
            last.reverse();
            last.dedup();
            last.truncate(ASKED);
            last
        };
        [last(Access::Missing, false), last(Access::Stat, true)].concat()
    }

    /// Takes down that a call fails at what stands, or does not stand, at its path. Where that is
    /// not so on the client any more, or the job has waited for long, it cannot go on here.
    pub(super) fn note_failure(&self, walk: &Walk<'_>, walked: &WalkEnd, act: Act) -> Result<(), Stop> {
        let Some(path) = walked.path() else { return Ok(()) };
        let here = !matches!(walked, WalkEnd::Missing(_));
        if !act.is_contended() || !self.is_of_client(path) || self.is_named(path) {
            return Ok(());
        }
        let (is_due, is_long) = self.waiting.lock().failed(path);
        if !is_due {
            return Ok(());
        }
        if walk.blocking == Blocking::Never {
            return Err(Stop::NeedsFetch);
        }
        let name = Resource::Name(path.to_path_buf());
        let there = self.machine_has(&name).map_err(FaultError::from)?;
        self.waiting.lock().asked = Some(Instant::now());
        if here != there || here && is_long && act.is_exclusive() {
            return Err(FaultError::from(Abandon::Machine(to_see(&name))).into());
        }
        Ok(())
    }
}

/// Whether a name is where systems are installed: programs look there for what they can do without
/// whenever they start, and nobody waits for it.
fn is_of_system(path: &Path) -> bool {
    const DIRS: [&str; 8] = ["usr", "etc", "lib", "lib64", "bin", "sbin", "opt", "selinux"];
    let first = path.iter().nth(1).and_then(OsStr::to_str);
    first.is_some_and(|first| DIRS.contains(&first))
}

/// In words that follow "it needs".
fn to_see(what: &Resource) -> String {
    format!("to see what becomes of {what}, for which it waits")
}
