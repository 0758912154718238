//! The hash cache: which content an inode had at a given stamp, in memory and on disk
//! between runs. A cache only: what it has lost is hashed anew. Knows no paths of the
//! tree and reads no file.

use super::stamp::Stamp;
use crate::cache;
use parking_lot::Mutex;
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use termite_types::BlobHash;

/// Device and inode.
type Inode = (u64, u64);
/// Size, mtime, ctime and hash, see [`Known::to_bytes`].
type Row = &'static [u8; 64];

const HASHES: TableDefinition<'static, Inode, Row> = TableDefinition::new("hashes 1");

/// Changes this young may share their timestamp with the next change on file systems
/// with coarse clocks (FAT: 2 s): such a hash does not outlive the daemon.
const RACY: Duration = Duration::from_secs(2);
/// The same for the daemon's own memory, where the kernel's clock tick (10 ms at most)
/// is what counts.
const TICK: Duration = Duration::from_millis(20);
/// So many new hashes are written without waiting for an idle moment.
const BATCH: usize = 8192;

/// Hashes by inode.
pub(super) struct Hashes {
    recent: Mutex<HashMap<Inode, Known>>,
    unsaved: Mutex<HashSet<Inode>>,
    database: Option<Database>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Known {
    stamp: [u8; 32],
    hash: BlobHash,
}

impl Known {
    fn new(stamp: &Stamp, hash: BlobHash) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&stamp.size.to_le_bytes());
        bytes[8..16].copy_from_slice(&stamp.mtime.sec.to_le_bytes());
        bytes[16..24].copy_from_slice(&stamp.ctime.sec.to_le_bytes());
        bytes[24..28].copy_from_slice(&stamp.mtime.nsec.to_le_bytes());
        bytes[28..].copy_from_slice(&stamp.ctime.nsec.to_le_bytes());
        Self { stamp: bytes, hash }
    }

    fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.stamp);
        bytes[32..].copy_from_slice(&self.hash.0);
        bytes
    }

    fn of_bytes(bytes: &[u8; 64]) -> Self {
        let (mut stamp, mut hash) = ([0; 32], [0; 32]);
        stamp.copy_from_slice(&bytes[..32]);
        hash.copy_from_slice(&bytes[32..]);
        Self {
            stamp,
            hash: BlobHash(hash),
        }
    }

    fn matching(self, stamp: &Stamp) -> Option<BlobHash> {
        (self == Self::new(stamp, self.hash)).then_some(self.hash)
    }
}

/// One look at the stored hashes, for many questions.
pub(super) struct Reader<'a> {
    hashes: &'a Hashes,
    table: Option<ReadOnlyTable<Inode, Row>>,
}

impl Hashes {
    /// The cache in `dir`, which is made if it is missing. Where there can be none, one
    /// warning is logged and hashes live as long as this value.
    pub(super) fn open(dir: &Path) -> Self {
        Self {
            recent: Mutex::default(),
            unsaved: Mutex::default(),
            database: cache::open(dir, "hashes"),
        }
    }

    /// For looking up many files at once.
    pub(super) fn reader(&self) -> Reader<'_> {
        let table = self.database.as_ref().and_then(|database| {
            // A fresh database has no table yet.
            database.begin_read().ok()?.open_table(HASHES).ok()
        });
        Reader { hashes: self, table }
    }

    /// What a file with this stamp holds, if that is known.
    pub(super) fn get(&self, stamp: &Stamp) -> Option<BlobHash> {
        let recent = self.recent.lock().get(&(stamp.dev, stamp.ino)).copied();
        // What is in memory is not worth a look at the disk.
        recent.map_or_else(|| self.reader().get(stamp), |known| known.matching(stamp))
    }

    /// A file was read whole between two looks that both gave `stamp`.
    pub(super) fn learn(&self, stamp: &Stamp, hash: BlobHash) {
        if age(stamp) >= TICK {
            self.keep(stamp, hash);
        }
    }

    /// A file was written by ourselves, and has this stamp since.
    pub(super) fn wrote(&self, stamp: &Stamp, hash: BlobHash) {
        self.keep(stamp, hash);
    }

    fn keep(&self, stamp: &Stamp, hash: BlobHash) {
        let inode = (stamp.dev, stamp.ino);
        self.recent.lock().insert(inode, Known::new(stamp, hash));
        if self.database.is_none() || age(stamp) < RACY {
            return;
        }
        let waiting = {
            let mut unsaved = self.unsaved.lock();
            unsaved.insert(inode);
            unsaved.len()
        };
        if waiting >= BATCH {
            self.flush();
        }
    }

    /// The file was written to though its stamp may be the same.
    pub(super) fn forget(&self, stamp: &Stamp) {
        let inode = (stamp.dev, stamp.ino);
        self.recent.lock().remove(&inode);
        self.unsaved.lock().remove(&inode);
    }

    /// Writes to disk what is not there yet.
    pub(super) fn flush(&self) {
        let Some(database) = &self.database else { return };
        let inodes = std::mem::take(&mut *self.unsaved.lock());
        if inodes.is_empty() {
            return;
        }
        let rows: Vec<(Inode, Known)> = {
            let recent = self.recent.lock();
            inodes
                .iter()
                .filter_map(|inode| Some((*inode, *recent.get(inode)?)))
                .collect()
        };
        if let Err(error) = save(database, &rows) {
            tracing::warn!("{} hashes are not kept: {error}", rows.len());
        }
    }
}

impl Drop for Hashes {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Reader<'_> {
    /// What a file with this stamp holds, if that is known.
    pub(super) fn get(&self, stamp: &Stamp) -> Option<BlobHash> {
        let inode = (stamp.dev, stamp.ino);
        if let Some(known) = self.hashes.recent.lock().get(&inode) {
            return known.matching(stamp);
        }
        let row = self.table.as_ref()?.get(inode).ok()??;
        Known::of_bytes(row.value()).matching(stamp)
    }
}

/// How long ago the file changed; zero for a time to come.
fn age(stamp: &Stamp) -> Duration {
    let changed = Duration::new(u64::try_from(stamp.ctime.sec).unwrap_or(0), stamp.ctime.nsec);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(changed)
}

/// Whether the file changed so lately that the next change may leave the same stamp.
pub(super) fn is_racy(stamp: &Stamp) -> bool {
    age(stamp) < RACY
}

fn save(database: &Database, rows: &[(Inode, Known)]) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        let mut table = write.open_table(HASHES)?;
        for (inode, known) in rows {
            table.insert(*inode, &known.to_bytes())?;
        }
    }
    write.commit()?;
    Ok(())
}
