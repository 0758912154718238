//! One job's life on a worker: its slot is made, its view served, its words carried, its
//! outputs harvested. Knows the order of these steps; slot, view and guard do them.

mod launch;

use crate::backend::FaultBackend;
use crate::blocking::blocking;
use crate::control::{JobControl, Observed, Service};
use crate::guard::Events;
use crate::inherited::{Inherited, Instances};
use crate::slot::{Network, Slot, SlotEnd, SlotStatus, Spawner, in_words};
use crate::store_limit::EvictionPin;
use crate::view::{self, Harvest, HarvestError, Mirror, Outputs, View};
use crate::watched::watched;
use launch::{Launched, launch};
use rustix::fd::OwnedFd;
use std::cell::RefCell;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use termite_types::{Abandon, FileTime, JobEnd, JobResult, JobSpec, Owner, Phases, Usage};
use termite_wire::client::RemoteSink;
use tokio::sync::mpsc;

/// Output that is kept here before it is sent ahead of the result.
const HELD: usize = 1 << 20;

/// What a job needs of its session and worker.
pub(crate) struct JobEnv {
    /// A directory of its own in the store.
    pub dir: PathBuf,
    /// Keeps the client's tree as it is filled, until the outputs are taken.
    pub pin: EvictionPin,
    /// The client's tree.
    pub mirror: Arc<Mirror>,
    /// The client's network here.
    pub network: Network,
    /// Makes slots.
    pub spawner: Arc<Spawner>,
    /// The worker's `/proc`.
    pub proc: PathBuf,
    /// What serves the job's file accesses.
    pub backend: FaultBackend,
    /// For descriptors that the job inherits.
    pub instances: Arc<Instances>,
    /// The shim and its preload file, if the job gets it.
    pub shim: Option<(PathBuf, PathBuf)>,
}

/// Outputs of an ended job, until they are committed or discarded. Dropping it may block.
pub(crate) struct Finished {
    /// Their contents by hash.
    pub outputs: Outputs,
    /// Keeps the slot's file system, whose end takes longer than a result should wait for. It
    /// goes before the directory.
    _root: OwnedFd,
    _dir: JobDir,
}

/// Removes a job's directory when the last user of it is gone, and lets go of the mirror.
struct JobDir {
    path: PathBuf,
    _pin: EvictionPin,
}

impl Drop for JobDir {
    fn drop(&mut self) {
        remove_tree(&self.path);
    }
}

/// What the threads of a back end tell.
enum Event {
    WantsInput,
    Abandon(Abandon),
}

/// Passes their events to the job's task. Nobody listens any more once it ended.
struct Tell(mpsc::UnboundedSender<Event>);

impl Events for Tell {
    fn want_input(&self) {
        let _ = self.0.send(Event::WantsInput);
    }

    fn abandon(&self, why: Abandon) {
        let _ = self.0.send(Event::Abandon(why));
    }
}

/// Runs a job to its end and harvests it. Dropping the future kills the job.
pub(crate) async fn run(
    env: JobEnv,
    spec: JobSpec,
    sink: RemoteSink,
    control: &JobControl,
) -> Result<(JobResult, Finished), Abandon> {
    let mut clock = Clock::start();
    let (stdio, owner) = (spec.stdio.clone(), spec.owner.clone());
    let Launched {
        slot,
        upper,
        view,
        service,
        ours,
        mut told,
        inherited,
        dir,
    } = blocking(move || launch(env, spec)).await?;
    let slot = Rc::new(RefCell::new(slot));
    let (input, output, terminal) = ours.watch().map_err(refused)?;
    control.connect(input, terminal);
    control.check()?;
    slot.borrow_mut().go().map_err(refused)?;
    let start_us = clock.lap();
    let observed = Observed {
        view: view.clone(),
        service: service.clone(),
    };
    control.begin(slot.clone(), observed);
    control.check()?;

    let talk = Talk {
        sink: &sink,
        streams: stdio.terminal[1] || stdio.terminal[2],
        inherited: inherited.as_ref(),
        held: RefCell::default(),
    };
    let ended = async {
        let (end, pumped) = futures::join!(wait(&slot), output.pump(async |fd, bytes| talk.show(fd, bytes).await));
        pumped.map_err(refused)?;
        end
    };
    let end = tokio::select! {
        end = ended => end?,
        () = listen(&mut told, control, &sink) => unreachable!("never resolves"),
        () = watch(inherited.as_ref(), control) => unreachable!("never resolves"),
    };
    control.end();
    hear_last(&mut told, control);
    inherited.as_ref().map_or(Ok(()), Inherited::check)?;
    control.check()?;
    let read_input = control.read_input().map_err(refused)?;
    let output = talk.held.into_inner();
    let run_us = clock.lap();
    // No process of it is left.
    drop(slot);
    let (mut result, finished) = blocking(move || collect(view, service, upper, dir, end, &owner)).await?;
    result.output = output;
    result.read_input = read_input;
    result.usage.phases = Phases {
        bring_us: 0,
        start_us,
        run_us,
        harvest_us: clock.lap(),
    };
    result.worker_now = now();
    Ok((result, finished))
}

/// A job may end by the very error that it was given up with, before that was heard.
fn hear_last(told: &mut mpsc::UnboundedReceiver<Event>, control: &JobControl) {
    while let Ok(event) = told.try_recv() {
        if let Event::Abandon(why) = event {
            control.abandon(why);
        }
    }
}

/// Tells how long each part of something took.
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Microseconds since the last lap, or the start.
    pub(crate) fn lap(&mut self) -> u64 {
        let now = Instant::now();
        let took = now.duration_since(std::mem::replace(&mut self.0, now));
        took.as_micros() as u64
    }
}

/// Carries a job's words to the client.
struct Talk<'a> {
    sink: &'a RemoteSink,
    streams: bool,
    inherited: Option<&'a Inherited>,
    held: RefCell<Vec<(u8, Vec<u8>)>>,
}

impl Talk<'_> {
    async fn show(&self, fd: u8, bytes: Vec<u8>) {
        self.held.borrow_mut().push((fd, bytes));
        let waiting: usize = self.held.borrow().iter().map(|(_, bytes)| bytes.len()).sum();
        let is_moot = || self.inherited.is_some_and(|inherited| inherited.check().is_err());
        if !self.streams && waiting < HELD || is_moot() {
            return;
        }
        for (fd, bytes) in self.held.take() {
            if let Err(error) = self.sink.output(fd, &bytes).await {
                tracing::debug!("a job's output found nobody: {error}");
            }
        }
    }
}

/// Acts on what the back end tells; never resolves.
async fn listen(told: &mut mpsc::UnboundedReceiver<Event>, control: &JobControl, sink: &RemoteSink) {
    while let Some(event) = told.recv().await {
        match event {
            Event::WantsInput => {
                control.wants_input();
                want_input(sink).await;
            }
            Event::Abandon(why) => control.abandon(why),
        }
    }
    std::future::pending().await
}

/// Gives the job up when it uses what it inherited; never resolves.
async fn watch(inherited: Option<&Inherited>, control: &JobControl) {
    if let Some(inherited) = inherited {
        control.abandon(inherited.used().await);
    }
    std::future::pending().await
}

async fn want_input(sink: &RemoteSink) {
    if let Err(error) = sink.want_input().await {
        tracing::debug!("a job's wanted for input found nobody: {error}");
    }
}

/// Resolves when the slot has ended.
async fn wait(slot: &RefCell<Slot>) -> Result<SlotEnd, Abandon> {
    loop {
        let name = rustix::io::fcntl_dupfd_cloexec(&*slot.borrow(), 3).map_err(refused)?;
        let ready = watched(name).map_err(refused)?;
        drop(ready.readable().await.map_err(refused)?);
        if let Some(end) = slot.borrow_mut().try_wait().map_err(refused)? {
            return Ok(end);
        }
    }
}

fn refused(error: impl Display) -> Abandon {
    Abandon::Slot(error.to_string())
}

/// What the job left behind.
fn collect(
    view: Arc<View>,
    service: Arc<Service>,
    upper: OwnedFd,
    dir: JobDir,
    end: SlotEnd,
    owner: &Owner,
) -> Result<(JobResult, Finished), Abandon> {
    service.join();
    let end_of = match (end.exec_errno, end.cwd_errno, end.status) {
        // Where the command really stands, the system gives the true error.
        (Some(errno), _, _) => return Err(Abandon::Start(in_words("its program", errno))),
        (_, Some(errno), _) => return Err(Abandon::Start(in_words("its working directory", errno))),
        (_, _, SlotStatus::Exited(status)) => JobEnd::Exited(status),
        (_, _, SlotStatus::Signaled(signal)) => JobEnd::Signaled(signal),
        (_, _, SlotStatus::LeftRunning) => {
            return Err(Abandon::Machine("a process that goes on when it has ended".into()));
        }
        (_, _, SlotStatus::LeftObjects) => {
            return Err(Abandon::Machine(
                "shared memory or an object of System V IPC that it leaves".into(),
            ));
        }
        (_, _, SlotStatus::InitDied) => return Err(refused("its processes were killed")),
    };
    let Harvest {
        changes,
        premises,
        outputs,
    } = view::harvest(upper, &view, owner).map_err(HarvestError::into_abandon)?;
    let root = rustix::io::fcntl_dupfd_cloexec(view.root(), 3).map_err(refused)?;
    let usage = Usage {
        cpu_us: end.cpu_us,
        guard_faults: service.faults(),
        fetches: view.fetches(),
        ..Usage::default()
    };
    let result = JobResult {
        end: end_of,
        changes,
        premises,
        trace: view.trace()?,
        output: Vec::new(),
        read_input: 0,
        usage,
        worker_now: now(),
    };
    let finished = Finished {
        outputs,
        _root: root,
        _dir: dir,
    };
    Ok((result, finished))
}

/// The clock of this machine.
pub(crate) fn now() -> FileTime {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    FileTime {
        sec: now.tv_sec,
        nsec: now.tv_nsec as u32,
    }
}

/// Removes a directory of the store with all that is in it.
pub(crate) fn remove_tree(path: &Path) {
    if let Err(error) = std::fs::remove_dir_all(path) {
        tracing::warn!("{} stays in the store: {error}", path.display());
    }
}
