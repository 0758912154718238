//! One worker as the client sees it: dialled, greeted, lost, dialled again. Knows its
//! session and its load; knows nothing of commands, rules or commits.

use crate::forecast::Told;
use crate::serve::Files;
use crate::traffic::Traffic;
use crate::tree::WorkerKey;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use termite_core::placement::Speed;
use termite_transport::{Address, DialError, Stream, dial};
use termite_types::Snapshot;
use termite_wire::client::RemoteSession;
use termite_wire::handshake::{Greeting, greet};
use termite_wire::peer::ClientInfo;
use termite_wire::rpc::{self, RemoteError};
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinHandle};

/// Shortest pause between two attempts to reach a worker.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// Longest pause between two attempts to reach a worker.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// From this round-trip time on a worker is given the next jobs before it has room for
/// them, so that its slots do not wait for the link.
const FAR: Duration = Duration::from_millis(2);
/// How long an attempt may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the worker can be given jobs.
///
/// `Dialling -> Up -> Down -> Up …`; only [`Link::set`] changes it.
#[derive(Clone)]
pub enum State {
    /// Never reached yet, the first attempt is under way.
    Dialling,
    /// Connected.
    Up(Rc<Session>),
    /// The last attempt failed, or the connection broke: why.
    Down(String),
}

/// A connection's session and who is at its other end.
pub struct Session {
    /// Takes jobs.
    pub remote: RemoteSession,
    /// How the worker introduced itself.
    pub greeting: Greeting,
    /// From a question to its answer, when nothing else was under way.
    pub round_trip: Duration,
    /// The newest snapshot that the worker was brought to.
    pub seen: Cell<Snapshot>,
    /// What its worker was told to expect.
    pub told: RefCell<Told>,
}

impl Session {
    /// Jobs that the worker takes at once: those in its slots, and if it is far the next ones.
    fn most_jobs(&self) -> u32 {
        let slots = u32::from(self.greeting.slots);
        let ahead = if self.round_trip >= FAR { slots } else { 0 };
        slots + ahead
    }
}

/// One worker.
pub struct Link {
    /// Where it listens.
    pub address: Address,
    /// Its name in the tree's records.
    pub key: WorkerKey,
    /// Content that crossed to and from it.
    pub traffic: Rc<Traffic>,
    /// How long it may take to appear at first: it was only just started.
    grace: Duration,
    state: RefCell<State>,
    running: Cell<u32>,
    speed: Cell<Speed>,
}

/// What every link needs to introduce the client.
pub struct Introduction {
    /// Who we are.
    pub greeting: Greeting,
    /// Whose tree the worker mirrors, and our shim.
    pub client: ClientInfo,
}

/// A job's place on a worker; given back when dropped.
pub struct SlotLease {
    link: Rc<Link>,
    freed: Rc<Notify>,
    /// The session that was up as the place was taken.
    pub session: Rc<Session>,
}

impl Link {
    /// A link that is not dialled yet.
    pub fn new(address: Address, key: WorkerKey, grace: Duration, traffic: Rc<Traffic>) -> Rc<Self> {
        Rc::new(Self {
            address,
            key,
            traffic,
            grace,
            state: RefCell::new(State::Dialling),
            running: Cell::new(0),
            speed: Cell::default(),
        })
    }

    /// How it stands.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    fn set(&self, state: State, changed: &Notify) {
        match &state {
            State::Down(why) => tracing::warn!("worker {}: {why}", self.address),
            State::Up(session) => tracing::info!("worker {}: up with {} slots", self.address, session.greeting.slots),
            State::Dialling => {}
        }
        *self.state.borrow_mut() = state;
        changed.notify_one();
    }

    /// Jobs that it runs for us.
    pub fn running(&self) -> u32 {
        self.running.get()
    }

    /// How fast it is.
    pub fn speed(&self) -> Speed {
        self.speed.get()
    }

    /// It ran a job that usually takes this long.
    pub fn ran(&self, usual: Duration, took: Duration) {
        self.speed.set(self.speed.get().with(usual, took));
    }

    /// Its session and its slots; `None`: it has no room or is not up.
    pub fn room(&self) -> Option<(Rc<Session>, u32)> {
        let State::Up(session) = &*self.state.borrow() else {
            return None;
        };
        let slots = u32::from(session.greeting.slots);
        (self.running.get() < session.most_jobs()).then(|| (session.clone(), slots))
    }

    /// Jobs that it takes at once; none unless it is up.
    pub fn most_jobs(&self) -> u32 {
        match &*self.state.borrow() {
            State::Up(session) => session.most_jobs(),
            State::Dialling | State::Down(_) => 0,
        }
    }

    /// Takes a slot of the session that is up.
    pub fn take(self: &Rc<Self>, session: Rc<Session>, freed: &Rc<Notify>) -> SlotLease {
        self.running.set(self.running.get() + 1);
        SlotLease {
            link: self.clone(),
            freed: freed.clone(),
            session,
        }
    }

    /// Keeps the worker connected for as long as the daemon lives.
    pub async fn keep(self: Rc<Self>, introduction: Rc<Introduction>, files: Rc<Files>, changed: Rc<Notify>) {
        let mut pause = RETRY_MIN;
        let begun = Instant::now();
        let fail = |why| {
            if !matches!(self.state(), State::Dialling) || begun.elapsed() >= self.grace {
                self.set(State::Down(why), &changed);
            }
        };
        loop {
            match tokio::time::timeout(DIAL_TIMEOUT, self.connect(&introduction, &files)).await {
                Err(_) => fail(format!("no answer within {DIAL_TIMEOUT:?}")),
                Ok(Err(why)) => fail(why.to_string()),
                Ok(Ok(Met { session, traffic })) => {
                    files.met_peers(self.address.to_string(), session.remote.ticket());
                    self.set(State::Up(Rc::new(session)), &changed);
                    pause = RETRY_MIN;
                    let why = how_lost(traffic.await).to_string();
                    files.forget();
                    self.set(State::Down(why), &changed);
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    async fn connect(&self, introduction: &Introduction, files: &Rc<Files>) -> Result<Met, LinkError> {
        let stream = dial(&self.address).await?;
        handshake(stream, introduction, files).await
    }
}

/// A session, and the task that moves its messages: it ends with the connection.
struct Met {
    session: Session,
    traffic: JoinHandle<Result<(), RemoteError>>,
}

/// Greets a worker and opens the session on it, in which it may ask for files.
async fn handshake(stream: Stream, introduction: &Introduction, files: &Rc<Files>) -> Result<Met, LinkError> {
    let (other, traffic) = rpc::dial(stream);
    let mut traffic = Box::pin(traffic);
    let open = async {
        let begun = Instant::now();
        let (greeting, worker) = greet(other, &introduction.greeting).await?;
        let round_trip = begun.elapsed();
        files.met(greeting.machine == introduction.greeting.machine);
        let remote = worker.open(&introduction.client, files.clone()).await?;
        Ok::<_, RemoteError>(Session {
            remote,
            greeting,
            round_trip,
            seen: Cell::new(Snapshot::default()),
            told: RefCell::default(),
        })
    };
    // Giving up on the way drops the traffic, which closes the connection.
    tokio::select! {
        opened = open => {
            Ok(Met { session: opened?, traffic: tokio::task::spawn_local(traffic) })
        }
        ended = &mut traffic => Err(how_lost(Ok(ended))),
    }
}

/// Why there is no connection to a worker, or none any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// It cannot be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The conversation failed.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// It ended in order.
    #[error("it closed the connection")]
    Closed,
    /// The task that moves its messages ended.
    #[error("its connection's task ended: {0}")]
    Task(#[from] JoinError),
}

fn how_lost(ended: Result<Result<(), RemoteError>, JoinError>) -> LinkError {
    match ended {
        Ok(Ok(())) => LinkError::Closed,
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    }
}

impl SlotLease {
    /// The worker.
    pub fn link(&self) -> &Rc<Link> {
        &self.link
    }
}

impl Drop for SlotLease {
    fn drop(&mut self) {
        self.link.running.set(self.link.running.get() - 1);
        self.freed.notify_one();
    }
}
