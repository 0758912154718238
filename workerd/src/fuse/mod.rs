//! The back end for hosts that refuse seccomp user notification: a FUSE file system of a
//! slot's own is the lower layer of the job's overlay, in the place of the mirror's
//! directory. What overlayfs asks of it is made ready by `view::Lower`.
//!
//! Knows no call of the job: drivers are told by the file that is opened for execution,
//! wishes for input by what processes wait for. Knows nothing of how files arrive.

mod attr;
mod input;
mod mount;
mod selftest;
mod serve;

pub use input::watch_input;
pub use mount::{Absent, Device};
pub use selftest::{FuseTestError, self_test};

use crate::guard::Events;
use crate::view::Lower;
use rustix::fd::OwnedFd;
use serve::{Requests, Served};
use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Requests of one job that are answered at the same time.
const THREADS: usize = 4;

/// A running file system. It ends by itself when the slot's mounts are gone.
pub struct Fuse {
    requests: Arc<Requests>,
}

/// Makes a file system that shows `lower`, not mounted anywhere yet, and begins to serve
/// it. `drivers`: base names of programs that end the job here.
pub fn serve(
    device: &Device,
    lower: Arc<Lower>,
    drivers: Vec<OsString>,
    events: Arc<dyn Events>,
) -> io::Result<(OwnedFd, Fuse)> {
    let (connection, mount) = device.connect()?;
    let requests = Arc::<Requests>::default();
    let served = Served::new(lower, drivers, events, requests.clone(), device.is_root_user());
    let mut config = fuser::Config::default();
    config.acl = fuser::SessionACL::All;
    config.n_threads = Some(THREADS);
    // The kernel's first message is there since the file system was made.
    let session = fuser::Session::from_fd(served, connection, config.acl, config)?;
    std::thread::Builder::new().name("fuse".into()).spawn(move || {
        if let Err(error) = session.run() {
            tracing::error!("a slot's files are served no more: {error}");
        }
    })?;
    Ok((mount, Fuse { requests }))
}

impl Fuse {
    /// How many requests came so far.
    pub fn faults(&self) -> u64 {
        self.requests.begun.load(Ordering::Relaxed)
    }

    /// Whether a request waits for files that are on their way.
    pub fn is_waited_for(&self) -> bool {
        self.requests.in_hand.load(Ordering::Relaxed) > 0
    }
}
