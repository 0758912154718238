//! What was committed while each job ran, for the daemon's thread and for committers.
//! What that means is decided by `termite_core::overlap`; here is who holds it, and when.

use crate::tree::{Kind, Stamp, Tree};
use parking_lot::Mutex;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use termite_core::overlap::{self, Done, FileName, Moment};
use termite_types::{Alter, Change, ChangeKind, Conflict, Content, Edit, Premises, TraceItem};

/// The commits of late.
#[derive(Default)]
pub struct Overlap {
    /// Which tells what others change.
    tree: Option<Arc<Tree>>,
    commits: Mutex<overlap::Overlap>,
    /// How many commits are under way that change a path, from before they do so until the
    /// tree has it on record: what events tell of it by then is no change by others.
    pending: Mutex<HashMap<PathBuf, usize>>,
}

/// Paths that a commit is changing; forgotten when dropped.
pub struct Pending {
    overlap: Arc<Overlap>,
    paths: Vec<PathBuf>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut pending = self.overlap.pending.lock();
        for path in &self.paths {
            if let Some(commits) = pending.get_mut(path) {
                *commits -= 1;
                if *commits == 0 {
                    pending.remove(path);
                }
            }
        }
    }
}

/// A running attempt's point of beginning; forgotten when dropped.
pub struct Began {
    overlap: Arc<Overlap>,
    at: Moment,
}

impl Overlap {
    /// Of a client's tree, which nothing was committed to.
    pub fn of(tree: Arc<Tree>) -> Self {
        Self {
            tree: Some(tree),
            ..Self::default()
        }
    }

    /// An attempt begins, before its worker is told how the tree stands.
    pub fn begin(self: &Arc<Self>) -> Began {
        self.catch_up();
        Began {
            overlap: self.clone(),
            at: self.commits.lock().begin(),
        }
    }

    /// Takes in all that something else than a commit has changed up to now.
    fn catch_up(&self) {
        let Some(tree) = &self.tree else { return };
        let pending = self.pending.lock();
        // Held from here on, so that whoever comes next finds it.
        let mut commits = self.commits.lock();
        tree.drain();
        let mut changes = tree.take_outside();
        changes.retain(|change| !pending.contains_key(&change.path));
        for change in &changes {
            commits.changed_outside(&change.path);
        }
        commits.parted(changes.into_iter().filter_map(|change| change.parted));
    }

    /// Something else than a commit changed these paths.
    pub fn changed_outside(&self, paths: Vec<PathBuf>) {
        let mut commits = self.commits.lock();
        paths.iter().for_each(|path| commits.changed_outside(path));
    }

    /// A commit is going to make these changes.
    pub fn begin_commit(self: &Arc<Self>, changes: &[Change]) -> Pending {
        let paths: Vec<_> = changes.iter().map(|change| change.path.clone()).collect();
        let mut pending = self.pending.lock();
        for path in &paths {
            *pending.entry(path.clone()).or_default() += 1;
        }
        drop(pending);
        Pending {
            overlap: self.clone(),
            paths,
        }
    }

    /// The changes, and those that they make to further names of the same files, as far as workers were
    /// told of them: what is changed in place by one name is changed by all.
    pub fn with_other_names<'a>(&self, changes: &'a [Change]) -> Cow<'a, [Change]> {
        let Some(tree) = &self.tree else {
            return changes.into();
        };
        let mut others = Vec::new();
        for change in changes {
            let ChangeKind::Alter(alter) = &change.kind else {
                continue;
            };
            let linked = Stamp::at_path(&change.path).filter(|stamp| stamp.kind == Kind::File && stamp.links > 1);
            let names = linked.map(|stamp| tree.names_of(&stamp)).unwrap_or_default();
            let own = |path: &PathBuf| changes.iter().any(|change| change.path == *path);
            others.extend(names.into_iter().filter(|path| !own(path)).map(|path| Change {
                path,
                kind: ChangeKind::Alter(without_bytes(alter)),
            }));
        }
        match others.is_empty() {
            true => changes.into(),
            false => [changes, &others].concat().into(),
        }
    }

    /// What an attempt can have seen in no one order with the commits since it began. `changes`: what
    /// it is going to change.
    pub fn check(
        &self,
        began: Moment,
        changes: &[Change],
        trace: &[TraceItem],
        premises: &Premises,
    ) -> Result<(), Conflict> {
        if premises.locked || premises.unseen || !premises.passing_names.is_empty() {
            self.catch_up();
        }
        let commits = self.commits.lock();
        commits.conflict(began, changes, trace, premises).map_or(Ok(()), Err)
    }

    /// An attempt that changes nothing ends: whether it can have seen what it saw.
    pub fn end_unchanged(&self, began: Moment, trace: &[TraceItem], premises: &Premises) -> Result<(), Conflict> {
        self.check(began, &[], trace, premises)?;
        self.committed(Done::without_changes(trace, &premises.passing_names), Vec::new());
        Ok(())
    }

    /// Whether an attempt that changes these files in place used another name of one of them.
    pub fn check_names(&self, began: Moment, trace: &[TraceItem], changed: &[FileName]) -> Result<(), Conflict> {
        if changed.is_empty() {
            return Ok(());
        }
        self.catch_up();
        let former = self.commits.lock().former_name(began, trace, changed);
        former.map_or(Ok(()), Err)
    }

    /// A job's changes are in the client's tree. `parted`: names that files with several have lost.
    pub fn committed(&self, done: Done<'_>, parted: Vec<FileName>) {
        let mut commits = self.commits.lock();
        commits.committed(done);
        commits.parted(parted);
    }
}

/// The bytes themselves are nothing to the order of commits.
fn without_bytes(alter: &Alter) -> Alter {
    let content = alter.content.as_ref().map(|edit| Edit {
        content: Content::OnWorker,
        ..edit.clone()
    });
    Alter {
        content,
        ..alter.clone()
    }
}

impl Began {
    /// The point.
    pub fn at(&self) -> Moment {
        self.at
    }
}

impl Drop for Began {
    fn drop(&mut self) {
        self.overlap.commits.lock().end(self.at);
    }
}
