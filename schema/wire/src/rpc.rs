//! Starts the conversation of `peer.capnp` on a connection that somebody made. Knows how
//! messages travel; knows nothing of what they say, nor where the connection leads.

use crate::WireError;
use crate::compress::CompressedStream;
use capnp::capability::Client;
use capnp::message::ReaderOptions;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

/// Longest message in words of 8 bytes, and how much of one may be walked: 512 MiB, for
/// results with many small outputs and for very large directories. Blobs come in pieces.
pub const MESSAGE_WORDS: usize = 64 << 20;

/// Why a call on the other side gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RemoteError {
    /// The connection is gone; what the call did is unknown.
    #[error("the connection is lost: {0}")]
    Lost(String),
    /// The other side said no, in its own words.
    #[error("{0}")]
    Refused(String),
    /// The answer cannot be used.
    #[error(transparent)]
    Answer(#[from] WireError),
}

impl From<capnp::Error> for RemoteError {
    fn from(error: capnp::Error) -> Self {
        let words = |extra: &str| extra.strip_prefix("remote exception: ").unwrap_or(extra).to_string();
        match error.kind {
            capnp::ErrorKind::Disconnected => Self::Lost(words(&error.extra)),
            capnp::ErrorKind::Failed | capnp::ErrorKind::Overloaded | capnp::ErrorKind::Unimplemented => {
                Self::Refused(words(&error.extra))
            }
            _ => Self::Answer(error.into()),
        }
    }
}

/// Speaks first on a connection: the other side's bootstrap, and the future that moves
/// the messages. It ends when the connection does, and with it every call under way, in
/// either direction. Dropping it closes the connection, which the other side sees at
/// once; this side's own calls then stay unanswered. Needs a `LocalSet`, like everything
/// that uses the returned client.
pub fn dial<S>(stream: S) -> (Client, impl Future<Output = Result<(), RemoteError>> + use<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    converse(stream, Side::Client, None)
}

/// Answers on a connection with `bootstrap`. The future moves the messages, as that of
/// [`dial`] does.
pub fn answer<S>(stream: S, bootstrap: Client) -> impl Future<Output = Result<(), RemoteError>> + use<S>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (_other, driver) = converse(stream, Side::Server, Some(bootstrap));
    driver
}

/// Either side of a connection: offers `bootstrap`, gets the other's. Two halves become
/// one stream by `tokio::io::join`.
pub fn converse<S>(
    stream: S,
    side: Side,
    bootstrap: Option<Client>,
) -> (Client, impl Future<Output = Result<(), RemoteError>> + use<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let stream = Rc::new(RefCell::new(Some(CompressedStream::new(stream))));
    let half = || Half(stream.clone());
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(MESSAGE_WORDS));
    let network = twoparty::VatNetwork::new(
        futures::io::BufReader::new(half().compat()),
        futures::io::BufWriter::new(half().compat_write()),
        side,
        options,
    );
    let other = match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    };
    let mut system = RpcSystem::new(Box::new(network), bootstrap);
    let client = system.bootstrap(other);
    let closes = CloseOnDrop(stream);
    let driver = async move {
        let ended = system.await;
        drop(closes);
        Ok(ended?)
    };
    (client, driver)
}

/// A stream that its reader, its writer and who closes it hold in common; `None`: closed.
type Common<S> = Rc<RefCell<Option<S>>>;

/// Closes the stream although capabilities that came by it are still held somewhere: they
/// hold the reader.
struct CloseOnDrop<S>(Common<S>);

impl<S> Drop for CloseOnDrop<S> {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

/// Reader or writer of a common stream. After its end it reads nothing and breaks off writing.
struct Half<S>(Common<S>);

impl<S: AsyncRead + Unpin> AsyncRead for Half<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self.0.borrow_mut() {
            Some(stream) => Pin::new(stream).poll_read(cx, buf),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Half<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self.0.borrow_mut() {
            Some(stream) => Pin::new(stream).poll_write(cx, buf),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.0.borrow_mut() {
            Some(stream) => Pin::new(stream).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.0.borrow_mut() {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
