//! The way to the daemon: its socket, whose end is checked, and a start of the daemon
//! where none listens. Knows nothing of what is said over it.

use crate::descriptor;
use crate::environment::{self, ENV_FROM};
use crate::starter::{Daemon, Start};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use termite_abi::{ENV_PREFIX, ENV_SOCKET, ENV_WRAPPING};
use termite_types::{BuildId, socket_path, stopped_path};

/// How long a daemon may take until it listens.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a daemon that is being started is looked for.
const LOOK: Duration = Duration::from_millis(2);

/// Where the daemon listens and what it is started from.
#[derive(Clone, Debug)]
pub struct DaemonEndpoint {
    /// Its socket.
    pub socket: PathBuf,
    /// The installation, with `bin/termite` in it.
    pub prefix: PathBuf,
    /// Where a daemon that we start writes its messages; `None`: nowhere.
    pub log: Option<PathBuf>,
    /// The environment that it is started with.
    environment: Vec<OsString>,
}

/// Why there is no daemon to talk to.
#[derive(Debug, thiserror::Error)]
pub enum NoDaemon {
    /// Nobody listens, and nobody was to be started.
    #[error("no daemon listens on {}", .0.display())]
    Absent(PathBuf),
    /// The user stopped it during this build.
    #[error("the daemon was stopped")]
    Stopped,
    /// The kernel refuses the socket.
    #[error("cannot connect to {}: {why}", .socket.display())]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// By the kernel.
        why: io::Error,
    },
    /// Somebody else listens there.
    #[error("{} belongs to user {owner}; set TERMITE_SOCKET to a path of your own", .socket.display())]
    Foreign {
        /// The socket.
        socket: PathBuf,
        /// Who listens.
        owner: u32,
    },
    /// It was started and ended before it listened, or could not be started.
    #[error("the daemon did not start: {0}")]
    Failed(String),
    /// It was started and does not listen.
    #[error("the daemon does not listen on {} after {PATIENCE:?}", .0.display())]
    Slow(PathBuf),
}

impl DaemonEndpoint {
    /// As an environment says it: `TERMITE_SOCKET`, `TERMITE_PREFIX`, XDG directories.
    pub fn of(environment: &[OsString]) -> Self {
        let variable = |name: &str| environment::value(environment, name).filter(|value| !value.is_empty());
        let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let runtime = absolute("XDG_RUNTIME_DIR").filter(|dir| dir.is_dir());
        let uid = rustix::process::geteuid().as_raw();
        let socket = variable(ENV_SOCKET).map(PathBuf::from);
        let installed = || {
            let exe = std::fs::read_link("/proc/self/exe").ok()?;
            Some(exe.parent()?.parent()?.to_owned())
        };
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        Self {
            socket: socket.unwrap_or_else(|| socket_path(runtime.as_deref(), uid)),
            prefix: absolute(ENV_PREFIX)
                .or_else(installed)
                .unwrap_or_else(|| PathBuf::from("/usr/local")),
            log: state.map(|state| state.join("termite/daemon.log")),
            environment: environment.to_vec(),
        }
    }

    /// The shim of this installation.
    pub fn library(&self) -> PathBuf {
        self.prefix.join("lib/libtermite.so")
    }

    /// Connects to a daemon that listens.
    pub fn connect(&self) -> Result<UnixStream, NoDaemon> {
        let stream = match UnixStream::connect(&self.socket) {
            Ok(stream) => stream,
            Err(error) => {
                return Err(match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => NoDaemon::Absent(self.socket.clone()),
                    _ => self.refused(error),
                });
            }
        };
        let peer = rustix::net::sockopt::socket_peercred(&stream).map_err(|e| self.refused(e.into()))?;
        if peer.uid != rustix::process::geteuid() {
            return Err(NoDaemon::Foreign {
                socket: self.socket.clone(),
                owner: peer.uid.as_raw(),
            });
        }
        descriptor::above_stdio(OwnedFd::from(stream))
            .map(UnixStream::from)
            .map_err(|e| self.refused(e))
    }

    /// The same for a job of a build: where the daemon was stopped while the build was under way,
    /// none is started for it.
    pub fn connect_for(&self, build: BuildId) -> Result<UnixStream, NoDaemon> {
        match self.connect() {
            Err(NoDaemon::Absent(_)) if self.was_stopped_under(build) => Err(NoDaemon::Stopped),
            Err(NoDaemon::Absent(_)) => self.connect_or_start(),
            done => done,
        }
    }

    /// Whether the user stopped the daemon while the build was under way, and none listens since.
    pub fn was_stopped_under(&self, build: BuildId) -> bool {
        let builds = std::fs::read_to_string(stopped_path(&self.socket)).unwrap_or_default();
        builds.lines().any(|line| line == build.to_string())
    }

    /// The build has ended.
    pub fn forget_stopped(&self, build: BuildId) {
        let path = stopped_path(&self.socket);
        let builds = std::fs::read_to_string(&path).unwrap_or_default();
        let others = builds.lines().filter(|line| *line != build.to_string());
        let others: String = others.map(|line| format!("{line}\n")).collect();
        // What stays is cleared away by the next daemon.
        let _ = match others.is_empty() {
            true => std::fs::remove_file(&path),
            false => std::fs::write(&path, others),
        };
    }

    /// Connects, and starts the daemon first where none listens. However many do so at
    /// once, one of them starts it.
    pub fn connect_or_start(&self) -> Result<UnixStream, NoDaemon> {
        match self.connect() {
            Err(NoDaemon::Absent(_)) => {}
            done => return done,
        }
        let until = Instant::now() + PATIENCE;
        let dir = self.socket_dir()?;
        loop {
            match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(self.refused(error.into())),
            }
            std::thread::sleep(LOOK);
            match self.connect() {
                Err(NoDaemon::Absent(_)) if Instant::now() < until => {}
                Err(NoDaemon::Absent(socket)) => return Err(NoDaemon::Slow(socket)),
                done => return done,
            }
        }
        // Whoever held the lock may have started it.
        match self.connect() {
            Err(NoDaemon::Absent(_)) => self.start(until),
            done => done,
        }
    }

    /// Starts a daemon and waits until it listens. The lock on the socket's directory is held.
    fn start(&self, until: Instant) -> Result<UnixStream, NoDaemon> {
        let start = Start {
            program: self.prefix.join("bin/termite"),
            environment: self.daemon_environment(),
            log: self.log.clone(),
        };
        let mut daemon = start
            .spawn()
            .map_err(|why| NoDaemon::Failed(format!("{}: {why}", start.program.display())))?;
        loop {
            let ended = daemon.ended_within(LOOK);
            match self.connect() {
                Err(NoDaemon::Absent(_)) if ended => return Err(NoDaemon::Failed(said(&mut daemon))),
                Err(NoDaemon::Absent(socket)) if Instant::now() >= until => return Err(NoDaemon::Slow(socket)),
                Err(NoDaemon::Absent(_)) => {}
                done => return done,
            }
        }
    }

    fn socket_dir(&self) -> Result<OwnedFd, NoDaemon> {
        let dir = self
            .socket
            .parent()
            .filter(|dir| *dir != Path::new(""))
            .unwrap_or(Path::new("."));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| self.refused(e))?;
        let opened = rustix::fs::open(dir, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        opened
            .map_err(io::Error::from)
            .and_then(descriptor::above_stdio)
            .map_err(|e| self.refused(e))
    }

    fn daemon_environment(&self) -> Vec<OsString> {
        let mut entries = environment::of_job(&self.environment);
        let is = |entry: &OsString, name| environment::value(std::slice::from_ref(entry), name).is_some();
        entries.retain(|entry| !is(entry, ENV_SOCKET) && !is(entry, ENV_WRAPPING));
        entries.push(environment::entry(ENV_SOCKET, self.socket.as_os_str()));
        if let Ok(cwd) = std::env::current_dir() {
            entries.push(environment::entry(ENV_FROM, cwd.as_os_str()));
        }
        entries
    }

    fn refused(&self, why: io::Error) -> NoDaemon {
        NoDaemon::Refused {
            socket: self.socket.clone(),
            why,
        }
    }
}

/// A daemon's last words.
fn said(daemon: &mut Daemon) -> String {
    let text = daemon.last_words();
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    line.map_or_else(
        || "it ended at once, without a word".to_owned(),
        |line| line.chars().take(300).collect(),
    )
}
