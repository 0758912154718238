//! The jobs of the history, each as one line of JSON and then its trace, in items that end in
//! NUL (`KIND [HASH] SPACE PATH`).
//!
//! Knows what is written of a job; knows neither files nor how a job is shown.

use super::History;
use super::log::torn;
use crate::report::Phases;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use termite_types::{BlobHash, BuildId, Conflict, JobId, TraceItem, Use};

/// Where a job ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Site {
    /// On a worker.
    Worker,
    /// On the client, with no shim in it.
    Client,
    /// On the client, with the shim in it: what it starts may be jobs.
    Driver,
    /// Nowhere to its end: who had started it went away.
    #[default]
    Nowhere,
}

/// A job as it is kept. What is no text is shown as near as text comes. The names of the
/// fields are the keys of `termite explain --json`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
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
    /// Attempts that did not count, in their order: the job ran again after each.
    #[serde(default)]
    pub conflicts: Vec<ConflictRecord>,
    /// Why only a part of its changes was made, for which it failed.
    #[serde(default)]
    pub commit_fault: Option<String>,
    /// Exit status; null where a signal ended it, or it is not known: of a job on the client it is
    /// once that has ended, if the kernel tells it.
    pub exit: Option<u8>,
    /// Signal that ended it.
    pub signal: Option<u8>,
    /// When it was asked for, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// From then until it was given to the worker that ended it, seconds.
    pub waited_s: f64,
    /// From then until its outputs were committed, or it ended on the client, seconds.
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
    #[serde(default, rename = "brought")]
    pub prefetched: u64,
    /// Where its time went.
    #[serde(default)]
    pub phases: Phases,
    /// There is a trace: it ended on a worker.
    pub traced: bool,
}

/// Why an attempt did not count.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConflictRecord {
    /// On the client.
    pub path: String,
    /// Its bytes in hex, where they are no UTF-8 and `path` only comes near.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_hex: Option<String>,
    /// What the job was told, in words.
    pub seen: String,
    /// What was there at its commit, in words.
    pub found: String,
    /// Id of the job that changed it; null: something outside of the build.
    pub changed_by: Option<String>,
}

impl ConflictRecord {
    /// Of a conflict, and who changed the path.
    pub fn new(conflict: &Conflict, changed_by: Option<JobId>) -> Self {
        let bytes = conflict.path.as_os_str().as_bytes();
        let is_text = std::str::from_utf8(bytes).is_ok();
        Self {
            path: conflict.path.to_string_lossy().into_owned(),
            path_hex: (!is_text).then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
            seen: conflict.seen.clone(),
            found: conflict.found.clone(),
            changed_by: changed_by.map(|job| job.to_string()),
        }
    }
}

impl History {
    /// Keeps a job and what it used.
    pub fn write_job(&self, id: JobId, record: &JobRecord, trace: &[TraceItem]) -> io::Result<()> {
        let mut content = serde_json::to_vec(record)?;
        content.push(b'\n');
        for item in trace {
            content.push(kind_of(item.used));
            if let Some(hash) = item.used.content() {
                write!(content, "{hash}")?;
            }
            content.push(b' ');
            content.extend_from_slice(item.path.as_os_str().as_bytes());
            content.push(0);
        }
        self.logs.append(id, &content)
    }

    /// A job and what it used, in order of first use; `None`: it is not kept. Of several records of
    /// one job the last one counts, here and below: one that runs on the client has one of its
    /// beginning and one of its end.
    pub fn job(&self, id: JobId) -> io::Result<Option<(JobRecord, Vec<TraceItem>)>> {
        let mut last = None;
        self.logs.visit(id.build, |number, record| {
            if number == id.number {
                let mut content = Vec::new();
                record.read_to_end(&mut content)?;
                if record.limit() == 0 {
                    last = Some(read_job(&content)?);
                }
            }
            Ok(())
        })?;
        Ok(last)
    }

    /// The jobs of a build that are kept, in the order of their numbers.
    pub fn jobs(&self, build: BuildId) -> io::Result<Vec<JobRecord>> {
        let mut records = BTreeMap::new();
        self.logs.visit(build, |number, record| {
            let mut line = Vec::new();
            record.read_until(b'\n', &mut line)?;
            if line.ends_with(b"\n") {
                records.insert(number, serde_json::from_slice(&line)?);
            }
            Ok(())
        })?;
        Ok(records.into_values().collect())
    }
}

fn read_job(content: &[u8]) -> io::Result<(JobRecord, Vec<TraceItem>)> {
    let end = content.iter().position(|byte| *byte == b'\n').ok_or_else(torn)?;
    let record = serde_json::from_slice(&content[..end])?;
    let items = content[end + 1..].split_inclusive(|byte| *byte == 0);
    let trace: Option<Vec<_>> = items.map(read_item).collect();
    Ok((record, trace.ok_or_else(torn)?))
}

fn read_item(mut item: &[u8]) -> Option<TraceItem> {
    let mut kind = [0];
    item.read_exact(&mut kind).ok()?;
    let item = item.strip_suffix(&[0])?;
    let (hash, path) = match item.strip_prefix(b" ") {
        Some(path) => (None, path),
        None => {
            let (hash, path) = item.split_at_checked(64)?;
            (Some(read_hash(hash)?), path.strip_prefix(b" ")?)
        }
    };
    Some(TraceItem {
        path: OsString::from_vec(path.to_vec()).into(),
        used: use_of(kind[0], hash)?,
    })
}

/// How a use is written down.
fn kind_of(used: Use) -> u8 {
    match used {
        Use::Read(_) => b'1',
        Use::Stat => b'2',
        Use::Missing => b'3',
        Use::Listed => b'4',
        Use::Write => b'5',
    }
}

fn use_of(kind: u8, content: Option<BlobHash>) -> Option<Use> {
    Some(match (kind, content) {
        (b'1', content) => Use::Read(content),
        (b'2', None) => Use::Stat,
        (b'3', None) => Use::Missing,
        (b'4', None) => Use::Listed,
        (b'5', None) => Use::Write,
        _ => return None,
    })
}

fn read_hash(text: &[u8]) -> Option<BlobHash> {
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(BlobHash(hash))
}
