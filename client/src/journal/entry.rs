//! One job's commit as the journal is told of it. Knows the records of one job; does not
//! know when they are due.

use super::Journal;
use crate::commit::CommitLog;
use std::io;
use std::path::Path;
use std::sync::Arc;
use termite_types::RequestId;
use termite_types::journal::{Answer, Record};

/// Bytes of names of directories in one record. Temporary files in those beyond are not
/// removed if the daemon is killed.
const DIRS_MAX: usize = 4 << 20;

/// Writes the records of one commit.
pub(crate) struct JobLog {
    journal: Arc<Journal>,
    request: RequestId,
    caller: u32,
    answer: Answer,
}

impl JobLog {
    /// For the job of a stub with this process number (0: unknown), which is told `answer`
    /// once the commit is done.
    pub(crate) fn new(journal: Arc<Journal>, request: RequestId, caller: u32, answer: Answer) -> Self {
        Self {
            journal,
            request,
            caller,
            answer,
        }
    }

    fn append(&self, record: &Record) -> io::Result<()> {
        self.journal.append(self.request, self.caller, record)
    }

    /// For the records without which a killed daemon's stub errs on the safe side.
    fn append_if_possible(&self, record: &Record) {
        if let Err(error) = self.append(record) {
            tracing::warn!("the end of a commit is not in the journal: {error}");
        }
    }
}

impl CommitLog for JobLog {
    fn staging(&self, dirs: &[&Path]) -> io::Result<()> {
        let mut length = 0;
        let fits = dirs.iter().take_while(|dir| {
            length += dir.as_os_str().len() + size_of::<u32>();
            length <= DIRS_MAX
        });
        self.append(&Record::Staging {
            request: self.request,
            caller: self.caller,
            dirs: fits.map(|dir| dir.to_path_buf()).collect(),
        })
    }

    fn begun(&self, path: &Path, others: usize) -> io::Result<()> {
        self.append(&Record::Begun {
            request: self.request,
            caller: self.caller,
            path: path.to_owned(),
            others: u32::try_from(others).unwrap_or(u32::MAX),
            answer: self.answer.clone(),
        })
    }

    fn moving(&self, from: &Path, temporary: &Path, to: &Path) -> io::Result<()> {
        self.append(&Record::Moving {
            request: self.request,
            from: from.to_owned(),
            temporary: temporary.to_owned(),
            to: to.to_owned(),
        })
    }

    fn undone(&self) {
        self.append_if_possible(&Record::Undone(self.request));
    }

    fn done(&self) {
        self.append_if_possible(&Record::Done(self.request));
    }
}
