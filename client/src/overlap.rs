//! What was committed while each job ran, for the daemon's thread and for committers.
//! What that means is decided by `termite_core::overlap`; here is who holds it, and when.

use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use termite_core::overlap::{self, Moment};
use termite_types::{Change, Conflict, Premises, TraceItem};

/// The commits of late.
#[derive(Default)]
pub struct Overlap(Mutex<overlap::Overlap>);

/// A running attempt's point of beginning; forgotten when dropped.
pub struct Began {
    overlap: Arc<Overlap>,
    at: Moment,
}

impl Overlap {
    /// An attempt begins, before its worker is told how the tree stands.
    pub fn begin(self: &Arc<Self>) -> Began {
        Began {
            overlap: self.clone(),
            at: self.0.lock().begin(),
        }
    }

    /// Something else than a commit changed these paths.
    pub fn changed_outside(&self, paths: Vec<PathBuf>) {
        if !paths.is_empty() {
            let mut overlap = self.0.lock();
            paths.iter().for_each(|path| overlap.changed_outside(path));
        }
    }

    /// What an attempt can have seen in no one order with the commits since it began.
    pub fn check(&self, began: Moment, trace: &[TraceItem], premises: &Premises) -> Result<(), Conflict> {
        self.0.lock().conflict(began, trace, premises).map_or(Ok(()), Err)
    }

    /// A job's changes are in the client's tree.
    pub fn committed(&self, changes: &[Change], premises: &Premises) {
        self.0.lock().committed(changes, &premises.passing_names);
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
        self.overlap.0.lock().end(self.at);
    }
}
