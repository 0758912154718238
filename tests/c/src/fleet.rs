//! A worker of one's own and a client daemon that uses it, with every socket and cache in
//! a private directory. Knows no test.

use crate::owner::{ENVIRONMENT, Owner};
use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a daemon may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// An installation of termite: `bin/` and `lib/` below one directory.
#[derive(Clone, Debug)]
pub struct Prefix {
    dir: PathBuf,
}

impl Prefix {
    /// The one that `TERMITE_PREFIX` names, else `target/termite` of this workspace, if it holds the shim.
    pub fn find() -> Option<Self> {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/termite");
        let dir = std::env::var_os("TERMITE_PREFIX").map_or(built, PathBuf::from);
        let prefix = Prefix {
            dir: dir.canonicalize().ok()?,
        };
        prefix.library().exists().then_some(prefix)
    }

    /// A program of it.
    pub fn bin(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// The shim.
    pub fn library(&self) -> PathBuf {
        self.dir.join("lib/libtermite.so")
    }

    /// A copy that every user of the machine can reach.
    pub fn copy_to(&self, dir: &Path) -> Result<Self> {
        for part in ["bin", "lib"] {
            fs::create_dir_all(dir.join(part))?;
            for entry in fs::read_dir(self.dir.join(part)).into_iter().flatten() {
                let entry = entry?;
                fs::copy(entry.path(), dir.join(part).join(entry.file_name()))?;
            }
        }
        Ok(Prefix { dir: dir.to_owned() })
    }
}

/// One workerd with two slots, and the daemon's private places. Both end when it is dropped.
#[derive(Debug)]
pub struct Fleet {
    prefix: Prefix,
    dir: PathBuf,
    owner: Owner,
    workerd: Child,
}

impl Fleet {
    /// Starts a worker that serves faults as `fault` says, and waits until it listens.
    pub fn start(prefix: &Prefix, dir: &Path, owner: Owner, fault: &str) -> Result<Self> {
        for part in ["termite", "termite-run", "workerd"].map(|name| prefix.bin(name)) {
            ensure!(part.exists(), "{} is missing: run `cargo xtask build`", part.display());
        }
        fs::create_dir_all(dir)?;
        for part in ["runtime", "cache", "state", "config", "data"] {
            fs::create_dir_all(dir.join(part))?;
            owner.give(&dir.join(part))?;
        }
        owner.give(dir)?;
        let log = File::create(dir.join("workerd.log"))?;
        let workerd = owner
            .command(&prefix.bin("workerd"))
            .arg("--listen")
            .arg(format!("unix:{}", dir.join("worker.sock").display()))
            .args(["--slots", "2", "--fault", fault])
            .current_dir(dir)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("XDG_RUNTIME_DIR", dir.join("runtime"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start workerd")?;
        let mut fleet = Fleet {
            prefix: prefix.clone(),
            dir: dir.to_owned(),
            owner,
            workerd,
        };
        let start = Instant::now();
        while UnixStream::connect(dir.join("worker.sock")).is_err() {
            let gone = fleet.workerd.try_wait()?;
            ensure!(
                gone.is_none() && start.elapsed() < PATIENCE,
                "workerd does not listen: {}",
                fleet.log()
            );
            sleep(Duration::from_millis(10));
        }
        Ok(fleet)
    }

    /// `termite run -- program`, told to use this fleet.
    pub fn job(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = self.owner.command(&self.prefix.bin("termite"));
        command.args(["run", "--"]).arg(program).args(args);
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        command
            .env_clear()
            .envs(ENVIRONMENT)
            .env("XDG_RUNTIME_DIR", self.dir.join("runtime"))
            .env("XDG_CACHE_HOME", self.dir.join("cache"))
            .env("XDG_STATE_HOME", self.dir.join("state"))
            .env("XDG_CONFIG_HOME", self.dir.join("config"))
            .env("TERMITE_SOCKET", self.dir.join("runtime/daemon.sock"))
            .env(
                "TERMITE_WORKERS",
                format!("unix:{}", self.dir.join("worker.sock").display()),
            );
    }

    /// The end of what the worker logged.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.dir.join("workerd.log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// Ends daemon and worker in the orderly way and tells whether both did.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if self.workerd.try_wait()?.is_some() {
            return Ok(());
        }
        let mut stop = self.owner.command(&self.prefix.bin("termite"));
        stop.arg("stop");
        self.surround(&mut stop);
        let stopped = stop.current_dir(&self.dir).output()?;
        let pid = Pid::from_child(&self.workerd);
        kill_process(pid, Signal::TERM)?;
        let start = Instant::now();
        while self.workerd.try_wait()?.is_none() {
            if start.elapsed() > PATIENCE {
                self.workerd.kill()?;
                self.workerd.wait()?;
                anyhow::bail!("workerd did not end after SIGTERM: {}", self.log());
            }
            sleep(Duration::from_millis(10));
        }
        ensure!(
            stopped.status.success(),
            "termite stop: {}",
            String::from_utf8_lossy(&stopped.stderr)
        );
        Ok(())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Err(why) = self.end() {
            eprintln!("{why:#}");
        }
    }
}
