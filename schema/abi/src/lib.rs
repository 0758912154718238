//! What the preloaded shim and the worker share: names, and the layout of a
//! slot's shared memory.
//!
//! Knows no I/O and no allocation: the shim maps [`Shared`] from
//! [`SHARED_FILE`], the worker creates it. Both sides are built from the same
//! revision; [`VERSION`] tells a stale library that it must stay out.

#![allow(unsafe_code)]
#![no_std]

pub mod tools;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Directory of a slot in which the worker puts termite's own files.
pub const SLOT_DIR: &str = "/dev/.termite";
/// The shared memory of a slot, one [`Shared`].
pub const SHARED_FILE: &core::ffi::CStr = c"/dev/.termite/shared";
/// What the shim opens [`SHARED_FILE`] with in the place of the cookie, which stands there. No
/// secret: it keeps other programs from passing by accident, as the cookie does, which every
/// process of a job can read.
pub const ENTRY: u64 = 0x9c1f_63d7_42b8_e50d;
/// The shim as the jobs of a slot see it.
pub const SHIM_FILE: &str = "/dev/.termite/libtermite.so";
/// What `ld.so` reads to preload the shim into every process of a job,
/// whatever its environment. The guard answers it; no such file exists.
pub const PRELOAD_FILE: &str = "/etc/ld.so.preload";

/// `driver`, `job` or `off`; unset means: job where [`SHARED_FILE`] exists, else driver.
pub const ENV_MODE: &str = "TERMITE_MODE";
/// Build id of the outermost driver, 16 hex digits.
pub const ENV_BUILD: &str = "TERMITE__BUILD";
/// Base names, separated by `:`, that are jobs under drivers other than make and ninja.
pub const ENV_TOOLS: &str = "TERMITE__TOOLS";
/// Prefix of the installation, in the place of the one that the shim finds from its own path.
pub const ENV_PREFIX: &str = "TERMITE_PREFIX";
/// Path of the client daemon's socket.
pub const ENV_SOCKET: &str = "TERMITE_SOCKET";
/// Set, and neither empty nor `0`: what is started so runs as if termite were not there.
pub const ENV_DISABLE: &str = "TERMITE_DISABLE";
/// Set by a compiler wrapper: the programs that it chose before, so that scripts that call
/// the wrapper again do not go round for ever. Jobs keep it, since they may call one.
pub const ENV_WRAPPING: &str = "TERMITE_WRAPPING";
/// A file to which drivers add the names of programs that are no jobs, a line for each start.
pub const ENV_SEEN: &str = "TERMITE__SEEN";

/// What a value of [`ENV_DISABLE`] says.
pub fn is_disabled(value: Option<&[u8]>) -> bool {
    value.is_some_and(|value| !value.is_empty() && value != b"0")
}

/// Protocol version of the shared memory.
pub const VERSION: u32 = 3;
const MAGIC: u64 = u64::from_le_bytes(*b"termite\0");

/// Seconds of the access time that marks a placeholder: a file of right size and
/// attributes that holds no content yet. 1903-05-07, which no clock gives.
pub const PLACEHOLDER_ATIME_SEC: i64 = -2_103_494_400;
/// Nanoseconds of the access time that marks a placeholder.
pub const PLACEHOLDER_ATIME_NSEC: i64 = 0x7e_4d17e;

/// Blocks of 512 bytes that the content of a placeholder of this size is going to take, if it has
/// no holes: a memory file system takes whole pages.
pub const fn placeholder_blocks(size: u64) -> u64 {
    const PAGE: u64 = 4096;
    size.div_ceil(PAGE) * (PAGE / 512)
}

/// Entries of the table of complete directories (a power of two).
pub const TABLE_LEN: usize = 1 << 14;
/// Neighbouring entries looked at for one key.
pub const TABLE_WAYS: usize = 4;
/// Bytes of the trace log.
pub const TRACE_LEN: usize = 1 << 20;
/// Hit counters, one for each row of the shim's hook table.
pub const HITS_LEN: usize = 512;

/// Shared memory of one slot for the life of one job. All zero but for the header.
#[repr(C)]
pub struct Shared {
    magic: AtomicU64,
    version: AtomicU32,
    /// Not zero: the trace log ran over. The shim then makes no call with the cookie.
    pub trace_overflow: AtomicU32,
    cookie: AtomicU64,
    epoch: AtomicU64,
    /// Bytes of the trace log that are reserved; may pass [`TRACE_LEN`] by the last record.
    pub trace_head: AtomicU64,
    table: [AtomicU64; TABLE_LEN],
    seen: [AtomicU64; TABLE_LEN],
    /// How often each hook ran, by row of the hook table.
    pub hits: [AtomicU32; HITS_LEN],
    trace: core::cell::UnsafeCell<[u8; TRACE_LEN]>,
}

/// Where the trace log begins. It comes last, and is used from its start.
pub const TRACE_AT: usize = core::mem::offset_of!(Shared, trace);

// SAFETY: the trace is written only in ranges handed out once by `trace_head`
// and read only after the job's last process has ended.
unsafe impl Sync for Shared {}

/// A hash that stands for one spelling of a directory at one epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DirKey(u64);

/// How a path was used. The numbers are those of the trace log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[repr(u8)]
pub enum Access {
    /// Opened for reading or executed.
    Read = 1,
    /// Attributes or link target looked at, entered, or found where it was to be made.
    Stat = 2,
    /// Looked up in vain, also to be removed or changed.
    Missing = 3,
    /// A directory opened for its names.
    Listed = 4,
    /// Created, changed, renamed or removed.
    Write = 5,
}

impl Shared {
    /// Makes zeroed memory a valid header. `cookie` is random and not zero.
    pub fn init(&self, cookie: u64) {
        self.cookie.store(cookie, Ordering::Relaxed);
        self.epoch.store(1, Ordering::Relaxed);
        self.version.store(VERSION, Ordering::Relaxed);
        self.magic.store(MAGIC, Ordering::Release);
    }

    /// Whether this memory was made by a worker of this version.
    pub fn is_valid(&self) -> bool {
        self.magic.load(Ordering::Acquire) == MAGIC && self.version.load(Ordering::Relaxed) == VERSION
    }

    /// The slot's secret for the sixth argument of a system call.
    pub fn cookie(&self) -> u64 {
        self.cookie.load(Ordering::Relaxed)
    }

    /// Where the cookie stands, for code that must load it into a register itself.
    pub fn cookie_cell(&self) -> &AtomicU64 {
        &self.cookie
    }

    /// Number of the current epoch. A table entry of an earlier one is void.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Begins a new epoch: a directory or symlink was renamed, removed or replaced.
    pub fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Key of an absolute directory spelling, given in pieces that are joined as
    /// they are (`["/work", "/", "src/../inc"]`), at `epoch`. No trailing slash; the
    /// root is the empty string.
    pub fn dir_key(&self, pieces: &[&[u8]], epoch: u64) -> DirKey {
        DirKey(self.hash(pieces, epoch))
    }

    /// Key of an absolute spelling, in pieces as above, whose last name is a symlink, at
    /// `epoch`: recorded once all that following it looks at is complete.
    pub fn link_key(&self, pieces: &[&[u8]], epoch: u64) -> DirKey {
        DirKey(self.hash(pieces, !epoch))
    }

    /// Key of an absolute spelling, in pieces as above, at `epoch`: recorded where it is a
    /// directory and no symlink, and everybody may search all that it lies in.
    pub fn plain_key(&self, pieces: &[&[u8]], epoch: u64) -> DirKey {
        DirKey(self.hash(pieces, epoch ^ 1 << 63))
    }

    /// Whether the directory is known to be complete.
    pub fn is_complete(&self, key: DirKey) -> bool {
        let at = key.0 as usize;
        (0..TABLE_WAYS).any(|way| self.table[(at + way) % TABLE_LEN].load(Ordering::Acquire) == key.0)
    }

    /// Records that the directory is complete.
    pub fn set_complete(&self, key: DirKey) {
        insert(&self.table, key.0);
    }

    /// Appends one use of a path, given in pieces that are joined as they are, to the
    /// trace unless this very use is there already. False: the log is full.
    pub fn trace(&self, access: Access, pieces: &[&[u8]]) -> bool {
        let key = self.hash(pieces, access as u64);
        if self.is_seen(key) {
            return true;
        }
        let len: usize = pieces.iter().map(|p| p.len()).sum();
        let record = 3 + len;
        let start = self.trace_head.fetch_add(record as u64, Ordering::Relaxed) as usize;
        if len > u16::MAX as usize || start.saturating_add(record) > TRACE_LEN {
            self.trace_overflow.store(1, Ordering::Release);
            return false;
        }
        let [low, high] = (len as u16).to_le_bytes();
        let mut to = start;
        let mut put = |bytes: &[u8]| {
            // SAFETY: `start..start + record` is inside the log and was handed to this
            // call alone by the fetch_add above; `to` never leaves it.
            unsafe {
                let base = self.trace.get().cast::<u8>();
                core::ptr::copy_nonoverlapping(bytes.as_ptr(), base.add(to), bytes.len());
            }
            to += bytes.len();
        };
        put(&[access as u8, low, high]);
        pieces.iter().for_each(|piece| put(piece));
        insert(&self.seen, key);
        true
    }

    fn is_seen(&self, key: u64) -> bool {
        let at = key as usize;
        (0..TABLE_WAYS).any(|way| self.seen[(at + way) % TABLE_LEN].load(Ordering::Relaxed) == key)
    }

    /// The records of the trace in order of first use. Only after the job's last
    /// process has ended. A process that was killed as it wrote leaves a record that is
    /// zeros from some byte on, which no path holds: it is passed over.
    pub fn trace_records(&self) -> impl Iterator<Item = (Access, &[u8])> {
        let end = (self.trace_head.load(Ordering::Acquire) as usize).min(TRACE_LEN);
        // SAFETY: by the contract of this function nobody writes any more.
        let log: &[u8; TRACE_LEN] = unsafe { &*self.trace.get() };
        records(&log[..end])
    }

    /// Copies the log, as far as `to` has room, while others may write to it. Returns how long the
    /// copy is. What is being written meanwhile comes torn, which [`records`] may take for a path.
    pub fn copy_trace(&self, to: &mut [u8]) -> usize {
        let end = (self.trace_head.load(Ordering::Acquire) as usize)
            .min(TRACE_LEN)
            .min(to.len());
        let from = self.trace.get().cast::<u8>();
        for (at, byte) in to[..end].iter_mut().enumerate() {
            // SAFETY: `at` is inside the log. Whoever writes there is another process or goes by
            // the pointer; each byte is read once, and any value is a valid one.
            *byte = unsafe { from.add(at).read_volatile() };
        }
        end
    }

    /// A hash by words over the joined pieces, wherever they were cut; seeded by the slot's
    /// cookie and `salt`. Each word is multiplied in and both halves of the product are
    /// folded together, so that every bit reaches every bit before the next word comes:
    /// names that differ in a few digits must not meet, since a key stands for its path.
    /// Never zero, which marks an empty entry.
    fn hash(&self, pieces: &[&[u8]], salt: u64) -> u64 {
        let mut h = 0xcbf2_9ce4_8422_2325 ^ self.cookie() ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut mix = |word: u64| {
            let product = u128::from(h ^ word) * 0x9e37_79b9_7f4a_7c15;
            h = product as u64 ^ (product >> 64) as u64;
        };
        let (mut word, mut filled) = (0, 0);
        for &byte in pieces.iter().copied().flatten() {
            word |= u64::from(byte) << (8 * filled);
            filled += 1;
            if filled == 8 {
                mix(word);
                (word, filled) = (0, 0);
            }
        }
        mix(word | (filled << 60));
        h = (h ^ (h >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        h = (h ^ (h >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (h ^ (h >> 32)) | 1
    }
}

/// The records in a log, in their order. Zeros between them are passed over.
pub fn records(log: &[u8]) -> impl Iterator<Item = (Access, &[u8])> {
    let mut rest = log;
    core::iter::from_fn(move || {
        loop {
            let begin = rest.iter().position(|&byte| byte != 0)?;
            let (&[kind, low, high], tail) = rest.get(begin..)?.split_first_chunk::<3>()?;
            let len = u16::from_le_bytes([low, high]) as usize;
            if tail.len() < len {
                return None;
            }
            let (path, next) = tail.split_at(len);
            rest = next;
            if !path.is_empty() && !path.contains(&0) {
                return Some((Access::from_byte(kind)?, path));
            }
        }
    })
}

impl Access {
    /// By its number in the trace log.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Read, Self::Stat, Self::Missing, Self::Listed, Self::Write]
            .into_iter()
            .find(|access| *access as u8 == byte)
    }
}

/// Puts `key` into an empty neighbour, else over the one its upper bits choose.
fn insert(table: &[AtomicU64; TABLE_LEN], key: u64) {
    let at = key as usize;
    let ways = || (0..TABLE_WAYS).map(|way| &table[(at + way) % TABLE_LEN]);
    if ways().any(|entry| entry.load(Ordering::Relaxed) == key) {
        return;
    }
    let free = ways().find(|entry| {
        entry
            .compare_exchange(0, key, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    });
    if free.is_none() {
        let victim = (key >> 48) as usize % TABLE_WAYS;
        table[(at + victim) % TABLE_LEN].store(key, Ordering::Release);
    }
}
