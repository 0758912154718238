//! The file tree that a job sees: the client's tree, held in RAM, filled on demand.
//!
//! A [`Mirror`] is a client's tree as far as it is known here, the lower layer of
//! every overlay mount of that client's jobs. A [`View`] is one job's tree over it; the
//! back ends of faults (guard, FUSE) call [`View::fault`]. [`harvest`] tells what the
//! job left in its upper layer.
//!
//! Nothing here knows of system calls, connections, slots or mounts.

mod act;
mod acts;
mod confine;
mod elf;
mod error;
mod exec;
mod fault;
mod files;
mod harvest;
mod inode;
mod local;
mod lookup_cache;
mod lower;
mod mapped;
mod mirror;
mod moving;
mod objects;
mod outputs;
mod path_use;
mod permission;
mod premises;
mod programs;
mod trace;
mod waiting;
mod walk;

pub use act::{Act, Writes};
pub use confine::read_below;
pub use error::FaultError;
pub use files::{Files, FilesError, OpenedFile, Pieces};
pub use harvest::{HarvestError, INLINE_MAX, harvest};
pub use local::LocalFiles;
pub use lower::{Found, Lower, Named};
pub use mapped::SharedMap;
pub use mirror::{Evicted, Mirror, Owners, is_absent};
pub use outputs::{Harvest, Outputs};
pub use path_use::{Blocking, Intent, Origin, PathUse, Reply, Resolved};

use acts::Acts;
use lookup_cache::LookupCache;
use mirror::{PathFact, ReaderPin};
use parking_lot::Mutex;
use rustix::fd::OwnedFd;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use termite_types::{Abandon, FileTime, Resource};
use trace::Overflow;
use waiting::Waiting;

/// What a view is made of.
pub struct ViewSpec {
    /// The client's tree: the lower layer of the job's mount.
    pub mirror: Arc<Mirror>,
    /// The root directory of the job, as its processes see it.
    pub root: OwnedFd,
    /// The upper layer of the job's mount.
    pub upper: OwnedFd,
    /// A proc file system that shows the job's processes by the worker's numbers.
    pub proc: OwnedFd,
    /// The memory that the job's shim sees.
    pub shared: Arc<SharedMap>,
    /// The job's user on the client.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// What the job's mount has as its lower layer where no call is seen, so that this
    /// knows what else faults tell.
    pub lower: Option<Arc<Lower>>,
}

/// One job's tree.
pub struct View {
    mirror: Arc<Mirror>,
    pin: ReaderPin,
    root: OwnedFd,
    upper: OwnedFd,
    proc: OwnedFd,
    shared: Arc<SharedMap>,
    uid: u32,
    gid: u32,
    lookups: Mutex<LookupCache>,
    /// Modification times that the job set itself. A file that has one of them at the
    /// end has it by the job's will, whatever became of its name and inode meanwhile.
    explicit: Mutex<HashSet<FileTime>>,
    /// What the job's calls did, where calls are seen.
    acts: Mutex<Acts>,
    /// Tasks whose program does not bear a preloaded library.
    refusing: Mutex<HashSet<u32>>,
    /// What the log of the shared memory has no room for.
    overflow: Mutex<Overflow>,
    /// Names at which calls failed, that the job may wait for.
    waiting: Mutex<Waiting>,
    /// Files of which the job was told that they are gone. Its kernel may show them all the same.
    vanished: Mutex<HashSet<PathBuf>>,
    lower: Option<Arc<Lower>>,
    fetches_before: u64,
    /// Of the mirror's leads when the job began, and the epoch in which it adds to them.
    began: (u64, u64),
}

impl View {
    /// The view of a job whose mounts stand.
    pub fn new(spec: ViewSpec) -> Self {
        let ViewSpec {
            mirror,
            root,
            upper,
            proc,
            shared,
            uid,
            gid,
            lower,
        } = spec;
        let fetches_before = mirror.fetches();
        let (lookups, explicit, refusing) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (acts, overflow) = (Mutex::default(), Mutex::default());
        // From here on the job is told of all that changes.
        let pin = mirror.enter(shared.clone());
        let epoch = shared.epoch();
        let turn = mirror.recall(|lead, spelled| {
            let key = match lead {
                PathFact::Dir => shared.dir_key(&[spelled], epoch),
                PathFact::Link => shared.link_key(&[spelled], epoch),
                PathFact::Plain => shared.plain_key(&[spelled], epoch),
            };
            shared.set_complete(key);
        });
        Self {
            pin,
            mirror,
            root,
            upper,
            proc,
            shared,
            uid,
            gid,
            lookups,
            explicit,
            acts,
            refusing,
            overflow,
            waiting: Mutex::default(),
            vanished: Mutex::default(),
            lower,
            fetches_before,
            began: (turn, epoch),
        }
    }

    /// The job set a modification time.
    pub fn set_explicit(&self, mtime: FileTime) {
        self.explicit.lock().insert(mtime);
    }

    /// Whether the job set this modification time itself, as far as that can be told.
    pub fn is_explicit(&self, mtime: FileTime) -> bool {
        match &self.lower {
            Some(lower) => lower.is_explicit(mtime),
            None => self.explicit.lock().contains(&mtime),
        }
    }

    /// The same of a directory that the client has, too.
    pub fn is_explicit_of_dir(&self, dir: &Path, mtime: FileTime) -> bool {
        let is_below = self.lower.as_ref().is_some_and(|lower| lower.had_time(dir, mtime));
        !is_below && self.is_explicit(mtime)
    }

    /// What serves the job's lower layer where no call is seen.
    fn lower(&self) -> Option<&Lower> {
        self.lower.as_deref()
    }

    /// Whether the program that a task executes is one that does not bear preloading.
    pub fn refuses_preload(&self, task: u32) -> bool {
        self.refusing.lock().contains(&task)
    }

    fn set_refuses_preload(&self, task: u32, refuses: bool) {
        let mut refusing = self.refusing.lock();
        if refuses {
            refusing.insert(task);
        } else {
            refusing.remove(&task);
        }
    }

    /// Whether a task executes a program that does not bear preloading.
    fn has_refusing(&self) -> bool {
        !self.refusing.lock().is_empty()
    }

    /// Directories completed and files filled since this view began, for whichever job.
    pub fn fetches(&self) -> u64 {
        self.mirror.fetches() - self.fetches_before
    }

    /// A proc file system that shows the job's processes by the worker's numbers.
    pub fn proc(&self) -> &OwnedFd {
        &self.proc
    }

    /// The root directory of the job.
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Whether the kernel lets a job rename a directory that the client has, which needs
    /// the `trusted` attributes of the real root user (overlayfs, `redirect_dir`).
    pub fn moves_directories(&self) -> bool {
        self.mirror.keeps_owners()
    }

    /// Whether the client's own machine has something. Blocks.
    pub fn machine_has(&self, resource: &Resource) -> Result<bool, Abandon> {
        let has = self.mirror.files().machine_has(resource);
        has.map_err(|error| Abandon::Files(format!("{resource}: {error}")))
    }

    /// Where files come from, and answers of the client.
    pub fn files(&self) -> Arc<dyn Files> {
        self.mirror.files().clone()
    }

    /// Whether the job is root's, on the client and here.
    pub fn is_of_root(&self) -> bool {
        self.mirror.keeps_owners()
    }

    /// The memory that the job's shim sees.
    pub fn shared(&self) -> &Arc<SharedMap> {
        &self.shared
    }

    /// The client's tree below.
    pub fn mirror(&self) -> &Arc<Mirror> {
        &self.mirror
    }
}

#[cfg(test)]
mod tests;
