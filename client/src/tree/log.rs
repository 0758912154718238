//! The log of changes: for each path the newest count at which it changed, and by whom.
//! Pure: knows neither files nor watches.

use super::WorkerKey;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Changes in their order, one for each path.
#[derive(Default)]
pub(super) struct Log {
    count: u64,
    by_path: HashMap<PathBuf, (u64, Option<WorkerKey>)>,
    by_count: BTreeMap<u64, PathBuf>,
}

impl Log {
    /// The newest count.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// A path changed: by the commit of a worker's job, or (`None`) by somebody else.
    pub(super) fn add(&mut self, path: &Path, origin: Option<WorkerKey>) {
        self.count += 1;
        let entry = (self.count, origin);
        if let Some((old, _)) = self.by_path.insert(path.to_owned(), entry) {
            self.by_count.remove(&old);
        }
        self.by_count.insert(self.count, path.to_owned());
    }

    /// What changed below `top` after `count` was a worker's doing.
    pub(super) fn claim(&mut self, count: u64, top: &Path, worker: WorkerKey) {
        for path in self.by_count.range(count.saturating_add(1)..).map(|(_, path)| path) {
            if let Some(entry) = self.by_path.get_mut(path).filter(|_| path.starts_with(top)) {
                entry.1 = Some(worker);
            }
        }
    }

    /// Paths that changed after `count` other than by `worker`.
    pub(super) fn since(&self, count: u64, worker: WorkerKey) -> impl Iterator<Item = &Path> {
        let later = self.by_count.range(count.saturating_add(1)..);
        later.map(|(_, path)| path.as_path()).filter(move |path| {
            let origin = self.by_path.get(*path).and_then(|(_, origin)| *origin);
            origin != Some(worker)
        })
    }

    /// Drops what everybody has been told.
    pub(super) fn forget_until(&mut self, count: u64) {
        while let Some(first) = self.by_count.first_entry().filter(|first| *first.key() <= count) {
            let path = first.remove();
            self.by_path.remove(&path);
        }
    }

    /// Paths in the log.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_count.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_change_of_a_path_counts() {
        let (mut log, me, other) = (Log::default(), WorkerKey(1), WorkerKey(2));
        log.add(Path::new("/a"), None);
        log.add(Path::new("/b"), Some(other));
        log.add(Path::new("/a"), Some(me));
        let paths = |count, worker| log.since(count, worker).map(Path::to_owned).collect::<Vec<_>>();
        assert_eq!(paths(0, me), [Path::new("/b")]);
        assert_eq!(paths(0, other), [Path::new("/a")]);
        assert_eq!(paths(3, other), Vec::<PathBuf>::new());
        assert_eq!(log.count(), 3);
    }

    #[test]
    fn what_all_have_been_told_is_dropped() {
        let mut log = Log::default();
        for name in ["/a", "/b", "/c"] {
            log.add(Path::new(name), None);
        }
        log.forget_until(2);
        assert_eq!(log.len(), 1);
        assert_eq!(log.since(0, WorkerKey(0)).collect::<Vec<_>>(), [Path::new("/c")]);
    }
}
