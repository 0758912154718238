//! Lets in who connects: greets clients and other workers. Knows tokens; knows nothing of what a client
//! asks for.

use crate::clients::Clients;
use std::rc::Rc;
use termite_transport::{ListenError, Listener, Stream};
use termite_wire::handshake::{Greeting, Host};
use termite_wire::rpc;

/// Serves the connections of a listener for ever; ends when accepting fails.
pub async fn serve(listener: Listener, clients: Rc<Clients>) -> Result<(), ListenError> {
    // Only its owner can open a unix socket.
    let token = match &listener {
        Listener::Unix(..) => Vec::new(),
        Listener::Tcp(_) => clients.worker().options.token.clone(),
    };
    loop {
        spawn(listener.accept().await?, clients.clone(), token.clone());
    }
}

fn spawn(stream: Stream, clients: Rc<Clients>, token: Vec<u8>) {
    let worker = clients.worker();
    let greeting = Greeting {
        release: env!("CARGO_PKG_VERSION").to_string(),
        token: Vec::new(),
        hostname: worker.hostname.clone(),
        slots: worker.options.slots,
        machine: worker.machine.clone(),
        pid_limit: worker.pid_limit,
    };
    let host = Host {
        greeting,
        token,
        worker: clients,
    };
    tokio::task::spawn_local(async move {
        if let Err(error) = rpc::answer(stream, host.bootstrap()).await {
            tracing::debug!("connection ended: {error}");
        }
    });
}
