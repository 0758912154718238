//! What a job is going to use and how long it will take, told by earlier jobs: the same
//! command, else one of the same program with the same options in the same directory.
//!
//! Knows commands, traces and who was told what; asks the file system only where a used
//! path leads. A forecast that is wrong costs bytes and nothing else.

mod command;
mod lengths;
mod needs;
mod route;
mod store;

#[cfg(test)]
mod tests;

pub use command::Command;
pub use needs::Told;

use lengths::Lengths;
use needs::{Needs, NeedsBuilder, Paths};
use parking_lot::Mutex;
use route::Routes;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use termite_types::{Expected, TraceItem, Update};

/// Commands that are remembered.
const MOST_COMMANDS: usize = 1 << 16;

/// All forecasts of a client.
pub struct Forecasts {
    known: Mutex<Known>,
    store: Store,
}

#[derive(Default)]
struct Known {
    paths: Paths,
    by_command: HashMap<u128, Arc<Needs>>,
    lengths: Lengths,
    routes: Routes,
    unsaved: Vec<u128>,
}

impl Forecasts {
    /// What earlier daemons have kept in `dir`.
    pub fn open(dir: &Path) -> Self {
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
    pub fn expect(&self, command: &Command, updates: &[Update], told: &mut Told) -> Expected {
        let known = self.known.lock();
        for id in updates.iter().filter_map(|update| known.paths.id(&update.path)) {
            told.forget(id);
        }
        let needs = known.by_command.get(&command.exact);
        match needs.or_else(|| known.by_command.get(&command.alike)) {
            Some(needs) => Expected {
                dirs: known.paths.resolve(&needs.dirs, told),
                files: known.paths.resolve(&needs.files, told),
            },
            None => Expected::default(),
        }
    }

    /// How many directories and files a command is expected to use of which a worker was not
    /// told yet.
    pub fn lacking(&self, command: &Command, told: &Told) -> usize {
        let known = self.known.lock();
        let needs = known.by_command.get(&command.exact);
        let needs = needs.or_else(|| known.by_command.get(&command.alike));
        needs.map_or(0, |needs| {
            let all = needs.dirs.iter().chain(&needs.files);
            all.filter(|id| !told.has(**id)).count()
        })
    }

    /// How long a command usually runs.
    pub fn length(&self, command: &Command) -> Option<Duration> {
        self.known.lock().lengths.of(command.exact)
    }

    /// How long a command may run, by the ones alike if there is no better guess.
    pub fn guess(&self, command: &Command) -> Option<Duration> {
        let known = self.known.lock();
        let exact = known.lengths.of(command.exact);
        exact.or_else(|| known.lengths.of(command.alike))
    }

    /// A command ran so long.
    pub fn ran(&self, command: &Command, took: Duration) {
        let mut known = self.known.lock();
        for key in [command.exact, command.alike] {
            known.lengths.add(key, took);
        }
    }

    /// A command has used this. Looks at the disk.
    pub fn learn(&self, command: &Command, trace: &[TraceItem]) {
        let mut known = self.known.lock();
        let Known { paths, routes, .. } = &mut *known;
        let mut needs = NeedsBuilder::default();
        routes.of_build(command.build);
        trace.iter().for_each(|item| routes.follow(item, paths, &mut needs));
        let needs = Arc::new(needs.done());
        for key in [command.exact, command.alike] {
            if known.by_command.len() >= MOST_COMMANDS && !known.by_command.contains_key(&key) {
                continue;
            }
            let old = known.by_command.insert(key, needs.clone());
            if old.is_none_or(|old| *old != *needs) {
                known.unsaved.push(key);
            }
        }
    }

    /// Writes to disk what is not there yet. For idle moments, and before the end.
    pub fn flush(&self) {
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
