//! The worker as connections reach it: opens a session for each client, and finds the open one that a
//! ticket is of. Knows nothing of connections.

use crate::files::ClientFiles;
use crate::peers::{PeerTimeouts, Peers};
use crate::session::Session;
use crate::slot::Network;
use crate::view::{Mirror, Owners};
use crate::worker::Worker;
use rustix::rand::GetRandomFlags;
use std::cell::RefCell;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use termite_types::Snapshot;
use termite_wire::client::RemoteFiles;
use termite_wire::handshake::same_secret;
use termite_wire::peer::{ClientInfo, TICKET_LEN};
use termite_wire::server::{SessionService, WorkerService};
use tokio::sync::watch;

/// Why a client cannot be let in.
#[derive(Debug, thiserror::Error)]
#[error("the worker cannot make room for this client: {0}")]
pub struct NoRoom(#[from] io::Error);

/// The clients of a worker.
pub struct Clients {
    worker: Rc<Worker>,
    sessions: RefCell<Vec<Weak<Session>>>,
}

impl Clients {
    /// There is none yet.
    pub fn new(worker: Rc<Worker>) -> Rc<Self> {
        Rc::new(Self {
            worker,
            sessions: RefCell::default(),
        })
    }

    /// The worker that they share.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    fn open_session(&self, client: &ClientInfo, files: RemoteFiles) -> io::Result<Rc<Session>> {
        let worker = &self.worker;
        let dir = worker.client_directory()?;
        let shim = worker.place_shim(&dir, &client.shim)?;
        let (snapshot, newest) = watch::channel(Snapshot::default());
        let files = Arc::new(ClientFiles::new(files, Peers::new(PeerTimeouts::default()), newest));
        let owners = Owners::of(worker.store.root_user);
        let mirror = Arc::new(Mirror::new(&dir.join("mirror"), files, owners)?);
        let network = Network::new(&worker.spawner).map_err(io::Error::other)?;
        let mut ticket = [0; TICKET_LEN];
        rustix::rand::getrandom(&mut ticket, GetRandomFlags::empty())?;
        let session = Session::new(worker.clone(), dir, mirror, network, shim, snapshot, ticket);
        let mut sessions = self.sessions.borrow_mut();
        sessions.retain(|session| session.strong_count() > 0);
        sessions.push(Rc::downgrade(&session));
        Ok(session)
    }
}

impl WorkerService for Clients {
    type Session = Session;
    type Error = NoRoom;

    async fn open(&self, client: ClientInfo, files: RemoteFiles) -> Result<Rc<Session>, NoRoom> {
        Ok(self.open_session(&client, files)?)
    }

    fn ticketed(&self, ticket: &[u8]) -> Option<Rc<Session>> {
        let sessions = self.sessions.borrow();
        let mut open = sessions.iter().filter_map(Weak::upgrade);
        open.find(|session| same_secret(session.ticket(), ticket))
    }
}
