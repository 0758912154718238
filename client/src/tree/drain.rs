//! From the event queue to snapshots: what changed since, for whom. Knows who committed
//! what; never sends anything.

use super::hashes::is_racy;
use super::records::{Outside, Records};
use super::serve::{list, look};
use super::stamp::{Kind, Stamp, open_canonical, open_dir_path};
use super::watch::Event;
use super::{CommittedPath, Tree, WorkerKey};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use termite_types::{Attr, Snapshot, Update};

/// Names to look at, and whether their content may have been written.
type Touched = BTreeMap<(PathBuf, OsString), bool>;

impl Tree {
    /// Looks at everything that may have changed. Returns the number of the newest change.
    pub fn drain(&self) -> u64 {
        let mut records = self.records.lock();
        self.drain_into(&mut records, false);
        look_at_linked(&mut records);
        records.log.count()
    }

    /// What changed in served directories by no commit since that was asked last, as far as
    /// events told.
    pub fn take_outside(&self) -> Vec<Outside> {
        self.records.lock().take_outside()
    }

    /// What changed since `seen` in directories that this worker was served, other than
    /// by its own jobs, parents first, as it stands; and then all other directories that
    /// those paths are in. Where `seen` is of another epoch than the returned snapshot, what
    /// the worker holds is void and there are no updates.
    pub fn updates_for(&self, worker: WorkerKey, seen: Snapshot) -> (Snapshot, Vec<Update>) {
        let mut records = self.records.lock();
        let snapshot = self.snapshot(&mut records, worker);
        if seen.epoch != snapshot.epoch {
            return (snapshot, Vec::new());
        }
        let is_here = self.here.lock().contains(&worker);
        let mut updates: Vec<Update> = Vec::new();
        let mut no_dir: Option<PathBuf> = None;
        for path in records.news_for(worker, seen.count) {
            // Nothing is below what is no directory.
            if no_dir.as_ref().is_some_and(|top| path != *top && path.starts_with(top)) {
                continue;
            }
            let update = self.update(&mut records, is_here, path);
            if !update.attr.as_ref().is_some_and(Attr::is_dir) {
                no_dir = Some(update.path.clone());
            }
            updates.push(update);
        }
        updates.extend(self.parents(&mut records, is_here, &updates));
        (snapshot, updates)
    }

    /// A worker's job was committed and left these paths. Returns how they stand, for that
    /// worker, without directories that it need not list again; and then all other
    /// directories that they are in, which have another time.
    pub fn committed(&self, worker: WorkerKey, paths: &[CommittedPath]) -> (Snapshot, Vec<Update>) {
        let touched = || paths.iter().filter(|committed| committed.touched);
        self.note_committed(worker, touched());
        self.serve_made(worker, touched());
        let mut records = self.records.lock();
        let is_here = self.here.lock().contains(&worker);
        let mut updates = Vec::new();
        for committed in touched() {
            updates.push(self.update(&mut records, is_here, committed.path.clone()));
        }
        updates.extend(self.parents(&mut records, is_here, &updates));
        (self.snapshot(&mut records, worker), updates)
    }

    /// Puts on record what a commit did, as its worker's doing.
    fn note_committed<'a>(&self, worker: WorkerKey, paths: impl Iterator<Item = &'a CommittedPath>) {
        let mut records = self.records.lock();
        let before = records.log.count();
        // The commit's own events must not be taken for somebody else's later on.
        self.drain_into(&mut records, false);
        for committed in paths {
            let present = Stamp::of_any_at(&committed.path);
            let is_ours = match (&committed.stamp, &present) {
                (Some(put), Some(is)) => !put.differs(is),
                (None, None) => true,
                _ => false,
            };
            let is_complete = committed.hash.is_some() || !present.is_some_and(|is| is.kind == Kind::File);
            if let (true, Some(stamp), Some(hash)) = (is_ours, &present, committed.hash) {
                self.hashes.wrote(stamp, hash);
            }
            let origin = (is_ours && is_complete).then_some(worker);
            if let (Some(parent), Some(name)) = (committed.path.parent(), committed.path.file_name()) {
                records.observe(parent, name, present, origin, true);
            }
            if present.is_none() {
                records.log.claim(before, &committed.path, worker);
            }
        }
    }

    /// A worker knows what a directory holds that its own job has made, and does not list it.
    /// It has to be told of others' changes there all the same, and of their names that were
    /// there first.
    fn serve_made<'a>(&self, worker: WorkerKey, paths: impl Iterator<Item = &'a CommittedPath> + Clone) {
        let own: HashSet<_> = paths.clone().map(|committed| committed.path.as_path()).collect();
        for committed in paths {
            let (path, stamp) = (&committed.path, committed.stamp);
            let Some(stamp) = stamp.filter(|stamp| stamp.kind == Kind::Dir) else {
                continue;
            };
            if self.records.lock().is_served(worker, path, &stamp) {
                continue;
            }
            match self.names_for(worker, path) {
                Ok((found, _)) => {
                    let mut records = self.records.lock();
                    let names = found.iter().map(|found| path.join(&found.name));
                    names
                        .filter(|name| !own.contains(name.as_path()))
                        .for_each(|name| records.log.add(&name, None));
                }
                // What is no directory any more is told as it stands.
                Err(error) => tracing::debug!("{} cannot be listed after a commit: {error}", path.display()),
            }
        }
    }

    /// The directories that some paths are in and that are not among them. Names that come
    /// and go give those another time, of which there is no event.
    fn parents(&self, records: &mut Records, is_here: bool, told: &[Update]) -> Vec<Update> {
        let mut parents: BTreeSet<_> = told.iter().filter_map(|update| update.path.parent()).collect();
        for update in told {
            parents.remove(&*update.path);
        }
        let dirs = parents
            .into_iter()
            .map(|dir| self.update(records, is_here, dir.to_owned()));
        // What is no directory any more is told with its own event.
        dirs.filter(|update| update.attr.as_ref().is_some_and(Attr::is_dir))
            .map(|update| Update {
                names_told: true,
                ..update
            })
            .collect()
    }

    /// How a path stands, which goes on record.
    fn update(&self, records: &mut Records, is_here: bool, path: PathBuf) -> Update {
        let found = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => open_dir_path(parent).and_then(|dir| look(&dir, name)),
            _ => open_dir_path(&path)
                .and_then(Stamp::of_fd)
                .map(|stamp| (stamp, PathBuf::new())),
        };
        let found = found.ok();
        self.tell(records, &path, found.as_ref().map(|(stamp, _)| *stamp));
        let attr = found.map(|(stamp, target)| {
            let is_served = stamp.kind == Kind::File && self.is_served(is_here, &path, &stamp);
            let hash = if is_served { self.hashes.get(&stamp) } else { None };
            self.remember(hash.map(|hash| (hash, path.clone(), stamp)));
            stamp.attr(hash, target)
        });
        Update::new(path, attr)
    }

    /// Puts on record how a path stands of which a worker is told.
    pub(super) fn tell(&self, records: &mut Records, path: &Path, present: Option<Stamp>) {
        records.tell(path, present);
        self.unwatch_unused(records);
    }

    /// What events tell of. `lost`: some are missing.
    pub(super) fn drain_into(&self, records: &mut Records, mut lost: bool) {
        let mut touched = Touched::new();
        match self.watcher.read() {
            Ok(events) => events
                .into_iter()
                .for_each(|event| lost |= take(records, &mut touched, event)),
            Err(error) => {
                tracing::warn!("the event queue cannot be read, looking at every file: {error}");
                lost = true;
            }
        }
        for ((dir, name), content) in touched {
            self.look_at(records, &dir, &name, content);
        }
        for path in records.to_check(lost) {
            self.check(records, &path);
        }
        self.unwatch_unused(records);
    }

    fn look_at(&self, records: &mut Records, dir: &Path, name: &OsString, content: bool) {
        let present = Stamp::of_any_at(&dir.join(name));
        let news = records.observe(dir, name, present, None, false);
        if !news && present.is_none() {
            // It came and went: somebody may have held a lock by this name.
            records.changed_outside(Outside {
                path: dir.join(name),
                parted: None,
            });
        }
        let Some(stamp) = present.filter(|stamp| content && stamp.kind == Kind::File && !news && is_racy(stamp)) else {
            return;
        };
        // On a coarse clock a second write may leave the stamp of the first.
        self.hashes.forget(&stamp);
        records.observe(dir, name, present, None, true);
    }

    /// Looks at a served directory and all its names.
    fn check(&self, records: &mut Records, path: &Path) {
        let dir = open_canonical(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK);
        let opened = dir.and_then(|dir| Ok((Stamp::of_fd(&dir)?, dir)));
        let is_it = |stamp: &Stamp| records.dir(path).is_some_and(|dir| dir.stamp.same_inode(stamp));
        let Some((stamp, dir)) = opened.ok().filter(|(stamp, _)| is_it(stamp)) else {
            records.drop_below(path, None);
            return;
        };
        records.observe_dir(path, stamp);
        if records.dir(path).is_some_and(|dir| dir.watch.is_some()) {
            // A watch that ended unnoticed is replaced before the names are read.
            let watch = self.watch(&dir, path);
            records.set_watch(path, watch);
        }
        let found = match list(&dir) {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!("{} is not listed any more: {error}", path.display());
                records.drop_below(path, None);
                return;
            }
        };
        let mut gone: HashSet<OsString> = records.names(path).into_iter().collect();
        for found in found {
            gone.remove(&found.name);
            records.observe(path, &found.name, Some(found.stamp), None, false);
        }
        for name in gone {
            records.observe(path, &name, None, None, false);
        }
    }

    /// Ends watches of directories that are not recorded any more. Under the same lock
    /// that dropped them: a watch of the same number may be wanted again right after.
    pub(super) fn unwatch_unused(&self, records: &mut Records) {
        records
            .take_unused()
            .into_iter()
            .for_each(|watch| self.watcher.remove(watch));
    }
}

/// Looks at the files of which events do not tell everything, as they have several names.
/// For dispatches, right after the events: so their directories are the recorded ones.
fn look_at_linked(records: &mut Records) {
    let look = |path: &Path| rustix::fs::lstat(path).map(|stat| Stamp::of(&stat)).ok();
    let looked = records.linked().map(|(path, stamp)| (path, stamp, look(path)));
    let changed: Vec<(PathBuf, Option<Stamp>)> = looked
        .filter(|(_, stamp, present)| present.as_ref() != Some(*stamp))
        .map(|(path, _, present)| (path.to_owned(), present))
        .collect();
    for (path, present) in changed {
        if let (Some(dir), Some(name)) = (path.parent(), path.file_name()) {
            records.observe(dir, name, present, None, false);
        }
    }
}

/// Takes one event; true: events were lost.
fn take(records: &mut Records, touched: &mut Touched, event: Event) -> bool {
    match event {
        Event::Overflow => return true,
        Event::Name { name, .. } if crate::temporary_name::is_temporary(&name) => {}
        Event::Name { watch, name, content } => {
            for dir in records.watched(watch) {
                *touched.entry((dir, name.clone())).or_default() |= content;
            }
        }
        Event::Itself { watch } => {
            for path in records.watched(watch) {
                if let Some(present) = open_dir_path(&path)
                    .and_then(Stamp::of_fd)
                    .ok()
                    .filter(|stamp| records.dir(&path).is_some_and(|dir| dir.stamp.same_inode(stamp)))
                {
                    records.observe_dir(&path, present);
                }
            }
        }
        Event::Moved { watch } => {
            for path in records.watched(watch) {
                let present: Result<Stamp, Errno> = open_dir_path(&path).and_then(Stamp::of_fd);
                let is_there = records
                    .dir(&path)
                    .is_some_and(|dir| present.is_ok_and(|stamp| dir.stamp.same_inode(&stamp)));
                if !is_there {
                    records.drop_below(&path, None);
                }
            }
        }
        Event::Gone { watch } => {
            for path in records.watched(watch) {
                records.drop_below(&path, None);
            }
        }
    }
    false
}
