//! One client's session: its mirror, its running jobs, its outputs that wait for a
//! commit. Knows the order in which updates, jobs and merges must happen; how a job
//! runs is told in `job`.

use crate::blocking::blocking;
use crate::control::JobControl;
use crate::job::{self, Clock, Finished, JobEnv};
use crate::slot::Network;
use crate::store_limit::{EvictionPin, MirrorUse};
use crate::view::Mirror;
use crate::worker::{Shim, Worker};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use termite_core::activity::Activity;
use termite_types::{
    Abandon, BlobHash, BuildId, Expected, JobEnd, JobId, JobResult, JobSpec, Premises, Snapshot, TerminalSize, Update,
    Usage,
};
use termite_wire::client::RemoteSink;
use termite_wire::peer::TICKET_LEN;
use termite_wire::server::SessionService;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Pieces that may be on their way to other workers at a time.
const GIFTS: usize = 32;

/// Between two looks at whether a job has read its input.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// So long a client may have its jobs looked at.
const LONGEST_LOOK: Duration = Duration::from_secs(60);

/// The state of one client here. Dropping it ends the client's jobs and forgets its tree.
pub struct Session {
    worker: Rc<Worker>,
    dir: PathBuf,
    mirror: Arc<Mirror>,
    mirror_use: Rc<MirrorUse>,
    network: Network,
    shim: Option<Shim>,
    newest: watch::Sender<Snapshot>,
    /// Updates and merges change the mirror one after another, in the order of their
    /// arrival; the lock is fair.
    order: Mutex<()>,
    running: RefCell<HashMap<JobId, Rc<JobControl>>>,
    finished: RefCell<HashMap<JobId, Ended>>,
    ticket: [u8; TICKET_LEN],
    /// Left for other workers to ask for.
    gifts: Semaphore,
}

/// Why a call of a client, or of another worker, fails.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A job that has no outputs here, or not any more.
    #[error("job {0} has no outputs here")]
    NoOutputs(JobId),
    /// Outputs could not be taken into the mirror.
    #[error("outputs of job {job}: {error}")]
    Outputs {
        /// The job.
        job: JobId,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
    /// A content could not be read.
    #[error("blob {hash}: {error}")]
    Blob {
        /// The content.
        hash: BlobHash,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
    /// A content that is not here.
    #[error("no file of this session is {0}")]
    Unknown(BlobHash),
    /// Too many pieces are being given away.
    #[error("it is busy")]
    Busy,
}

/// A job whose client has not said yet that it has all it wants of it.
struct Ended {
    finished: Arc<Finished>,
    _owed: TaskTrackerToken,
}

impl Session {
    pub(crate) fn new(
        worker: Rc<Worker>,
        dir: PathBuf,
        mirror: Arc<Mirror>,
        network: Network,
        shim: Option<Shim>,
        newest: watch::Sender<Snapshot>,
        ticket: [u8; TICKET_LEN],
    ) -> Rc<Self> {
        let mirror_use = worker.store_limit.enter(mirror.clone());
        Rc::new(Self {
            ticket,
            gifts: Semaphore::new(GIFTS),
            worker,
            dir,
            mirror,
            mirror_use,
            network,
            shim,
            newest,
            order: Mutex::new(()),
            running: RefCell::default(),
            finished: RefCell::default(),
        })
    }

    /// Brings the mirror to `snapshot`.
    async fn advance(&self, snapshot: Snapshot, updates: Vec<Update>) -> Result<(), Abandon> {
        let _turn = self.order.lock().await;
        if !updates.is_empty() {
            let mirror = self.mirror.clone();
            blocking(move || mirror.apply(&updates)).await.map_err(|error| {
                self.mirror_use.invalidate();
                Abandon::Files(error.to_string())
            })?;
        }
        self.newest.send_replace(snapshot);
        Ok(())
    }

    /// Runs a job: updates the mirror, waits for room, prefetches, waits for a slot, and runs it there.
    async fn run_job(
        &self,
        spec: JobSpec,
        snapshot: Snapshot,
        updates: Vec<Update>,
        expected: Expected,
        sink: RemoteSink,
    ) -> Result<JobResult, Abandon> {
        let control = Rc::new(JobControl::default());
        let _entry = Entry::new(&self.running, spec.id, control.clone());
        let mut clock = Clock::start();
        self.advance(snapshot, updates).await?;
        let pin = self.worker.store_limit.admit(&self.mirror_use).await?;
        let room_us = clock.lap();
        let prefetched = self.prefetch(expected, pin.clone()).await;
        let bring_us = clock.lap();
        // The store outlives its users only if somebody asks for a slot after the worker ended.
        let _slot = self.worker.slots.acquire().await.map_err(|_| Abandon::Cancelled)?;
        let owed = self.worker.owed.token();
        let dir = self.worker.job_directory().map_err(|e| Abandon::Full(e.to_string()))?;
        let env = JobEnv {
            dir,
            pin,
            mirror: self.mirror.clone(),
            network: self.network.clone(),
            spawner: self.worker.spawner.clone(),
            proc: self.worker.store.proc.clone(),
            backend: self.worker.options.backend.clone(),
            instances: self.worker.instances.clone(),
            shim: self
                .shim
                .as_ref()
                .map(|shim| (shim.library.clone(), shim.preload.clone())),
        };
        let id = spec.id;
        let waited_us = room_us + clock.lap();
        let (mut result, finished) = self.run_in_room(env, spec, sink, &control).await?;
        result.usage.prefetched = prefetched;
        result.usage.from_peers = self.mirror.take_from_peers();
        result.usage.phases.bring_us = bring_us;
        result.usage.phases.start_us += waited_us;
        result.usage.wall_us = bring_us + waited_us + clock.lap();
        let ended = Ended {
            finished: Arc::new(finished),
            _owed: owed,
        };
        self.finished.borrow_mut().insert(id, ended);
        Ok(result)
    }

    /// Ends a job that runs.
    fn abandon(&self, job: JobId, why: Abandon) {
        if let Some(control) = self.running.borrow().get(&job) {
            control.abandon(why);
        }
    }

    /// Brings what is expected to be used; tells how much was brought.
    async fn prefetch(&self, expected: Expected, pin: EvictionPin) -> u64 {
        if expected.is_empty() {
            return 0;
        }
        let mirror = self.mirror.clone();
        let work = move || {
            let prefetched = mirror.prefetch(&expected);
            drop(pin);
            prefetched
        };
        blocking(work).await
    }

    /// Runs a job unless the store fills up meanwhile.
    async fn run_in_room(
        &self,
        env: JobEnv,
        spec: JobSpec,
        sink: RemoteSink,
        control: &JobControl,
    ) -> Result<(JobResult, Finished), Abandon> {
        let memory = &self.worker.store_limit;
        let place = memory.begin();
        let watch = async {
            let full = memory.is_exhausted_by(&place).await;
            control.abandon(full);
            std::future::pending::<()>().await
        };
        let ended = tokio::select! {
            ended = job::run(env, spec, sink, control) => ended,
            () = watch => unreachable!("never resolves"),
        };
        let ended = match (ended, memory.doubts(&place)) {
            (Ok((_, finished)), Some(full)) => {
                blocking(move || drop(finished)).await;
                Err(full)
            }
            (ended, _) => ended,
        };
        if let Ok((result, _)) = &ended {
            self.mirror.note_uses(&result.trace);
        }
        ended
    }
}

impl SessionService for Session {
    type Error = SessionError;

    async fn run(
        &self,
        job: JobSpec,
        snapshot: Snapshot,
        updates: Vec<Update>,
        expected: Expected,
        sink: RemoteSink,
    ) -> Result<JobResult, SessionError> {
        match self.run_job(job, snapshot, updates, expected, sink).await {
            Ok(result) => Ok(result),
            Err(why) => {
                if matches!(why, Abandon::Full(_)) {
                    self.worker.store_limit.note_pressure();
                }
                Ok(abandoned(why))
            }
        }
    }

    async fn committed(&self, job: JobId, snapshot: Snapshot, updates: Vec<Update>) -> Result<(), SessionError> {
        let _turn = self.order.lock().await;
        let Some(ended) = self.finished.borrow_mut().remove(&job) else {
            return Err(SessionError::NoOutputs(job));
        };
        let (mirror, finished) = (self.mirror.clone(), ended.finished.clone());
        let merged = blocking(move || mirror.merge(&finished.outputs, &updates)).await;
        // Nobody waits for what is left of it to go.
        tokio::task::spawn_blocking(move || drop(ended));
        merged.map_err(|error| {
            self.mirror_use.invalidate();
            SessionError::Outputs { job, error }
        })?;
        self.newest.send_replace(snapshot);
        Ok(())
    }

    fn discard(&self, job: JobId) {
        let finished = self.finished.borrow_mut().remove(&job);
        tokio::task::spawn_blocking(move || drop(finished));
    }

    fn signal(&self, job: JobId, signal: u8) {
        if let Some(control) = self.running.borrow().get(&job) {
            control.signal(signal);
        }
    }

    async fn input(&self, job: JobId, bytes: Vec<u8>) {
        let control = self.running.borrow().get(&job).cloned();
        if let Some(control) = control {
            control.input(&bytes).await;
            let job = Rc::downgrade(&control);
            drop(control);
            let mut pause = FIRST_PAUSE;
            while job.upgrade().is_some_and(|job| !job.is_ready_for_input()) {
                tokio::time::sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
    }

    fn resize(&self, job: JobId, size: TerminalSize) {
        if let Some(control) = self.running.borrow().get(&job) {
            control.resize(size);
        }
    }

    fn cancel(&self, job: JobId) {
        self.abandon(job, Abandon::Cancelled);
    }

    async fn idle(&self, build: BuildId, time: Duration) -> Vec<u32> {
        let time = time.min(LONGEST_LOOK);
        let of_build =
            |(id, job): (&JobId, &Rc<JobControl>)| (id.build == build).then(|| (id.number, Rc::downgrade(job)));
        let jobs: Vec<_> = self.running.borrow().iter().filter_map(of_build).collect();
        let before = look(&jobs).await;
        tokio::time::sleep(time).await;
        let now = look(&jobs).await;
        let pairs = before.into_iter().zip(now);
        let mut idle = Vec::new();
        for ((number, job), (before, now)) in jobs.iter().zip(pairs) {
            let (Some(before), Some(now)) = (before, now) else {
                continue;
            };
            if now.sleeps_since(before, time) {
                idle.push(*number);
            } else if let Some(observed) = job.upgrade().and_then(|job| job.observed()) {
                observed.view.note_busy();
            }
        }
        idle
    }

    fn send_home(&self, job: JobId) {
        let why = "to be where others are that may wait for it";
        self.abandon(job, Abandon::Machine(why.into()));
    }

    async fn read(&self, hash: BlobHash, offset: u64, length: u32) -> Result<Vec<u8>, SessionError> {
        let holders: Vec<_> = self
            .finished
            .borrow()
            .values()
            .map(|job| job.finished.clone())
            .collect();
        blocking(move || {
            for finished in holders {
                let piece = finished.outputs.read(&hash, offset, length);
                if let Some(bytes) = piece.map_err(|error| SessionError::Blob { hash, error })? {
                    return Ok(bytes);
                }
            }
            Err(SessionError::Unknown(hash))
        })
        .await
    }

    fn ticket(&self) -> &[u8] {
        &self.ticket
    }

    async fn held(&self, hash: BlobHash, offset: u64, length: u32) -> Result<Vec<u8>, SessionError> {
        let _gift = self.gifts.try_acquire().map_err(|_| SessionError::Busy)?;
        let mirror = self.mirror.clone();
        let piece = blocking(move || mirror.read_blob(&hash, offset, length)).await;
        match piece.map_err(|error| SessionError::Blob { hash, error })? {
            Some(bytes) => Ok(bytes),
            None => self.read(hash, offset, length).await,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for control in self.running.borrow().values() {
            control.abandon(Abandon::Cancelled);
        }
        let (dir, finished) = (self.dir.clone(), self.finished.take());
        tokio::task::spawn_blocking(move || {
            drop(finished);
            job::remove_tree(&dir);
        });
    }
}

/// What each job does at the moment, if that can be told and it runs.
async fn look(jobs: &[(u32, Weak<JobControl>)]) -> Vec<Option<Activity>> {
    let observed = jobs.iter().map(|(_, job)| job.upgrade()?.observed());
    let observed: Vec<_> = observed.collect();
    blocking(move || observed.into_iter().map(|job| job?.activity()).collect()).await
}

/// A running job's place in the table, given back when its future ends or is dropped.
struct Entry<'a> {
    table: &'a RefCell<HashMap<JobId, Rc<JobControl>>>,
    id: JobId,
}

impl<'a> Entry<'a> {
    fn new(table: &'a RefCell<HashMap<JobId, Rc<JobControl>>>, id: JobId, control: Rc<JobControl>) -> Self {
        table.borrow_mut().insert(id, control);
        Self { table, id }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.table.borrow_mut().remove(&self.id);
    }
}

fn abandoned(why: Abandon) -> JobResult {
    JobResult {
        end: JobEnd::Abandoned(why),
        changes: Vec::new(),
        premises: Premises::default(),
        trace: Vec::new(),
        output: Vec::new(),
        read_input: 0,
        usage: Usage::default(),
        worker_now: job::now(),
    }
}
