//! What the job of a commit had used, as little of it as tells whether a later commit changes that.

use super::observed::counting_listings;
use crate::spelling::in_lexical;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use termite_types::{TraceItem, Use};

/// Paths that a job used, by their hashes: two paths with the same one cost a job a run at most.
/// A compiler uses some 1,000 paths, and thousands of commits may be kept for a job that runs long.
#[derive(Default, Debug)]
pub(super) struct Uses {
    /// Those that it read, looked at, or looked for in vain, in the order of their hashes.
    seen: Box<[u32]>,
    /// Directories that it listed so that it counts (`Observation::Listed`), likewise.
    listed: Box<[u32]>,
}

impl Uses {
    /// Of a trace.
    pub(super) fn of(trace: &[TraceItem], hasher: &RandomState) -> Self {
        let (mut seen, mut listed) = (Vec::new(), Vec::new());
        let counting = counting_listings(trace);
        for (index, item) in trace.iter().enumerate() {
            let hash = || hash_of(&in_lexical(&item.path), hasher);
            match item.used {
                Use::Read(_) | Use::Stat | Use::Missing => seen.push(hash()),
                Use::Listed if counting.contains(&index) => listed.push(hash()),
                Use::Listed | Use::Write => {}
            }
        }
        Self {
            seen: in_order(seen),
            listed: in_order(listed),
        }
    }

    /// Whether the job used what a later commit changes at a path. `is_named`: the name may lead to
    /// something else then.
    pub(super) fn concern(&self, path: &Path, is_named: bool, hasher: &RandomState) -> bool {
        let holds = |hashes: &[u32], path| hashes.binary_search(&hash_of(path, hasher)).is_ok();
        holds(&self.seen, path) || is_named && path.parent().is_some_and(|dir| holds(&self.listed, dir))
    }
}

fn in_order(mut hashes: Vec<u32>) -> Box<[u32]> {
    hashes.sort_unstable();
    hashes.dedup();
    hashes.into_boxed_slice()
}

/// Of the bytes: comparing part by part is for paths that may be spelled in several ways.
fn hash_of(path: &Path, hasher: &RandomState) -> u32 {
    hasher.hash_one(path.as_os_str()) as u32
}
