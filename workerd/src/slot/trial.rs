//! A slot that is made to see whether slots can be made here: its job never begins.
//! Knows nothing of who wants to know.

use super::{JobFd, Network, SlotError, SlotPlan, Spawner, Started};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use termite_types::JobSpec;

/// Why there was no slot.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// Its directory in the store could not be made or removed.
    #[error("trying a slot: {0}")]
    Store(#[from] io::Error),
    /// The kernel refused a step.
    #[error("{0}")]
    Slot(#[from] SlotError),
}

/// Makes a slot over an empty tree, or over a file system, in a new directory `dir` of the
/// store, lets `look` have it, and ends it. Blocks for some milliseconds.
pub fn trial<T>(
    spawner: &Spawner,
    dir: &Path,
    served: Option<OwnedFd>,
    look: impl FnOnce(&Started) -> T,
) -> Result<T, TrialError> {
    std::fs::create_dir(dir)?;
    let looked = with_slot(spawner, dir, served, look);
    std::fs::remove_dir_all(dir)?;
    looked
}

/// Makes a slot over an empty tree, looks at it and ends it.
fn with_slot<T>(
    spawner: &Spawner,
    dir: &Path,
    served: Option<OwnedFd>,
    look: impl FnOnce(&Started) -> T,
) -> Result<T, TrialError> {
    let (lower, shared) = (dir.join("tree"), dir.join("shared"));
    std::fs::create_dir(&lower)?;
    std::fs::write(&shared, b"")?;
    let mut started = spawner.start(SlotPlan {
        lower,
        network: Network::new(spawner)?,
        dir: dir.to_path_buf(),
        shared,
        shim: None,
        // Never let go.
        spec: JobSpec::bare("/"),
        stdio: [JobFd::Null, JobFd::Closed, JobFd::Closed],
        placeholder: None,
        jobserver: None,
        cookie: u64::MAX,
        served,
    })?;
    let looked = look(&started);
    started.slot.kill()?;
    started.slot.wait()?;
    Ok(looked)
}
