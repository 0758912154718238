//! Other workers of one client, asked for content that they hold. Knows addresses,
//! tickets and who was of no use just now; knows nothing of files.

use crate::link::Address;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use termite_types::{BlobHash, Holder};
use termite_wire::meet::ask_holder;
use termite_wire::remote::RemoteBlobs;
use termite_wire::rpc::{self, RemoteError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// How long a peer is waited for. The client has what it would give, too.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until it is reached.
    pub dial: Duration,
    /// For one piece, which it may be getting itself.
    pub piece: Duration,
    /// How long it is left alone when it could not be reached, or was lost.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            dial: Duration::from_secs(1),
            piece: Duration::from_secs(10),
            pause: Duration::from_secs(5),
        }
    }
}

/// All peers of a session.
pub struct Peers {
    patience: Patience,
    known: RefCell<HashMap<Holder, Rc<Peer>>>,
}

/// One peer, dialled once, by whoever asks first.
struct Peer {
    since: Instant,
    dialled: OnceCell<Result<Connection, String>>,
}

struct Connection {
    blobs: RemoteBlobs,
    _traffic: AbortOnDropHandle<()>,
}

impl Peers {
    /// None is known yet.
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            known: RefCell::default(),
        }
    }

    /// A piece of content that a peer holds or is getting; shorter only at its end.
    pub async fn read(&self, holder: &Holder, hash: BlobHash, offset: u64, length: u32) -> Result<Vec<u8>, String> {
        let peer = self.peer(holder);
        let connection = peer.dialled.get_or_init(|| self.connect(holder)).await;
        let blobs = &connection.as_ref().map_err(String::clone)?.blobs;
        let limit = self.patience.piece;
        let why = match timeout(limit, blobs.read(hash, offset, length)).await {
            Ok(Err(RemoteError::Lost(why))) => why,
            Ok(answer) => return answer.map_err(|error| error.to_string()),
            Err(_) => format!("no answer within {limit:?}"),
        };
        let lost = Peer::lost(why.clone());
        self.known.borrow_mut().insert(holder.clone(), Rc::new(lost));
        Err(why)
    }

    fn peer(&self, holder: &Holder) -> Rc<Peer> {
        let mut peers = self.known.borrow_mut();
        if peers
            .get(holder)
            .is_some_and(|peer| peer.is_rested(self.patience.pause))
        {
            peers.remove(holder);
        }
        peers.entry(holder.clone()).or_default().clone()
    }

    async fn connect(&self, holder: &Holder) -> Result<Connection, String> {
        let limit = self.patience.dial;
        match timeout(limit, dial(holder)).await {
            Ok(dialled) => dialled,
            Err(_) => Err(format!("no answer within {limit:?}")),
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
    fn lost(why: String) -> Self {
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

async fn dial(holder: &Holder) -> Result<Connection, String> {
    let cannot = |error: std::io::Error| format!("cannot connect: {error}");
    match holder.address.parse()? {
        Address::Unix(path) => meet(UnixStream::connect(path).await.map_err(cannot)?, holder).await,
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await.map_err(cannot)?;
            stream.set_nodelay(true).map_err(cannot)?;
            meet(stream, holder).await
        }
    }
}

async fn meet(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, holder: &Holder) -> Result<Connection, String> {
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
        blobs: blobs.map_err(|error| error.to_string())?,
        _traffic: traffic,
    })
}
