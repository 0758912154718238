//! How a job begins: its slot, its view, and what serves its files. Knows nothing of how it goes on.

use super::{Event, JobDir, JobEnv, Tell, refused};
use crate::backend::FaultBackend;
use crate::control::Service;
use crate::fuse::{self, Fuse};
use crate::guard::{self, Events, GuardSpec};
use crate::inherited::Inherited;
use crate::slot::{Slot, SlotPlan, Started};
use crate::stdio::{self, OurEnds};
use crate::view::{Lower, Mirror, SharedMap, View, ViewSpec};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use termite_types::{Abandon, JobSpec, PidRange, Stdio};
use tokio::sync::mpsc;

/// A job whose slot stands and whose files are served.
pub(super) struct Launched {
    pub slot: Slot,
    pub upper: OwnedFd,
    pub view: Arc<View>,
    pub service: Arc<Service>,
    pub ours: OurEnds,
    pub told: mpsc::UnboundedReceiver<Event>,
    pub inherited: Option<Inherited>,
    pub dir: JobDir,
}

/// Makes the slot and its view, and lets its files be served.
pub(super) fn launch(env: JobEnv, spec: JobSpec) -> Result<Launched, Abandon> {
    let stdio = spec.stdio.clone();
    let first = First {
        cwd: spec.cwd.clone(),
        program: spec.program.clone(),
        drivers: spec.drivers.clone(),
        pids: spec.pids,
        owner: (spec.owner.uid, spec.owner.gid),
        terminal_input: stdio.terminal[0],
        has_input: stdio.has_input() || stdio.terminal[0],
    };
    ReadySlot::new(env, spec, &stdio)?.serve(first)
}

/// What the service of a job's files goes by.
struct First {
    cwd: PathBuf,
    program: PathBuf,
    drivers: Vec<OsString>,
    pids: Option<PidRange>,
    owner: (u32, u32),
    terminal_input: bool,
    has_input: bool,
}

/// A slot whose job stands before its first path call, and what its files are to be served with.
struct ReadySlot {
    started: Started,
    dir: JobDir,
    mirror: Arc<Mirror>,
    proc: PathBuf,
    shared: Arc<SharedMap>,
    lower: Option<Arc<Lower>>,
    fuse: Option<Fuse>,
    preload: Option<PathBuf>,
    ours: OurEnds,
    events: Arc<dyn Events>,
    told: mpsc::UnboundedReceiver<Event>,
    inherited: Option<Inherited>,
}

impl ReadySlot {
    /// Makes the slot.
    fn new(env: JobEnv, spec: JobSpec, stdio: &Stdio) -> Result<Self, Abandon> {
        let dir = JobDir {
            path: env.dir,
            _pin: env.pin,
        };
        let shared_path = dir.path.join("shared");
        let (shared, cookie) = shared_memory(&shared_path).map_err(without_memory)?;
        let (job_fds, mut ours) = stdio::open(stdio).map_err(refused)?;
        let (library, preload) = env.shim.unzip();
        let (tell, told) = mpsc::unbounded_channel();
        let events: Arc<dyn Events> = Arc::new(Tell(tell));
        let layer = match &env.backend {
            FaultBackend::Fuse(device) => {
                let proc = open_directory(&env.proc).map_err(refused)?;
                let lower = Lower::new(env.mirror.clone(), proc, shared.clone()).map_err(refused)?;
                Some(fuse_layer(device, lower, &spec.drivers, &events)?)
            }
            FaultBackend::ShimGuard | FaultBackend::Guard => None,
        };
        let (served, lower, fuse) = layer.map_or((None, None, None), |(a, b, c)| (Some(a), Some(b), Some(c)));
        let inherits = (!spec.inherited.is_empty())
            .then(|| Inherited::new(&dir.path, &env.proc, spec.inherited.clone(), env.instances))
            .transpose();
        let (inherited, placeholder) = inherits.map_err(refused)?.unzip();
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
        let mut started = env.spawner.start(plan).map_err(refused)?;
        if let Some(master) = started.terminal.take() {
            ours.set_terminal(master, stdio).map_err(refused)?;
        }
        Ok(Self {
            started,
            dir,
            mirror: env.mirror,
            proc: env.proc,
            shared,
            lower,
            fuse,
            preload,
            ours,
            events,
            told,
            inherited,
        })
    }

    /// Makes the view, and lets the job's files be served.
    fn serve(self, first: First) -> Result<Launched, Abandon> {
        let Started { slot, upper, .. } = self.started;
        let open_proc = || open_directory(&self.proc).map_err(refused);
        let view = Arc::new(View::new(ViewSpec {
            mirror: self.mirror,
            root: self.started.root,
            upper: rustix::io::fcntl_dupfd_cloexec(&upper, 3).map_err(refused)?,
            proc: open_proc()?,
            shared: self.shared,
            uid: first.owner.0,
            gid: first.owner.1,
            lower: self.lower,
        }));
        let service = match self.started.listener {
            Some(listener) => {
                let placeholder = self.inherited.as_ref().map(Inherited::placeholder);
                let spec = GuardSpec {
                    view: view.clone(),
                    drivers: first.drivers,
                    preload: self.preload,
                    terminal_input: first.terminal_input,
                    pids: first.pids,
                    placeholder: placeholder.transpose().map_err(refused)?,
                };
                guard::make_ready(&spec, slot.pid(), &first.cwd, &first.program)?;
                Service::Guard(guard::serve(listener, spec, self.events).map_err(refused)?)
            }
            None => {
                if first.has_input {
                    fuse::watch_input(slot.pid(), &view, open_proc()?, self.events).map_err(refused)?;
                }
                Service::Fuse(self.fuse.ok_or_else(|| refused("its files are not served"))?)
            }
        };
        Ok(Launched {
            slot,
            upper,
            view,
            service: Arc::new(service),
            ours: self.ours,
            told: self.told,
            inherited: self.inherited,
            dir: self.dir,
        })
    }
}

fn without_memory(error: std::io::Error) -> Abandon {
    match error.kind() {
        std::io::ErrorKind::StorageFull => Abandon::Full(error.to_string()),
        _ => refused(error),
    }
}

/// The memory that a job's shim shares with workerd, and the secret in it.
fn shared_memory(path: &Path) -> std::io::Result<(Arc<SharedMap>, u64)> {
    let shared = std::fs::File::create_new(path)?;
    let (shared, cookie) = (SharedMap::new(shared.as_fd())?, cookie()?);
    shared.init(cookie);
    Ok((Arc::new(shared), cookie))
}

/// A file system for the job's lower layer, with what serves it.
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
