//! The daemon's side of its unix socket: who calls is checked, frames become calls of
//! [`Requests`], and a caller that goes away is noticed.
//!
//! Knows nothing of what a job or a request does.

mod caller;
mod listener;
mod surroundings;
mod sys;
#[cfg(test)]
mod tests;
mod watched;

pub use caller::Caller;
pub use listener::{BindError, Listener, SocketLock, bind};
pub use surroundings::Surroundings;
pub use watched::Watched;

use crate::config::Config;
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::rc::Rc;
use std::time::Duration;
use termite_wire::frame::{CallerJob, Control, Decoder, FrameError, ToCaller, ToDaemon};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

/// Bytes read from a caller at once.
const PIECE: usize = 64 << 10;
/// Pause after the kernel refused to accept, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What callers ask for. Runs on one thread, in a `LocalSet`.
#[expect(async_fn_in_trait, reason = "no Send is wanted: everything lives in one LocalSet")]
pub trait Requests {
    /// Serves one `termite-run` to its end. The connection closes when `caller` is dropped.
    async fn job(self: Rc<Self>, job: CallerJob, caller: Caller);
    /// Why a question of the `termite` command has no answer, told in a sentence.
    type Error: std::error::Error;
    /// Answers the `termite` command with JSON.
    async fn control(self: Rc<Self>, control: Control) -> Result<String, Self::Error>;
}

/// Serves callers for ever; ends only with an error of the socket itself.
pub async fn serve<R: Requests + 'static>(listener: Listener, requests: Rc<R>) -> io::Result<()> {
    let me = rustix::process::geteuid().as_raw();
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
            Err(error) => {
                tracing::warn!("a caller could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == me => {
                tokio::task::spawn_local(converse(stream, requests.clone()));
            }
            Ok(peer) => tracing::warn!("a caller of user {} was turned away", peer.uid()),
            Err(error) => tracing::warn!("a caller could not be identified: {error}"),
        }
    }
}

/// One connection from its first frame on.
async fn converse<R: Requests>(mut stream: UnixStream, requests: Rc<R>) {
    let mut decoder = Decoder::new();
    match first_frame(&mut stream, &mut decoder).await {
        Ok(None) => {}
        Ok(Some(ToDaemon::Job(job))) => {
            requests.job(job, Caller::new(stream, decoder)).await;
        }
        Ok(Some(ToDaemon::Control(control))) => {
            let caller = Caller::new(stream, decoder);
            let answer = requests.control(control).await;
            let answer = answer.map_or_else(|error| ToCaller::Error(error.to_string()), ToCaller::Report);
            caller.send(answer).await;
        }
        Ok(Some(_)) => {
            let why = "a conversation begins with a job or a request; use termite-run or termite".to_owned();
            Caller::new(stream, decoder).send(ToCaller::Error(why)).await;
        }
        Err(error) => {
            let why = ToCaller::Error(error.to_string());
            Caller::new(stream, decoder).send(why).await;
        }
    }
}

/// `None`: the caller left without a word.
async fn first_frame(stream: &mut UnixStream, decoder: &mut Decoder<ToDaemon>) -> Result<Option<ToDaemon>, FrameError> {
    let mut piece = vec![0; PIECE];
    loop {
        if let Some(frame) = decoder.next()? {
            return Ok(Some(frame));
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(len) => decoder.feed(&piece[..len]),
        }
    }
}

/// The daemon's log, to append to; `None` where it cannot be made.
pub fn log_file(config: &Config) -> Option<File> {
    let opened = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.state_dir)
        .and_then(|()| {
            File::options()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(config.state_dir.join("daemon.log"))
        });
    opened
        .map_err(|e| tracing::warn!("no log in {}: {e}", config.state_dir.display()))
        .ok()
}

/// Resolves when the daemon is asked to end by SIGTERM or SIGINT.
pub async fn termination() -> io::Result<()> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
