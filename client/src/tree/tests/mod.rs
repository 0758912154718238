//! A tree over real directories. Here: what the tests share.

mod change;
mod own;
mod read;

use super::{DenyRules, Tree, TreeOptions, WorkerKey};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use termite_types::{Attr, Snapshot, Update};

/// A directory to serve, a tree, and one worker that is told of changes.
pub(super) struct Bench {
    /// Canonical path of the directory.
    pub top: PathBuf,
    /// Serves it.
    pub tree: Tree,
    seen: Snapshot,
    _dirs: [tempfile::TempDir; 2],
}

pub(super) const ME: WorkerKey = WorkerKey(1);
pub(super) const OTHER: WorkerKey = WorkerKey(2);

/// A tree with its cache in `cache`.
pub(super) fn open_tree(cache: &Path) -> Tree {
    let deny = DenyRules::new(&[], Path::new("/home/nobody-at-all")).expect("usable rules");
    let tree = Tree::open(TreeOptions {
        cache_dir: cache.to_owned(),
        deny: Arc::new(deny),
    })
    .expect("a tree");
    tree.is_here(ME);
    tree
}

impl Bench {
    pub(super) fn new() -> Self {
        let dirs = [
            tempfile::tempdir().expect("a directory"),
            tempfile::tempdir().expect("a directory"),
        ];
        let top = dirs[0].path().canonicalize().expect("a path");
        let mut bench = Self {
            top,
            tree: open_tree(dirs[1].path()),
            seen: Snapshot::default(),
            _dirs: dirs,
        };
        assert_eq!(bench.updates(), []);
        bench
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    pub(super) fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).expect("written");
    }

    /// Serves directories to the worker: the top and those below it.
    pub(super) fn serve(&self, names: &[&str]) {
        self.tree.read_dir(ME, &self.top).expect("the top");
        for name in names {
            self.tree.read_dir(ME, &self.path(name)).expect("a directory");
        }
    }

    /// What the worker is told.
    pub(super) fn updates(&mut self) -> Vec<Update> {
        self.tree.drain();
        self.late_updates()
    }

    /// What the worker is told of what the tree took note of before.
    pub(super) fn late_updates(&mut self) -> Vec<Update> {
        let (seen, updates) = self.tree.updates_for(ME, self.seen);
        self.seen = seen;
        updates
    }

    /// Names, below the top, of what the worker is told; `-` is before those that are gone.
    pub(super) fn news(&mut self) -> Vec<String> {
        let updates = self.updates();
        self.names(&updates)
    }

    /// The same of what the tree took note of before.
    pub(super) fn late_news(&mut self) -> Vec<String> {
        let updates = self.late_updates();
        self.names(&updates)
    }

    fn names(&self, updates: &[Update]) -> Vec<String> {
        let name = |update: &Update| format!("{}{}", if update.attr.is_some() { "" } else { "-" }, self.name(update));
        told(updates).map(name).collect()
    }

    /// The name, below the top, of what an update is about.
    pub(super) fn name(&self, update: &Update) -> String {
        update
            .path
            .strip_prefix(&self.top)
            .expect("below the top")
            .display()
            .to_string()
    }
}

/// What is told for its own sake. The directories that it is in must be told, too.
pub(super) fn told(updates: &[Update]) -> impl Iterator<Item = &Update> {
    let is_told = |path: &Path| updates.iter().any(|update| update.path == path);
    let told = updates.iter().filter(|update| !update.names_told);
    told.inspect(move |update| {
        let parent = update.path.parent().expect("a name");
        assert!(is_told(parent) || !parent.exists(), "{}", parent.display());
    })
}

/// The attributes of one name of a listing.
pub(super) fn attr_of(tree: &Tree, dir: &Path, name: &str) -> Attr {
    let listing = tree.read_dir(ME, dir).expect("a listing");
    listing
        .entries
        .into_iter()
        .find(|entry| entry.name == *name)
        .expect("the name")
        .attr
}
