//! What the client's rooms share, made once. Decides nothing.

use crate::build::Builds;
use crate::callers::Surroundings;
use crate::config::{Config, ConfigError, FilesState};
use crate::contention::Contention;
use crate::fleet::Fleet;
use crate::forecast::Forecasts;
use crate::home::Room;
use crate::journal::Journal;
use crate::link::Introduction;
use crate::overlap::Overlap;
use crate::pids::JobPids;
use crate::program::OwnProgram;
use crate::stopped;
use crate::traffic::Traffic;
use crate::tree::{DenyRules, Tree, TreeOptions};
use anyhow::Context;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use termite_core::rules::{self, Rules};
use termite_core::signs::Signs;
use termite_wire::handshake::Greeting;
use termite_wire::peer::ClientInfo;
use tokio::sync::watch;

/// What the client's rooms share.
pub(crate) struct Daemon {
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
    pub(crate) settings_read_from: RefCell<FilesState>,
    pub(crate) program: OwnProgram,
    pub(crate) started: Instant,
    /// Jobs that are being served.
    pub(crate) busy: Cell<u32>,
    pub(crate) last_use: Cell<Instant>,
    /// It is to end, at the user's request.
    stopping: watch::Sender<bool>,
}

/// The rules of a directory, and the files that they were read from as those were.
struct KnownRules {
    read_from: FilesState,
    rules: Result<Rc<Rules>, Rc<ConfigError>>,
}

impl Daemon {
    /// Opens the caches and records, and connects to nothing yet.
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

    /// The rules that hold in a directory: read at first use there, and when their files have
    /// changed.
    pub(crate) fn rules_for(&self, cwd: &Path) -> Result<Rc<Rules>, Rc<ConfigError>> {
        let state = self.config.rules_state(cwd);
        let mut known = self.rules.borrow_mut();
        if let Some(known) = known.get(cwd).filter(|known| known.read_from == state) {
            return known.rules.clone();
        }
        let rules = self.config.rules_in(cwd).map(Rc::new).map_err(Rc::new);
        let read = KnownRules {
            read_from: state,
            rules: rules.clone(),
        };
        known.insert(cwd.to_path_buf(), read);
        rules
    }

    /// Resolves once the daemon is to end, at the user's request.
    pub(crate) async fn stopping(&self) {
        // It is not dropped meanwhile.
        let _ = self.stopping.subscribe().wait_for(|stops| *stops).await;
    }

    /// The daemon is to end: the jobs that are under way go on in their own places, and those that
    /// their builds start later begin there.
    pub(crate) fn stop(&self) {
        if *self.stopping.borrow() {
            return;
        }
        let builds = self.builds.under_way();
        if let Err(error) = stopped::note(&self.config.socket_path(), &builds) {
            tracing::warn!("the jobs that builds start from now on begin another daemon: {error}");
        }
        self.stopping.send_replace(true);
    }

    /// Writes the caches to disk.
    pub(crate) fn flush(&self) {
        self.tree.flush();
        self.forecasts.flush();
        self.forecasts.save_contended(&self.contention.take_unsaved());
        self.forecasts.save_signs(&self.signs.borrow_mut().take_unsaved());
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
