//! What a job left on its worker: brought into the client's tree, merged into the worker's
//! mirror, or dropped. Does not decide which of these.

use crate::commit::{self, CommitError, CommitRequest, Committed};
use crate::daemon::Daemon;
use crate::journal::JobLog;
use crate::link::SlotLease;
use crate::overlap::Pending;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use termite_types::{BlobHash, Change, ChangeKind, Conflict, JobId, Node};
use tokio::sync::{Notify, mpsc};

/// Why a job's changes are not in the client's tree.
pub(super) enum NotCommitted {
    /// Something that the job was told does not hold any more. Nothing was changed.
    Conflict(Conflict),
    /// They cannot be written, in words. Nothing was changed.
    Refused(String),
    /// The commit failed after it had changed something, in words.
    Half(String),
}

/// Writes the outputs into the client's tree, reading their contents from the worker. Once
/// `hurry` is notified no more contents are read.
pub(super) async fn commit(
    daemon: &Daemon,
    place: &SlotLease,
    request: Arc<CommitRequest>,
    log: JobLog,
    hurry: &Notify,
) -> Result<(Committed, Pending), NotCommitted> {
    let (ask, asked) = mpsc::unbounded_channel::<BlobRequest>();
    let mut asked = Some(asked);
    let (deny, overlap) = (daemon.deny.clone(), daemon.overlap.clone());
    let work = move || commit::commit(&request, &FromWorker(ask), &deny, &overlap, &log);
    let mut work = tokio::task::spawn_blocking(work);
    loop {
        let next = async {
            match &mut asked {
                Some(asked) => asked.recv().await,
                None => None,
            }
        };
        tokio::select! {
            Some(BlobRequest { hash, offset, length, answer }) = next => {
                let piece = place.session.remote.read(hash, offset, length).await;
                if let Ok(bytes) = &piece {
                    place.link().traffic.received(bytes.len() as u64);
                }
                // The committer ends by itself when no answer comes.
                let _ = answer.send(piece.map_err(|e| io::Error::other(e.to_string())));
            }
            () = hurry.notified() => asked = None,
            done = &mut work => return match done {
                Ok(committed) => committed.map_err(NotCommitted::from),
                Err(error) => Err(NotCommitted::Half(format!(
                    "the committer failed, and what it changed is not known: {error}"
                ))),
            },
        }
    }
}

impl From<CommitError> for NotCommitted {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict(conflict) => Self::Conflict(conflict),
            error if error.is_untouched() => Self::Refused(error.to_string()),
            error => Self::Half(error.to_string()),
        }
    }
}

struct BlobRequest {
    hash: BlobHash,
    offset: u64,
    length: u32,
    answer: std::sync::mpsc::Sender<io::Result<Vec<u8>>>,
}

/// Contents that are still on the worker, for the committer's thread.
struct FromWorker(mpsc::UnboundedSender<BlobRequest>);

impl commit::Contents for FromWorker {
    fn read(&self, hash: BlobHash, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        let (answer, answered) = std::sync::mpsc::channel();
        let gone = || io::Error::from(io::ErrorKind::ConnectionAborted);
        self.0
            .send(BlobRequest {
                hash,
                offset,
                length,
                answer,
            })
            .map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

/// Lets the worker keep the outputs in its mirror. The next job's dispatch follows on
/// the same connection, so it is enough that this call is sent first.
pub(super) fn merge(daemon: &Daemon, place: &SlotLease, job: JobId, committed: &Committed) {
    let (snapshot, updates) = daemon.tree.committed(place.link().key, &committed.paths);
    let merged = place.session.remote.committed(job, snapshot, &updates);
    tokio::task::spawn_local(async move {
        if let Err(error) = merged.await {
            tracing::debug!("job {job}: outputs not merged: {error}");
        }
    });
}

/// Other workers may have the outputs from this one.
pub(super) fn note_holder(daemon: &Daemon, place: &SlotLease, changes: &[Change]) {
    for change in changes {
        if let ChangeKind::File { attr, .. } = &change.kind
            && let Node::File { size, hash: Some(hash) } = attr.node
        {
            daemon.fleet.holders.record(place.link().key, hash, size);
        }
    }
}

/// Has the worker drop the outputs, before it is told anything else of the job.
pub(super) fn discard(place: &Rc<SlotLease>, job: JobId) {
    let discarded = place.session.remote.discard(job);
    tokio::task::spawn_local(async move {
        if let Err(error) = discarded.await {
            tracing::debug!("job {job}: outputs not dropped: {error}");
        }
    });
}
