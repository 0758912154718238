//! What a job is going to use, told by what earlier jobs used: the same command, else one
//! of the same program with the same options in the same directory.
//!
//! Knows commands, traces and who was told what; asks the file system only where a used
//! path leads. A forecast that is wrong costs bytes and nothing else.

mod command;
mod needs;
mod route;
mod store;

#[cfg(test)]
mod tests;

pub use command::Command;
pub use needs::Told;

use needs::{Needs, NeedsBuilder, Paths};
use parking_lot::Mutex;
use route::Routes;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
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
    routes: Routes,
    unsaved: Vec<u128>,
}

impl Forecasts {
    /// What earlier daemons have kept in `dir`.
    pub fn open(dir: &Path) -> Self {
        let store = Store::open(dir);
        let (paths, by_command) = store.load();
        let known = Known {
            paths,
            by_command,
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
        if keys.is_empty() {
            return;
        }
        let fresh: Vec<_> = keys
            .into_iter()
            .filter_map(|key| Some((key, known.by_command.get(&key)?.clone())))
            .collect();
        let paths = known.paths.take_unsaved();
        drop(known);
        self.store.save(&paths, &fresh);
    }
}
