//! All workers of one client: which of them takes which job next, as `placement` has it.
//! Knows nothing of how a job runs.

use crate::blob_locations::BlobLocations;
use crate::forecast::{Command, Forecasts};
use crate::link::{Introduction, Link, Session, SlotLease, State};
use crate::serve::Files;
use crate::traffic::Traffic;
use crate::tree::{Tree, WorkerKey};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use termite_core::placement::{self, Candidate, Queue, Ticket};
use termite_transport::Address;
use termite_types::{BuildId, JobId};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

/// The workers.
pub(crate) struct Fleet {
    links: RefCell<Vec<Rc<Link>>>,
    /// Those of builds that name none.
    usual: RefCell<Vec<WorkerKey>>,
    introduction: Rc<Introduction>,
    tree: Arc<Tree>,
    traffic: Rc<Traffic>,
    /// Who has which content.
    pub holders: Rc<BlobLocations>,
    /// Somebody came up, went down or freed a slot.
    changed: Rc<Notify>,
    /// Which worker ran the last job of a directory: its mirror is warm there.
    homes: RefCell<HashMap<PathBuf, WorkerKey>>,
    waiting: RefCell<Waiting>,
    forecasts: Arc<Forecasts>,
}

/// Nobody can take the job.
#[derive(Debug, thiserror::Error)]
#[error("no worker can be reached ({0})")]
pub(crate) struct Unreachable(String);

impl Fleet {
    /// A fleet without workers.
    pub(crate) fn new(
        introduction: Introduction,
        tree: Arc<Tree>,
        traffic: Rc<Traffic>,
        forecasts: Arc<Forecasts>,
    ) -> Rc<Self> {
        let fleet = Rc::new(Self {
            links: RefCell::default(),
            usual: RefCell::default(),
            introduction: Rc::new(introduction),
            tree,
            traffic,
            holders: Rc::default(),
            changed: Rc::default(),
            homes: RefCell::default(),
            waiting: RefCell::default(),
            forecasts,
        });
        let (weak, changed) = (Rc::downgrade(&fleet), fleet.changed.clone());
        tokio::task::spawn_local(async move {
            loop {
                changed.notified().await;
                match weak.upgrade() {
                    Some(fleet) => fleet.serve(),
                    None => return,
                }
            }
        });
        fleet
    }

    /// The workers of builds that name none.
    pub(crate) fn enlist_usual(&self, addresses: &[Address], grace: Duration) {
        *self.usual.borrow_mut() = self.enlist(addresses, grace);
    }

    /// Adds the workers that are not known yet and begins to dial them. Within `grace` a
    /// worker that never answered yet is waited for. Returns the keys of all of them.
    pub(crate) fn enlist(&self, addresses: &[Address], grace: Duration) -> Vec<WorkerKey> {
        let enlist = |address: &Address| {
            let mut links = self.links.borrow_mut();
            if let Some(known) = links.iter().find(|link| link.address == *address) {
                return known.key;
            }
            let key = WorkerKey(links.len() as u32);
            let traffic = Traffic::part_of(&self.traffic);
            let link = Link::new(address.clone(), key, grace, traffic.clone());
            let files = Rc::new(Files::new(self.tree.clone(), key, traffic, self.holders.clone()));
            tokio::task::spawn_local(
                link.clone()
                    .keep(self.introduction.clone(), files, self.changed.clone()),
            );
            links.push(link);
            key
        };
        addresses.iter().map(enlist).collect()
    }

    /// The workers, in the order of their keys.
    pub(crate) fn links(&self) -> Vec<Rc<Link>> {
        self.links.borrow().clone()
    }

    /// Which jobs of these builds do next to nothing for so long from now on. Takes a bit longer.
    pub(crate) async fn idle(&self, builds: impl IntoIterator<Item = BuildId>, time: Duration) -> HashSet<JobId> {
        let sessions = self.busy();
        let mut asked = JoinSet::new();
        for build in builds {
            for session in sessions.iter().cloned() {
                asked.spawn_local(async move {
                    // A worker that is lost has other trouble.
                    let idle = tokio::time::timeout(time * 2, session.remote.idle(build, time)).await;
                    let numbers = idle.ok().and_then(Result::ok).unwrap_or_default();
                    numbers.into_iter().map(move |number| JobId { build, number })
                });
            }
        }
        asked.join_all().await.into_iter().flatten().collect()
    }

    /// Has a job given up, whoever runs it. A worker that does not answer is not waited for.
    pub(crate) fn send_home(&self, job: JobId) {
        for session in self.busy() {
            tokio::task::spawn_local(async move {
                if let Err(error) = session.remote.send_home(job).await {
                    // The job's own call fails by the same cause and decides what follows.
                    tracing::debug!("job {job}: {error}");
                }
            });
        }
    }

    /// Sessions of the workers that run jobs.
    fn busy(&self) -> Vec<Rc<Session>> {
        let busy = self.links().into_iter().filter(|link| link.running() > 0);
        busy.filter_map(|link| match link.state() {
            State::Up(session) => Some(session),
            State::Dialling | State::Down(_) => None,
        })
        .collect()
    }

    /// How many jobs all workers that are up take at once.
    pub(crate) fn most_jobs(&self) -> u32 {
        self.links.borrow().iter().map(|link| link.most_jobs()).sum()
    }

    /// Waits for a free slot. Dropping it ends the wait.
    pub(crate) async fn place(&self, seeker: Seeker<'_>) -> Result<SlotLease, Unreachable> {
        // A job of unknown length goes before all others.
        let known = (!seeker.is_awaited).then_some(seeker.command);
        let length = known.and_then(|command| self.forecasts.guess(command));
        let (answer, answered) = oneshot::channel();
        let waiting = self.waiting.borrow_mut().join(length, seeker.owned(answer));
        let _leaving = Leaving { fleet: self, waiting };
        self.serve();
        // The sender goes only with its answer, or with the fleet.
        answered
            .await
            .unwrap_or_else(|_| Err(Unreachable("the daemon ends".into())))
    }

    /// Gives places to those that wait, as far as there are any.
    fn serve(&self) {
        let links = self.links();
        let is_hopeless = |link: &Rc<Link>| matches!(link.state(), State::Down(_));
        if !links.iter().any(|link| link.room().is_some() || is_hopeless(link)) && !links.is_empty() {
            return;
        }
        let order = self.waiting.borrow().queue.in_order();
        for ticket in order {
            let answer = {
                let waiting = self.waiting.borrow();
                let Some(seeker) = waiting.seekers.get(&ticket) else {
                    continue;
                };
                let usual = self.usual.borrow();
                let among = if seeker.among.is_empty() { &usual } else { &seeker.among };
                let is_able = |link: &&Rc<Link>| among.contains(&link.key) && !seeker.avoid.contains(&link.key);
                let able = || links.iter().filter(is_able);
                match self.best(seeker, able()) {
                    Some(place) => Ok(place),
                    None if able().all(is_hopeless) => Err(Unreachable(why(able()))),
                    None => continue,
                }
            };
            let seeker = self.waiting.borrow_mut().serve(ticket);
            if let Some(seeker) = seeker {
                // A place that nobody waits for any more is given back by its end.
                let _ = seeker.answer.send(answer);
            }
        }
    }

    fn best<'a>(&self, seeker: &Waiter, able: impl Iterator<Item = &'a Rc<Link>>) -> Option<SlotLease> {
        let home = self.homes.borrow().get(&seeker.cwd).copied();
        let open: Vec<_> = able.filter_map(|link| Some((link, link.room()?))).collect();
        let candidates: Vec<_> = open
            .iter()
            .map(|(link, (session, slots))| Candidate {
                running: link.running(),
                slots: *slots,
                speed: link.speed(),
                lacking: self.forecasts.lacking(&seeker.command, &session.told.borrow()),
                is_home: home == Some(link.key),
            })
            .collect();
        let chosen = placement::best(&candidates)?;
        let (link, (session, _)) = open.into_iter().nth(chosen)?;
        self.homes.borrow_mut().insert(seeker.cwd.clone(), link.key);
        Some(link.take(session, &self.changed))
    }
}

/// A job in want of a place.
pub(crate) struct Seeker<'a> {
    /// What it runs.
    pub command: &'a Command,
    /// Where.
    pub cwd: &'a Path,
    /// The workers that its build named; empty: the usual ones.
    pub among: &'a [WorkerKey],
    /// Workers that failed it already.
    pub avoid: &'a [WorkerKey],
    /// It holds claims, so other jobs may wait for its end.
    pub is_awaited: bool,
}

impl Seeker<'_> {
    fn owned(&self, answer: oneshot::Sender<Result<SlotLease, Unreachable>>) -> Waiter {
        Waiter {
            command: *self.command,
            cwd: self.cwd.to_path_buf(),
            among: self.among.to_vec(),
            avoid: self.avoid.to_vec(),
            answer,
        }
    }
}

/// The same as it waits.
struct Waiter {
    command: Command,
    cwd: PathBuf,
    among: Vec<WorkerKey>,
    avoid: Vec<WorkerKey>,
    answer: oneshot::Sender<Result<SlotLease, Unreachable>>,
}

#[derive(Default)]
struct Waiting {
    queue: Queue,
    seekers: HashMap<Ticket, Waiter>,
}

impl Waiting {
    fn join(&mut self, length: Option<Duration>, waiter: Waiter) -> Ticket {
        let ticket = self.queue.join(length);
        self.seekers.insert(ticket, waiter);
        ticket
    }

    fn serve(&mut self, ticket: Ticket) -> Option<Waiter> {
        self.queue.serve(ticket);
        self.seekers.remove(&ticket)
    }

    fn leave(&mut self, ticket: Ticket) {
        self.queue.leave(ticket);
        self.seekers.remove(&ticket);
    }
}

/// Takes a job out of the queue, if it is there yet.
struct Leaving<'a> {
    fleet: &'a Fleet,
    waiting: Ticket,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.fleet.waiting.borrow_mut().leave(self.waiting);
    }
}

/// The workers' own words, the first three.
fn why<'a>(links: impl Iterator<Item = &'a Rc<Link>>) -> String {
    let reasons: Vec<_> = links
        .take(3)
        .filter_map(|link| match link.state() {
            State::Down(why) => Some(format!("{}: {why}", link.address)),
            State::Dialling | State::Up(_) => None,
        })
        .collect();
    if reasons.is_empty() {
        "none is left".into()
    } else {
        reasons.join("; ")
    }
}
