//! The claims of all jobs of the daemon, and the commands known to change contended paths.
//! Wakes the jobs whose claims are granted.
//!
//! What is decided here is decided by `termite_core::{claims, writers}`. Knows commands as
//! numbers; does not know workers, commits or why a job conflicted.

use crate::forecast::Command;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use termite_core::claims::{Claimant, Claims};
use termite_core::writers::{CommandKey, Contended, Moment, Writers};
use termite_types::{Change, ChangeKind, Conflict, JobId, Premises, TraceItem, Use};
use tokio::sync::oneshot;

/// All claims, and all that is known of contended paths.
#[derive(Default)]
pub(crate) struct Contention {
    claims: RefCell<Claims>,
    writers: RefCell<Writers>,
    waiting: RefCell<HashMap<Claimant, oneshot::Sender<()>>>,
}

/// What one job claims; given back when dropped.
pub(crate) struct Claim {
    contention: Rc<Contention>,
    claimant: Claimant,
    command: CommandKey,
    /// The paths that it asked for last.
    asked: RefCell<BTreeSet<PathBuf>>,
    /// The last commit before its current attempt began.
    begun: Cell<Moment>,
}

impl Contention {
    /// With what an earlier daemon knew.
    pub(crate) fn new(known: HashMap<PathBuf, Contended>) -> Rc<Self> {
        Rc::new(Self {
            writers: RefCell::new(Writers::saved(known)),
            ..Self::default()
        })
    }

    /// What is not on disk as it is known.
    pub(crate) fn take_unsaved(&self) -> Vec<(PathBuf, Contended)> {
        self.writers.borrow_mut().take_unsaved()
    }

    /// A job comes, younger than all others.
    pub(crate) fn join(self: &Rc<Self>, command: &Command) -> Claim {
        Claim {
            claimant: self.claims.borrow_mut().join(),
            contention: self.clone(),
            command: CommandKey {
                exact: command.exact,
                alike: command.alike,
            },
            asked: RefCell::default(),
            begun: Cell::default(),
        }
    }

    fn wake(&self, granted: Vec<Claimant>) {
        let mut waiting = self.waiting.borrow_mut();
        for claimant in granted {
            if let Some(waiter) = waiting.remove(&claimant) {
                // A job that went away gives back what it does not want any more.
                let _ = waiter.send(());
            }
        }
    }
}

impl Claim {
    /// Asks for these paths and those that the command is known to change, in place of all
    /// that it holds. Resolves when they are granted.
    pub(crate) fn ask(&self, mut paths: BTreeSet<PathBuf>) -> impl Future<Output = ()> + use<> {
        paths.extend(self.known());
        self.asked.borrow_mut().clone_from(&paths);
        let (answer, answered) = oneshot::channel();
        let contention = &self.contention;
        contention.waiting.borrow_mut().insert(self.claimant, answer);
        let granted = contention.claims.borrow_mut().ask(self.claimant, paths);
        contention.wake(granted);
        async move {
            // The sender goes only with its answer, or with the job.
            let _ = answered.await;
        }
    }

    /// Whether the command is known by this time to change a path that it did not ask for.
    pub(crate) fn is_short(&self) -> bool {
        !self.known().is_subset(&self.asked.borrow())
    }

    /// Whether it holds any path, for whose sake other jobs may wait.
    pub(crate) fn holds_any(&self) -> bool {
        self.contention.claims.borrow().holds_any(self.claimant)
    }

    /// Gives all back.
    pub(crate) fn release(&self) {
        self.asked.borrow_mut().clear();
        self.contention.waiting.borrow_mut().remove(&self.claimant);
        let granted = self.contention.claims.borrow_mut().release(self.claimant);
        self.contention.wake(granted);
    }

    /// An attempt begins: changes that are committed from here on may come too late for it.
    pub(crate) fn begin(&self) {
        self.begun.set(self.contention.writers.borrow().now());
    }

    /// The job conflicted. Returns the job that changed the path since the attempt began; `None`:
    /// something outside of the builds. Who only waited for it is none of those that contend.
    pub(crate) fn conflicted(&self, Conflict { path, awaited, .. }: &Conflict) -> Option<JobId> {
        let mut writers = self.contention.writers.borrow_mut();
        match awaited {
            true => writers.changed_by(path, self.begun.get()),
            false => writers.conflicted(self.command, path, self.begun.get()),
        }
    }

    /// The job's commit conflicted on `first`. The other files that it read and would have
    /// changed count as conflicted on as well, where another job changed them meanwhile.
    pub(crate) fn conflicted_beside(&self, first: &Path, changes: &[Change], premises: &Premises) {
        let checked: HashSet<_> = premises.checks.iter().map(|check| check.path.as_path()).collect();
        let others = own_paths(changes).filter(|path| *path != first && checked.contains(path));
        let mut writers = self.contention.writers.borrow_mut();
        writers.conflicted_too(self.command, others, self.begun.get());
    }

    /// The job's commit begins.
    pub(crate) fn committing(&self, job: JobId, changes: &[Change]) {
        let mut writers = self.contention.writers.borrow_mut();
        writers.committing(job, self.command, own_paths(changes));
    }

    /// The job's commit has ended and changed nothing.
    pub(crate) fn not_committed(&self, job: JobId) {
        self.contention.writers.borrow_mut().not_committed(job);
    }

    /// The job is committed.
    pub(crate) fn committed(&self, job: JobId, changes: &[Change], trace: &[TraceItem]) {
        let written = trace.iter().filter(|item| item.used == Use::Write);
        let wrote = written.map(|item| item.path.as_path());
        let mut writers = self.contention.writers.borrow_mut();
        writers.committed(job, self.command, own_paths(changes), wrote);
    }

    fn known(&self) -> BTreeSet<PathBuf> {
        self.contention.writers.borrow().contended_by(self.command)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}

/// The paths that are changed for their own sake. A directory changes with each name in it,
/// so its own change tells nothing.
fn own_paths(changes: &[Change]) -> impl Iterator<Item = &Path> {
    let is_own = |change: &&Change| match &change.kind {
        ChangeKind::Alter(alter) => alter.content.is_some() || alter.mode.is_some() || alter.owner.is_some(),
        ChangeKind::SetXattrs(_) => false,
        _ => true,
    };
    let own = changes.iter().filter(is_own);
    own.map(|change| change.path.as_path())
}
