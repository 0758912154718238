//! The worker: its slots and its store. Knows what is shared between sessions; knows nothing of
//! sessions and connections.

use crate::backend::FaultBackend;
use crate::inherited::Instances;
use crate::slot::{self, Spawner};
use crate::store::Store;
use crate::store_limit::StoreLimit;
use std::cell::Cell;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// What was asked for at the start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Jobs at a time.
    pub slots: u16,
    /// What serves the jobs' file accesses.
    pub backend: FaultBackend,
    /// What callers over TCP must show; empty: no TCP.
    pub token: Vec<u8>,
}

/// One `workerd`.
pub struct Worker {
    /// As asked for.
    pub options: Options,
    /// `uname -n`.
    pub hostname: OsString,
    /// Boot id of this machine; empty where it cannot be read.
    pub machine: Vec<u8>,
    /// Process numbers of jobs may be below this; 0: they cannot be chosen.
    pub pid_limit: u32,
    pub(crate) store: Store,
    pub(crate) store_limit: StoreLimit,
    pub(crate) spawner: Arc<Spawner>,
    pub(crate) instances: Arc<Instances>,
    pub(crate) slots: Rc<Semaphore>,
    /// Jobs whose client has not said yet that it has all it wants of them.
    pub(crate) owed: TaskTracker,
    numbers: Cell<u64>,
}

impl Worker {
    /// A worker without clients.
    pub fn new(options: Options, store: Store, spawner: Spawner) -> Rc<Self> {
        let uname = rustix::system::uname();
        Rc::new(Self {
            hostname: std::os::unix::ffi::OsStringExt::from_vec(uname.nodename().to_bytes().to_vec()),
            machine: std::fs::read(store.proc.join("sys/kernel/random/boot_id")).unwrap_or_default(),
            pid_limit: pid_limit(&spawner),
            slots: Rc::new(Semaphore::new(options.slots.into())),
            owed: TaskTracker::new(),
            numbers: Cell::new(0),
            spawner: Arc::new(spawner),
            instances: Arc::default(),
            store_limit: StoreLimit::new(&store),
            options,
            store,
        })
    }

    /// Resolves when no job runs and every client has the outputs of those that ran. Jobs
    /// that come later are not waited for.
    pub async fn drained(&self) {
        // The semaphore is never closed, so that acquiring it cannot fail.
        let _all = self.slots.acquire_many(self.options.slots.into()).await;
        self.owed.close();
        self.owed.wait().await;
    }

    /// One line about what was taken from the store to stay within its limit, if anything.
    pub fn eviction_summary(&self) -> Option<String> {
        self.store_limit.summary()
    }

    pub(crate) fn client_directory(&self) -> io::Result<PathBuf> {
        self.new_directory(&self.store.root, "client")
    }

    /// A new directory in the store for a job. With FUSE it is apart from the mirrors: while
    /// overlayfs copies a directory up it holds the lock that renames take in the upper
    /// layer's file system, and waits for the lower layer, which a mirror is changed for.
    pub(crate) fn job_directory(&self) -> io::Result<PathBuf> {
        let above = match self.options.backend {
            FaultBackend::Fuse(_) => &self.store.apart,
            FaultBackend::ShimGuard | FaultBackend::Guard => &self.store.root,
        };
        self.new_directory(above, "job")
    }

    fn new_directory(&self, above: &Path, purpose: &str) -> io::Result<PathBuf> {
        self.numbers.set(self.numbers.get() + 1);
        let path = above.join(format!("{purpose}-{}", self.numbers.get()));
        std::fs::create_dir(&path)?;
        Ok(path)
    }

    /// Writes what a session keeps beside its mirror: the shim and the file that makes
    /// `ld.so` load it.
    pub(crate) fn place_shim(&self, dir: &Path, shim: &[u8]) -> io::Result<Option<Shim>> {
        if shim.is_empty() || !matches!(self.options.backend, FaultBackend::ShimGuard) {
            return Ok(None);
        }
        let (library, preload) = (dir.join("libtermite.so"), dir.join("preload"));
        std::fs::write(&library, shim)?;
        std::fs::write(&preload, format!("{}\n", termite_abi::SHIM_FILE))?;
        // A job may become another user.
        std::fs::set_permissions(&library, std::fs::Permissions::from_mode(0o755))?;
        Ok(Some(Shim { library, preload }))
    }
}

fn pid_limit(spawner: &Spawner) -> u32 {
    let limit = match slot::pid_limit(spawner) {
        Ok(limit) => limit.map_err(|errno| errno.to_string()),
        Err(error) => Err(error.to_string()),
    };
    limit.unwrap_or_else(|why| {
        tracing::warn!("process numbers of jobs cannot be chosen, so parallel jobs may have the same: {why}");
        0
    })
}

/// A client's shim in the store.
pub(crate) struct Shim {
    /// The library.
    pub library: PathBuf,
    /// What `ld.so` reads as its preload file.
    pub preload: PathBuf,
}
