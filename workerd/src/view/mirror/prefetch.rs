//! Bringing what a job is expected to use before it asks, many names and contents to a
//! question. What cannot be had, or changes meanwhile, is left for the job to ask for.
//! Knows nothing of how the expectation came about.

use super::complete::Extent;
use super::fill::Fetched;
use super::tables::{Claim, File, Fill};
use super::{Mirror, OWN_NAMES};
use crate::view::error::FaultError;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use termite_types::{Expected, Listing};

/// Directories that are being listed ahead. Given back when dropped, whatever became of them.
struct Listings<'a> {
    mirror: &'a Mirror,
    claim: Claim,
    dirs: Vec<PathBuf>,
}

/// Files that are to be filled ahead. Given back when dropped.
struct Fills<'a> {
    mirror: &'a Mirror,
    claimed: VecDeque<Claimed>,
}

struct Claimed {
    path: PathBuf,
    ino: u64,
    file: File,
}

impl Mirror {
    /// Brings what of the expected is lacking; tells how much was brought. Blocks.
    pub fn prefetch(&self, expected: &Expected) -> u64 {
        self.complete_dirs(&expected.dirs) + self.prefetch_files(&expected.files)
    }

    fn complete_dirs(&self, expected: &[PathBuf]) -> u64 {
        let mut prefetched = 0;
        let listings = Listings::claim(self, expected);
        let mut rest = &listings.dirs[..];
        while !rest.is_empty() {
            self.count_fetch();
            let answers = self.files.read_dirs(rest);
            if answers.is_empty() {
                break;
            }
            let (asked, later) = rest.split_at(answers.len().min(rest.len()));
            for (path, answer) in asked.iter().zip(answers) {
                let listed = answer.is_ok_and(|listing| self.take_listing(path, listings.claim, &listing));
                self.end_listing(path, listings.claim, listed);
                prefetched += u64::from(listed);
            }
            rest = later;
        }
        prefetched
    }

    fn take_listing(&self, path: &Path, claim: Claim, listing: &Listing) -> bool {
        self.await_above(path, claim);
        let taken = self.reconcile(path, claim, listing, Extent::Some);
        if let Err(errno) = &taken {
            tracing::debug!("{} is not listed ahead: {errno}", path.display());
        }
        taken.is_ok()
    }

    /// Waits until nobody else lists what a directory is in, without which it has no place
    /// here. Everybody waits upwards only.
    fn await_above(&self, path: &Path, claim: Claim) {
        let mut tables = self.tables.lock();
        while path
            .ancestors()
            .skip(1)
            .any(|dir| tables.is_listed_by_another(dir, claim))
        {
            self.settled.wait(&mut tables);
        }
    }

    /// Fills files, many in one question. Returns how many.
    fn prefetch_files(&self, expected: &[PathBuf]) -> u64 {
        let mut prefetched = 0;
        let mut resized = Vec::new();
        let mut fills = Fills::claim(self, expected);
        while !fills.claimed.is_empty() {
            self.count_fetch();
            let answers = self.files.open_all(&fills.paths());
            if answers.is_empty() {
                break;
            }
            for answer in answers {
                let Some(claimed) = fills.claimed.front() else { break };
                let filled = match answer {
                    Ok(opened) => self.fill_from(claimed.ino, &claimed.file, &opened, &claimed.path),
                    Err(error) => Err(FaultError::from_client(error, &claimed.path)),
                };
                match filled {
                    Ok(Some(Fetched::Whole(_))) => prefetched += 1,
                    Ok(Some(Fetched::Resized(_))) => resized.push(claimed.path.clone()),
                    Ok(None) | Err(_) => {}
                }
                fills.end_first(filled);
            }
        }
        drop(fills);
        for path in resized {
            if let Err(error) = self.fill_unseen(&path) {
                tracing::debug!("{} is not filled ahead: {error}", path.display());
            }
        }
        prefetched
    }

    /// The placeholder at a client path.
    fn placeholder(&self, path: &Path) -> Result<Option<u64>, Errno> {
        let Some((dir, name)) = self.place_of(path)? else {
            return Ok(None);
        };
        self.make_listed(&dir.path, name)?;
        let known = self.known(&dir, name)?;
        Ok(known
            .filter(|known| known.fill == Fill::Placeholder)
            .map(|known| known.ino))
    }
}

impl<'a> Listings<'a> {
    fn claim(mirror: &'a Mirror, expected: &[PathBuf]) -> Self {
        let mut tables = mirror.tables.lock();
        let claim = tables.new_claim();
        let dirs = expected
            .iter()
            .filter(|path| !is_own(path) && tables.claim_ahead(path, claim));
        Self {
            mirror,
            claim,
            dirs: dirs.cloned().collect(),
        }
    }
}

impl Drop for Listings<'_> {
    fn drop(&mut self) {
        let mut tables = self.mirror.tables.lock();
        self.dirs
            .iter()
            .for_each(|path| tables.end_claim(path, self.claim, false));
        self.mirror.settled.notify_all();
    }
}

impl<'a> Fills<'a> {
    /// Claims what has to be asked for; what another file here holds is copied at once.
    fn claim(mirror: &'a Mirror, expected: &[PathBuf]) -> Self {
        let mut claimed = VecDeque::new();
        for path in expected {
            let Ok(Some(ino)) = mirror.placeholder(path) else {
                continue;
            };
            let Some(file) = mirror.tables.lock().claim_fill(ino) else {
                continue;
            };
            match mirror.fill_locally(ino, &file, path) {
                Ok(Some(attr)) => mirror.end_fill(ino, Fill::Filled, Some(attr)),
                // What is wrong with it shows when it is filled.
                Ok(None) | Err(_) => claimed.push_back(Claimed {
                    path: path.clone(),
                    ino,
                    file,
                }),
            }
        }
        Self { mirror, claimed }
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.claimed.iter().map(|claimed| claimed.path.clone()).collect()
    }

    fn end_first(&mut self, filled: Result<Option<Fetched>, FaultError>) {
        let Some(Claimed { path, ino, .. }) = self.claimed.pop_front() else {
            return;
        };
        match filled {
            Ok(Some(Fetched::Whole(attr))) => self.mirror.end_fill(ino, Fill::Filled, Some(attr)),
            failed => {
                self.mirror.end_fill(ino, Fill::Placeholder, None);
                tracing::debug!("{} is not filled ahead: {failed:?}", path.display());
            }
        }
    }
}

impl Drop for Fills<'_> {
    fn drop(&mut self) {
        for claimed in &self.claimed {
            self.mirror.end_fill(claimed.ino, Fill::Placeholder, None);
        }
    }
}

/// Whether a path is in what every view has of its own.
fn is_own(path: &Path) -> bool {
    OWN_NAMES.iter().any(|own| path.starts_with(Path::new("/").join(own)))
}
