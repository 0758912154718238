//! The jobs of the history, a file each: one line of JSON, then the trace as records
//! that end in NUL (`KIND [HASH] SPACE PATH`). The oldest make room for the newest.
//!
//! Knows the files; knows neither dispatch nor how a job is shown.

use super::{History, entries, put};
use crate::report::Phases;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use termite_abi::Access;
use termite_types::{BlobHash, BuildId, JobId, TraceItem};

/// Ending of the files.
const ENDING: &str = "job";

/// Where a job ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Site {
    /// On a worker.
    Worker,
    /// On the client, with no shim in it.
    Client,
    /// On the client, with the shim in it: what it starts may be jobs.
    Driver,
    /// Nowhere to its end: who had started it went away.
    Nowhere,
}

/// A job as it is kept. What is no text is shown as near as text comes. The names of the
/// fields are the keys of `termite explain --json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JobRecord {
    /// `BUILD.N`.
    pub job: String,
    /// Its command line, words with blanks between them.
    pub command: String,
    /// File that was to be executed.
    pub program: String,
    /// Arguments with the zeroth.
    pub argv: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// Where it ran.
    #[serde(rename = "where")]
    pub site: Site,
    /// Address of the worker that ended it.
    pub worker: Option<String>,
    /// The rule or the fault that decided where.
    pub reason: String,
    /// Workers that were tried in vain, each with the fault.
    pub attempts: Vec<String>,
    /// Exit status; null where a signal ended it or it did not end on a worker.
    pub exit: Option<u8>,
    /// Signal that ended it.
    pub signal: Option<u8>,
    /// When it was asked for, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// From then until it was given to the worker that ended it, seconds.
    pub waited_s: f64,
    /// From then until its outputs were committed, or it was sent home, seconds.
    pub wall_s: f64,
    /// From its start to its end on the worker, seconds.
    pub worker_s: f64,
    /// Processor time of its processes on the worker, seconds.
    pub cpu_s: f64,
    /// System calls of it that the guard stopped.
    pub guard_faults: u64,
    /// Directories and files that were fetched while it ran.
    pub fetches: u64,
    /// Directories and files that were brought before it began.
    #[serde(default)]
    pub brought: u64,
    /// Where its time went.
    #[serde(default)]
    pub phases: Phases,
    /// There is a trace: it ended on a worker.
    pub traced: bool,
}

/// The files that are there, oldest first, with their sizes.
pub(super) struct Kept {
    files: VecDeque<(PathBuf, u64)>,
    bytes: u64,
}

impl History {
    /// Keeps a job and what it used.
    pub fn write_job(&self, id: JobId, record: &JobRecord, trace: &[TraceItem]) -> io::Result<()> {
        let mut content = serde_json::to_vec(record)?;
        content.push(b'\n');
        for item in trace {
            content.push(b'0' + item.access);
            if let Some(hash) = item.hash {
                write!(content, "{hash}")?;
            }
            content.push(b' ');
            content.extend_from_slice(item.path.as_os_str().as_bytes());
            content.push(0);
        }
        let mut kept = self.kept.lock();
        let kept = match &mut *kept {
            Some(kept) => kept,
            none => none.insert(Kept::read(&self.dir)?),
        };
        let path = self.job_file(id);
        put(&path, &content).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                std::fs::create_dir_all(self.jobs_dir(id.build)).and_then(|()| put(&path, &content))
            }
            _ => Err(error),
        })?;
        kept.files.push_back((path, content.len() as u64));
        kept.bytes += content.len() as u64;
        // What was just written stays, however long it is.
        while kept.files.len() > 1 && (kept.files.len() > self.limits.jobs || kept.bytes > self.limits.bytes) {
            kept.drop_oldest()?;
        }
        Ok(())
    }

    /// A job and what it used, in order of first use; `None`: it is not kept.
    pub fn job(&self, id: JobId) -> io::Result<Option<(JobRecord, Vec<TraceItem>)>> {
        let content = match std::fs::read(self.job_file(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            content => content?,
        };
        let end = content.iter().position(|byte| *byte == b'\n').ok_or_else(torn)?;
        let record = serde_json::from_slice(&content[..end])?;
        let mut trace = Vec::new();
        for item in content[end + 1..].split_inclusive(|byte| *byte == 0) {
            trace.push(read_item(item).ok_or_else(torn)?);
        }
        Ok(Some((record, trace)))
    }

    /// The jobs of a build that are kept, in the order of their numbers.
    pub fn jobs(&self, build: BuildId) -> io::Result<Vec<JobRecord>> {
        let mut files: Vec<(u32, PathBuf)> = entries(&self.jobs_dir(build))?
            .into_iter()
            .filter_map(|path| Some((number(&path)?, path)))
            .collect();
        files.sort_unstable();
        let mut records = Vec::with_capacity(files.len());
        for (_, path) in files {
            let mut line = Vec::new();
            match std::fs::File::open(&path) {
                // It made room for a newer one this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => BufReader::new(file?).read_until(b'\n', &mut line)?,
            };
            let damaged = |error| io::Error::other(format!("{} is damaged ({error}); remove it", path.display()));
            records.push(serde_json::from_slice(&line).map_err(damaged)?);
        }
        Ok(records)
    }

    pub(super) fn forget_jobs(&self, build: BuildId) -> io::Result<()> {
        // Whoever counts them finds them gone, which does no harm.
        match std::fs::remove_dir_all(self.jobs_dir(build)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn job_file(&self, id: JobId) -> PathBuf {
        self.jobs_dir(id.build).join(format!("{}.{ENDING}", id.number))
    }
}

impl Kept {
    /// What earlier daemons left.
    fn read(dir: &Path) -> io::Result<Self> {
        let mut found: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for build in entries(dir)? {
            if !build.is_dir() {
                continue;
            }
            for path in entries(&build)? {
                let meta = std::fs::symlink_metadata(&path)?;
                found.push((meta.modified()?, path, meta.len()));
            }
        }
        found.sort_unstable();
        Ok(Self {
            bytes: found.iter().map(|(_, _, size)| size).sum(),
            files: found.into_iter().map(|(_, path, size)| (path, size)).collect(),
        })
    }

    fn drop_oldest(&mut self) -> io::Result<()> {
        let Some((path, size)) = self.files.pop_front() else {
            return Ok(());
        };
        self.bytes -= size;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The build's last one takes the directory along; else it is not empty.
        if let Some(dir) = path.parent() {
            let _ = std::fs::remove_dir(dir);
        }
        Ok(())
    }
}

fn number(path: &Path) -> Option<u32> {
    if path.extension()? != ENDING {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

fn torn() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the job's record is damaged")
}

fn read_item(mut item: &[u8]) -> Option<TraceItem> {
    let mut kind = [0];
    item.read_exact(&mut kind).ok()?;
    let access = Access::from_byte(kind[0].wrapping_sub(b'0'))? as u8;
    let item = item.strip_suffix(&[0])?;
    let (hash, path) = match item.strip_prefix(b" ") {
        Some(path) => (None, path),
        None => {
            let (hash, path) = item.split_at_checked(64)?;
            (Some(read_hash(hash)?), path.strip_prefix(b" ")?)
        }
    };
    Some(TraceItem {
        access,
        path: OsString::from_vec(path.to_vec()).into(),
        hash,
    })
}

fn read_hash(text: &[u8]) -> Option<BlobHash> {
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(BlobHash(hash))
}
