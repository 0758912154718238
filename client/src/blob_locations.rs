//! Which workers have which contents, so that they can give them to each other. Knows
//! hashes and workers; knows nothing of files. What it says may be out of date: a worker
//! that does not get what it was promised asks the client.

use crate::tree::WorkerKey;
use std::cell::RefCell;
use std::collections::HashMap;
use termite_types::{BlobHash, Holder};

/// Contents up to this size are sent along with the answer that names them.
const SMALL: u64 = 16 << 10;
/// Workers that are named for one content.
const NAMED: usize = 2;
/// Contents that are remembered; then all are found anew.
const MOST_CONTENTS: usize = 1 << 17;

/// All workers that can give something.
#[derive(Default)]
pub struct BlobLocations(RefCell<Known>);

#[derive(Default)]
struct Known {
    workers: HashMap<WorkerKey, Holder>,
    /// The most recent last.
    by_content: HashMap<BlobHash, Vec<WorkerKey>>,
}

impl BlobLocations {
    /// A worker can be asked by others.
    pub fn add(&self, worker: WorkerKey, holder: Holder) {
        self.0.borrow_mut().workers.insert(worker, holder);
    }

    /// A worker is gone, with all that it had.
    pub fn remove(&self, worker: WorkerKey) {
        let mut known = self.0.borrow_mut();
        known.workers.remove(&worker);
        known.by_content.retain(|_, workers| {
            workers.retain(|other| *other != worker);
            !workers.is_empty()
        });
    }

    /// A worker has content, or gets it now.
    pub fn record(&self, worker: WorkerKey, hash: BlobHash, size: u64) {
        let mut known = self.0.borrow_mut();
        if size <= SMALL || !known.workers.contains_key(&worker) {
            return;
        }
        if known.by_content.len() >= MOST_CONTENTS {
            known.by_content.clear();
        }
        let workers = known.by_content.entry(hash).or_default();
        workers.retain(|other| *other != worker);
        workers.push(worker);
    }

    /// Whom a worker may ask for content, the most recent first.
    pub fn others(&self, worker: WorkerKey, hash: &BlobHash) -> Vec<Holder> {
        let known = self.0.borrow();
        let workers = known.by_content.get(hash).map_or(&[][..], |workers| workers);
        let others = workers.iter().rev().filter(|other| **other != worker);
        let holders = others.filter_map(|other| known.workers.get(other));
        holders.take(NAMED).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: BlobHash = BlobHash([1; 32]);

    fn holder(worker: u32) -> Holder {
        Holder {
            address: format!("127.0.0.1:{worker}"),
            ticket: Vec::new(),
        }
    }

    fn three() -> BlobLocations {
        let holders = BlobLocations::default();
        (0..3).for_each(|worker| holders.add(WorkerKey(worker), holder(worker)));
        (0..3).for_each(|worker| holders.record(WorkerKey(worker), HASH, SMALL + 1));
        holders
    }

    #[test]
    fn the_most_recent_of_the_others_come_first() {
        let holders = three();
        assert_eq!(holders.others(WorkerKey(1), &HASH), [holder(2), holder(0)]);
        holders.record(WorkerKey(0), HASH, SMALL + 1);
        assert_eq!(holders.others(WorkerKey(3), &HASH), [holder(0), holder(2)]);
        assert_eq!(holders.others(WorkerKey(3), &BlobHash([2; 32])), []);
    }

    #[test]
    fn who_left_and_what_is_small_is_not_named() {
        let holders = three();
        holders.remove(WorkerKey(2));
        holders.record(WorkerKey(2), HASH, SMALL + 1);
        assert_eq!(holders.others(WorkerKey(0), &HASH), [holder(1)]);
        holders.record(WorkerKey(1), BlobHash([2; 32]), SMALL);
        assert_eq!(holders.others(WorkerKey(0), &BlobHash([2; 32])), []);
    }
}
