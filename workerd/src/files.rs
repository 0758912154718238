//! The client's files for the worker's threads: their blocking questions travel to the
//! thread that holds the connection, and the answers back. Knows one client's file
//! server; knows nothing of mirrors.

use crate::view::{Files, FilesError, OpenedFile};
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
    Read(BlobHash, u64, u32, Answer<Vec<u8>>),
}

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

    fn read(&self, hash: &BlobHash, offset: u64, len: u32) -> Result<Vec<u8>, FilesError> {
        self.ask(|answer| Question::Read(*hash, offset, len, answer))
    }
}

/// Nobody may wait any more for an answer (its job was cancelled): that is no error.
async fn answer(remote: RemoteFiles, snapshot: Snapshot, question: Question) {
    let lost = |error: termite_wire::rpc::RemoteError| FilesError::Lost(error.to_string());
    match question {
        Question::ReadDir(path, answer) => {
            let listed = remote.read_dir(snapshot, &path).await.map_err(lost);
            let _ = answer.send(listed.and_then(|listed| match listed {
                Listed::Listing(listing) => Ok(listing),
                Listed::Errno(errno) => Err(FilesError::Errno(errno as i32)),
            }));
        }
        Question::Open(path, answer) => {
            let opened = remote.open(snapshot, &path).await.map_err(lost);
            let _ = answer.send(opened.and_then(|opened| match opened {
                Opened::File { attr, head } => Ok(OpenedFile { attr, head }),
                Opened::Errno(errno) => Err(FilesError::Errno(errno as i32)),
                Opened::Denied => Err(FilesError::Denied),
            }));
        }
        Question::Read(hash, offset, len, answer) => {
            let _ = answer.send(remote.read(hash, offset, len).await.map_err(lost));
        }
    }
}
