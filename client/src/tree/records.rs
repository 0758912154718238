//! What was served: per directory its names with their stamps, and which worker has it;
//! compared with the present, it gives the log of changes. Knows stamps and watch
//! numbers, makes no system call and never looks at a file.

use super::WorkerKey;
use super::log::Log;
use super::stamp::{Kind, Stamp};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use termite_core::overlap::FileName;

/// All records of one tree.
#[derive(Default)]
pub(super) struct Records {
    /// Served directories by path.
    dirs: BTreeMap<PathBuf, Dir>,
    /// Their paths by watch: bind mounts give an inode several.
    by_watch: HashMap<i32, Vec<PathBuf>>,
    /// Regular files with several names, as in `names`: a write through another is not
    /// notified here.
    linked: BTreeMap<PathBuf, Stamp>,
    /// What changed.
    pub log: Log,
    workers: HashMap<WorkerKey, Worker>,
    next_id: u64,
    /// Watches that no path needs any more.
    unused: Vec<i32>,
    /// What changed by no commit since that was asked last, as much as fits.
    outside: Vec<Outside>,
}

/// A change that no commit made.
#[derive(PartialEq, Eq, Debug)]
pub struct Outside {
    /// Where.
    pub path: PathBuf,
    /// The file that this name no longer leads to.
    pub parted: Option<FileName>,
}

/// Changes outside of commits that are kept until somebody asks.
const MOST_OUTSIDE: usize = 1 << 14;

/// One served directory.
pub(super) struct Dir {
    id: u64,
    /// Of the directory itself.
    pub stamp: Stamp,
    /// `None`: its changes are not notified.
    pub watch: Option<i32>,
    names: HashMap<OsString, Stamp>,
    /// A whole listing is in `names`.
    listed: bool,
    listers: u32,
    /// Names with events while somebody lists.
    touched: HashSet<OsString>,
}

struct Worker {
    epoch: u64,
    seen: u64,
    dirs: HashSet<PathBuf>,
}

/// Names the state of a directory's record that a listing belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ListingId(u64);

impl Records {
    /// A served directory.
    pub(super) fn dir(&self, path: &Path) -> Option<&Dir> {
        self.dirs.get(path)
    }

    /// Served directories whose changes come without events, or all of them.
    pub(super) fn to_check(&self, all: bool) -> Vec<PathBuf> {
        let wanted = self
            .dirs
            .iter()
            .filter(|(_, dir)| dir.listed && (all || dir.watch.is_none()));
        wanted.map(|(path, _)| path.clone()).collect()
    }

    /// Files that have several names, as they are recorded.
    pub(super) fn linked(&self) -> impl Iterator<Item = (&Path, &Stamp)> {
        self.linked.iter().map(|(path, stamp)| (path.as_path(), stamp))
    }

    /// The names of a file that has several, as far as workers were told of them.
    pub(super) fn names_of(&self, file: &Stamp) -> Vec<PathBuf> {
        let names = self.linked.iter().filter(|(_, stamp)| stamp.same_inode(file));
        names.map(|(path, _)| path.clone()).collect()
    }

    /// Paths of a watch.
    pub(super) fn watched(&self, watch: i32) -> Vec<PathBuf> {
        self.by_watch.get(&watch).cloned().unwrap_or_default()
    }

    /// Names recorded in a directory.
    pub(super) fn names(&self, dir: &Path) -> Vec<OsString> {
        self.dirs
            .get(dir)
            .map(|dir| dir.names.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// What changed by no commit since that was asked last.
    pub(super) fn take_outside(&mut self) -> Vec<Outside> {
        std::mem::take(&mut self.outside)
    }

    /// Watches that no path needs any more, once.
    pub(super) fn take_unused(&mut self) -> Vec<i32> {
        let mut unused = std::mem::take(&mut self.unused);
        unused.retain(|watch| !self.by_watch.contains_key(watch));
        unused
    }

    /// Somebody begins to list `path`, whose directory is watched by now. Every such call
    /// is followed by one of [`Self::end_listing`] or [`Self::abort_listing`].
    pub(super) fn begin_listing(&mut self, path: &Path, stamp: Stamp, watch: Option<i32>) -> ListingId {
        if self.dirs.get(path).is_some_and(|dir| !dir.stamp.same_inode(&stamp)) {
            self.drop_below(path, None);
        }
        if !self.dirs.contains_key(path) {
            self.next_id += 1;
            let dir = Dir {
                id: self.next_id,
                stamp,
                watch: None,
                names: HashMap::new(),
                listed: false,
                listers: 0,
                touched: HashSet::new(),
            };
            self.dirs.insert(path.to_owned(), dir);
        }
        self.set_watch(path, watch);
        let Some(dir) = self.dirs.get_mut(path) else {
            unreachable!("inserted above")
        };
        dir.listers += 1;
        ListingId(dir.id)
    }

    /// Records the watch of a directory.
    pub(super) fn set_watch(&mut self, path: &Path, watch: Option<i32>) {
        let Some(dir) = self.dirs.get_mut(path) else { return };
        let old = std::mem::replace(&mut dir.watch, watch);
        if old == watch {
            return;
        }
        if let Some(watch) = watch {
            self.by_watch.entry(watch).or_default().push(path.to_owned());
        }
        self.unwatch(old, path);
    }

    fn unwatch(&mut self, watch: Option<i32>, path: &Path) {
        let Some((watch, paths)) = watch.and_then(|watch| Some((watch, self.by_watch.get_mut(&watch)?))) else {
            return;
        };
        paths.retain(|other| other != path);
        if paths.is_empty() {
            self.by_watch.remove(&watch);
            self.unused.push(watch);
        }
    }

    /// A listing failed.
    pub(super) fn abort_listing(&mut self, path: &Path, id: ListingId) {
        let Some(dir) = self.dirs.get_mut(path).filter(|dir| dir.id == id.0) else {
            return;
        };
        dir.listers -= 1;
        if !dir.listed && dir.listers == 0 {
            let watch = dir.watch;
            self.dirs.remove(path);
            self.unwatch(watch, path);
        }
    }

    /// A listing was read and is served to `worker`. `look` gives the present stamp of a
    /// name, for those about which the listing, the record and the events disagree.
    /// False: the directory was replaced meanwhile, list again.
    pub(super) fn end_listing(
        &mut self,
        path: &Path,
        id: ListingId,
        listed: &HashMap<&OsStr, Stamp>,
        worker: WorkerKey,
        mut look: impl FnMut(&OsStr) -> Option<Stamp>,
    ) -> bool {
        let Some(dir) = self.dirs.get_mut(path).filter(|dir| dir.id == id.0) else {
            return false;
        };
        dir.listers -= 1;
        if !dir.listed {
            dir.listed = true;
            dir.names = listed
                .iter()
                .map(|(name, stamp)| ((*name).to_owned(), *stamp))
                .collect();
            let linked = listed.iter().filter(|(_, stamp)| has_links(stamp));
            self.linked
                .extend(linked.map(|(name, stamp)| (path.join(name), *stamp)));
        }
        let differs = |name: &OsStr| match (dir.names.get(name), listed.get(name)) {
            (Some(old), Some(new)) => old.differs(new),
            (None, None) => false,
            _ => true,
        };
        let mut doubtful: HashSet<OsString> = dir
            .names
            .keys()
            .map(OsString::as_os_str)
            .chain(listed.keys().copied())
            .filter(|name| differs(name))
            .map(OsStr::to_owned)
            .collect();
        doubtful.extend(dir.touched.iter().cloned());
        if dir.listers == 0 {
            dir.touched.clear();
        }
        for name in doubtful {
            let present = look(&name);
            let stale = match (listed.get(name.as_os_str()), &present) {
                (Some(old), Some(new)) => old.differs(new),
                (None, None) => false,
                _ => true,
            };
            self.observe(path, &name, present, None, stale);
        }
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.dirs.insert(path.to_owned());
        }
        true
    }

    /// A name of a served directory is now `present`. Logs it if that is news, or if
    /// `anyway`. Returned: whether it was news.
    pub(super) fn observe(
        &mut self,
        dir_path: &Path,
        name: &OsStr,
        present: Option<Stamp>,
        origin: Option<WorkerKey>,
        anyway: bool,
    ) -> bool {
        let Some(dir) = self.dirs.get_mut(dir_path) else {
            return false;
        };
        if dir.listers > 0 {
            dir.touched.insert(name.to_owned());
        } else if !anyway && present.is_some_and(|is| is.kind == Kind::File && dir.names.get(name) == Some(&is)) {
            return false;
        }
        let old = match present {
            Some(stamp) => dir.names.insert(name.to_owned(), stamp),
            None => dir.names.remove(name),
        };
        let news = match (&old, &present) {
            (Some(old), Some(new)) => old.differs(new),
            (None, None) => false,
            _ => true,
        };
        let path = dir_path.join(name);
        if news && present.as_ref().is_some_and(has_links) {
            self.link_others(present.as_ref());
        }
        match present.filter(has_links) {
            Some(stamp) => self.linked.insert(path.clone(), stamp),
            None => self.linked.remove(&path),
        };
        let moved_away = |was: &Stamp| was.kind == Kind::Dir && !present.is_some_and(|is| is.same_inode(was));
        if old.as_ref().is_some_and(moved_away) || self.dirs.get(&path).is_some_and(|below| moved_away(&below.stamp)) {
            self.drop_below(&path, origin);
        }
        if news || anyway {
            self.log.add(&path, origin);
        }
        if news && origin.is_none() {
            let parted = |was: &Stamp| was.kind == Kind::File && !present.is_some_and(|is| is.same_inode(was));
            let parted = old.filter(parted).map(|was| was.named(&path));
            self.changed_outside(Outside { path, parted });
        }
        news
    }

    /// Keeps what something else than a commit changed, until somebody asks.
    pub(super) fn changed_outside(&mut self, change: Outside) {
        if self.outside.len() < MOST_OUTSIDE {
            self.outside.push(change);
        }
    }

    /// A worker is told how a path stands, of which the events may be yet to come: what
    /// undoes it again is news all the same.
    pub(super) fn tell(&mut self, path: &Path, present: Option<Stamp>) {
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            self.observe(parent, name, present, None, false);
        }
        match (self.dirs.get(path), present) {
            (None, _) => {}
            (Some(dir), Some(present)) if dir.stamp.same_inode(&present) => self.observe_dir(path, present),
            _ => self.drop_below(path, None),
        }
    }

    /// A file with several names has appeared: its other names had one before.
    fn link_others(&mut self, present: Option<&Stamp>) {
        let Some(present) = present else { return };
        for (path, dir) in &self.dirs {
            let same = dir.names.iter().filter(|(_, stamp)| stamp.same_inode(present));
            self.linked.extend(same.map(|(name, stamp)| (path.join(name), *stamp)));
        }
    }

    /// Attributes of a served directory itself.
    pub(super) fn observe_dir(&mut self, path: &Path, present: Stamp) {
        let Some(dir) = self.dirs.get_mut(path) else { return };
        if std::mem::replace(&mut dir.stamp, present).differs(&present) {
            self.log.add(path, None);
        }
    }

    /// The directory is no longer what was served: it and all below is dropped from the
    /// records and logged.
    pub(super) fn drop_below(&mut self, top: &Path, origin: Option<WorkerKey>) {
        let below = self
            .dirs
            .range::<Path, _>((std::ops::Bound::Included(top), std::ops::Bound::Unbounded));
        let paths: Vec<PathBuf> = below
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(top))
            .cloned()
            .collect();
        for path in paths {
            let Some(dir) = self.dirs.remove(&path) else { continue };
            self.unwatch(dir.watch, &path);
            self.linked.retain(|file, _| file.parent() != Some(&path));
            self.log.add(&path, origin);
        }
    }

    /// The epoch in which this worker is served; `fresh` becomes it for an unknown one.
    pub(super) fn epoch_of(&mut self, worker: WorkerKey, fresh: impl FnOnce() -> u64) -> u64 {
        let seen = self.log.count();
        self.workers
            .entry(worker)
            .or_insert_with(|| Worker {
                epoch: fresh(),
                seen,
                dirs: HashSet::new(),
            })
            .epoch
    }

    /// Whether a worker is told what changes in a directory, which is this one.
    pub(super) fn is_served(&self, worker: WorkerKey, path: &Path, stamp: &Stamp) -> bool {
        self.workers
            .get(&worker)
            .is_some_and(|worker| worker.dirs.contains(path))
            && self
                .dirs
                .get(path)
                .is_some_and(|dir| dir.listed && dir.stamp.same_inode(stamp))
    }

    /// Nothing is known about what this worker has any more.
    pub(super) fn forget(&mut self, worker: WorkerKey) {
        self.workers.remove(&worker);
    }

    /// Paths that changed after `seen`, other than by the worker's own jobs, in
    /// directories that it was served; and forgets what nobody will ask for again.
    pub(super) fn news_for(&mut self, worker: WorkerKey, seen: u64) -> Vec<PathBuf> {
        let Some(known) = self.workers.get_mut(&worker) else {
            return Vec::new();
        };
        known.seen = seen;
        let dirs = &known.dirs;
        let served = |path: &&Path| dirs.contains(*path) || path.parent().is_some_and(|parent| dirs.contains(parent));
        let mut news: Vec<PathBuf> = self
            .log
            .since(seen, worker)
            .filter(served)
            .map(Path::to_owned)
            .collect();
        news.sort();
        let told = self.workers.values().map(|worker| worker.seen).min().unwrap_or(0);
        self.log.forget_until(told);
        news
    }
}

fn has_links(stamp: &Stamp) -> bool {
    stamp.kind == Kind::File && stamp.links > 1
}
