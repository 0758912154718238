//! One caller that waits for its job: what it says, what it is told, and that it went
//! away. Knows frames; knows nothing of jobs.

use super::surroundings::Groups;
use super::{PIECE, Surroundings, Watched, sys};
use rustix::process::Pid;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use termite_wire::frame::{Decoder, ToCaller, ToDaemon, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

/// Frames that may wait to be written: output beyond them holds up whoever sends it.
const OUTGOING: usize = 4;
/// Frames that may wait to be read. An honest caller sends one piece of input for each
/// time it is asked, so only signals and sizes pile up.
const INCOMING: usize = 4096;

/// What is to be written, in order.
enum Outgoing {
    Frame(Vec<u8>),
    /// Nothing: told once all before it is written.
    Mark(oneshot::Sender<()>),
}

/// A connection. Dropping it writes what was sent and closes.
pub struct Caller {
    outgoing: mpsc::Sender<Outgoing>,
    incoming: RefCell<mpsc::Receiver<ToDaemon>>,
    gone: watch::Receiver<bool>,
    /// Its process, if the kernel says.
    pid: Option<i32>,
    /// Its groups as it connected.
    groups: io::Result<Groups>,
}

impl Caller {
    /// Takes over a connection whose first frame has been read by `decoder`.
    pub(super) fn new(stream: UnixStream, decoder: Decoder<ToDaemon>) -> Self {
        let peer = stream.peer_cred();
        let pid = peer.as_ref().ok().and_then(|peer| peer.pid());
        let groups = peer.and_then(|peer| Ok(Groups::new(peer.gid(), sys::groups_of_peer(stream.as_fd())?)));
        let (from, to) = stream.into_split();
        let (say, said) = mpsc::channel(INCOMING);
        let (outgoing, queue) = mpsc::channel(OUTGOING);
        let (leave, gone) = watch::channel(false);
        tokio::task::spawn_local(listen(from, decoder, say, leave, outgoing.downgrade()));
        tokio::task::spawn_local(speak(to, queue));
        Self {
            outgoing,
            incoming: RefCell::new(said),
            gone,
            pid,
            groups,
        }
    }

    /// Where it is. An error: it cannot be seen from here.
    pub fn surroundings(&self) -> io::Result<Surroundings> {
        let groups = self.groups.as_ref().map_err(|error| io::Error::from(error.kind()))?;
        Surroundings::of_process(self.process(), groups.clone())
    }

    /// Begins to watch the caller's process, which outlives the connection if it executes
    /// another program. To be called while the caller waits for an answer: later the number
    /// may be another process's.
    pub fn watch(&self) -> io::Result<Watched> {
        let pid = self.pid.and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        Watched::new(pid)
    }

    /// Tells the caller; waits while it is slow to listen. What a caller that went away
    /// is told is lost, see [`Caller::gone`].
    pub async fn send(&self, frame: ToCaller) {
        if self.outgoing.send(Outgoing::Frame(encode(&frame))).await.is_err() {
            tracing::debug!("a caller left before it heard everything");
        }
    }

    /// Resolves when the kernel has all that was sent, or the caller went away: the caller
    /// finds it there even if this process ends.
    pub async fn written(&self) {
        let (mark, reached) = oneshot::channel();
        if self.outgoing.send(Outgoing::Mark(mark)).await.is_ok() {
            // An error means that the caller went away.
            let _ = reached.await;
        }
    }

    /// Number of the caller's process; 0: the kernel does not say.
    pub fn process(&self) -> u32 {
        self.pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0)
    }

    /// What the caller says next; `None`: it went away. Nothing is lost when the future
    /// is dropped. One at a time.
    pub async fn next(&self) -> Option<ToDaemon> {
        poll_fn(|context| self.incoming.borrow_mut().poll_recv(context)).await
    }

    /// Resolves when the caller has closed the connection, or died.
    pub async fn gone(&self) {
        // An error means that the listening task has ended, which is the same.
        let _ = self.gone.clone().wait_for(|gone| *gone).await;
    }
}

/// Reads frames until the caller leaves or talks nonsense, which it is told.
async fn listen(
    mut from: OwnedReadHalf,
    mut decoder: Decoder<ToDaemon>,
    say: mpsc::Sender<ToDaemon>,
    leave: watch::Sender<bool>,
    outgoing: mpsc::WeakSender<Outgoing>,
) {
    let mut piece = vec![0; PIECE];
    let nonsense = 'conversation: loop {
        loop {
            match decoder.next() {
                Ok(None) => break,
                Ok(Some(ToDaemon::Job(_) | ToDaemon::Control(_))) => {
                    break 'conversation Some("a conversation has one job or request".to_owned());
                }
                Ok(Some(frame)) => {
                    if let Err(mpsc::error::TrySendError::Full(_)) = say.try_send(frame) {
                        break 'conversation Some("more frames came than anybody asked for".to_owned());
                    }
                }
                Err(error) => break 'conversation Some(error.to_string()),
            }
        }
        match from.read(&mut piece).await {
            Ok(0) | Err(_) => break None,
            Ok(len) => decoder.feed(&piece[..len]),
        }
    };
    if let (Some(why), Some(outgoing)) = (nonsense, outgoing.upgrade()) {
        tracing::warn!("a caller is dropped: {why}");
        if outgoing
            .send(Outgoing::Frame(encode(&ToCaller::Error(why))))
            .await
            .is_err()
        {
            tracing::debug!("it had left already");
        }
    }
    // Nobody waits for the news when the job's end came first.
    leave.send_replace(true);
}

/// Writes frames until there are no more or the caller does not take them.
async fn speak(mut to: OwnedWriteHalf, mut queue: mpsc::Receiver<Outgoing>) {
    while let Some(outgoing) = queue.recv().await {
        let bytes = match outgoing {
            Outgoing::Frame(bytes) => bytes,
            Outgoing::Mark(reached) => {
                // Nobody waits for it if the job was given up.
                let _ = reached.send(());
                continue;
            }
        };
        if let Err(error) = to.write_all(&bytes).await {
            tracing::debug!("a caller does not listen: {error}");
            return;
        }
    }
    if let Err(error) = to.shutdown().await {
        tracing::debug!("a caller left first: {error}");
    }
}
