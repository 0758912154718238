//! The one place that maps memory: a slot's shared memory, and files of the mirror that get
//! their content while others may look at them. What is mapped has its memory: a page that
//! the store cannot give any more kills who touches it.
//! Knows nothing of what is in them.

#![allow(unsafe_code)]

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::io;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use termite_abi::{Shared, TRACE_AT};
use termite_types::is_zeros;

/// A mapped [`Shared`], alive as long as this is.
pub struct SharedMap(MmapRaw);

impl SharedMap {
    /// Maps the shared file of a slot, which gets its size and all of its memory here. Its
    /// header is the caller's to make (`Shared::init`).
    pub fn new(file: BorrowedFd<'_>) -> io::Result<Self> {
        // What a file gets at once lies in pieces as large as they fit, and the first touch
        // clears a whole piece: the log, of which most jobs use little, is not to lie in one
        // piece with the rest.
        for part in [0..TRACE_AT, TRACE_AT..size_of::<Shared>()] {
            rustix::fs::fallocate(file, FallocateFlags::empty(), part.start as u64, part.len() as u64)?;
        }
        let map = MmapOptions::new().len(size_of::<Shared>()).map_raw(&file)?;
        Ok(Self(map))
    }
}

#[cfg(test)]
impl SharedMap {
    /// One that nobody else has.
    pub fn of_no_slot() -> std::sync::Arc<Self> {
        use std::os::fd::AsFd;
        let shared = Self::new(tempfile::tempfile().unwrap().as_fd()).unwrap();
        shared.init(u64::MAX);
        std::sync::Arc::new(shared)
    }
}

impl Deref for SharedMap {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        // SAFETY: the mapping is page-aligned, as long as `Shared`, lives as long as
        // `self`, and every bit pattern is a valid `Shared`, whose fields are atomics or
        // guarded by its own contract. The file is workerd's and is never shortened.
        unsafe { &*self.0.as_ptr().cast::<Shared>() }
    }
}

/// A file of the mirror that is getting its content. Unlike a write, that does not touch
/// its time, which jobs may look at meanwhile.
pub(super) struct FillMapping {
    map: Option<MmapRaw>,
    /// From here on the file has no memory: it reads as zeros.
    end: u64,
}

impl FillMapping {
    /// Maps a file that is open for reading and writing and has this size.
    pub(super) fn new(file: BorrowedFd<'_>, size: u64) -> Result<Self, Errno> {
        // A file of no bytes cannot be mapped.
        let map = (size > 0).then(|| MmapOptions::new().len(size as usize).map_raw(&file));
        let is_new = rustix::fs::fstat(file)?.st_blocks == 0;
        Ok(Self {
            map: map.transpose().map_err(errno_of)?,
            end: if is_new { 0 } else { size },
        })
    }

    /// Puts a piece where it belongs; zeros where the file has no memory take none. False: the
    /// file has no such place.
    pub(super) fn put(&mut self, piece: &[u8], at: u64) -> Result<bool, Errno> {
        let size = self.map.as_ref().map_or(0, MmapRaw::len) as u64;
        let end = at.checked_add(piece.len() as u64).filter(|end| *end <= size);
        let (Some(map), Some(end)) = (self.map.as_ref(), end) else {
            return Ok(piece.is_empty());
        };
        if piece.is_empty() || at >= self.end && is_zeros(piece) {
            return Ok(true);
        }
        // Memory is taken by reading: on tmpfs a page that was read can be stored to without
        // another fault, and only a fault sets the time (`fault_dirty_shared_page` in Linux).
        map.advise_range(Advice::PopulateRead, at as usize, piece.len())
            .map_err(|error| match errno_of(error) {
                // What madvise(2) calls a bad address is a store that is full.
                Errno::FAULT => Errno::NOSPC,
                errno => errno,
            })?;
        // SAFETY: the piece ends within the mapping, and is memory of its own. Only this
        // thread stores here, since it has claimed the file, and nobody reads content
        // before the claim is given back. The store is reachable by workerd alone, which
        // never shortens a file that is claimed.
        unsafe { std::ptr::copy_nonoverlapping(piece.as_ptr(), map.as_mut_ptr().add(at as usize), piece.len()) }
        self.end = self.end.max(end);
        Ok(true)
    }
}

fn errno_of(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;
    use std::collections::HashSet;
    use termite_abi::Access;

    /// A key stands for its path, so that no two paths may share one.
    #[test]
    fn paths_that_differ_in_a_few_digits_do_not_meet() {
        let shapes: [fn(&str, u32) -> String; 3] = [
            |before, n| format!("/w/{before}part.{n}"),
            |before, n| format!("/w/{before}{:03}/{:03}", n / 200, n % 200),
            |before, n| format!("/w/{before}/{}.{n}", "0".repeat(100)),
        ];
        // Wherever the digits lie in the words that are hashed.
        for (before, shape) in (0..8).flat_map(|len| shapes.map(|shape| ("x".repeat(len), shape))) {
            let file = tempfile::tempfile().unwrap();
            let shared = SharedMap::new(file.as_fd()).unwrap();
            shared.init(0xdead_beef_0bad_cafe);
            let count = 20_000;
            let key = |number| shared.dir_key(&[shape(&before, number).as_bytes()], shared.epoch());
            let keys: HashSet<_> = (0..count).map(key).collect();
            assert_eq!(keys.len(), count as usize, "like {}", shape(&before, 0));
            // As many as the log has room for, whatever their length.
            for begin in (0..count).step_by(5_000) {
                let file = tempfile::tempfile().unwrap();
                let shared = SharedMap::new(file.as_fd()).unwrap();
                shared.init(0xdead_beef_0bad_cafe);
                for number in begin..begin + 5_000 {
                    assert!(shared.trace(Access::Missing, &[shape(&before, number).as_bytes()]));
                }
                let traced: HashSet<_> = shared.trace_records().map(|(_, path)| path).collect();
                assert_eq!(traced.len(), 5_000, "like {}", shape(&before, begin));
            }
        }
    }
}
