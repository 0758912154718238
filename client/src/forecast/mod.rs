//! What a job is going to use and how long it will take, told by earlier jobs: the same
//! command, else one of the same program with the same options in the same directory.
//!
//! Knows commands, traces and who was told what; asks the file system only where a used
//! path leads. A forecast that is wrong costs bytes and nothing else.

mod command;
mod contended;
mod digest;
mod lengths;
mod needs;
mod route;
mod signs;
mod store;

#[cfg(test)]
mod tests;

pub(crate) use command::Command;
pub(crate) use needs::Told;

use lengths::Lengths;
use needs::{Needs, NeedsBuilder, Paths};
use parking_lot::Mutex;
use route::Routes;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use termite_core::signs::Sign;
use termite_core::writers::Contended;
use termite_types::{Expected, TraceItem, Update};

/// Commands that are remembered.
const MOST_COMMANDS: usize = 1 << 16;

/// All forecasts of a client.
pub(crate) struct Forecasts {
    known: Mutex<Known>,
    store: Store,
}

#[derive(Default)]
struct Known {
    paths: Paths,
    by_command: HashMap<u128, Arc<Needs>>,
    /// Of the traces from which the needs of exact commands were learnt.
    digests: HashMap<u128, u128>,
    lengths: Lengths,
    routes: Routes,
    unsaved: Vec<u128>,
}

impl Forecasts {
    /// What earlier daemons have kept in `dir`.
    pub(crate) fn open(dir: &Path) -> Self {
        let store = Store::open(dir);
        let (paths, by_command, lengths) = store.load();
        let known = Known {
            paths,
            by_command,
            lengths: Lengths::saved(lengths),
            ..Known::default()
        };
        Self {
            known: Mutex::new(known),
            store,
        }
    }

    /// What a command is expected to use and a worker, who gets these updates with it, was
    /// not told of yet. It counts as told from now on.
    pub(crate) fn expect(&self, command: &Command, updates: &[Update], told: &mut Told) -> Expected {
        let known = self.known.lock();
        for id in updates.iter().filter_map(|update| known.paths.id(&update.path)) {
            told.forget(id);
        }
        match known.needs_of(command) {
            Some(needs) => Expected {
                dirs: known.paths.resolve(&needs.dirs, told),
                files: known.paths.resolve(&needs.files, told),
            },
            None => Expected::default(),
        }
    }

    /// How many directories and files a command is expected to use of which a worker was not
    /// told yet.
    pub(crate) fn lacking(&self, command: &Command, told: &Told) -> usize {
        let known = self.known.lock();
        known.needs_of(command).map_or(0, |needs| {
            let all = needs.dirs.iter().chain(&needs.files);
            all.filter(|id| !told.has(**id)).count()
        })
    }

    /// How long a command usually runs.
    pub(crate) fn length(&self, command: &Command) -> Option<Duration> {
        self.known.lock().lengths.of(command.exact)
    }

    /// How long a command may run, by the ones alike if there is no better guess.
    pub(crate) fn guess(&self, command: &Command) -> Option<Duration> {
        let known = self.known.lock();
        let exact = known.lengths.of(command.exact);
        exact.or_else(|| known.lengths.of(command.alike))
    }

    /// A command ran so long.
    pub(crate) fn ran(&self, command: &Command, took: Duration) {
        let mut known = self.known.lock();
        for key in [command.exact, command.alike] {
            known.lengths.add(key, took);
        }
    }

    /// A command has used this. Looks at the disk, unless it is what the command has used
    /// before: where only the disk leads elsewhere since, the forecast stays as it was.
    pub(crate) fn learn(&self, command: &Command, trace: &[TraceItem]) {
        let trace_digest = digest::trace_digest(trace);
        let mut known = self.known.lock();
        let needs = match known.learnt_from(command, trace_digest) {
            Some(needs) => needs,
            None => Arc::new(known.follow(command, trace)),
        };
        for key in [command.exact, command.alike] {
            if known.by_command.len() >= MOST_COMMANDS && !known.by_command.contains_key(&key) {
                continue;
            }
            let old = known.by_command.insert(key, needs.clone());
            if old.is_none_or(|old| *old != *needs) {
                known.unsaved.push(key);
            }
        }
        if known.by_command.contains_key(&command.exact) {
            known.digests.insert(command.exact, trace_digest);
        }
    }

    /// The contended paths that earlier daemons have kept.
    pub(crate) fn load_contended(&self) -> HashMap<PathBuf, Contended> {
        self.store.load_contended()
    }

    /// Writes contended paths to disk. For idle moments, and before the end.
    pub(crate) fn save_contended(&self, contended: &[(PathBuf, Contended)]) {
        if !contended.is_empty() {
            self.store.save_contended(contended);
        }
    }

    /// The signs that earlier daemons have kept.
    pub(crate) fn load_signs(&self) -> HashMap<u128, Sign> {
        self.store.load_signs()
    }

    /// Writes signs to disk, and removes others. For idle moments, and before the end.
    pub(crate) fn save_signs(&self, signs: &[(u128, Option<Sign>)]) {
        if !signs.is_empty() {
            self.store.save_signs(signs);
        }
    }

    /// Writes to disk what is not there yet. For idle moments, and before the end.
    pub(crate) fn flush(&self) {
        let mut known = self.known.lock();
        let keys = std::mem::take(&mut known.unsaved);
        let lengths = known.lengths.take_unsaved();
        if keys.is_empty() && lengths.is_empty() {
            return;
        }
        let fresh: Vec<_> = keys
            .into_iter()
            .filter_map(|key| Some((key, known.by_command.get(&key)?.clone())))
            .collect();
        let paths = known.paths.take_unsaved();
        drop(known);
        self.store.save(&paths, &fresh, &lengths);
    }
}

impl Known {
    /// Those of the command, else of the ones alike.
    fn needs_of(&self, command: &Command) -> Option<&Arc<Needs>> {
        let exact = self.by_command.get(&command.exact);
        exact.or_else(|| self.by_command.get(&command.alike))
    }

    /// What was learnt of this command, if it was from such a trace.
    fn learnt_from(&self, command: &Command, trace_digest: u128) -> Option<Arc<Needs>> {
        let is_known = self.digests.get(&command.exact) == Some(&trace_digest);
        self.by_command.get(&command.exact).filter(|_| is_known).cloned()
    }

    /// What a trace needs, as the disk is.
    fn follow(&mut self, command: &Command, trace: &[TraceItem]) -> Needs {
        let Self { paths, routes, .. } = self;
        let mut needs = NeedsBuilder::default();
        routes.of_build(command.build);
        trace.iter().for_each(|item| routes.follow(item, paths, &mut needs));
        needs.done()
    }
}
