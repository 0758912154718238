//! Overlap: what other jobs committed while a job ran, and whether the job can have seen
//! that in one order.
//!
//! A job whose commit comes is held against each commit since it began. By value: a job
//! that read the content which a commit put at a path has seen that commit there; one that
//! read another content, or looked in vain for what the commit made, has not.
//!
//! Knows paths and contents; knows nothing of locks in files, of the disk and of workers.

use crate::spelling::lexical;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use termite_types::{BlobHash, Change, ChangeKind, Conflict, IfPresent, Node, Premises, TraceItem, Use};

/// Commits that are remembered at most; a job that began before the oldest is held against
/// those that are left.
const MOST_COMMITS: usize = 1 << 12;
/// Changes outside of jobs, and names that files have lost, that are remembered at most.
const MOST_OUTSIDE: usize = 1 << 14;

/// A point between two changes of the client's tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Moment(u64);

/// What a commit left at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Left {
    Nothing,
    /// A file whose content is known.
    Content(BlobHash),
    /// Anything else, or a file whose content only the disk tells.
    Something,
}

/// One commit.
#[derive(Debug)]
struct Commit {
    at: Moment,
    left: HashMap<PathBuf, Left>,
    /// Those of them that may be other names in their directories than before.
    named: HashSet<PathBuf>,
    /// Names that its job made exclusively and removed again.
    passing: HashSet<PathBuf>,
}

/// What a job saw of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sight {
    /// It read this content.
    Content(BlobHash),
    /// It read a content that is not known.
    Unknown,
    /// It looked at it, or needed it, and not at its content. Counts under a lock alone, and only
    /// where nothing is left.
    There,
    /// It looked for it in vain.
    Missing,
    /// It listed the names of the directory.
    Listed,
}

/// The paths that a job used, spelled without `.` and `..`, with what it saw first.
type Sights = HashMap<PathBuf, Vec<Sight>>;

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
            let is_used = trace.iter().any(|item| lexical(&item.path) == parted.path);
            let found = || format!("a name of {}, which it changed", changed.path.display());
            is_used.then(|| Conflict::new(&parted.path, "a file of its own", found()))
        })
    }

    /// A job's changes were committed.
    pub fn committed(&mut self, changes: &[Change], passing: &[PathBuf]) {
        self.clock += 1;
        if self.running.is_empty() {
            return;
        }
        let kept = changes
            .iter()
            .filter(|change| !matches!(change.kind, ChangeKind::SetXattrs(_)));
        let left = kept.map(|change| (change.path.clone(), left_by(change)));
        let named = changes.iter().filter(|change| change.kind.is_of_name());
        self.commits.push_back(Commit {
            at: Moment(self.clock),
            left: left.collect(),
            named: named.map(|change| change.path.clone()).collect(),
            passing: passing.iter().cloned().collect(),
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
    /// held a lock, what changed since then. `trace`: what it used.
    pub fn conflict(&self, began: Moment, trace: &[TraceItem], premises: &Premises) -> Option<Conflict> {
        if Moment(self.clock) == began {
            return None;
        }
        let is_locked = premises.locked || self.shares_lock(began, &premises.passing_names);
        let may_be_locked = is_locked || premises.unseen;
        let mut sights = sights(trace, &self.names_since(began, may_be_locked));
        if !is_locked {
            // Whoever lists a directory to find a free name in it fails at that name.
            sights.retain(|_, sights| {
                sights.retain(|sight| !matches!(sight, Sight::Listed | Sight::There));
                !sights.is_empty()
            });
        }
        let torn = self.torn(began, &sights);
        torn.or_else(|| self.changed_since(began, &sights).filter(|_| may_be_locked))
    }

    /// The last names of all paths that a job's sights matter of: what changed since it began,
    /// and if so, the directories that is in.
    fn names_since(&self, began: Moment, with_dirs: bool) -> HashSet<&OsStr> {
        let by_commit = self.since(began).flat_map(|commit| commit.left.keys());
        let outside = self.outside.iter().filter(|(at, _)| with_dirs && *at > began);
        let changed = by_commit.chain(outside.map(|(_, path)| path));
        changed
            .flat_map(|path| [Some(path.as_path()), path.parent().filter(|_| with_dirs)])
            .filter_map(|path| path?.file_name())
            .collect()
    }

    /// A commit that the job saw at one path and not at another.
    fn torn(&self, began: Moment, sights: &Sights) -> Option<Conflict> {
        self.since(began).find_map(|commit| {
            let (mut before, mut after) = (None, None);
            for (path, left) in &commit.left {
                match sights.get(path).and_then(|sights| has_seen(*left, sights)) {
                    Some(true) => after = Some(path),
                    Some(false) => before = Some(path),
                    None => {}
                }
            }
            let (before, after) = (before?, after?);
            let seen = format!("it as before a commit of which {} was seen", after.display());
            Some(Conflict::new(before, seen, "it as that commit left it"))
        })
    }

    /// For a job that held a lock: something that it used and that changed since it began.
    fn changed_since(&self, began: Moment, sights: &Sights) -> Option<Conflict> {
        let by_commit = self.since(began).flat_map(|commit| {
            let changed = commit.left.iter();
            changed.map(|(path, left)| (path.as_path(), Some(*left), commit.named.contains(path)))
        });
        let outside = self.outside.iter().filter(|(at, _)| *at > began);
        let outside = outside.map(|(_, path)| (path.as_path(), None, true));
        by_commit.chain(outside).find_map(|(path, left, named)| {
            // What it saw as the commit left it, it saw under its lock.
            let is_stale = sights.get(path).is_some_and(|used| {
                let seen = left.and_then(|left| has_seen(left, used));
                seen == Some(false) || seen.is_none() && used.iter().any(|sight| *sight != Sight::There)
            });
            let is_listed = path.parent().and_then(|dir| sights.get(dir));
            let is_listed = named && is_listed.is_some_and(|sights| sights.contains(&Sight::Listed));
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

/// What a trace says of paths with one of these last names.
fn sights(trace: &[TraceItem], names: &HashSet<&OsStr>) -> Sights {
    let mut sights = Sights::new();
    let mut own = HashSet::new();
    let matters = |path: &Path| match path.file_name() {
        Some(name) => names.contains(name),
        // It ends in `..`.
        None => true,
    };
    for item in trace.iter().filter(|item| matters(&item.path)) {
        let path = lexical(&item.path);
        // What it changed itself tells nothing of others from then on.
        if own.contains(&path) {
            continue;
        }
        let sight = match item.used {
            Use::Read(content) => content.map_or(Sight::Unknown, Sight::Content),
            Use::Missing => Sight::Missing,
            Use::Listed => Sight::Listed,
            Use::Write => {
                own.insert(path);
                continue;
            }
            Use::Stat => Sight::There,
        };
        sights.entry(path).or_default().push(sight);
    }
    sights
}

/// Whether what a job saw of a path is what a commit left there. `None`: that does not tell.
fn has_seen(left: Left, sights: &[Sight]) -> Option<bool> {
    sights.iter().find_map(|sight| match (left, sight) {
        (Left::Nothing, Sight::Missing) => Some(true),
        (Left::Content(left), Sight::Content(read)) => Some(left == *read),
        (Left::Nothing, Sight::Content(_) | Sight::There) | (Left::Content(_) | Left::Something, Sight::Missing) => {
            Some(false)
        }
        _ => None,
    })
}

fn left_by(change: &Change) -> Left {
    match &change.kind {
        ChangeKind::Remove { .. } => Left::Nothing,
        ChangeKind::File { attr, if_present, .. } => match &attr.node {
            Node::File { hash: Some(hash), .. } if *if_present != IfPresent::Append => Left::Content(*hash),
            _ => Left::Something,
        },
        ChangeKind::Name { hash: Some(hash), .. } => Left::Content(*hash),
        ChangeKind::Alter(alter) => match &alter.content {
            Some(edit) if !edit.appended => Left::Content(edit.hash),
            _ => Left::Something,
        },
        ChangeKind::MakeDir { .. }
        | ChangeKind::Symlink { .. }
        | ChangeKind::Link { .. }
        | ChangeKind::Name { .. }
        | ChangeKind::SetXattrs(_) => Left::Something,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use termite_types::{Attr, Content, FileTime};

    fn hash(byte: u8) -> BlobHash {
        BlobHash([byte; 32])
    }

    fn file(path: &str, content: u8) -> Change {
        let attr = Attr {
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: FileTime::default(),
            node: Node::File {
                size: 1,
                hash: Some(hash(content)),
            },
        };
        let kind = ChangeKind::File {
            attr,
            explicit_mtime: false,
            content: Content::OnWorker,
            if_present: IfPresent::Replace,
        };
        Change {
            path: path.into(),
            kind,
        }
    }

    fn removal(path: &str) -> Change {
        Change {
            path: path.into(),
            kind: ChangeKind::Remove { dir: false },
        }
    }

    fn item(used: Use, path: &str) -> TraceItem {
        TraceItem {
            path: path.into(),
            used,
        }
    }

    fn read(path: &str, content: u8) -> TraceItem {
        item(Use::Read(Some(hash(content))), path)
    }

    fn torn(trace: &[TraceItem]) -> bool {
        let mut overlap = Overlap::default();
        overlap.committed(&[file("/a", 9), file("/b", 9)], &[]);
        let began = overlap.begin();
        overlap.committed(&[file("/a", 1), file("/b", 1), file("/new", 1)], &[]);
        overlap.conflict(began, trace, &Premises::default()).is_some()
    }

    #[test]
    fn a_commit_seen_by_halves_is_found() {
        assert!(torn(&[read("/a", 9), read("/x/../b", 1)]));
        assert!(torn(&[item(Use::Missing, "/new"), read("/b", 1)]));
    }

    #[test]
    fn a_commit_seen_whole_or_not_at_all_is_none() {
        assert!(!torn(&[read("/a", 9), read("/b", 9)]));
        assert!(!torn(&[read("/a", 1), read("/b", 1)]));
        assert!(!torn(&[read("/a", 1), read("/other", 2)]));
        // What the job wrote itself is no sight of others.
        assert!(!torn(&[item(Use::Write, "/a"), read("/a", 9), read("/b", 1),]));
    }

    #[test]
    fn under_a_lock_everything_counts_that_changed_later() {
        let mut overlap = Overlap::default();
        let began = overlap.begin();
        let locked = Premises {
            locked: true,
            ..Premises::default()
        };
        let stale = |overlap: &Overlap, trace: &[TraceItem]| overlap.conflict(began, trace, &locked).is_some();
        assert!(!stale(&overlap, &[item(Use::Listed, "/d")]));
        overlap.committed(&[file("/d/a", 1)], &[]);
        assert!(stale(&overlap, &[read("/d/a", 9)]));
        assert!(stale(&overlap, &[item(Use::Listed, "/d")]));
        assert!(stale(&overlap, &[item(Use::Missing, "/d/a")]));
        assert!(!stale(&overlap, &[read("/d/a", 1)]));
        assert!(!stale(&overlap, &[read("/e", 9), item(Use::Listed, "/")]));
        overlap.changed_outside(Path::new("/e"));
        assert!(stale(&overlap, &[read("/e", 9)]));
        assert!(!stale(&overlap, &[item(Use::Stat, "/d/a"), item(Use::Stat, "/e")]));
        overlap.committed(&[removal("/d/a")], &[]);
        assert!(stale(&overlap, &[item(Use::Stat, "/d/a")]));
        overlap.end(began);
        assert!(overlap.commits.is_empty() && overlap.outside.is_empty());
    }

    #[test]
    fn a_name_that_a_changed_file_has_lost_was_not_a_file_of_its_own() {
        let name = |ino, path: &str| FileName {
            dev: 1,
            ino,
            path: path.into(),
        };
        let mut overlap = Overlap::default();
        let earlier = overlap.begin();
        let trace = [item(Use::Stat, "/d/../b")];
        let changed = [name(7, "/a")];
        assert_eq!(overlap.former_name(earlier, &trace, &changed), None);
        overlap.committed(&[file("/b", 1)], &[]);
        overlap.parted(vec![name(7, "/b"), name(8, "/c")]);
        let conflict = overlap.former_name(earlier, &trace, &changed).unwrap();
        assert_eq!(conflict.path, Path::new("/b"));
        assert_eq!(overlap.former_name(earlier, &[item(Use::Stat, "/c")], &changed), None);
        assert_eq!(overlap.former_name(earlier, &trace, &[name(8, "/x")]), None);
        let later = overlap.begin();
        assert_eq!(overlap.former_name(later, &trace, &changed), None);
        overlap.end(earlier);
        overlap.end(later);
        assert!(overlap.parted.is_empty());
    }

    #[test]
    fn a_passing_name_of_two_jobs_is_a_lock() {
        let mut overlap = Overlap::default();
        let began = overlap.begin();
        overlap.committed(&[], &["/lock".into()]);
        assert!(overlap.shares_lock(began, &["/x".into(), "/lock".into()]));
        assert!(!overlap.shares_lock(began, &["/tmp/ccq".into()]));
        assert!(!overlap.shares_lock(Moment(overlap.clock), &["/lock".into()]));
        overlap.committed(&[file("/left", 1)], &[]);
        assert!(overlap.shares_lock(began, &["/left".into()]), "a commit changed it");
        overlap.changed_outside(Path::new("/held"));
        assert!(
            overlap.shares_lock(began, &["/held".into()]),
            "a process of the client did"
        );
    }
}
