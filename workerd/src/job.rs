//! One job's life on a worker: its slot is made, its view served, its words carried, its
//! outputs harvested. Knows the order of these steps; slot, view and guard do them.

use crate::front::Front;
use crate::fuse::{self, Fuse};
use crate::guard::{self, Events, GuardSpec};
use crate::inherited::{Inherited, Instances};
use crate::memory::Hold;
use crate::session::blocking;
use crate::slot::{Network, Slot, SlotEnd, SlotPlan, SlotStatus, Spawner, Started};
use crate::stdio::{self, OurEnds};
use crate::steering::{Observed, Service, Steering};
use crate::view::{self, Harvest, HarvestError, Lower, Mirror, Outputs, SharedMap, View, ViewSpec};
use crate::watched::watched;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use termite_types::{Abandon, FileTime, JobEnd, JobResult, JobSpec, Owner, Phases, Usage};
use termite_wire::remote::RemoteSink;
use tokio::sync::mpsc;

/// Output that is kept here before it is sent ahead of the result.
const HELD: usize = 1 << 20;

/// What a job needs of its session and worker.
pub(crate) struct JobEnv {
    /// A directory of its own in the store.
    pub dir: PathBuf,
    /// Keeps the client's tree as it is filled, until the outputs are taken.
    pub hold: Hold,
    /// The client's tree.
    pub mirror: Arc<Mirror>,
    /// The client's network here.
    pub network: Network,
    /// Makes slots.
    pub spawner: Arc<Spawner>,
    /// The worker's `/proc`.
    pub proc: PathBuf,
    /// What serves the job's file accesses.
    pub front: Front,
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
    _hold: Hold,
}

impl Drop for JobDir {
    fn drop(&mut self) {
        remove_tree(&self.path);
    }
}

/// A job whose slot stands and whose files are served.
struct Launched {
    slot: Slot,
    upper: OwnedFd,
    view: Arc<View>,
    service: Arc<Service>,
    ours: OurEnds,
    told: mpsc::UnboundedReceiver<Event>,
    inherited: Option<Inherited>,
    dir: JobDir,
}

/// What the threads of a front end tell.
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
    steering: &Steering,
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
    steering.connect(input, terminal);
    steering.check()?;
    slot.borrow_mut().go().map_err(refused)?;
    let start_us = clock.lap();
    let observed = Observed {
        view: view.clone(),
        service: service.clone(),
    };
    steering.begin(slot.clone(), observed);
    steering.check()?;

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
        () = listen(&mut told, steering, &sink) => unreachable!("never resolves"),
        () = watch(inherited.as_ref(), steering) => unreachable!("never resolves"),
    };
    steering.end();
    // A job may end by the very error that it was given up with, before that was heard here.
    while let Ok(event) = told.try_recv() {
        if let Event::Abandon(why) = event {
            steering.abandon(why);
        }
    }
    inherited.as_ref().map_or(Ok(()), Inherited::check)?;
    steering.check()?;
    let read_input = steering.read_input().map_err(refused)?;
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

/// Acts on what the front end tells; never resolves.
async fn listen(told: &mut mpsc::UnboundedReceiver<Event>, steering: &Steering, sink: &RemoteSink) {
    while let Some(event) = told.recv().await {
        match event {
            Event::WantsInput => {
                steering.wants_input();
                want_input(sink).await;
            }
            Event::Abandon(why) => steering.abandon(why),
        }
    }
    std::future::pending().await
}

/// Gives the job up when it uses what it inherited; never resolves.
async fn watch(inherited: Option<&Inherited>, steering: &Steering) {
    if let Some(inherited) = inherited {
        steering.abandon(inherited.used().await);
    }
    std::future::pending().await
}

async fn want_input(sink: &RemoteSink) {
    if let Err(error) = sink.want_input().await {
        tracing::debug!("a job's wish for input found nobody: {error}");
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

/// Makes the slot and its view, and lets its files be served.
fn launch(env: JobEnv, spec: JobSpec) -> Result<Launched, Abandon> {
    let dir = JobDir {
        path: env.dir,
        _hold: env.hold,
    };
    let stdio = spec.stdio.clone();
    let (cwd, program, drivers) = (spec.cwd.clone(), spec.program.clone(), spec.drivers.clone());
    let pids = spec.pids;
    let (uid, gid) = (spec.owner.uid, spec.owner.gid);
    let shared_path = dir.path.join("shared");
    let (shared, cookie) = shared_memory(&shared_path).map_err(|error| match error.kind() {
        std::io::ErrorKind::StorageFull => Abandon::Full(error.to_string()),
        _ => refused(error),
    })?;
    let (job_fds, mut ours) = stdio::open(&stdio).map_err(refused)?;
    let (library, preload) = env.shim.unzip();
    let (tell, told) = mpsc::unbounded_channel();
    let events: Arc<dyn Events> = Arc::new(Tell(tell));
    let open_proc = || open_directory(&env.proc).map_err(refused);
    let layer = match &env.front {
        Front::Fuse(device) => {
            let lower = Lower::new(env.mirror.clone(), open_proc()?, shared.clone()).map_err(refused)?;
            Some(fuse_layer(device, lower, &drivers, &events)?)
        }
        Front::ShimGuard | Front::Guard => None,
    };
    let (served, lower, fuse) = layer.map_or((None, None, None), |(a, b, c)| (Some(a), Some(b), Some(c)));
    let (inherited, placeholder) = match &spec.inherited[..] {
        [] => (None, None),
        numbers => Inherited::new(&dir.path, &env.proc, numbers.to_vec(), env.instances)
            .map_err(refused)
            .map(|(inherited, placeholder)| (Some(inherited), Some(placeholder)))?,
    };
    let plan = SlotPlan {
        lower: env.mirror.root().to_path_buf(),
        network: env.network,
        dir: dir.path.clone(),
        shared: shared_path,
        shim: library,
        placeholder,
        jobserver: spec.jobserver.map(|_| jobserver()).transpose().map_err(refused)?,
        spec,
        stdio: job_fds,
        cookie,
        served,
    };
    let started = env.spawner.start(plan).map_err(refused)?;
    let Started { slot, upper, .. } = started;
    if let Some(master) = started.terminal {
        ours.set_terminal(master, &stdio).map_err(refused)?;
    }
    let view = Arc::new(View::new(ViewSpec {
        mirror: env.mirror,
        root: started.root,
        upper: rustix::io::fcntl_dupfd_cloexec(&upper, 3).map_err(refused)?,
        proc: open_proc()?,
        shared,
        uid,
        gid,
        lower,
    }));
    let service = match (started.listener, fuse) {
        (Some(listener), _) => {
            let spec = GuardSpec {
                view: view.clone(),
                drivers,
                preload,
                terminal_input: stdio.terminal[0],
                pids,
                placeholder: inherited
                    .as_ref()
                    .map(Inherited::placeholder)
                    .transpose()
                    .map_err(refused)?,
            };
            guard::make_ready(&spec, slot.pid(), &cwd, &program)?;
            Service::Guard(guard::serve(listener, spec, events).map_err(refused)?)
        }
        (None, fuse) => {
            if stdio.has_input() || stdio.terminal[0] {
                fuse::watch_input(slot.pid(), &view, open_proc()?, events).map_err(refused)?;
            }
            Service::Fuse(fuse.ok_or_else(|| refused("nobody serves its files"))?)
        }
    };
    Ok(Launched {
        slot,
        upper,
        view,
        service: Arc::new(service),
        ours,
        told,
        inherited,
        dir,
    })
}

/// The memory that a job's shim shares with workerd, and the secret in it.
fn shared_memory(path: &Path) -> std::io::Result<(Arc<SharedMap>, u64)> {
    let shared = std::fs::File::create_new(path)?;
    let (shared, cookie) = (SharedMap::new(shared.as_fd())?, cookie()?);
    shared.init(cookie);
    Ok((Arc::new(shared), cookie))
}

/// A file system for the job's lower layer, with who serves it.
fn fuse_layer(
    device: &fuse::Device,
    lower: Lower,
    drivers: &[OsString],
    events: &Arc<dyn Events>,
) -> Result<(OwnedFd, Arc<Lower>, Fuse), Abandon> {
    let lower = Arc::new(lower);
    let (mount, service) = fuse::serve(device, lower.clone(), drivers.to_vec(), events.clone()).map_err(refused)?;
    Ok((mount, lower, service))
}

fn open_directory(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
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

/// What the system says of something that is needed for a start.
pub(crate) fn in_words(what: &str, errno: i32) -> String {
    format!("{what}: {}", std::io::Error::from_raw_os_error(errno))
}

/// A job server with one token beside the job's own: what the slot can give.
fn jobserver() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::write(&write, b"+")?;
    Ok((read, write))
}

/// A random number without a zero half, which is what a call without the cookie has.
fn cookie() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    loop {
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        let cookie = u64::from_le_bytes(bytes);
        if cookie as u32 != 0 && cookie >> 32 != 0 {
            return Ok(cookie);
        }
    }
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
