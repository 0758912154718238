//! Overlap: what other jobs committed while a job ran, and whether the job can have seen
//! that in one order.
//!
//! A job whose commit comes is held against each commit since it began. By value: a job
//! that read the content which a commit put at a path has seen that commit there; one that
//! read another content, or looked in vain for what the commit made, has not. Of a job that
//! has not seen one commit it is asked whether it comes before that one in any order: it does
//! not if it has seen that commit or a later one, or if one of those had not seen what it changes.
//!
//! Knows paths and contents; knows nothing of locks in files, of the disk and of workers.

mod observed;
#[cfg(test)]
mod tests;
mod uses;

use crate::spelling::in_lexical;
use observed::{Left, Observation, Observations, Side};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::hash::RandomState;
use std::path::{Path, PathBuf};
use termite_types::{Change, ChangeKind, Conflict, Premises, Seen, TraceItem};
use uses::Uses;

/// Commits that are remembered at most; a job that began before the oldest is held against
/// those that are left.
const MOST_COMMITS: usize = 1 << 12;
/// Changes outside of jobs, and names that files have lost, that are remembered at most.
const MOST_OUTSIDE: usize = 1 << 14;

/// A point between two changes of the client's tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Moment(u64);

/// A commit, as it concerns the jobs that run meanwhile.
#[derive(Clone, Debug)]
pub struct Done<'a> {
    /// What it changed.
    pub changes: &'a [Change],
    /// What its job had used.
    pub trace: &'a [TraceItem],
    /// Names that its job made exclusively and removed again.
    pub passing: &'a [PathBuf],
    /// Of the changes, those where nothing was before.
    pub created: Cow<'a, HashSet<usize>>,
    /// Of the changes, those that appended to the content that the job had seen.
    pub whole: Cow<'a, HashSet<usize>>,
    /// Of the changes, those of directories that were there.
    pub dirs: Cow<'a, HashSet<usize>>,
}

impl<'a> Done<'a> {
    /// Of a job that changed nothing.
    pub fn without_changes(trace: &'a [TraceItem], passing: &'a [PathBuf]) -> Self {
        Self {
            changes: &[],
            trace,
            passing,
            created: Cow::default(),
            whole: Cow::default(),
            dirs: Cow::default(),
        }
    }
}

/// A commit that a running job may have seen or not.
#[derive(Debug)]
struct Commit {
    at: Moment,
    left: HashMap<PathBuf, Left>,
    uses: Uses,
    /// Names that its job made exclusively and removed again.
    passing: HashSet<PathBuf>,
}

/// A name of one of the client's files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileName {
    /// Device that the file is on.
    pub dev: u64,
    /// Its inode number there.
    pub ino: u64,
    /// The name.
    pub path: PathBuf,
}

impl FileName {
    fn is_of_file(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}

/// The commits of late.
#[derive(Default, Debug)]
pub struct Overlap {
    clock: u64,
    commits: VecDeque<Commit>,
    /// Paths that changed otherwise than by a commit.
    outside: VecDeque<(Moment, PathBuf)>,
    /// Names that files have lost which may have others, with those files.
    parted: VecDeque<(Moment, FileName)>,
    /// When each running job began.
    running: Vec<Moment>,
    /// Of paths.
    hasher: RandomState,
}

impl Overlap {
    /// A job begins.
    pub fn begin(&mut self) -> Moment {
        let now = Moment(self.clock);
        self.running.push(now);
        now
    }

    /// A job that began then has ended, in whatever way.
    pub fn end(&mut self, began: Moment) {
        if let Some(at) = self.running.iter().position(|moment| *moment == began) {
            self.running.swap_remove(at);
        }
        let oldest = self.running.iter().min().copied().unwrap_or(Moment(self.clock));
        while self.commits.front().is_some_and(|commit| commit.at <= oldest) {
            self.commits.pop_front();
        }
        forget(&mut self.outside, oldest);
        forget(&mut self.parted, oldest);
    }

    /// The last change has taken these names from their files, which may have others.
    pub fn parted(&mut self, names: impl IntoIterator<Item = FileName>) {
        if self.running.is_empty() {
            return;
        }
        let now = Moment(self.clock);
        self.parted.extend(names.into_iter().map(|name| (now, name)));
        let excess = self.parted.len().saturating_sub(MOST_OUTSIDE);
        self.parted.drain(..excess);
    }

    /// For a job that changes these files in place: another name of one of them that it used, and
    /// that has been taken away since it began. In its view that was a file of its own.
    pub fn former_name(&self, began: Moment, trace: &[TraceItem], changed: &[FileName]) -> Option<Conflict> {
        let since = self.parted.iter().filter(|(at, _)| *at > began);
        since.map(|(_, parted)| parted).find_map(|parted| {
            let changed = changed.iter().find(|changed| changed.is_of_file(parted))?;
            let is_used = trace.iter().any(|item| in_lexical(&item.path) == parted.path);
            let found = || format!("a name of {}, which it changed", changed.path.display());
            is_used.then(|| Conflict::new(&parted.path, "a file of its own", found()))
        })
    }

    /// A job's changes were committed.
    pub fn committed(&mut self, done: Done<'_>) {
        self.clock += 1;
        if self.running.is_empty() {
            return;
        }
        let kept = (0..).zip(done.changes);
        let kept = kept.filter(|(_, change)| !matches!(change.kind, ChangeKind::SetXattrs(_)));
        let left = kept.map(|(index, change)| (change.path.clone(), Left::of(&done, index)));
        self.commits.push_back(Commit {
            at: Moment(self.clock),
            left: left.collect(),
            uses: Uses::of(done.trace, &self.hasher),
            passing: done.passing.iter().cloned().collect(),
        });
        if self.commits.len() > MOST_COMMITS {
            self.commits.pop_front();
        }
    }

    /// Something else than a commit changed a path.
    pub fn changed_outside(&mut self, path: &Path) {
        self.clock += 1;
        if !self.running.is_empty() {
            self.outside.push_back((Moment(self.clock), path.to_path_buf()));
        }
        if self.outside.len() > MOST_OUTSIDE {
            self.outside.pop_front();
        }
    }

    /// What a job can have seen in no one order with the commits since it began, or, where it
    /// held a lock, what changed since then. `changes`: what it is going to change; `trace`: what it
    /// used.
    pub fn conflict(
        &self,
        began: Moment,
        changes: &[Change],
        trace: &[TraceItem],
        premises: &Premises,
    ) -> Option<Conflict> {
        if Moment(self.clock) == began {
            return None;
        }
        let observed = Observations::of(trace, &self.names_since(began));
        let is_locked = premises.locked || self.shares_lock(began, &premises.passing_names);
        let torn = self.torn(began, &observed);
        let skewed = || self.skewed(began, changes, &observed);
        let stale = || match is_locked || premises.unseen {
            true => self.changed_since(began, &observed, is_locked),
            false => None,
        };
        let renamed = || self.renamed_since(began, premises);
        let replaced = || self.replaced_since(began, changes);
        torn.or_else(skewed).or_else(stale).or_else(renamed).or_else(replaced)
    }

    /// For a job that appended to a file: another file has got its name since. What is appended goes
    /// behind whatever others have written, but not to a file that the job has never seen.
    fn replaced_since(&self, began: Moment, changes: &[Change]) -> Option<Conflict> {
        let appended = changes.iter().filter(|change| match &change.kind {
            ChangeKind::Alter(alter) => alter.content.as_ref().is_some_and(|edit| edit.appended),
            _ => false,
        });
        let mut paths = appended.map(|change| change.path.as_path());
        let path = paths.find(|path| self.is_named_since(began, path))?;
        Some(Conflict::new(path, "the file that it appended to", "another one"))
    }

    /// For a job that changed a file and left no name of it: a name that it took from another file by
    /// now. The one that it changed may have a name elsewhere.
    fn renamed_since(&self, began: Moment, premises: &Premises) -> Option<Conflict> {
        let only = premises.checks.iter().filter(|check| check.seen == Seen::OnlyName);
        let mut names = only.map(|check| check.path.as_path());
        let name = names.find(|name| self.is_named_since(began, name))?;
        Some(Conflict::new(name, "a file", "another one, or nothing"))
    }

    /// Whether a commit since then may have made a name lead to something else.
    fn is_named_since(&self, began: Moment, name: &Path) -> bool {
        let mut left = self.since(began).filter_map(|commit| commit.left.get(name));
        left.any(|left| left.is_named)
    }

    /// The last names of all paths that a job's sights matter of: what changed since it began,
    /// and the directories that is in.
    fn names_since(&self, began: Moment) -> HashSet<&OsStr> {
        let by_commit = self.since(began).flat_map(|commit| commit.left.keys());
        let outside = self.outside.iter().filter(|(at, _)| *at > began);
        let changed = by_commit.chain(outside.map(|(_, path)| path));
        changed
            .flat_map(|path| [Some(path.as_path()), path.parent()])
            .filter_map(|path| path?.file_name())
            .collect()
    }

    /// A commit that the job has seen, and not that one or one before it at another path. What
    /// it looks at again is shown to it as it was, so that it may be told of what comes later and
    /// not of what comes first.
    fn torn(&self, began: Moment, observed: &Observations) -> Option<Conflict> {
        let mut before: Option<&Path> = None;
        for commit in self.since(began) {
            let mut after = None;
            for (path, left) in &commit.left {
                let seen = observed.at(path);
                match left.side(seen) {
                    Some(Side::After) => after = Some(path),
                    Some(Side::Before) => {
                        before = before.or(Some(path));
                        // It may have met in the listing what it had looked for in vain.
                        let is_listed = left.is_named && left.is_new && observed.lists_dir_of(path, false);
                        if is_listed && seen.contains(&Observation::Missing) {
                            return Some(Conflict::new(path, "nothing", "a name that it may have listed"));
                        }
                    }
                    None => {}
                }
            }
            if let (Some(before), Some(after)) = (before, after) {
                let seen = format!("it as before a commit, after which {} was seen", after.display());
                return Some(Conflict::new(before, seen, "it as that commit left it"));
            }
        }
        None
    }

    /// For a job that changes something: a commit that it has not seen, where the job of that one, or
    /// of one since, has not seen what this job changes. Each would have to come before the other.
    /// What both of them change is left to the premises of the changes.
    fn skewed(&self, began: Moment, changes: &[Change], observed: &Observations) -> Option<Conflict> {
        // A file that keeps its name is told where the directory is one that the job made.
        let keeps_name =
            |change: &Change| matches!(&change.kind, ChangeKind::Name { from, .. } if *from == change.path);
        let changes = || changes.iter().filter(|change| !keeps_name(change));
        let own: HashSet<_> = changes().map(|change| change.path.as_path()).collect();
        let mut unseen: Option<&Path> = None;
        for commit in self.since(began) {
            unseen = unseen.or_else(|| {
                let mut left = commit.left.iter().filter(|(path, _)| !own.contains(path.as_path()));
                left.find_map(|(path, left)| {
                    let is_listed = || left.is_named && observed.lists_dir_of(path, true);
                    (left.may_be_unseen(observed.at(path)) || is_listed()).then_some(path.as_path())
                })
            });
            let Some(unseen) = unseen else { continue };
            let concerns = |change: &&Change| {
                let is_named = change.kind.is_of_name();
                !commit.left.contains_key(&change.path) && commit.uses.concern(&change.path, is_named, &self.hasher)
            };
            if let Some(change) = changes().find(concerns) {
                let found = format!("a change of it by a job that had not seen {}", change.path.display());
                return Some(Conflict::new(unseen, "it as it was", found));
            }
        }
        None
    }

    /// For a job that held a lock, or may have: something that it used and that changed since it
    /// began. `is_locked`: it held one, so that what it listed counts, too.
    fn changed_since(&self, began: Moment, observed: &Observations, is_locked: bool) -> Option<Conflict> {
        let by_commit = self.since(began).flat_map(|commit| {
            let changed = commit.left.iter();
            changed.map(|(path, left)| (path.as_path(), Some(left)))
        });
        let outside = self.outside.iter().filter(|(at, _)| *at > began);
        let outside = outside.map(|(_, path)| (path.as_path(), None));
        by_commit.chain(outside).find_map(|(path, left)| {
            let used = observed.at(path);
            // What it saw as the commit left it, it saw under its lock.
            let is_stale = match left {
                Some(left) => left.may_be_unseen(used),
                None => used
                    .iter()
                    .any(|sight| !matches!(sight, Observation::There | Observation::Listed { .. })),
            };
            let is_named = left.is_none_or(|left| left.is_named);
            let is_listed = is_locked && is_named && observed.lists_dir_of(path, false);
            (is_stale || is_listed).then(|| Conflict::new(path, "it under a lock", "a later change of it"))
        })
    }

    /// Whether another job that ran beside this one used one of its passing names as it did, or
    /// left it or removed it, or somebody else changed it: both hold the lock that the name is.
    fn shares_lock(&self, began: Moment, passing: &[PathBuf]) -> bool {
        let uses = |commit: &Commit, name| commit.passing.contains(name) || commit.left.contains_key(name);
        let mut outside = self.outside.iter().filter(|(at, _)| *at > began);
        self.since(began)
            .any(|commit| passing.iter().any(|name| uses(commit, name)))
            || outside.any(|(_, path)| passing.contains(path))
    }

    fn since(&self, began: Moment) -> impl Iterator<Item = &Commit> {
        self.commits.iter().filter(move |commit| commit.at > began)
    }
}

/// Drops what nobody runs any more for whom it was new.
fn forget<T>(entries: &mut VecDeque<(Moment, T)>, oldest: Moment) {
    while entries.front().is_some_and(|(at, _)| *at <= oldest) {
        entries.pop_front();
    }
}
