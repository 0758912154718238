//! What is kept on disk of each build and each of its jobs, across daemons, for
//! `termite last` and `termite explain`.
//!
//! Knows files and their limits; knows nothing of running builds. A build is
//! `BUILD.json`; its jobs are in the files of the directory `BUILD`.

mod jobs;
mod log;
mod names;
#[cfg(test)]
mod tests;

pub use jobs::{ConflictRecord, JobRecord, Site};
pub use names::NoSuchJob;

use crate::report::Last;
use log::Logs;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Builds that are kept.
const BUILDS: usize = 100;

/// Bytes that all jobs together may take.
const JOBS: u64 = 256 << 20;

/// The history in one directory. Several programs may read it while one writes.
pub struct History {
    dir: PathBuf,
    logs: Logs,
}

/// A build as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BuildRecord {
    /// Its id, 16 hex digits.
    pub build: String,
    /// Where it ran.
    pub cwd: PathBuf,
    /// When it began, milliseconds since 1970.
    pub started_unix: u64,
    /// What it did.
    pub report: Last,
}

impl History {
    /// The history in `dir`, which is made when first needed.
    pub fn new(dir: PathBuf) -> Self {
        Self::with_limit(dir, JOBS)
    }

    fn with_limit(dir: PathBuf, bytes: u64) -> Self {
        let logs = Logs::new(dir.clone(), bytes);
        Self { dir, logs }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps a build as it stands.
    pub fn write_build(&self, record: &BuildRecord) -> io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        put(&self.build_file(&record.build), &serde_json::to_vec(record)?)
    }

    /// All builds that are kept, in no order.
    pub fn builds(&self) -> io::Result<Vec<BuildRecord>> {
        let mut records = Vec::new();
        for path in entries(&self.dir)? {
            if path.extension().is_some_and(|ext| ext == "json") {
                match serde_json::from_slice(&std::fs::read(&path)?) {
                    Ok(record) => records.push(record),
                    Err(error) => tracing::warn!("{} is no build record: {error}", path.display()),
                }
            }
        }
        Ok(records)
    }

    /// The newest build that ran in `directory` or below it.
    pub fn last_build(&self, directory: &Path) -> io::Result<Option<BuildRecord>> {
        Ok(newest(self.builds()?, directory))
    }

    /// Removes the oldest builds past the limit with their jobs.
    pub fn trim(&self) -> io::Result<()> {
        let mut records = self.builds()?;
        records.sort_by_key(|record| std::cmp::Reverse(record.started_unix));
        for record in records.iter().skip(BUILDS) {
            std::fs::remove_file(self.build_file(&record.build))?;
            if let Ok(build) = record.build.parse() {
                self.logs.forget(build)?;
            }
        }
        Ok(())
    }

    fn build_file(&self, build: &str) -> PathBuf {
        self.dir.join(format!("{build}.json"))
    }
}

/// The newest of some builds that ran in `directory` or below it.
pub fn newest(builds: Vec<BuildRecord>, directory: &Path) -> Option<BuildRecord> {
    let here = builds.into_iter().filter(|record| record.cwd.starts_with(directory));
    here.max_by_key(|record| record.started_unix)
}

/// Writes a file so that nobody sees half of it.
fn put(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, content)?;
    std::fs::rename(&beside, path)
}

/// What a directory holds; nothing if it is not there.
fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names?.map(|name| Ok(name?.path())).collect(),
    }
}
