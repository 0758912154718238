//! Keeps the store within its limit. Before a job begins in a store that is filled beyond a
//! mark, content is taken from mirrors whose clients rest; where that is not enough, the
//! job waits until those of its own client have ended and their outputs are taken. A job
//! under which the store fills up all the same is given up, and runs elsewhere.
//!
//! Knows how much is used and which client rests; what is taken from a mirror, and what a
//! job is, is not its matter.

use crate::blocking::blocking;
use crate::store::Store;
use crate::view::{Evicted, Mirror};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};
use termite_types::Abandon;
use tokio::sync::{Mutex, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Log target of what was taken from the store.
pub const LOG_OF_STORE: &str = "workerd::store";

/// Memory of an inode and its name (measured, tmpfs), which the kernel does not count.
const INODE_BYTES: u64 = 1 << 10;
/// Memory of a name that a mirror knows without having it, some 60 bytes of path included.
const NAME_BYTES: u64 = 256;
/// Room is made when more than this part of the store is used, numerator and denominator.
const HIGH: (u64, u64) = (7, 8);
/// It is made until so much is used.
const LOW: (u64, u64) = (3, 4);
/// The same after a job did not fit.
const LOWEST: (u64, u64) = (1, 2);
/// Part of the limit that names may take before they are all forgotten.
const NAMES: (u64, u64) = (1, 4);
/// Time for a client's running jobs to end. Then a job begins in what room there is.
const PATIENCE: Duration = Duration::from_secs(10);
/// After waiting in vain nobody does so again for this time.
const IN_VAIN: Duration = Duration::from_secs(60);
/// A job is given up when less than a sixteenth of the store is left, or than this.
const RESERVE: u64 = 64 << 20;
/// Time that jobs are taken to need at least to use up a MiB, and an inode.
const QUICKEST: (Duration, Duration) = (Duration::from_micros(250), Duration::from_micros(10));
/// Least and longest time between two looks at what is left.
const LOOKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// The store's memory.
pub(crate) struct StoreLimit {
    places: [PathBuf; 2],
    limit: u64,
    inodes: u64,
    clients: RefCell<Vec<Weak<MirrorUse>>>,
    /// Counts what happens to jobs.
    clock: Cell<u64>,
    /// When those began that run.
    running: RefCell<BTreeSet<u64>>,
    /// When nothing was seen to be left.
    exhausted_at: Cell<u64>,
    /// A job found no room.
    pressed: Cell<bool>,
    taken: Cell<Taken>,
}

/// A client's mirror, as a place to take from.
pub(crate) struct MirrorUse {
    mirror: Arc<Mirror>,
    /// Shared by jobs, from before the first file is brought for one until its outputs are
    /// taken; held alone by who takes from the mirror.
    gate: Arc<RwLock<()>>,
    /// One job at a time is let in.
    door: Mutex<()>,
    /// When its last job was let in.
    last: Cell<u64>,
    /// When a job waited in vain for the others.
    vain: Cell<Option<Instant>>,
    /// The mirror missed news: it is to be forgotten.
    doubtful: Cell<bool>,
}

/// While this lives nothing is taken from the mirror.
pub(crate) type EvictionPin = Arc<OwnedRwLockReadGuard<()>>;

/// What was taken since the start.
#[derive(Clone, Copy, Default)]
struct Taken {
    times: u64,
    files: u64,
    bytes: u64,
    /// Times that a client's whole tree was forgotten.
    trees: u64,
}

/// What of the store is used.
#[derive(Clone, Copy)]
struct Used {
    /// With those of names.
    bytes: u64,
    /// Of inodes, and of names that have none yet.
    names: u64,
    inodes: u64,
    /// Bytes and inodes that jobs can have until they are given up.
    left: (u64, u64),
}

/// A running job's place, given back when its future ends or is dropped.
pub(crate) struct Running<'a> {
    memory: &'a StoreLimit,
    number: u64,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.memory.running.borrow_mut().remove(&self.number);
    }
}

impl MirrorUse {
    /// Of a client whose jobs have not begun.
    fn new(mirror: Arc<Mirror>) -> Rc<Self> {
        Rc::new(Self {
            mirror,
            gate: Arc::default(),
            door: Mutex::default(),
            last: Cell::new(0),
            vain: Cell::new(None),
            doubtful: Cell::new(false),
        })
    }

    /// What changed could not be taken in: no job may see the mirror as it is.
    pub(crate) fn invalidate(&self) {
        self.doubtful.set(true);
    }
}

impl StoreLimit {
    /// Of a store without clients.
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            places: [store.root.clone(), store.apart.clone()],
            limit: store.bytes,
            inodes: store.inodes,
            clients: RefCell::default(),
            clock: Cell::new(0),
            running: RefCell::default(),
            exhausted_at: Cell::new(0),
            pressed: Cell::new(false),
            taken: Cell::default(),
        }
    }

    /// A client comes.
    pub(crate) fn enter(&self, mirror: Arc<Mirror>) -> Rc<MirrorUse> {
        let mirror_use = MirrorUse::new(mirror);
        let mut clients = self.clients.borrow_mut();
        clients.retain(|client| client.strong_count() > 0);
        clients.push(Rc::downgrade(&mirror_use));
        mirror_use
    }

    /// Lets a job in once there is room.
    pub(crate) async fn admit(&self, own: &MirrorUse) -> Result<EvictionPin, Abandon> {
        let _turn = own.door.lock().await;
        own.last.set(self.tick());
        if self.excess().is_some() {
            self.take_from_others(own).await;
        }
        if own.doubtful.get() {
            let alone = own.gate.clone().write_owned().await;
            return self.take(own, alone).await;
        }
        if self.excess().is_some() {
            match self.alone_with(own).await {
                Some(alone) => return self.take(own, alone).await,
                None if self.is_exhausted() => return Err(Abandon::Full("running jobs use all of the store".into())),
                None => {}
            }
        }
        Ok(Arc::new(own.gate.clone().read_owned().await))
    }

    /// Waits until a client's jobs have ended. `None`: that takes too long.
    async fn alone_with(&self, own: &MirrorUse) -> Option<OwnedRwLockWriteGuard<()>> {
        if own.vain.get().is_some_and(|then| then.elapsed() < IN_VAIN) {
            return own.gate.clone().try_write_owned().ok();
        }
        let alone = tokio::time::timeout(PATIENCE, own.gate.clone().write_owned())
            .await
            .ok();
        own.vain.set(alone.is_none().then(Instant::now));
        alone
    }

    /// A job that was let in begins.
    pub(crate) fn begin(&self) -> Running<'_> {
        let number = self.tick();
        self.running.borrow_mut().insert(number);
        Running { memory: self, number }
    }

    fn tick(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }

    /// Resolves when there is so little room that this job, the youngest, must make some.
    pub(crate) async fn is_exhausted_by(&self, job: &Running<'_>) -> Abandon {
        loop {
            let is_youngest = || self.running.borrow().last() == Some(&job.number);
            let (bytes, inodes) = self.left();
            if (bytes == 0 || inodes == 0) && is_youngest() {
                return self.full();
            }
            let times = |unit: Duration, count: u64| unit.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
            let soon = times(QUICKEST.0, bytes >> 20).min(times(QUICKEST.1, inodes));
            tokio::time::sleep(soon.clamp(LOOKS.0, LOOKS.1)).await;
        }
    }

    /// The reason why a job that has just ended does not count: nothing was left at some
    /// time since it began, and it may have been refused room without anybody seeing it.
    pub(crate) fn doubts(&self, job: &Running<'_>) -> Option<Abandon> {
        self.left();
        (self.exhausted_at.get() >= job.number).then(|| self.full())
    }

    /// A job was given up for want of room, so that the next one needs more than it found.
    pub(crate) fn note_pressure(&self) {
        self.pressed.set(true);
    }

    /// One line about all that was taken. `None`: there was no need.
    pub(crate) fn summary(&self) -> Option<String> {
        let Taken {
            times,
            files,
            bytes,
            trees,
        } = self.taken.get();
        let mib = bytes >> 20;
        (times > 0).then(|| format!("made room {times} times: {files} files, {mib} MiB, {trees} whole trees"))
    }

    fn full(&self) -> Abandon {
        let Used { bytes, inodes, .. } = self.used();
        let (bytes, limit) = (bytes >> 20, self.limit >> 20);
        Abandon::Full(format!(
            "{bytes} of {limit} MiB and {inodes} files are in use; give it a larger --store"
        ))
    }

    fn clients(&self) -> Vec<Rc<MirrorUse>> {
        self.clients.borrow().iter().filter_map(Weak::upgrade).collect()
    }

    fn used(&self) -> Used {
        let reserve = (self.limit / 16).min(RESERVE);
        let mut used = Used {
            bytes: 0,
            names: 0,
            inodes: 0,
            left: (u64::MAX, u64::MAX),
        };
        for client in self.clients() {
            used.names += client.mirror.count_unmade() * NAME_BYTES;
        }
        for place in &self.places {
            // Fails for no mount that is there, and theirs are workerd's own.
            let Ok(fs) = rustix::fs::statvfs(place) else { continue };
            let inodes = fs.f_files.saturating_sub(fs.f_ffree);
            used.inodes += inodes;
            used.names += inodes * INODE_BYTES;
            used.bytes += fs.f_blocks.saturating_sub(fs.f_bfree) * fs.f_frsize;
            let bytes = (fs.f_bfree * fs.f_frsize).saturating_sub(reserve);
            used.left.0 = used.left.0.min(bytes);
            used.left.1 = used.left.1.min(fs.f_ffree.saturating_sub(fs.f_files / 16));
        }
        used.bytes += used.names;
        used
    }

    /// Bytes and inodes that jobs can have; that there is nothing left is remembered.
    fn left(&self) -> (u64, u64) {
        let left = self.used().left;
        if left.0 == 0 || left.1 == 0 {
            self.exhausted_at.set(self.clock.get());
        }
        left
    }

    fn is_exhausted(&self) -> bool {
        let (bytes, inodes) = self.left();
        bytes == 0 || inodes == 0
    }

    /// Whether names are what takes the room.
    fn has_many_names(&self) -> bool {
        let Used { inodes, names, .. } = self.used();
        inodes > part(self.inodes, HIGH) || names > part(self.limit, NAMES)
    }

    /// So much is used beyond the lower mark, if room is to be made.
    fn excess(&self) -> Option<u64> {
        let used = self.used().bytes;
        let is_short = used > part(self.limit, HIGH) || self.pressed.get() || self.has_many_names();
        let until = if self.pressed.get() { LOWEST } else { LOW };
        let excess = used.saturating_sub(part(self.limit, until));
        (is_short && excess > 0 || self.has_many_names()).then_some(excess)
    }

    /// Takes from the mirrors of clients that rest, the longest at rest first.
    async fn take_from_others(&self, own: &MirrorUse) {
        let mut others = self.clients();
        others.retain(|other| !std::ptr::eq(&**other, own));
        others.sort_by_key(|other| other.last.get());
        for other in others {
            if self.excess().is_none() {
                return;
            }
            if let Ok(alone) = other.gate.clone().try_write_owned() {
                // What it cannot give, others do.
                let _ = self.take(&other, alone).await;
            }
        }
    }

    /// Takes from one mirror what is to be taken. The hold goes along to the thread that does
    /// it, which ends by itself where nobody waits for it any more.
    async fn take(&self, from: &MirrorUse, alone: OwnedRwLockWriteGuard<()>) -> Result<EvictionPin, Abandon> {
        let (mirror, excess) = (from.mirror.clone(), self.excess().unwrap_or_default());
        let is_doubtful = from.doubtful.get();
        let own = || mirror.size() * INODE_BYTES + mirror.count_unmade() * NAME_BYTES;
        let owns_much = || own() > self.used().names / 8;
        let whole = is_doubtful || self.has_many_names() && owns_much();
        let work = move || {
            let taken = if whole {
                mirror.forget().map(|done| (Evicted::default(), done))
            } else {
                Ok((mirror.evict(excess), true))
            };
            (taken, alone.downgrade())
        };
        let (taken, shared) = blocking(work).await;
        let (evicted, done) = taken.map_err(|errno| Abandon::Slot(format!("forgetting the client's tree: {errno}")))?;
        if is_doubtful && !done {
            return Err(Abandon::Slot("the client's tree is in use and has missed news".into()));
        }
        from.doubtful.set(false);
        self.pressed.set(false);
        // The jobs that ended meanwhile may have left room enough.
        if whole || evicted.files > 0 {
            self.count(evicted, whole);
        }
        Ok(Arc::new(shared))
    }

    fn count(&self, evicted: Evicted, whole: bool) {
        let mut taken = self.taken.get();
        taken.times += 1;
        taken.files += evicted.files;
        taken.bytes += evicted.bytes;
        taken.trees += u64::from(whole);
        self.taken.set(taken);
        let (used, limit) = (self.used().bytes >> 20, self.limit >> 20);
        let told = format!(
            "{} files made room, {} MiB; {used} of {limit} MiB are in use",
            evicted.files,
            evicted.bytes >> 20
        );
        // A store that is always too small would fill the log as well.
        if taken.times.is_power_of_two() {
            tracing::info!(target: LOG_OF_STORE, "{told}, for the {}. time", taken.times);
        } else {
            tracing::debug!(target: LOG_OF_STORE, "{told}");
        }
    }
}

fn part(of: u64, (numerator, denominator): (u64, u64)) -> u64 {
    of / denominator * numerator
}
