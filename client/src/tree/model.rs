//! A worker of whom nothing is expected but that it does as it is told, over a tree that
//! changes at random: what it holds must be what a fresh listing gives.

use super::stamp::Stamp;
use super::tests::{ME, open_tree};
use super::{Tree, WorkerKey};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use termite_types::{Attr, FileTime, Listing, Node, Snapshot, Update};

/// Names are few, so that what happens happens to the same ones.
const NAMES: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug)]
enum Step {
    Write(PathBuf, u8),
    Append(PathBuf),
    MakeDir(PathBuf),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
    Exchange(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Symlink(PathBuf, PathBuf),
    Chmod(PathBuf, bool),
    /// The worker is told, and looks into everything it may.
    Sync,
    /// The same after events were lost.
    Lose,
    /// The worker is told, and looks into nothing.
    Tell,
    /// The tree takes note of what changed, and tells nobody.
    Drain,
    /// The worker is told what was taken note of, as it stands by now.
    TellLate,
    /// The worker looks into everything it may, and is told nothing else.
    Look,
    /// A file that comes and goes: whether it is there when the tree takes note, when the
    /// worker is told, and after that.
    Blink(PathBuf, [bool; 3]),
}

fn path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(prop::sample::select(&NAMES[..]), 1..4).prop_map(|names| names.iter().collect())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(path, byte)| Step::Write(path, byte)),
        2 => path().prop_map(Step::Append),
        4 => path().prop_map(Step::MakeDir),
        2 => path().prop_map(Step::Remove),
        4 => (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => (path(), path()).prop_map(|(from, to)| Step::Exchange(from, to)),
        2 => (path(), path()).prop_map(|(from, to)| Step::Link(from, to)),
        1 => (path(), path()).prop_map(|(from, to)| Step::Symlink(from, to)),
        2 => (path(), any::<bool>()).prop_map(|(path, tight)| Step::Chmod(path, tight)),
        3 => Just(Step::Sync),
        1 => Just(Step::Lose),
        2 => Just(Step::Tell),
        2 => Just(Step::Drain),
        2 => Just(Step::TellLate),
        1 => Just(Step::Look),
        2 => (path(), any::<[bool; 3]>()).prop_map(|(path, there)| Step::Blink(path, there)),
    ]
}

/// Whether it works out does not matter here: most steps meet nothing, or a wrong kind.
fn change(top: &Path, step: &Step) -> std::io::Result<()> {
    let at = |path: &PathBuf| top.join(path);
    match step {
        Step::Write(path, byte) => fs::write(at(path), [*byte]),
        Step::Append(path) => {
            use std::io::Write;
            fs::File::options()
                .append(true)
                .open(at(path))
                .and_then(|mut file| file.write_all(b"+"))
        }
        Step::MakeDir(path) => fs::create_dir_all(at(path)),
        Step::Remove(path) => fs::remove_file(at(path)).or_else(|_| fs::remove_dir_all(at(path))),
        Step::Rename(from, to) => fs::rename(at(from), at(to)),
        Step::Exchange(from, to) => {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            Ok(rustix::fs::renameat_with(
                rustix::fs::CWD,
                at(from),
                rustix::fs::CWD,
                at(to),
                flags,
            )?)
        }
        Step::Link(from, to) => fs::hard_link(at(from), at(to)),
        Step::Symlink(from, to) => symlink(from, at(to)),
        Step::Chmod(path, tight) => {
            fs::set_permissions(at(path), fs::Permissions::from_mode(if *tight { 0o700 } else { 0o755 }))
        }
        Step::Sync | Step::Lose | Step::Tell | Step::Drain | Step::TellLate | Step::Look | Step::Blink(..) => Ok(()),
    }
}

/// The smaller steps that a step consists of.
fn parts(step: &Step) -> Vec<Step> {
    let Step::Blink(path, there) = step else {
        return vec![step.clone()];
    };
    let at = |there: bool| match there {
        true => Step::Write(path.clone(), 0),
        false => Step::Remove(path.clone()),
    };
    let [noted, told, after] = there.map(at);
    vec![noted, Step::Drain, told, Step::TellLate, after]
}

type Names = BTreeMap<OsString, Attr>;

/// What a worker holds: complete directories. It takes an update of a path for that path
/// alone and infers nothing about what is below, unless it is no directory.
#[derive(Default)]
struct Mirror {
    seen: Snapshot,
    dirs: BTreeMap<PathBuf, Names>,
}

/// What must agree: not the hash, which is known or not, nor a directory's time.
fn essence(mut attr: Attr) -> Attr {
    match &mut attr.node {
        Node::File { hash, .. } => *hash = None,
        Node::Dir | Node::Special(_) => attr.mtime = FileTime::default(),
        Node::Symlink { .. } => {}
    }
    attr
}

fn names(listing: Listing) -> Names {
    listing
        .entries
        .into_iter()
        .map(|entry| (entry.name, essence(entry.attr)))
        .collect()
}

impl Mirror {
    fn told(&mut self, tree: &Tree, worker: WorkerKey) {
        let (seen, updates) = tree.updates_for(worker, self.seen);
        if seen.epoch != self.seen.epoch {
            self.dirs.clear();
        }
        self.seen = seen;
        updates.into_iter().for_each(|update| self.take(update));
    }

    fn take(&mut self, Update { path, attr, names_told }: Update) {
        match &attr {
            Some(_) if names_told => {}
            Some(attr) if attr.is_dir() => drop(self.dirs.remove(&path)),
            _ => self.dirs.retain(|dir, _| !dir.starts_with(&path)),
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return;
        };
        let Some(names) = self.dirs.get_mut(parent) else { return };
        match attr {
            Some(attr) => drop(names.insert(name.to_owned(), essence(attr))),
            None => drop(names.remove(name)),
        }
    }

    /// Walks down from `dir` as jobs would, completing what is not complete.
    fn look(&mut self, tree: &Tree, worker: WorkerKey, dir: &Path, shown: &mut BTreeMap<PathBuf, Attr>) {
        if !self.dirs.contains_key(dir) {
            let Ok(listing) = tree.read_dir(worker, dir) else {
                return;
            };
            self.dirs.insert(dir.to_owned(), names(listing));
        }
        for (name, attr) in self.dirs[dir].clone() {
            let path = dir.join(name);
            if attr.is_dir() {
                self.look(tree, worker, &path, shown);
            }
            shown.insert(path, attr);
        }
    }
}

/// Whether somebody has looked into the directory of a path. Of a file that gets a further
/// name elsewhere there is no event, nor of what is written there: see inotify(7).
fn is_seen(tree: &Tree, path: &Path) -> bool {
    let dir = path.parent().and_then(|dir| dir.canonicalize().ok());
    dir.is_none_or(|dir| {
        let stamp = Stamp::at_path(&dir);
        stamp.is_none_or(|stamp| tree.records.lock().is_served(ME, &dir, &stamp))
    })
}

fn agrees(tree: &Tree, mirror: &mut Mirror, top: &Path, fresh_cache: &Path) -> Result<(), TestCaseError> {
    let (mut held, mut fresh) = (BTreeMap::new(), BTreeMap::new());
    mirror.look(tree, ME, top, &mut held);
    Mirror::default().look(&open_tree(fresh_cache), ME, top, &mut fresh);
    prop_assert_eq!(held, fresh);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_worker_holds_is_what_a_fresh_listing_gives(
        steps in prop::collection::vec(step(), 1..60),
        silent in any::<bool>(),
    ) {
        let dirs = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
        let top = dirs[0].path().canonicalize().expect("a path");
        let mut tree = open_tree(dirs[1].path());
        tree.options.silent = silent;
        let mut mirror = Mirror::default();
        for step in &steps.iter().flat_map(parts).chain([Step::Sync]).collect::<Vec<_>>() {
            if let Step::Link(_, to) = step && !is_seen(&tree, &top.join(to)) {
                tree.drain();
                mirror.told(&tree, ME);
                mirror.look(&tree, ME, &top, &mut BTreeMap::new());
            }
            if let Err(error) = change(&top, step) {
                tracing::trace!("{step:?}: {error}");
            }
            if let Step::Lose = step {
                tree.watcher.read().expect("events");
                tree.drain_into(&mut tree.records.lock(), true);
            }
            if let Step::Sync | Step::Lose | Step::Tell | Step::Drain = step {
                tree.drain();
            }
            if let Step::Sync | Step::Lose | Step::Tell | Step::TellLate = step {
                mirror.told(&tree, ME);
            }
            if let Step::Look = step {
                mirror.look(&tree, ME, &top, &mut BTreeMap::new());
            }
            if let Step::Sync | Step::Lose = step {
                agrees(&tree, &mut mirror, &top, dirs[2].path())?;
            }
        }
    }
}
