//! A client: a user's private directories, daemon socket and configuration, and the
//! three ways to run a build with termite. Reads `termite last --json`, nothing deeper.

use crate::process::{PATIENCE, Program, wait_until};
use crate::scene::Scene;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compilers write this instead of the present time.
pub const EPOCH: &str = "1700000000";

/// A user of termite.
#[derive(Debug)]
pub struct Client<'a> {
    scene: &'a Scene,
    home: PathBuf,
    workers: String,
    token: Option<PathBuf>,
    planted_fault: Option<&'static str>,
}

/// The two ways to drive a whole build.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// `LD_PRELOAD=.../libtermite.so make`.
    Preload,
    /// `termite-env make`.
    Env,
}

/// What `termite last --json` says.
#[derive(Debug, Deserialize)]
pub struct Last {
    /// Exit status of the build.
    pub exit: Option<i32>,
    /// Numbers of jobs.
    pub jobs: Jobs,
    /// Why jobs ran locally.
    pub local_reasons: BTreeMap<String, u64>,
    /// From the start of the build to its end, seconds.
    pub wall_s: f64,
    /// Content that crossed to and from workers, and between them.
    pub bytes: BTreeMap<String, u64>,
    /// Processor time of the client daemon, seconds.
    pub client_cpu_s: f64,
    /// System calls of jobs that guards stopped.
    pub guard_calls: u64,
    /// Questions of workers while jobs ran.
    pub fetches: u64,
    /// Directories and files that workers were brought before jobs began.
    #[serde(rename = "brought")]
    pub prefetched: u64,
    /// Attempts that did not count, of all jobs together.
    pub reruns: u64,
    /// Where the time of all jobs together went, seconds.
    pub phases: BTreeMap<String, f64>,
}

/// Numbers of jobs of a build.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub struct Jobs {
    /// All that counted.
    pub total: u64,
    /// Run on a worker.
    pub remote: u64,
    /// Run on the client.
    pub local: u64,
}

impl<'a> Client<'a> {
    /// A new user by `name`; `workers` is a value of `TERMITE_WORKERS`, empty for the
    /// embedded worker.
    pub fn new(scene: &'a Scene, name: &str, workers: &str) -> Result<Self> {
        let home = scene.dir(&format!("c/{name}"))?;
        for (_, dir) in DIRS {
            fs::create_dir_all(home.join(dir))?;
        }
        rustix::fs::chmod(home.join("run"), rustix::fs::Mode::RWXU)?;
        scene.give(&home)?;
        Ok(Self {
            scene,
            home,
            workers: workers.to_owned(),
            token: None,
            planted_fault: None,
        })
    }

    /// Has its daemon commit wrongly in the way of this name, on a scene with planted faults.
    pub fn with_planted_fault(mut self, name: &'static str) -> Self {
        self.planted_fault = Some(name);
        self
    }

    /// Shows its workers what is in this file.
    pub fn with_token(mut self, file: &Path) -> Self {
        self.token = Some(file.to_owned());
        self
    }

    /// The user's home directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A command without termite, in `dir`.
    pub fn bare(&self, dir: &Path, program: impl AsRef<Path>) -> Program {
        let mut command = self.command(program);
        command.current_dir(dir);
        Program::new(command)
    }

    /// A command with the library preloaded, in `dir`.
    pub fn preload(&self, dir: &Path, program: impl AsRef<Path>) -> Program {
        self.bare(dir, program)
            .env("LD_PRELOAD", self.scene.installed("lib/libtermite.so"))
    }

    /// `termite-env ARGS`, in `dir`.
    pub fn termite_env<A: AsRef<OsStr>>(&self, dir: &Path, args: impl IntoIterator<Item = A>) -> Program {
        self.bare(dir, self.scene.installed("bin/termite-env")).args(args)
    }

    /// A command driven one way or the other, in `dir`.
    pub fn drive(&self, way: Way, dir: &Path, program: &str) -> Program {
        match way {
            Way::Preload => self.preload(dir, program),
            Way::Env => self.termite_env(dir, ["--", program]),
        }
    }

    /// `termite ARGS`, in `dir`.
    pub fn termite<A: AsRef<OsStr>>(&self, dir: &Path, args: impl IntoIterator<Item = A>) -> Program {
        self.bare(dir, self.scene.installed("bin/termite")).args(args)
    }

    /// Has the next build try the fleet for commands that went home before: other programs of the
    /// same line may follow.
    pub fn forget(&self, dir: &Path) -> Result<()> {
        self.termite(dir, ["forget"]).run()?.success().map(drop)
    }

    /// What `termite ARGS`, in `dir`, says as JSON.
    pub fn ask<T: DeserializeOwned>(&self, dir: &Path, args: &[&str]) -> Result<T> {
        let outcome = self.termite(dir, args).run()?.success()?;
        serde_json::from_slice(&outcome.stdout).with_context(|| format!("reading {}", outcome.describe()))
    }

    /// What the last build under `dir` did.
    pub fn last(&self, dir: &Path) -> Result<Last> {
        self.ask(dir, &["last", "--json"])
    }

    /// The same, an error if any of its jobs ran locally or none ran at all.
    pub fn all_remote(&self, dir: &Path) -> Result<Last> {
        let last = self.last(dir)?;
        if last.jobs.local != 0 || last.jobs.remote == 0 {
            bail!("{:?}, because of {:?}", last.jobs, last.local_reasons);
        }
        Ok(last)
    }

    /// Ends the daemon and sees that nothing is left of it but caches and history.
    pub fn stop(&self) -> Result<()> {
        self.termite(&self.home, ["stop"]).run()?.success()?;
        let gone = wait_until(
            "the daemon to leave",
            PATIENCE / 10,
            || matches!(self.leftovers(), Ok(left) if left.is_empty()),
        );
        gone.with_context(|| format!("left behind: {:?}", self.leftovers()))
    }

    /// Files that must not be there after the daemon has ended: anything in the
    /// run-time directory and in the directory for temporary files.
    fn leftovers(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for dir in ["run", "tmp"] {
            files_below(&self.home.join(dir), &mut found)?;
        }
        Ok(found)
    }

    /// A command with this user's environment.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.scene.command(program);
        command
            .env("HOME", &self.home)
            .envs(DIRS.map(|(name, dir)| (name, self.home.join(dir))));
        command.env("TERMITE_SOCKET", self.home.join("run/d.sock"));
        if !self.workers.is_empty() {
            command.env("TERMITE_WORKERS", &self.workers);
        }
        if let Some(token) = &self.token {
            command.env("TERMITE_TOKEN_FILE", token);
        }
        if let Some(name) = self.planted_fault {
            command.env("TERMITE_PLANTED_FAULT", name);
        }
        command
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("SHELL", "/bin/bash");
        command
            .env("SOURCE_DATE_EPOCH", EPOCH)
            .env("LOGNAME", "tester")
            .env("USER", "tester");
        command
    }
}

/// Environment variables that name a directory, and that directory in the home.
const DIRS: [(&str, &str); 5] = [
    ("XDG_RUNTIME_DIR", "run"),
    ("XDG_CACHE_HOME", "cache"),
    ("XDG_CONFIG_HOME", "config"),
    ("XDG_STATE_HOME", "state"),
    ("TMPDIR", "tmp"),
];

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        match fs::symlink_metadata(&path)?.is_dir() {
            true => files_below(&path, found)?,
            false => found.push(path),
        }
    }
    Ok(())
}
