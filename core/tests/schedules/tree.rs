//! The model of the client's tree: a value for each path, and the log of all that changed
//! it. Knows nothing of jobs' states.

use crate::script::Script;
use std::collections::BTreeMap;
use std::path::PathBuf;
use termite_types::Conflict;

/// Values by path; a path that was never written has 0.
#[derive(Default)]
pub(crate) struct Tree {
    values: BTreeMap<PathBuf, u64>,
    log: Vec<Entry>,
}

enum Entry {
    /// This job ran at this moment, as far as anybody can tell.
    Job(usize),
    /// Something outside of the build wrote.
    Outside(PathBuf, u64),
}

impl Tree {
    pub(crate) fn read(&self, path: &PathBuf) -> u64 {
        self.values.get(path).copied().unwrap_or(0)
    }

    /// The first thing that a job read and that does not hold any more.
    pub(crate) fn check(&self, script: &Script, read: &[u64]) -> Result<(), Conflict> {
        for (path, seen) in script.reads.iter().zip(read) {
            let found = self.read(path);
            if found != *seen {
                return Err(Conflict::new(path, seen.to_string(), found.to_string()));
            }
        }
        Ok(())
    }

    /// Writes what a job computed from what it read.
    pub(crate) fn commit(&mut self, job: usize, script: &Script, read: &[u64]) {
        let value = script.value(job, read);
        for path in &script.writes {
            self.values.insert(path.clone(), value);
        }
        self.log.push(Entry::Job(job));
    }

    /// Writes the first of it alone, which is nothing that a job does.
    pub(crate) fn commit_half(&mut self, job: usize, script: &Script, read: &[u64]) {
        if let Some(first) = script.writes.first() {
            self.write_outside(first.clone(), script.value(job, read));
        }
    }

    /// Runs a job on the tree itself.
    pub(crate) fn run(&mut self, job: usize, script: &Script) {
        let read: Vec<_> = script.reads.iter().map(|path| self.read(path)).collect();
        self.commit(job, script, &read);
    }

    pub(crate) fn write_outside(&mut self, path: PathBuf, value: u64) {
        self.values.insert(path.clone(), value);
        self.log.push(Entry::Outside(path, value));
    }

    /// Whether the same jobs, one after another in the order of the log, give the same.
    pub(crate) fn is_serial(&self, scripts: &[Script]) -> bool {
        let mut serial = Self::default();
        for entry in &self.log {
            match entry {
                Entry::Job(job) => serial.run(*job, &scripts[*job]),
                Entry::Outside(path, value) => serial.write_outside(path.clone(), *value),
            }
        }
        serial.values == self.values
    }
}
