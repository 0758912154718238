//! The client daemon's life: what it holds together, when it starts and when it ends.
//! Knows every room of the client; decides nothing about jobs itself.

use crate::build::{Builds, command_line};
use crate::callers::{self, Caller, Listener, Requests, Surroundings};
use crate::commit::{self, Leftovers};
use crate::config::{Config, FilesState};
use crate::contention::Contention;
use crate::dispatch;
use crate::embedded::{self, Embedded};
use crate::fleet::Fleet;
use crate::forecast::Forecasts;
use crate::home::Room;
use crate::journal::{Journal, Predecessor};
use crate::link::{Introduction, State};
use crate::overlap::Overlap;
use crate::pids::JobPids;
use crate::program::OwnProgram;
use crate::report::{Forgotten, SettingStatus, Status, WorkerStatus};
use crate::standstill;
use crate::stopped;
use crate::traffic::Traffic;
use crate::tree::{DenyRules, Tree, TreeOptions};
use anyhow::Context;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use termite_core::rules::{self, Rules};
use termite_core::signs::Signs;
use termite_wire::frame::{CallerJob, Control};
use termite_wire::meet::Greeting;
use termite_wire::peer::ClientInfo;
use tokio::sync::watch;

/// How often an idle daemon looks whether it may end.
const IDLE_CHECK: Duration = Duration::from_secs(1);

/// How long the embedded worker may take to start.
const EMBEDDED_GRACE: Duration = Duration::from_secs(5);
/// How often it is looked at whether it still runs, and the longest pause between two starts.
const EMBEDDED_CHECK: Duration = Duration::from_millis(500);
const EMBEDDED_PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long an ending daemon waits for stubs to be told of the commits that are under way.
const SETTLING: Duration = Duration::from_secs(2);

/// How often it looks whether they have been told.
const SETTLED_CHECK: Duration = Duration::from_millis(5);

/// What the client's rooms share.
pub struct Daemon {
    /// Read once at the start.
    pub config: Config,
    /// The user's files.
    pub tree: Arc<Tree>,
    /// What commands are expected to use.
    pub forecasts: Arc<Forecasts>,
    /// What no worker sees or writes.
    pub deny: Arc<DenyRules>,
    /// The workers.
    pub fleet: Rc<Fleet>,
    /// Which job may change a contended path.
    pub contention: Rc<Contention>,
    /// Which commands had to go home, and why.
    pub signs: RefCell<Signs>,
    /// What was committed while each job ran.
    pub overlap: Arc<Overlap>,
    /// How far each commit has come, for stubs that lose this daemon.
    pub journal: Arc<Journal>,
    /// The commands that run on the client.
    pub room: Rc<Room>,
    /// What ran.
    pub builds: Builds,
    /// Process numbers of the running jobs.
    pub pids: JobPids,
    /// The user.
    pub uid: u32,
    /// The user's group.
    pub gid: u32,
    /// `uname -n`.
    pub hostname: OsString,
    /// Boot id of this machine.
    pub machine: Vec<u8>,
    /// Programs that a job must not start.
    pub drivers: Vec<OsString>,
    /// Where the daemon is, and so its jobs.
    pub surroundings: Surroundings,
    rules: RefCell<HashMap<PathBuf, KnownRules>>,
    /// The files that the settings came from, when they were read last.
    settings_read_from: RefCell<FilesState>,
    program: OwnProgram,
    started: Instant,
    busy: Cell<u32>,
    last_use: Cell<Instant>,
    /// It is to end, at the user's request.
    stopping: watch::Sender<bool>,
}

/// The rules of a directory, and the files that they were read from as those were.
struct KnownRules {
    read_from: FilesState,
    rules: Result<Rc<Rules>, String>,
}

/// Runs the daemon until it is stopped or has been idle for long enough.
pub fn run(config: Config) -> anyhow::Result<()> {
    if let Err(refused) = termite_sched::be_prompt() {
        tracing::warn!("{refused}");
    }
    let socket = config.socket_path();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(64)
        .build()
        .context("cannot start the daemon's event loop")?;
    let (listener, lock) = {
        let _context = runtime.enter();
        callers::bind(&socket).context("cannot listen for termite-run")?
    };
    let journal = Arc::new(begin_journal(&socket)?);
    let outcome = tokio::task::LocalSet::new().block_on(&runtime, live(config, listener, journal.clone()));
    // Waits for the commits that are under way.
    drop(runtime);
    journal.close();
    // Only by this may another daemon begin.
    drop(lock);
    outcome
}

/// Clears away what a daemon left that was killed, and begins this one's journal.
fn begin_journal(socket: &Path) -> anyhow::Result<Journal> {
    let last = Predecessor::read(socket);
    if let Some(mark) = last.mark {
        let mut left = Leftovers {
            mark,
            ..Leftovers::default()
        };
        for entry in last.entries.values() {
            left.dirs.extend(entry.dirs.iter().cloned());
            left.moves.extend(entry.moves.iter().cloned());
        }
        commit::clear(&left);
        embedded::remove_socket(&Embedded::socket(socket, mark));
    }
    stopped::clear(socket).context("cannot clear away what the last daemon left")?;
    Journal::begin(socket, commit::mark(), &last)
        .with_context(|| format!("cannot write the journal beside {}", socket.display()))
}

async fn live(config: Config, listener: Listener, journal: Arc<Journal>) -> anyhow::Result<()> {
    let daemon = Daemon::new(config, journal).await?;
    let mut embedded = daemon.enlist_workers()?;
    let served = callers::serve(listener, daemon.clone());
    let outcome = tokio::select! {
        served = served => served.context("the socket for termite-run broke"),
        () = daemon.stopping() => Ok(()),
        () = daemon.idle() => Ok(()),
        () = daemon.outdated() => Ok(()),
        () = daemon.tend(embedded.as_mut()) => Ok(()),
        () = standstill::watch(&daemon) => Ok(()),
        signal = callers::termination() => signal.context("cannot wait for signals"),
    };
    daemon.stop();
    daemon.settled().await;
    if tokio::time::timeout(SETTLING, daemon.journal.settled()).await.is_err() {
        tracing::warn!("commits are under way still; their stubs look into the journal");
    }
    daemon.flush();
    if let Some(mut worker) = embedded {
        worker.stop();
    }
    if let Err(error) = daemon.builds.trim_history() {
        tracing::warn!("the history cannot be trimmed: {error}");
    }
    outcome
}

impl Daemon {
    pub(crate) async fn new(config: Config, journal: Arc<Journal>) -> anyhow::Result<Rc<Self>> {
        let uname = rustix::system::uname();
        let hostname = OsString::from_vec(uname.nodename().to_bytes().to_vec());
        let machine = std::fs::read("/proc/sys/kernel/random/boot_id").context("cannot read this machine's boot id")?;
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let deny = Arc::new(DenyRules::new(&config.deny, &config.home).context("cannot use the deny rules")?);
        let tree = Tree::open(TreeOptions {
            cache_dir: config.cache_dir.clone(),
            deny: deny.clone(),
        })
        .context("cannot open the file server's records")?;
        let tree = Arc::new(tree);
        let traffic = Rc::new(Traffic::default());
        let introduction = Introduction {
            greeting: Greeting {
                release: env!("CARGO_PKG_VERSION").to_string(),
                token: config.token()?,
                hostname: hostname.clone(),
                slots: 0,
                pid_limit: 0,
                machine: machine.clone(),
            },
            client: ClientInfo {
                id: client_id(&config.cache_dir)?,
                uid,
                gid,
                shim: shim(&config.prefix)?,
            },
        };
        let forecasts = Arc::new(Forecasts::open(&config.cache_dir));
        Ok(Rc::new(Self {
            fleet: Fleet::new(introduction, tree.clone(), traffic.clone(), forecasts.clone()),
            contention: Contention::new(forecasts.load_contended()),
            signs: RefCell::new(Signs::saved(forecasts.load_signs())),
            forecasts,
            room: Room::new(),
            builds: Builds::new(config.history_dir(), traffic),
            overlap: Arc::new(Overlap::of(tree.clone())),
            journal,
            pids: JobPids::new(),
            drivers: rules::DRIVERS.iter().map(OsString::from).collect(),
            surroundings: Surroundings::own().context("cannot look at this process in /proc")?,
            rules: RefCell::default(),
            settings_read_from: RefCell::new(config.files_state()),
            program: OwnProgram::find().context("cannot look at this program's file")?,
            started: Instant::now(),
            busy: Cell::new(0),
            last_use: Cell::new(Instant::now()),
            stopping: watch::Sender::new(false),
            config,
            tree,
            deny,
            uid,
            gid,
            hostname,
            machine,
        }))
    }

    /// The configured workers, or the embedded one.
    pub(crate) fn enlist_workers(self: &Rc<Self>) -> anyhow::Result<Option<Embedded>> {
        if !self.config.workers.is_empty() {
            self.fleet.enlist_usual(&self.config.workers, Duration::ZERO);
            return Ok(None);
        }
        let worker = self.start_embedded()?;
        self.fleet.enlist_usual(&[worker.address()], EMBEDDED_GRACE);
        Ok(Some(worker))
    }

    fn start_embedded(&self) -> anyhow::Result<Embedded> {
        let socket = Embedded::socket(&self.config.socket_path(), commit::mark());
        let log = callers::log_file(&self.config).map_or_else(Stdio::null, Stdio::from);
        let config = &self.config;
        Embedded::start(&config.prefix, socket, config.slots, config.store, &config.fault, log)
            .with_context(|| format!("cannot start {}", config.prefix.join("bin/workerd").display()))
    }

    /// Starts the embedded worker again where it has ended by itself, after longer and longer
    /// pauses while that does not help. Its link dials the same address for ever. Never resolves.
    async fn tend(&self, worker: Option<&mut Embedded>) {
        let Some(worker) = worker else {
            return std::future::pending().await;
        };
        let mut pause = EMBEDDED_CHECK;
        loop {
            tokio::time::sleep(pause).await;
            let Some(why) = worker.ended() else {
                pause = EMBEDDED_CHECK;
                continue;
            };
            tracing::warn!("{why}; it is started again");
            pause = (pause * 2).min(EMBEDDED_PAUSE_MAX);
            embedded::remove_socket(worker.path());
            match self.start_embedded() {
                Ok(started) => *worker = started,
                Err(error) => tracing::warn!("{error:#}"),
            }
        }
    }

    /// The rules that hold in a directory: read at first use there, and when their files have
    /// changed.
    pub fn rules_for(&self, cwd: &Path) -> Result<Rc<Rules>, String> {
        let state = self.config.rules_state(cwd);
        let mut known = self.rules.borrow_mut();
        if let Some(known) = known.get(cwd).filter(|known| known.read_from == state) {
            return known.rules.clone();
        }
        let rules = self.config.rules_in(cwd).map(Rc::new);
        let read = KnownRules {
            read_from: state,
            rules: rules.clone(),
        };
        known.insert(cwd.to_path_buf(), read);
        rules
    }

    /// Resolves once the daemon is to end, at the user's request.
    pub async fn stopping(&self) {
        // It is not dropped meanwhile.
        let _ = self.stopping.subscribe().wait_for(|stops| *stops).await;
    }

    /// The daemon is to end: the jobs that are under way go on in their own places, and those that
    /// their builds start later begin there.
    fn stop(&self) {
        if *self.stopping.borrow() {
            return;
        }
        let builds = self.builds.under_way();
        if let Err(error) = stopped::note(&self.config.socket_path(), &builds) {
            tracing::warn!("the jobs that builds start from now on begin another daemon: {error}");
        }
        self.stopping.send_replace(true);
    }

    /// Waits until the jobs that are under way have been told.
    async fn settled(&self) {
        let are_home = async {
            while self.busy.get() > 0 {
                tokio::time::sleep(SETTLED_CHECK).await;
            }
        };
        if tokio::time::timeout(SETTLING, are_home).await.is_err() {
            tracing::warn!("jobs are under way still");
        }
    }

    /// Resolves when nobody has used the daemon for the configured time.
    async fn idle(&self) {
        let Some(limit) = self.config.idle_timeout else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(IDLE_CHECK.min(limit)).await;
            if self.busy.get() == 0 {
                self.flush();
                if self.last_use.get().elapsed() >= limit {
                    return;
                }
            }
        }
    }

    /// Resolves when another daemon would be better for the next job, which starts it: termite was
    /// installed anew in the place of this one's program, or other settings hold; and no build is
    /// under way.
    async fn outdated(&self) {
        loop {
            tokio::time::sleep(IDLE_CHECK).await;
            let is_idle = self.busy.get() == 0 && self.last_use.get().elapsed() >= IDLE_CHECK;
            if !is_idle || !self.builds.under_way().is_empty() {
                continue;
            }
            if self.program.is_replaced() {
                tracing::info!("another program has taken the place of this daemon's, which ends");
                return;
            }
            if self.has_other_settings() {
                tracing::info!("other settings hold; this daemon ends, and the next job starts one with them");
                return;
            }
        }
    }

    /// Whether a file was changed so that this daemon would be started with other settings. Those
    /// that cannot be used change nothing.
    fn has_other_settings(&self) -> bool {
        let state = self.config.files_state();
        let is_known = *self.settings_read_from.borrow() == state;
        self.settings_read_from.replace(state);
        !is_known && self.config.anew().is_ok_and(|now| now.shown() != self.config.shown())
    }

    /// Writes the caches to disk.
    fn flush(&self) {
        self.tree.flush();
        self.forecasts.flush();
        self.forecasts.save_contended(&self.contention.take_unsaved());
        self.forecasts.save_signs(&self.signs.borrow_mut().take_unsaved());
    }

    /// Forgets the signs of the commands whose line has these words in it.
    fn forget(&self, words: &[OsString]) -> Vec<String> {
        let words = command_line(words);
        self.signs.borrow_mut().forget(|sign| sign.command.contains(&words))
    }

    fn status(&self) -> Status {
        let workers = self.fleet.links().into_iter().map(|link| {
            let (state, slots) = match link.state() {
                State::Dialling => ("dialling".to_string(), 0),
                State::Up(session) => ("up".to_string(), session.greeting.slots),
                State::Down(why) => (why, 0),
            };
            WorkerStatus {
                address: link.address.to_string(),
                state,
                slots,
                running: link.running(),
                speed: link.speed().get(),
                bytes: link.traffic.bytes(),
            }
        });
        Status {
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            workers: workers.collect(),
            running: self.builds.running(),
            settings: self.config.shown().iter().map(SettingStatus::of).collect(),
        }
    }
}

impl Requests for Daemon {
    async fn job(self: Rc<Self>, job: CallerJob, caller: Caller) {
        self.busy.set(self.busy.get() + 1);
        dispatch::serve(&self, job, caller).await;
        self.busy.set(self.busy.get() - 1);
        self.last_use.set(Instant::now());
    }

    async fn control(self: Rc<Self>, control: Control) -> Result<String, String> {
        if matches!(control, Control::Begin { .. } | Control::Finish { .. }) {
            self.last_use.set(Instant::now());
        }
        self.builds.settled().await;
        let json = match control {
            Control::Status => serde_json::to_string(&self.status()),
            Control::Stop => {
                self.stop();
                Ok("{}".to_string())
            }
            Control::Last(directory) => {
                let last = self
                    .builds
                    .last(&directory)
                    .map_err(|e| format!("the history cannot be read: {e}"))?;
                serde_json::to_string(&last)
            }
            Control::Begin {
                build, cwd, workers, ..
            } => {
                let workers = crate::config::parse_workers(&workers).map_err(|e| e.to_string())?;
                let workers = self.fleet.enlist(&workers, Duration::ZERO);
                self.builds.begin(build, &cwd, workers);
                Ok("{}".to_string())
            }
            Control::Forget(words) => serde_json::to_string(&Forgotten {
                commands: self.forget(&words),
            }),
            Control::Finish { build, exit } => {
                let outdated = self.program.is_replaced();
                serde_json::to_string(&self.builds.finish(build, exit, outdated))
            }
        };
        json.map_err(|e| format!("the answer cannot be written: {e}"))
    }
}

/// Names this user's tree on workers; made once, kept in the cache.
fn client_id(cache: &Path) -> anyhow::Result<Vec<u8>> {
    let path = cache.join("client-id");
    if let Ok(id) = std::fs::read(&path)
        && id.len() == 32
    {
        return Ok(id);
    }
    let mut random = [0; 32];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).context("cannot make a client id")?;
    let id = blake3::hash(&random).to_hex().as_bytes()[..32].to_vec();
    std::fs::create_dir_all(cache)
        .and_then(|()| std::fs::write(&path, &id))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(id)
}

/// The library for jobs, from the own prefix.
fn shim(prefix: &Path) -> anyhow::Result<Vec<u8>> {
    let path = prefix.join("lib/libtermite.so");
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}
