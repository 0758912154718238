//! What the job of a commit had used, as little of it as tells whether a later commit changes that.

use crate::spelling::in_lexical;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use termite_types::{TraceItem, Use};

/// Paths that a job used, by their hashes: two paths with the same one cost a job a run at most.
#[derive(Default, Debug)]
pub(super) struct Uses {
    /// Those that it read, looked at, or looked for in vain.
    seen: HashSet<u64>,
    /// Directories that it listed when it had changed names in them.
    listed: HashSet<u64>,
}

impl Uses {
    /// Of a trace.
    pub fn of(trace: &[TraceItem], hasher: &RandomState) -> Self {
        let mut uses = Self::default();
        let mut changed_dirs = HashSet::new();
        for item in trace {
            let path = in_lexical(&item.path);
            let hash = hash_of(&path, hasher);
            match item.used {
                Use::Read(_) | Use::Stat | Use::Missing => drop(uses.seen.insert(hash)),
                Use::Listed if changed_dirs.contains(&hash) => drop(uses.listed.insert(hash)),
                Use::Listed => {}
                Use::Write => changed_dirs.extend(path.parent().map(|dir| hash_of(dir, hasher))),
            }
        }
        uses
    }

    /// Whether the job used what a later commit changes at a path. `is_named`: the name may lead to
    /// something else then.
    pub fn concern(&self, path: &Path, is_named: bool, hasher: &RandomState) -> bool {
        let lists = |dir: &Path| self.listed.contains(&hash_of(dir, hasher));
        self.seen.contains(&hash_of(path, hasher)) || is_named && path.parent().is_some_and(lists)
    }
}

/// Of the bytes: comparing part by part is for paths that may be spelled in several ways.
fn hash_of(path: &Path, hasher: &RandomState) -> u64 {
    hasher.hash_one(path.as_os_str())
}
