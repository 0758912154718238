//! Writers: which commands are known to change a contended path, and which job changed a
//! path last.
//!
//! A path becomes contended by a conflict. From then on each committed job tells whether
//! its command changes that path. A command is known by two numbers: `exact` (the same
//! command line) and `alike` (the same program and options in the same directory). The
//! same command is expected to do what it did last time. An alike one is expected to
//! change the path if at least two runs of its kind did, and at least half of them: so 200
//! commands that bump one counter are found after the first conflict, and a compile of one
//! file does not wait because two other compiles wrote the same output.
//!
//! Knows paths and numbers; does not know command lines, waiting jobs or the disk. A wrong
//! expectation costs a wait or a rerun and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use termite_types::JobId;

/// Paths whose last change is remembered.
const MOST_CHANGES: usize = 1 << 15;
/// Contended paths that are remembered.
const MOST_CONTENDED: usize = 1 << 12;
/// Commands that are remembered for a contended path, of each sort.
const MOST_COMMANDS: usize = 1 << 12;
/// Runs of a kind that changed a path, from which on the kind is known to change it.
const TELLING: u32 = 2;

/// What is known of a command.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CommandKey {
    /// Equal for the same program, arguments and directory.
    pub exact: u128,
    /// Equal for the same program, options and directory.
    pub alike: u128,
}

/// A point between two commits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Moment(u64);

/// How often commands of a kind changed a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Evidence {
    /// Runs that changed it.
    pub changed: u32,
    /// All runs since the path is contended.
    pub ran: u32,
}

/// The commands that are known to change one contended path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Contended {
    /// Commands that changed it when they ran last.
    pub exact: BTreeSet<u128>,
    /// What their kinds did.
    pub alike: BTreeMap<u128, Evidence>,
}

/// All known changes of paths, and the commands behind them.
#[derive(Default, Debug)]
pub struct Writers {
    commits: u64,
    last: HashMap<PathBuf, Change>,
    /// The jobs whose commits are under way, and what they change.
    committing: HashMap<JobId, (CommandKey, Vec<PathBuf>)>,
    /// In the order of the commits; an entry of a path that changed again since is void.
    order: VecDeque<(Moment, PathBuf)>,
    contended: HashMap<PathBuf, Contended>,
    /// The contended paths of which something is known of a command or a kind.
    by_key: HashMap<u128, BTreeSet<PathBuf>>,
    unsaved: HashSet<PathBuf>,
}

/// The last change of a path.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: Moment,
    job: JobId,
    command: CommandKey,
}

impl Writers {
    /// What an earlier daemon knew.
    pub fn saved(contended: HashMap<PathBuf, Contended>) -> Self {
        let mut writers = Self::default();
        for (path, known) in contended.into_iter().take(MOST_CONTENDED) {
            for key in known.exact.iter().chain(known.alike.keys()) {
                writers.by_key.entry(*key).or_default().insert(path.clone());
            }
            writers.contended.insert(path, known);
        }
        writers
    }

    /// The contended paths whose commands are to be saved, as they are known.
    pub fn take_unsaved(&mut self) -> Vec<(PathBuf, Contended)> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let known = |path: PathBuf| Some((path.clone(), self.contended.get(&path)?.clone()));
        unsaved.into_iter().filter_map(known).collect()
    }

    /// The point after the last commit.
    pub fn now(&self) -> Moment {
        Moment(self.commits)
    }

    /// The contended paths that a command is known to change.
    pub fn contended_by(&self, command: CommandKey) -> BTreeSet<PathBuf> {
        let of = |key| self.by_key.get(&key).into_iter().flatten();
        let is_known = |path: &&PathBuf| self.contended.get(*path).is_some_and(|known| known.has(command));
        of(command.exact)
            .chain(of(command.alike))
            .filter(is_known)
            .cloned()
            .collect()
    }

    /// A job's commit begins, which changes these paths. Other jobs may see them before it
    /// has ended.
    pub fn committing<'a>(&mut self, job: JobId, command: CommandKey, changes: impl IntoIterator<Item = &'a Path>) {
        let paths = changes.into_iter().map(Path::to_owned).collect();
        self.committing.insert(job, (command, paths));
    }

    /// A job's commit has ended and changed nothing.
    pub fn not_committed(&mut self, job: JobId) {
        self.committing.remove(&job);
    }

    /// A job was committed that changed these paths, and wrote to those without changing
    /// them.
    pub fn committed<'a>(
        &mut self,
        job: JobId,
        command: CommandKey,
        changed: impl IntoIterator<Item = &'a Path>,
        wrote: impl IntoIterator<Item = &'a Path>,
    ) {
        self.commits += 1;
        self.committing.remove(&job);
        let at = self.now();
        let (changed, wrote): (Vec<_>, Vec<_>) = (changed.into_iter().collect(), wrote.into_iter().collect());
        let touched = changed.iter().chain(&wrote);
        // A name that comes or goes changes its directory too.
        let touched: HashSet<&Path> = touched
            .flat_map(|path| [Some(*path), path.parent().filter(|dir| dir.has_root())])
            .flatten()
            .collect();
        for path in touched {
            self.last.insert(path.to_owned(), Change { at, job, command });
            self.order.push_back((at, path.to_owned()));
        }
        self.forget_oldest();
        if self.contended.is_empty() {
            return;
        }
        let written = changed.into_iter().chain(wrote);
        let contended = written.filter(|path| self.contended.contains_key(*path)).collect();
        self.learn(command, &contended);
    }

    /// A job that began at `since` conflicted on a path, which is contended after that.
    /// Returns the job that changed the path after `since`, or is about to; `None`: no job of
    /// ours did.
    pub fn conflicted(&mut self, command: CommandKey, path: &Path, since: Moment) -> Option<JobId> {
        let change = self.change(path, since);
        let is_new = !self.contended.contains_key(path);
        if is_new && self.contended.len() < MOST_CONTENDED {
            self.contended.insert(path.to_owned(), Contended::default());
            if let Some((_, writer)) = change {
                self.note(writer, path, true);
            }
        }
        self.note(command, path, true);
        change.map(|(job, _)| job)
    }

    /// The job that changed a path after `since`, or is about to; `None`: no job of ours did.
    pub fn changed_by(&self, path: &Path, since: Moment) -> Option<JobId> {
        self.change(path, since).map(|(job, _)| job)
    }

    fn change(&self, path: &Path, since: Moment) -> Option<(JobId, CommandKey)> {
        let changed = self.last.get(path).filter(|change| change.at > since);
        changed.map(|change| (change.job, change.command)).or_else(|| {
            let mut under_way = self.committing.iter();
            let (job, (command, _)) =
                under_way.find(|(_, (_, paths))| paths.iter().any(|of| of == path || of.parent() == Some(path)))?;
            Some((*job, *command))
        })
    }

    /// Makes those of `paths` contended that another job changed after `since`: an attempt
    /// that began at `since` conflicted on another path, and depends on these too. So the next
    /// attempt claims them all, where it would else conflict on one after the other.
    pub fn conflicted_too<'a>(
        &mut self,
        command: CommandKey,
        paths: impl IntoIterator<Item = &'a Path>,
        since: Moment,
    ) {
        for path in paths {
            if self.last.get(path).is_some_and(|change| change.at > since) {
                self.conflicted(command, path, since);
            }
        }
    }

    /// Notes for each contended path that a command or its kind is known for whether it was
    /// among those that it changed.
    fn learn(&mut self, command: CommandKey, changed: &BTreeSet<&Path>) {
        let known = [command.exact, command.alike]
            .into_iter()
            .filter_map(|key| self.by_key.get(&key));
        let unchanged = known.flatten().filter(|path| !changed.contains(path.as_path()));
        let unchanged: BTreeSet<_> = unchanged.cloned().collect();
        unchanged.iter().for_each(|path| self.note(command, path, false));
        changed.iter().for_each(|path| self.note(command, path, true));
    }

    fn note(&mut self, command: CommandKey, path: &Path, changed: bool) {
        let Some(known) = self.contended.get_mut(path) else {
            return;
        };
        let before = known.has(command);
        known.note(command, changed);
        if changed {
            for key in [command.exact, command.alike] {
                self.by_key.entry(key).or_default().insert(path.to_owned());
            }
        }
        if changed || before {
            self.unsaved.insert(path.to_owned());
        }
    }

    fn forget_oldest(&mut self) {
        while self.order.len() > MOST_CHANGES {
            let Some((at, path)) = self.order.pop_front() else {
                return;
            };
            if self.last.get(&path).is_some_and(|change| change.at == at) {
                self.last.remove(&path);
            }
        }
    }
}

impl Contended {
    fn has(&self, command: CommandKey) -> bool {
        let is_of_kind = |kind: &Evidence| kind.changed >= TELLING && kind.changed * 2 >= kind.ran;
        self.exact.contains(&command.exact) || self.alike.get(&command.alike).is_some_and(is_of_kind)
    }

    fn note(&mut self, command: CommandKey, changed: bool) {
        if !changed {
            self.exact.remove(&command.exact);
        } else if self.exact.len() < MOST_COMMANDS {
            self.exact.insert(command.exact);
        }
        if self.alike.len() < MOST_COMMANDS || self.alike.contains_key(&command.alike) {
            let kind = self.alike.entry(command.alike).or_default();
            kind.ran = kind.ran.saturating_add(1);
            kind.changed += u32::from(changed);
            if kind.ran >= 1 << 16 {
                (kind.ran, kind.changed) = (kind.ran / 2, kind.changed / 2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use termite_types::BuildId;

    const fn job(number: u32) -> JobId {
        JobId {
            build: BuildId(1),
            number,
        }
    }

    const fn command(exact: u128, alike: u128) -> CommandKey {
        CommandKey { exact, alike }
    }

    fn paths(paths: &[&'static str]) -> Vec<&'static Path> {
        paths.iter().map(|path| Path::new(*path)).collect()
    }

    fn commit(writers: &mut Writers, number: u32, command: CommandKey, changed: &[&'static str]) {
        writers.committed(job(number), command, paths(changed), []);
    }

    #[test]
    fn one_conflict_tells_of_all_commands_of_a_kind() {
        let mut writers = Writers::default();
        let begun = writers.now();
        commit(&mut writers, 1, command(1, 100), &["n", "a"]);
        assert!(
            writers.contended_by(command(1, 100)).is_empty(),
            "nobody conflicted yet"
        );
        let by = writers.conflicted(command(2, 100), Path::new("n"), begun);
        assert_eq!(by, Some(job(1)));
        for exact in 1..9 {
            let known = writers.contended_by(command(exact, 100));
            assert_eq!(known.into_iter().collect::<Vec<_>>(), paths(&["n"]), "{exact}");
        }
        assert!(writers.contended_by(command(9, 101)).is_empty());
    }

    #[test]
    fn one_conflict_tells_of_all_paths_of_a_command() {
        let mut writers = Writers::default();
        let begun = writers.now();
        commit(&mut writers, 1, command(1, 100), &["a", "b", "c"]);
        let by = writers.conflicted(command(2, 200), Path::new("a"), begun);
        writers.conflicted_too(command(2, 200), paths(&["b", "d"]), begun);
        assert_eq!(by, Some(job(1)));
        for known in [command(1, 300), command(2, 300)] {
            let known: Vec<_> = writers.contended_by(known).into_iter().collect();
            assert_eq!(
                known,
                paths(&["a", "b"]),
                "no other job changed d, and the second none of c"
            );
        }
        let begun = writers.now();
        writers.conflicted_too(command(3, 300), paths(&["c"]), begun);
        assert!(
            writers.contended_by(command(3, 400)).is_empty(),
            "c changed before it began"
        );
    }

    #[test]
    fn kinds_that_rarely_change_it_do_not_wait() {
        let mut writers = Writers::default();
        let begun = writers.now();
        commit(&mut writers, 1, command(1, 100), &["x.o"]);
        writers.conflicted(command(2, 100), Path::new("x.o"), begun);
        for number in 3..6 {
            commit(&mut writers, number, command(number.into(), 100), &["other.o"]);
        }
        assert!(writers.contended_by(command(7, 100)).is_empty());
        assert_eq!(writers.contended_by(command(2, 100)).len(), 1, "the same command does");
        commit(&mut writers, 9, command(2, 100), &["other.o"]);
        assert!(writers.contended_by(command(2, 100)).is_empty(), "it did not last time");
    }

    #[test]
    fn a_change_before_the_job_began_is_not_to_blame() {
        let mut writers = Writers::default();
        commit(&mut writers, 1, command(1, 100), &["n"]);
        let begun = writers.now();
        assert_eq!(writers.conflicted(command(2, 200), Path::new("n"), begun), None);
        assert_eq!(writers.conflicted(command(2, 200), Path::new("m"), begun), None);
    }

    #[test]
    fn who_changes_a_name_changes_its_directory() {
        let mut writers = Writers::default();
        writers.committed(job(1), command(1, 100), paths(&["/p/n"]), paths(&["/p/lock"]));
        for (number, path) in (2..).zip(["/p/n", "/p/lock", "/p"]) {
            let by = writers.conflicted(command(number, 200), Path::new(path), Moment::default());
            assert_eq!(by, Some(job(1)), "{path}");
        }
        assert_eq!(
            writers.conflicted(command(9, 200), Path::new("/"), Moment::default()),
            None
        );
    }

    #[test]
    fn a_commit_under_way_is_to_blame() {
        let mut writers = Writers::default();
        writers.committing(job(1), command(1, 100), paths(&["n"]));
        let by = writers.conflicted(command(2, 200), Path::new("n"), writers.now());
        assert_eq!(by, Some(job(1)));
        writers.not_committed(job(1));
        let by = writers.conflicted(command(2, 200), Path::new("n"), writers.now());
        assert_eq!(by, None);
    }

    #[test]
    fn a_job_that_wrote_what_was_there_is_known_too() {
        let mut writers = Writers::default();
        writers.conflicted(command(1, 100), Path::new("n"), Moment::default());
        writers.committed(job(2), command(2, 200), [], paths(&["n", "m"]));
        assert_eq!(writers.contended_by(command(2, 300)).len(), 1);
    }

    #[test]
    fn what_is_known_outlives_the_daemon() {
        let mut writers = Writers::default();
        let begun = writers.now();
        commit(&mut writers, 1, command(1, 100), &["n"]);
        writers.conflicted(command(2, 100), Path::new("n"), begun);
        let saved = writers.take_unsaved();
        assert!(writers.take_unsaved().is_empty());
        let later = Writers::saved(saved.into_iter().collect());
        assert_eq!(
            later.contended_by(command(3, 100)),
            writers.contended_by(command(3, 100))
        );
        assert_eq!(later.contended_by(command(3, 100)).len(), 1);
    }

    #[test]
    fn the_oldest_changes_are_forgotten() {
        let mut writers = Writers::default();
        let names: Vec<_> = (0..=MOST_CHANGES)
            .map(|number| PathBuf::from(number.to_string()))
            .collect();
        for name in &names {
            writers.committed(job(1), command(1, 1), [name.as_path()], []);
        }
        assert_eq!((writers.last.len(), writers.order.len()), (MOST_CHANGES, MOST_CHANGES));
        assert_eq!(writers.conflicted(command(2, 2), &names[0], Moment::default()), None);
        assert_eq!(
            writers.conflicted(command(2, 2), &names[1], Moment::default()),
            Some(job(1))
        );
    }
}
