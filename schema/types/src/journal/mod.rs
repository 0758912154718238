//! The client daemon's journal of commits: what its records mean together. The daemon
//! appends a record before and after it changes the client's files; a stub that lost its
//! daemon reads from them whether its job counts.
//!
//! Knows no file: bytes go in and come out.

mod record;
#[cfg(test)]
mod tests;

pub use record::{Answer, Ended, OUTPUT_MAX, RECORD_MAX, Record};

use crate::RequestId;
use record::{Cut, HEAD, cut};
use std::collections::HashMap;
use std::path::PathBuf;

/// The longest file that is read, in bytes.
pub const JOURNAL_MAX: u64 = 256 << 20;

/// Where the records of a journal end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JournalEnd {
    /// With a whole record.
    Whole,
    /// With one that was not written to its end, which counts as not written.
    Torn,
    /// With one at this offset that cannot be read. What follows it is not known.
    Corrupt(usize),
}

/// What a journal says of one job.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JournalEntry {
    /// How far its commit came.
    pub stage: CommitStage,
    /// Process of its stub; 0: unknown.
    pub caller: u32,
    /// Where temporary files may be.
    pub dirs: Vec<PathBuf>,
    /// Files of the client's that may have a temporary name: `from`, `temporary`, `to`.
    pub moves: Vec<[PathBuf; 3]>,
}

/// How far a commit came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum CommitStage {
    /// Nothing of the client's is changed.
    #[default]
    Untouched,
    /// Some changes may be made, others not.
    Begun {
        /// One of the changed files.
        path: PathBuf,
        /// How many more there are.
        others: u32,
        /// What holds once it is done.
        answer: Answer,
    },
    /// All changes are made.
    Done(Answer),
}

/// All that a journal says.
#[derive(Debug)]
pub struct JournalState {
    /// Of the `Opened` record. `None`: there is none, and nothing else is believed.
    pub opened: Option<(u32, u64)>,
    /// By job.
    pub entries: HashMap<RequestId, JournalEntry>,
    /// How the file ends.
    pub end: JournalEnd,
}

impl JournalState {
    /// Reads a file's bytes.
    pub fn read(bytes: &[u8]) -> Self {
        let mut state = Self {
            opened: None,
            entries: HashMap::new(),
            end: JournalEnd::Whole,
        };
        let mut at = 0;
        while at < bytes.len() {
            let (record, length) = match cut(&bytes[at..]) {
                Cut::Whole(body) => (Record::decode(body), HEAD + body.len()),
                Cut::Torn => {
                    state.end = JournalEnd::Torn;
                    return state;
                }
                Cut::Bad => (None, 0),
            };
            let is_first = state.opened.is_none();
            match record {
                Some(Record::Opened { protocol, mark }) if is_first => state.opened = Some((protocol, mark)),
                Some(record) if !is_first => state.add(record),
                _ => {
                    state.end = JournalEnd::Corrupt(at);
                    return state;
                }
            }
            at += length;
        }
        state
    }

    /// Takes in one record, in the order in which they were written.
    fn add(&mut self, record: Record) {
        match record {
            Record::Opened { .. } => {}
            Record::Staging { request, caller, dirs } => {
                let entry = self.entries.entry(request).or_default();
                *entry = JournalEntry {
                    caller,
                    dirs,
                    ..JournalEntry::default()
                };
            }
            Record::Begun {
                request,
                caller,
                path,
                others,
                answer,
            } => {
                let entry = self.entries.entry(request).or_default();
                entry.caller = caller;
                entry.stage = CommitStage::Begun { path, others, answer };
            }
            Record::Moving {
                request,
                from,
                temporary,
                to,
            } => {
                let entry = self.entries.entry(request).or_default();
                entry.moves.push([from, temporary, to]);
            }
            Record::Undone(request) => {
                self.entries.remove(&request);
            }
            Record::Done(request) => {
                let entry = self.entries.entry(request).or_default();
                if let CommitStage::Begun { answer, .. } = std::mem::take(&mut entry.stage) {
                    entry.stage = CommitStage::Done(answer);
                }
                entry.dirs.clear();
                entry.moves.clear();
            }
        }
    }
}
