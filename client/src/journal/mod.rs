//! The journal of commits: a file beside the daemon's socket that tells a stub whose daemon
//! was killed whether its job counts, and the next daemon what the killed one left.
//!
//! A record is one write(2) and is never synced: the journal outlives the daemon, not the
//! machine. A job is kept until its stub has been told; when the file has grown, it is
//! written anew with the kept jobs alone and renamed into place. A daemon takes over what a
//! dead one wrote for stubs that still live, so there is one file, however many daemons died.
//!
//! Knows neither jobs nor changes; removes no temporary file.

mod entry;
mod file;
#[cfg(test)]
mod tests;

pub(crate) use entry::JobLog;

use parking_lot::Mutex;
use rustix::process::{Pid, test_kill_process};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use termite_types::journal::{CommitStage, JournalEnd, JournalEntry, JournalState, Record};
use termite_types::{PROTOCOL, RequestId, journal_path};
use tokio::sync::Notify;

/// A file of so many bytes is written anew, unless half of it is still needed.
const GROWN: u64 = 1 << 20;
/// Bytes that are taken over from dead daemons.
const TAKEN_OVER_MAX: usize = 4 << 20;

/// The journal of a daemon that lives.
pub(crate) struct Journal {
    path: PathBuf,
    inner: Mutex<Inner>,
    forgot: Notify,
}

struct Inner {
    file: File,
    /// Of the file, in bytes.
    length: u64,
    /// The file is written anew once it is longer.
    limit: u64,
    /// The first record.
    opened: Vec<u8>,
    jobs: HashMap<RequestId, Kept>,
    /// A record was cut off and could not be taken back: what came after it would not be read.
    is_broken: bool,
}

/// A job whose stub may still ask.
struct Kept {
    caller: u32,
    /// Its records.
    bytes: Vec<u8>,
    /// A daemon wrote them that is dead.
    is_taken_over: bool,
}

/// What a dead daemon left.
#[derive(Debug, Default)]
pub(crate) struct Predecessor {
    /// Part of the names of its temporary files. `None`: nothing is known of it.
    pub mark: Option<u64>,
    /// Its jobs.
    pub entries: HashMap<RequestId, JournalEntry>,
}

impl Predecessor {
    /// Reads the journal beside a socket, whose lock is held. What cannot be read is logged.
    pub(crate) fn read(socket: &Path) -> Self {
        let path = journal_path(socket);
        let bytes = match file::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => {
                tracing::warn!("the journal {} of the last daemon is not used: {error}", path.display());
                return Self::default();
            }
        };
        let state = JournalState::read(&bytes);
        if let JournalEnd::Corrupt(at) = state.end {
            tracing::warn!("the journal {} cannot be read beyond byte {at}", path.display());
        }
        let mark = match state.opened {
            Some((PROTOCOL, mark)) => mark,
            Some((other, _)) => {
                tracing::warn!("the journal {} is of protocol {other} and not used", path.display());
                return Self::default();
            }
            None => return Self::default(),
        };
        for (request, entry) in &state.entries {
            if let CommitStage::Begun { path, others, .. } = &entry.stage {
                let path = path.display();
                tracing::warn!("request {request} was not committed to its end: {path} and {others} others");
            }
        }
        Self {
            mark: Some(mark),
            entries: state.entries,
        }
    }
}

impl Journal {
    /// Begins the journal of this daemon in the place of the last one's. `mark` is part of
    /// the names of this daemon's temporary files.
    pub(crate) fn begin(socket: &Path, mark: u64, last: &Predecessor) -> io::Result<Self> {
        let path = journal_path(socket);
        let opened = Record::Opened {
            protocol: PROTOCOL,
            mark,
        };
        let opened = opened.encode().ok_or(io::ErrorKind::InvalidInput)?;
        let jobs = taken_over(last);
        let (file, length) = file::write_anew(&path, &content(&opened, &jobs))?;
        let inner = Inner {
            file,
            length,
            limit: GROWN.max(2 * length),
            opened,
            jobs,
            is_broken: false,
        };
        Ok(Self {
            path,
            inner: Mutex::new(inner),
            forgot: Notify::new(),
        })
    }

    /// Adds a record of a job. After an error nothing is added.
    fn append(&self, request: RequestId, caller: u32, record: &Record) -> io::Result<()> {
        let bytes = record.encode().ok_or(io::ErrorKind::FileTooLarge)?;
        let mut inner = self.inner.lock();
        inner.write(&bytes)?;
        let kept = inner.jobs.entry(request).or_insert_with(|| Kept {
            caller,
            bytes: Vec::new(),
            is_taken_over: false,
        });
        (kept.caller, kept.is_taken_over) = (caller, false);
        // What came before these records does not count any more.
        if matches!(record, Record::Staging { .. } | Record::Undone(_)) {
            kept.bytes.clear();
        }
        if !matches!(record, Record::Undone(_)) {
            kept.bytes.extend(bytes);
        }
        inner.shorten(&self.path);
        Ok(())
    }

    /// Whether anything was written for a job.
    pub(crate) fn knows(&self, request: RequestId) -> bool {
        self.inner.lock().jobs.contains_key(&request)
    }

    /// The job's stub was told how it ended, or left.
    pub(crate) fn forget(&self, request: RequestId) {
        self.inner.lock().jobs.remove(&request);
        self.forgot.notify_waiters();
    }

    /// Resolves when no stub of this daemon waits for the end of its commit.
    pub(crate) async fn settled(&self) {
        loop {
            let forgot = self.forgot.notified();
            tokio::pin!(forgot);
            forgot.as_mut().enable();
            if self.inner.lock().jobs.values().all(|kept| kept.is_taken_over) {
                return;
            }
            forgot.await;
        }
    }

    /// The daemon ends: the file goes, unless a stub may still ask.
    pub(crate) fn close(&self) {
        let is_needed = self.inner.lock().jobs.values().any(|kept| lives(kept.caller));
        if !is_needed && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!("{} is gone already: {error}", self.path.display());
        }
    }
}

impl Inner {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other("the journal is broken, restart the daemon"));
        }
        let written = io::Write::write(&mut self.file, bytes);
        if matches!(written, Ok(length) if length == bytes.len()) {
            self.length += bytes.len() as u64;
            return Ok(());
        }
        self.is_broken = self.file.set_len(self.length).is_err();
        Err(written.err().unwrap_or_else(|| io::ErrorKind::StorageFull.into()))
    }

    /// Writes a file that has grown anew, with what is still needed.
    fn shorten(&mut self, path: &Path) {
        if self.length <= self.limit {
            return;
        }
        match file::write_anew(path, &content(&self.opened, &self.jobs)) {
            Ok((file, length)) => (self.file, self.length) = (file, length),
            Err(error) => tracing::warn!("the journal {} grows on: {error}", path.display()),
        }
        self.limit = GROWN.max(2 * self.length);
    }
}

fn content(opened: &[u8], jobs: &HashMap<RequestId, Kept>) -> Vec<u8> {
    let mut content = opened.to_vec();
    for kept in jobs.values() {
        content.extend(&kept.bytes);
    }
    content
}

/// What stubs that still live may want to know of a dead daemon, up to a bound.
fn taken_over(last: &Predecessor) -> HashMap<RequestId, Kept> {
    let mut jobs = HashMap::new();
    let mut length = 0;
    for (request, entry) in &last.entries {
        // A caller of number 0 may live where its number is not known.
        if entry.caller != 0 && !lives(entry.caller) {
            continue;
        }
        let (path, others, answer, is_done) = match &entry.stage {
            CommitStage::Untouched => continue,
            CommitStage::Begun { path, others, answer } => (path.clone(), *others, answer, false),
            CommitStage::Done(answer) => (PathBuf::from("/"), 0, answer, true),
        };
        let begun = Record::Begun {
            request: *request,
            caller: entry.caller,
            path,
            others,
            answer: answer.clone(),
        };
        let done = is_done.then_some(Record::Done(*request));
        let bytes: Vec<u8> = [Some(begun), done]
            .into_iter()
            .flatten()
            .flat_map(|record| record.encode().unwrap_or_default())
            .collect();
        length += bytes.len();
        if length > TAKEN_OVER_MAX {
            tracing::warn!("more jobs of the last daemon wait to be told than the journal keeps");
            break;
        }
        let kept = Kept {
            caller: entry.caller,
            bytes,
            is_taken_over: true,
        };
        jobs.insert(*request, kept);
    }
    jobs
}

/// Whether there is such a process. Its number may be another one's by now, which keeps a
/// few bytes for longer.
fn lives(process: u32) -> bool {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    process.is_some_and(|process| test_kill_process(process) != Err(rustix::io::Errno::SRCH))
}
