//! Giving memory back while no job sees the mirror: files become placeholders again, those
//! first that were used longest ago; where names take too much, the whole tree is
//! forgotten. Knows nothing of limits and of when it is time.
//!
//! Nothing is taken under a running job: it may have a file open or mapped, and its shim and
//! its view remember what was ready. What earlier jobs learnt of directories stays true, and
//! where their spellings lead to a file, the file is asked for its content at each use.

use super::Mirror;
use super::place::{Workplace, names_in};
use super::tables::{File, Fill};
use crate::view::confine;
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};
use termite_types::TraceItem;

/// Time for what is left of ended jobs to let go of the mirror.
const REST: Duration = Duration::from_secs(5);
/// Unit of `stx_blocks` (statx(2)).
const BLOCK: u64 = 512;

/// When files were used, counted in jobs.
#[derive(Default)]
pub(super) struct Uses {
    /// Jobs that have ended.
    jobs: u64,
    /// By inode number. May know of files that are gone, until the next eviction.
    last: HashMap<u64, u64>,
    /// Placeholders that may hold a part of their content, because filling them failed.
    halves: HashSet<u64>,
}

impl Uses {
    /// A file came, or was filled.
    pub(super) fn begin(&mut self, ino: u64) {
        self.last.insert(ino, self.jobs);
    }

    /// Filling a file failed.
    pub(super) fn fail(&mut self, ino: u64) {
        self.halves.insert(ino);
    }
}

/// What was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Evicted {
    /// Files that are placeholders again.
    pub files: u64,
    /// Bytes that they held, in whole pages.
    pub bytes: u64,
}

impl Mirror {
    /// Takes note of what an ended job read. Files of one content count as one, so that of
    /// copies only the one that others are made from is spared.
    pub fn note_uses(&self, trace: &[TraceItem]) {
        let tables = self.tables.lock();
        let mut uses = self.uses.lock();
        uses.jobs += 1;
        let job = uses.jobs;
        let read = trace.iter().filter_map(|item| item.used.content());
        for ino in read.filter_map(|hash| tables.holder_ino(&hash)) {
            uses.last.insert(ino, job);
        }
    }

    /// How many directories and files it has.
    pub fn size(&self) -> u64 {
        let tables = self.tables.lock();
        (tables.dirs.len() + tables.count_files()) as u64
    }

    /// Takes at least this many bytes of content, or all there is. Takes nothing while a job sees the
    /// mirror. Nobody may list or fill meanwhile. Blocks.
    pub fn evict(&self, bytes: u64) -> Evicted {
        let mut evicted = Evicted::default();
        if !self.comes_to_rest() {
            return evicted;
        }
        let _turn = self.naming.lock();
        for (ino, file) in self.halves() {
            self.take_content(ino, &file, &mut evicted);
        }
        for (ino, file) in self.by_last_use() {
            if evicted.bytes >= bytes {
                break;
            }
            self.take_content(ino, &file, &mut evicted);
        }
        evicted
    }

    fn take_content(&self, ino: u64, file: &File, evicted: &mut Evicted) {
        match self.evict_file(ino, file) {
            Ok(0) => {}
            Ok(freed) => {
                evicted.files += 1;
                evicted.bytes += freed;
            }
            Err(errno) => tracing::warn!("{} stays in the store: {errno}", file.path().display()),
        }
    }

    /// Forgets every name, as if no job had ever looked at the tree. False: one sees it.
    /// Nobody may list or fill meanwhile. Blocks.
    pub fn forget(&self) -> Result<bool, Errno> {
        if !self.comes_to_rest() {
            return Ok(false);
        }
        let _turn = self.naming.lock();
        let top = Path::new("/");
        // Whatever stops the removal, the next job lists anew what there is.
        self.tables.lock().doubt_dir(top);
        if let Some(dir) = self.workplace(top)? {
            self.forget_below(&dir)?;
        }
        Ok(true)
    }

    fn forget_below(&self, top: &Workplace) -> Result<(), Errno> {
        for name in names_in(top.fd.as_fd())? {
            if !super::OWN_NAMES.iter().any(|own| name == *own) {
                self.remove(top, &name)?;
            }
        }
        Ok(())
    }

    /// Waits for the last job to let go.
    fn comes_to_rest(&self) -> bool {
        let until = Instant::now() + REST;
        let mut tables = self.tables.lock();
        while !tables.is_at_rest() {
            if self.settled.wait_until(&mut tables, until).timed_out() {
                return tables.is_at_rest();
            }
        }
        true
    }

    /// Placeholders that may hold something all the same. They are told once, so that all of
    /// them are to be emptied.
    fn halves(&self) -> Vec<(u64, File)> {
        let tables = self.tables.lock();
        let halves = std::mem::take(&mut self.uses.lock().halves);
        let file = |ino| Some((ino, tables.file(ino)?.clone()));
        let files = halves.into_iter().filter_map(file);
        files.filter(|(_, file)| file.fill == Fill::Placeholder).collect()
    }

    /// All files with content, the longest unused first.
    fn by_last_use(&self) -> Vec<(u64, File)> {
        let tables = self.tables.lock();
        let mut uses = self.uses.lock();
        uses.last.retain(|ino, _| tables.file(*ino).is_some());
        let last = |ino| uses.last.get(&ino).copied().unwrap_or_default();
        let mut files: Vec<_> = tables
            .ready_files()
            .filter(|(_, file)| file.attr.size() > 0)
            .map(|(ino, file)| (ino, file.clone()))
            .collect();
        files.sort_by_cached_key(|(ino, _)| (last(*ino), *ino));
        files
    }

    /// Makes one file a placeholder; tells what that frees.
    fn evict_file(&self, ino: u64, file: &File) -> Result<u64, Errno> {
        let target = match self.open_target(ino, file) {
            Ok(target) => target,
            // Its name is gone, and its content with it.
            Err(Errno::NOENT) => return Ok(0),
            Err(errno) => return Err(errno),
        };
        let stat = confine::stat(&target)?;
        // What the tables do not tell of has another name for it.
        if stat.stx_nlink != 1 {
            return Ok(0);
        }
        // The mark first: with it nobody takes for content what is not there.
        self.apply_file_attrs(target.as_fd(), &file.attr, Fill::Placeholder)?;
        self.tables.lock().set_fill(ino, Fill::Placeholder);
        rustix::fs::ftruncate(&target, 0)?;
        self.finish_placeholder(target.as_fd(), &file.attr)?;
        Ok(stat.stx_blocks * BLOCK)
    }
}
