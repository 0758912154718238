//! Content for others, by hash: what files of the mirror hold or are just getting.
//! Knows nothing of who asks.

use super::Mirror;
use crate::view::confine;
use crate::view::outputs::piece;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::io;
use std::time::{Duration, Instant};
use termite_types::BlobHash;

/// How long content is waited for that nobody has named here while files are being filled.
/// Who asks may have heard of it before this worker has read its own answer.
const UNHEARD: Duration = Duration::from_millis(500);

/// Content that is being received. Says so until it is dropped.
pub(super) struct Arrival<'a> {
    mirror: &'a Mirror,
    hash: BlobHash,
}

impl<'a> Arrival<'a> {
    pub(super) fn of(mirror: &'a Mirror, hash: BlobHash) -> Self {
        mirror.tables.lock().arrives(hash);
        mirror.settled.notify_all();
        Self { mirror, hash }
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.mirror.tables.lock().arrived(&self.hash);
        self.mirror.settled.notify_all();
    }
}

impl Mirror {
    /// Up to `len` bytes of content, fewer only at its end; waits where it is on its way.
    /// `None`: no file here holds it. Blocks.
    pub fn read_blob(&self, hash: &BlobHash, offset: u64, len: u32) -> io::Result<Option<Vec<u8>>> {
        loop {
            if !self.await_holder(hash) {
                return Ok(None);
            }
            let Some((source, ino)) = self.open_holder(hash)? else {
                return Ok(None);
            };
            let bytes = piece(&source, offset, len)?;
            // It may have lost its content meanwhile.
            if self.tables.lock().holder(hash).is_some_and(|(now, _)| now == ino) {
                return Ok(Some(bytes));
            }
        }
    }

    /// False: no file holds it or is getting it.
    fn await_holder(&self, hash: &BlobHash) -> bool {
        let until = Instant::now() + UNHEARD;
        let mut tables = self.tables.lock();
        loop {
            if tables.holder(hash).is_some() {
                return true;
            }
            if tables.is_arriving(hash) {
                self.settled.wait(&mut tables);
            } else if !tables.is_filling() || self.settled.wait_until(&mut tables, until).timed_out() {
                return false;
            }
        }
    }

    /// The file that holds some content, with its inode number.
    pub(super) fn open_holder(&self, hash: &BlobHash) -> Result<Option<(OwnedFd, u64)>, Errno> {
        let Some((ino, path)) = self.tables.lock().holder(hash) else {
            return Ok(None);
        };
        match confine::file(&self.root, &path) {
            Ok(source) if confine::stat(&source)?.stx_ino == ino => Ok(Some((source, ino))),
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}
