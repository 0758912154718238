//! Other workers of one client, asked for content that they hold. Knows addresses,
//! tickets and who was of no use just now; knows nothing of files.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use termite_transport::{Address, AddressError, DialError, Stream, dial};
use termite_types::{BlobHash, Holder};
use termite_wire::client::RemoteBlobs;
use termite_wire::handshake::ask_holder;
use termite_wire::rpc::{self, RemoteError};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// How long a peer is waited for. The client has what it would give, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerTimeouts {
    /// Until it is reached.
    pub dial: Duration,
    /// For one piece, which it may be getting itself.
    pub piece: Duration,
    /// How long it is left alone when it could not be reached, or was lost.
    pub pause: Duration,
}

impl Default for PeerTimeouts {
    fn default() -> Self {
        Self {
            dial: Duration::from_secs(1),
            piece: Duration::from_secs(10),
            pause: Duration::from_secs(5),
        }
    }
}

/// Why a peer was of no use.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// It has no address that may be dialled.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// It cannot be reached.
    #[error(transparent)]
    Dial(#[from] Arc<DialError>),
    /// It is lost, or refuses.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// It does not answer.
    #[error("no answer within {0:?}")]
    Silent(Duration),
}

/// All peers of a session.
pub(crate) struct Peers {
    timeouts: PeerTimeouts,
    known: RefCell<HashMap<Holder, Rc<Peer>>>,
}

/// One peer, dialled once, by whoever asks first.
struct Peer {
    since: Instant,
    dialled: OnceCell<Result<Connection, PeerError>>,
}

struct Connection {
    blobs: RemoteBlobs,
    _traffic: AbortOnDropHandle<()>,
}

impl Peers {
    /// None is known yet.
    pub(crate) fn new(timeouts: PeerTimeouts) -> Self {
        Self {
            timeouts,
            known: RefCell::default(),
        }
    }

    /// A piece of content that a peer holds or is getting; shorter only at its end.
    pub(crate) async fn read(
        &self,
        holder: &Holder,
        hash: BlobHash,
        offset: u64,
        length: u32,
    ) -> Result<Vec<u8>, PeerError> {
        let peer = self.peer(holder);
        let connection = peer.dialled.get_or_init(|| self.connect(holder)).await;
        let blobs = &connection.as_ref().map_err(PeerError::clone)?.blobs;
        let limit = self.timeouts.piece;
        let why = match timeout(limit, blobs.read(hash, offset, length)).await {
            Ok(Err(error @ RemoteError::Lost(_))) => error.into(),
            Ok(answer) => return answer.map_err(PeerError::from),
            Err(_) => PeerError::Silent(limit),
        };
        let lost = Peer::lost(why.clone());
        self.known.borrow_mut().insert(holder.clone(), Rc::new(lost));
        Err(why)
    }

    fn peer(&self, holder: &Holder) -> Rc<Peer> {
        let mut peers = self.known.borrow_mut();
        if peers
            .get(holder)
            .is_some_and(|peer| peer.is_rested(self.timeouts.pause))
        {
            peers.remove(holder);
        }
        peers.entry(holder.clone()).or_default().clone()
    }

    async fn connect(&self, holder: &Holder) -> Result<Connection, PeerError> {
        let limit = self.timeouts.dial;
        match timeout(limit, connect(holder)).await {
            Ok(dialled) => dialled,
            Err(_) => Err(PeerError::Silent(limit)),
        }
    }
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            dialled: OnceCell::new(),
        }
    }
}

impl Peer {
    fn lost(why: PeerError) -> Self {
        Self {
            since: Instant::now(),
            dialled: OnceCell::new_with(Some(Err(why))),
        }
    }

    /// It was of no use, long enough ago to try again.
    fn is_rested(&self, pause: Duration) -> bool {
        matches!(self.dialled.get(), Some(Err(_))) && self.since.elapsed() >= pause
    }
}

async fn connect(holder: &Holder) -> Result<Connection, PeerError> {
    let address: Address = holder.address.parse()?;
    let stream = dial(&address).await.map_err(Arc::new)?;
    handshake(stream, holder).await
}

async fn handshake(stream: Stream, holder: &Holder) -> Result<Connection, PeerError> {
    let (other, traffic) = rpc::dial(stream);
    let address = holder.address.clone();
    let traffic = tokio::task::spawn_local(async move {
        if let Err(error) = traffic.await {
            tracing::debug!("worker {address}: {error}");
        }
    });
    let traffic = AbortOnDropHandle::new(traffic);
    let blobs = ask_holder(other, &holder.ticket).await;
    Ok(Connection {
        blobs: blobs?,
        _traffic: traffic,
    })
}
