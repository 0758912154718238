//! The client's files for the worker's threads: their blocking questions travel to the
//! thread that holds the connection, and the answers back. Knows one client's file
//! server; knows nothing of mirrors.

use crate::view::{Files, FilesError, OpenedFile, Pieces};
use futures::StreamExt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc as answers;
use termite_types::{BlobHash, Listing, Snapshot};
use termite_wire::peer::{Listed, Opened};
use termite_wire::remote::RemoteFiles;
use tokio::sync::{mpsc, watch};

type Answer<T> = answers::Sender<Result<T, FilesError>>;

enum Question {
    ReadDir(PathBuf, Answer<Listing>),
    Open(PathBuf, Answer<OpenedFile>),
    ReadDirs(Vec<PathBuf>, Answer<Vec<Listed>>),
    OpenAll(Vec<PathBuf>, Answer<Vec<Opened>>),
    Read(BlobHash, Range<u64>, mpsc::Sender<Result<Vec<u8>, FilesError>>),
}

/// Bytes of a blob that are asked for at once.
const PIECE: u64 = 1 << 20;
/// Pieces that are under way while one is written.
const AHEAD: usize = 4;

/// A client's file server, usable from any thread but that of the connection.
pub struct ClientFiles(mpsc::UnboundedSender<Question>);

impl ClientFiles {
    /// Answers through `remote` from a task of this thread, at the newest snapshot, until
    /// nobody asks any more.
    pub fn new(remote: RemoteFiles, snapshot: watch::Receiver<Snapshot>) -> Self {
        let (ask, mut asked) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            while let Some(question) = asked.recv().await {
                tokio::task::spawn_local(answer(remote.clone(), *snapshot.borrow(), question));
            }
        });
        Self(ask)
    }

    fn ask<T>(&self, question: impl FnOnce(Answer<T>) -> Question) -> Result<T, FilesError> {
        let lost = || FilesError::Lost("the client is gone".to_string());
        let (answer, answered) = answers::channel();
        self.0.send(question(answer)).map_err(|_| lost())?;
        answered.recv().map_err(|_| lost())?
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

    fn read(&self, hash: &BlobHash, from: u64, until: u64) -> Pieces<'_> {
        let (answer, mut answered) = mpsc::channel(AHEAD);
        match self.0.send(Question::Read(*hash, from..until, answer)) {
            Ok(()) => Box::new(std::iter::from_fn(move || answered.blocking_recv())),
            Err(_) => Box::new(std::iter::once(Err(FilesError::Lost("the client is gone".into())))),
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
        Opened::File { attr, head } => Ok(OpenedFile { attr, head }),
        Opened::Errno(errno) => Err(FilesError::Errno(errno as i32)),
        Opened::Denied => Err(FilesError::Denied),
    }
}

/// Nobody may wait any more for an answer (its job was cancelled): that is no error.
async fn answer(remote: RemoteFiles, snapshot: Snapshot, question: Question) {
    let lost = |error: termite_wire::rpc::RemoteError| FilesError::Lost(error.to_string());
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
        Question::Read(hash, bytes, answer) => {
            let pieces = bytes.clone().step_by(PIECE as usize).map(|from| {
                let length = PIECE.min(bytes.end - from) as u32;
                let read = remote.read(hash, from, length);
                async move { (length as usize, read.await.map_err(lost)) }
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
