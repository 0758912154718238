//! The first words on a connection: who is there, which protocol, what is offered.
//! Knows nothing of how the connection was made.

use crate::client::{RemoteBlobs, RemoteWorker};
use crate::peer_capnp::{hello, peer};
use crate::rpc::RemoteError;
use crate::server::{self, WorkerService};
use capnp::Error;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::rc::Rc;
use termite_types::PROTOCOL;

/// What one side says of itself.
#[derive(Clone, Debug, Default)]
pub struct Greeting {
    /// Release version, for people.
    pub release: String,
    /// Of the token file, on loopback TCP; else empty.
    pub token: Vec<u8>,
    /// `uname -n`.
    pub hostname: OsString,
    /// Jobs at a time; 0 for who runs none.
    pub slots: u16,
    /// Boot id: equal means the same machine.
    pub machine: Vec<u8>,
    /// Process numbers of jobs may be below this; 0 for a worker that cannot choose them.
    pub pid_limit: u32,
}

/// The side that was dialled and offers a worker.
pub struct Host<W> {
    /// What it says of itself.
    pub greeting: Greeting,
    /// The token that a caller must show; empty: none.
    pub token: Vec<u8>,
    /// What it offers to who is let in.
    pub worker: Rc<W>,
}

impl<W: WorkerService> Host<W> {
    /// The capability that a connection starts with.
    pub fn bootstrap(self) -> capnp::capability::Client {
        let client: peer::Client = capnp_rpc::new_client(self);
        client.client
    }

    fn admit(&self, mine: hello::Reader<'_>) -> Result<(), Error> {
        same_protocol(mine.get_protocol())?;
        let shown = mine.get_token()?;
        if !self.token.is_empty() && !same_secret(shown, &self.token) {
            return Err(Error::failed(
                "the token is not the worker's: give both sides the same token file".to_string(),
            ));
        }
        Ok(())
    }
}

impl<W: WorkerService> peer::Server for Host<W> {
    async fn hello(self: Rc<Self>, params: peer::HelloParams, mut results: peer::HelloResults) -> Result<(), Error> {
        self.admit(params.get()?.get_mine()?)?;
        let mut yours = results.get().init_yours();
        write_greeting(&self.greeting, yours.reborrow());
        yours.set_worker(server::worker(self.worker.clone()));
        Ok(())
    }

    async fn blobs(self: Rc<Self>, params: peer::BlobsParams, mut results: peer::BlobsResults) -> Result<(), Error> {
        let params = params.get()?;
        same_protocol(params.get_protocol())?;
        let session = self.worker.ticketed(params.get_ticket()?);
        let session = session.ok_or_else(|| Error::failed("no client's session here has this ticket".to_string()))?;
        results.get().set_source(server::held(&session));
        Ok(())
    }
}

/// Asks another worker for what the session with this ticket holds.
pub async fn ask_holder(other: capnp::capability::Client, ticket: &[u8]) -> Result<RemoteBlobs, RemoteError> {
    let other = peer::Client { client: other };
    let mut request = other.blobs_request();
    request.get().set_protocol(PROTOCOL);
    request.get().set_ticket(ticket);
    let reply = request.send().promise.await?;
    Ok(RemoteBlobs(reply.get()?.get_source()?))
}

/// Says hello to the other side and learns who it is and what it offers.
pub async fn greet(other: capnp::capability::Client, mine: &Greeting) -> Result<(Greeting, RemoteWorker), RemoteError> {
    let other = peer::Client { client: other };
    let mut request = other.hello_request();
    write_greeting(mine, request.get().init_mine());
    let reply = request.send().promise.await?;
    let yours = reply.get()?.get_yours()?;
    same_protocol(yours.get_protocol())?;
    if !yours.has_worker() {
        return Err(Error::failed("the other side is no worker".to_string()).into());
    }
    let greeting = Greeting {
        release: yours.get_release()?.to_string().unwrap_or_default(),
        token: Vec::new(),
        hostname: OsString::from_vec(yours.get_hostname()?.to_vec()),
        slots: yours.get_slots(),
        machine: yours.get_same_machine()?.to_vec(),
        pid_limit: yours.get_pid_limit(),
    };
    Ok((greeting, RemoteWorker(yours.get_worker()?)))
}

fn write_greeting(greeting: &Greeting, mut to: hello::Builder<'_>) {
    to.set_protocol(PROTOCOL);
    to.set_release(&greeting.release[..]);
    to.set_token(&greeting.token);
    to.set_hostname(greeting.hostname.as_bytes());
    to.set_slots(greeting.slots);
    to.set_same_machine(&greeting.machine);
    to.set_pid_limit(greeting.pid_limit);
}

fn same_protocol(theirs: u32) -> Result<(), Error> {
    match theirs {
        PROTOCOL => Ok(()),
        theirs => Err(Error::failed(format!(
            "the other side speaks protocol {theirs}, this one {PROTOCOL}: install the same release on both"
        ))),
    }
}

/// Compares every byte, whatever the first difference.
pub fn same_secret(shown: &[u8], secret: &[u8]) -> bool {
    shown.len() == secret.len() && shown.iter().zip(secret).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
