//! The client's files for the worker's threads: their blocking questions travel to the
//! thread that holds the connection, and the answers back. Knows one client's file
//! server; knows nothing of mirrors.

#[cfg(test)]
mod tests;

use crate::peers::Peers;
use crate::view::{Files, FilesError, OpenedFile, Pieces};
use futures::StreamExt;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc as answers;
use termite_types::{BLOB_PIECE, BlobHash, Holder, Listing, Resource, Snapshot, UserAnswer, UserQuery};
use termite_wire::client::RemoteFiles;
use termite_wire::peer::{Listed, Opened};
use tokio::sync::{mpsc, watch};

type Answer<T> = answers::Sender<Result<T, FilesError>>;

enum Question {
    ReadDir(PathBuf, Answer<Listing>),
    Open(PathBuf, Answer<OpenedFile>),
    ReadDirs(Vec<PathBuf>, Answer<Vec<Listed>>),
    OpenAll(Vec<PathBuf>, Answer<Vec<Opened>>),
    MachineHas(Resource, Answer<bool>),
    FindUser(UserQuery, Answer<UserAnswer>),
    /// `None`: from the client.
    Read(
        Option<Holder>,
        BlobHash,
        Range<u64>,
        mpsc::Sender<Result<Vec<u8>, FilesError>>,
    ),
}

/// Who answers: the client, and its other workers.
#[derive(Clone)]
struct Sources {
    client: RemoteFiles,
    peers: Rc<Peers>,
}

/// Pieces that are under way while one is written.
const AHEAD: usize = 4;

/// A client's file server, usable from any thread but that of the connection.
pub(crate) struct ClientFiles {
    questions: mpsc::UnboundedSender<Question>,
    /// Workers who gave something else than they were asked for.
    liars: Mutex<HashSet<Holder>>,
}

impl ClientFiles {
    /// Answers through `remote` from a task of this thread, at the newest snapshot, until
    /// nobody asks any more.
    pub(crate) fn new(remote: RemoteFiles, peers: Peers, snapshot: watch::Receiver<Snapshot>) -> Self {
        let (ask, mut asked) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            let sources = Sources {
                client: remote,
                peers: Rc::new(peers),
            };
            while let Some(question) = asked.recv().await {
                tokio::task::spawn_local(answer(sources.clone(), *snapshot.borrow(), question));
            }
        });
        Self {
            questions: ask,
            liars: Mutex::default(),
        }
    }

    fn ask<T>(&self, question: impl FnOnce(Answer<T>) -> Question) -> Result<T, FilesError> {
        let lost = || FilesError::Lost("the client is gone".to_string());
        let (answer, answered) = answers::channel();
        self.questions.send(question(answer)).map_err(|_| lost())?;
        answered.recv().map_err(|_| lost())?
    }

    fn pieces(&self, holder: Option<Holder>, hash: &BlobHash, from: u64, until: u64) -> Pieces<'_> {
        let (answer, mut answered) = mpsc::channel(AHEAD);
        match self.questions.send(Question::Read(holder, *hash, from..until, answer)) {
            Ok(()) => Box::new(std::iter::from_fn(move || answered.blocking_recv())),
            Err(_) => Box::new(std::iter::once(Err(FilesError::Lost("the client is gone".into())))),
        }
    }
}

impl Files for ClientFiles {
    fn read_dir(&self, path: &Path) -> Result<Listing, FilesError> {
        self.ask(|answer| Question::ReadDir(path.to_path_buf(), answer))
    }

    fn open(&self, path: &Path) -> Result<OpenedFile, FilesError> {
        self.ask(|answer| Question::Open(path.to_path_buf(), answer))
    }

    fn read_dirs(&self, paths: &[PathBuf]) -> Vec<Result<Listing, FilesError>> {
        match self.ask(|answer| Question::ReadDirs(paths.to_vec(), answer)) {
            Ok(listed) => listed.into_iter().map(listing).collect(),
            Err(lost) => vec![Err(lost)],
        }
    }

    fn open_all(&self, paths: &[PathBuf]) -> Vec<Result<OpenedFile, FilesError>> {
        match self.ask(|answer| Question::OpenAll(paths.to_vec(), answer)) {
            Ok(all) => all.into_iter().map(opened).collect(),
            Err(lost) => vec![Err(lost)],
        }
    }

    fn machine_has(&self, resource: &Resource) -> Result<bool, FilesError> {
        self.ask(|answer| Question::MachineHas(resource.clone(), answer))
    }

    fn find_user(&self, query: &UserQuery) -> Result<UserAnswer, FilesError> {
        self.ask(|answer| Question::FindUser(query.clone(), answer))
    }

    fn read(&self, hash: &BlobHash, from: u64, until: u64) -> Pieces<'_> {
        self.pieces(None, hash, from, until)
    }

    fn read_from(&self, holder: &Holder, hash: &BlobHash, from: u64, until: u64) -> Pieces<'_> {
        if self.liars.lock().contains(holder) {
            let avoided = FilesError::Lost("it is avoided".into());
            return Box::new(std::iter::once(Err(avoided)));
        }
        self.pieces(Some(holder.clone()), hash, from, until)
    }

    fn distrust(&self, holder: &Holder) {
        if self.liars.lock().insert(holder.clone()) {
            tracing::warn!(
                "worker {} gave other content than its hash says: it is avoided",
                holder.address
            );
        }
    }
}

fn listing(listed: Listed) -> Result<Listing, FilesError> {
    match listed {
        Listed::Listing(listing) => Ok(listing),
        Listed::Errno(errno) => Err(FilesError::Errno(errno as i32)),
    }
}

fn opened(opened: Opened) -> Result<OpenedFile, FilesError> {
    match opened {
        Opened::File { attr, head, holders } => Ok(OpenedFile { attr, head, holders }),
        Opened::Errno(errno) => Err(FilesError::Errno(errno as i32)),
        Opened::Denied => Err(FilesError::Denied),
    }
}

impl Sources {
    async fn read(&self, from: Option<&Holder>, hash: BlobHash, at: u64, length: u32) -> Result<Vec<u8>, FilesError> {
        let lost = |error: &dyn std::error::Error| FilesError::Lost(error.to_string());
        match from {
            Some(holder) => {
                let piece = self.peers.read(holder, hash, at, length).await;
                piece.map_err(|error| lost(&error))
            }
            None => {
                let piece = self.client.read(hash, at, length).await;
                piece.map_err(|error| lost(&error))
            }
        }
    }
}

/// Nobody may wait any more for an answer (its job was cancelled): that is no error.
async fn answer(sources: Sources, snapshot: Snapshot, question: Question) {
    let lost = |error: termite_wire::rpc::RemoteError| FilesError::Lost(error.to_string());
    let remote = &sources.client;
    match question {
        Question::ReadDir(path, answer) => {
            let listed = remote.read_dir(snapshot, &path).await.map_err(lost);
            let _ = answer.send(listed.and_then(listing));
        }
        Question::Open(path, answer) => {
            let file = remote.open(snapshot, &path).await.map_err(lost);
            let _ = answer.send(file.and_then(opened));
        }
        Question::ReadDirs(paths, answer) => {
            let _ = answer.send(remote.read_dirs(snapshot, &paths).await.map_err(lost));
        }
        Question::OpenAll(paths, answer) => {
            let _ = answer.send(remote.open_all(snapshot, &paths).await.map_err(lost));
        }
        Question::MachineHas(resource, answer) => {
            let _ = answer.send(remote.machine_has(&resource).await.map_err(lost));
        }
        Question::FindUser(query, answer) => {
            let _ = answer.send(remote.find_user(&query).await.map_err(lost));
        }
        Question::Read(holder, hash, bytes, answer) => {
            let sources = &sources;
            let holder = holder.as_ref();
            let pieces = bytes.clone().step_by(BLOB_PIECE as usize).map(|from| {
                let length = u64::from(BLOB_PIECE).min(bytes.end - from) as u32;
                async move { (length as usize, sources.read(holder, hash, from, length).await) }
            });
            let mut pieces = std::pin::pin!(futures::stream::iter(pieces).buffered(AHEAD));
            while let Some((length, piece)) = pieces.next().await {
                let is_last = !piece.as_ref().is_ok_and(|piece| piece.len() == length);
                if answer.send(piece).await.is_err() || is_last {
                    return;
                }
            }
        }
    }
}
