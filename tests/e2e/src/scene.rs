//! The stage of one test: a directory at a fixed place, a lock that keeps heavy tests
//! apart, the user it plays as, and the proof that nothing is left when it ends.
//! Knows nothing of daemons but the name of their programs.

use crate::process::{marked, wait_until};
use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Signal, kill_process};
use std::env;
use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whom clients and workers run as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum User {
    /// The user who runs the tests, root or not.
    Me,
    /// Certainly not root.
    Ordinary,
}

/// User and group that stand for the ordinary user when the tests run as root.
const ORDINARY: u32 = 1000;

/// One test's directory, programs and marks.
#[derive(Debug)]
pub struct Scene {
    base: PathBuf,
    prefix: PathBuf,
    mark: String,
    user: User,
    mounts: String,
    finished: AtomicBool,
    _lock: File,
}

impl Scene {
    /// Waits for its turn and makes an empty stage. The directory has the same path in
    /// each run, since compilers write paths into what they make.
    pub fn new(user: User) -> Result<Self> {
        let prefix = find_prefix("termite").context("run `cargo xtask build` first")?;
        Self::of_prefix(user, &prefix)
    }

    /// One with the programs that can be told to commit wrongly, see `planted-faults` of the
    /// client.
    pub fn with_planted_faults(user: User) -> Result<Self> {
        let prefix = find_prefix("termite-planted").context("run `cargo xtask build --planted` first")?;
        Self::of_prefix(user, &prefix)
    }

    /// The same with the programs of another build of termite, beside which it may stand.
    pub fn of_prefix(user: User, prefix: &Path) -> Result<Self> {
        let place = blake3::hash(prefix.as_os_str().as_encoded_bytes()).to_hex();
        let base = env::temp_dir().join(format!("te2e-{}-{}", effective_uid(), &place[..6]));
        let lock = File::create(base.with_extension("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        if base.exists() {
            fs::remove_dir_all(&base).with_context(|| format!("clearing {}", base.display()))?;
        }
        fs::create_dir(&base)?;
        let mark = format!("E2E_OF_TERMITE={}-{}", std::process::id(), &place[..6]);
        let mut scene = Self {
            base,
            prefix: prefix.to_owned(),
            mark,
            user,
            mounts: mounts()?,
            finished: AtomicBool::new(false),
            _lock: lock,
        };
        if scene.switches() {
            scene.prefix = scene.copy_prefix()?;
        }
        chown(&scene.base, Some(scene.uid()), Some(scene.uid()))?;
        Ok(scene)
    }

    /// Directory below which everything of the test lies.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// A directory of this name on the stage, made if needed, of the stage's user.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.base.join(name);
        fs::create_dir_all(&dir)?;
        self.give(&dir)?;
        Ok(dir)
    }

    /// Makes the stage's user the owner of everything at and below `path`.
    pub fn give(&self, path: &Path) -> Result<()> {
        if !self.switches() {
            return Ok(());
        }
        std::os::unix::fs::lchown(path, Some(ORDINARY), Some(ORDINARY))?;
        if fs::symlink_metadata(path)?.is_dir() {
            fs::read_dir(path)?.try_for_each(|entry| self.give(&entry?.path()))?;
        }
        Ok(())
    }

    /// A program of the installed prefix, by its path in there.
    pub fn installed(&self, path: &str) -> PathBuf {
        self.prefix.join(path)
    }

    /// A command as the stage's user, with an environment that holds only the mark.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        let (name, value) = self.mark.split_once('=').unwrap_or(("", ""));
        command.env_clear().env(name, value).stdin(Stdio::null());
        if self.switches() {
            command.uid(ORDINARY).gid(ORDINARY);
        }
        command
    }

    /// Whom it plays as, as a number.
    pub fn uid(&self) -> u32 {
        if self.switches() { ORDINARY } else { effective_uid() }
    }

    /// Whether it plays as root.
    pub fn is_root(&self) -> bool {
        self.uid() == 0
    }

    /// Command lines of everything that was started on this stage and lives.
    pub fn living(&self) -> Vec<String> {
        marked(&self.mark).into_iter().map(|(_, line)| line).collect()
    }

    /// Living processes of the stage whose command line contains `part`.
    pub fn find(&self, part: &str) -> Vec<rustix::process::Pid> {
        marked(&self.mark)
            .into_iter()
            .filter(|(_, line)| line.contains(part))
            .map(|(pid, _)| pid)
            .collect()
    }

    /// Ends the test: nothing that was started lives, and no mount has come or gone.
    pub fn finish(&self) -> Result<()> {
        self.finished.store(true, Ordering::Relaxed);
        let waited = wait_until("the last process to end", Duration::from_secs(15), || {
            self.living().is_empty()
        });
        if waited.is_err() {
            bail!("left behind:\n{}", self.living().join("\n"));
        }
        let ours = |text: &str| -> Vec<String> {
            let mine = |line: &&str| line.contains("te2e-") || line.contains("termite");
            text.lines().filter(mine).map(str::to_owned).collect()
        };
        let (before, after) = (ours(&self.mounts), ours(&mounts()?));
        if before != after {
            bail!("the mount table has changed from {before:#?} to {after:#?}");
        }
        Ok(())
    }

    fn switches(&self) -> bool {
        self.user == User::Ordinary && effective_uid() == 0
    }

    /// The ordinary user may have no way into the directory where the prefix lies.
    fn copy_prefix(&self) -> Result<PathBuf> {
        let to = self.base.join("prefix");
        let status = Command::new("cp").arg("-r").arg(&self.prefix).arg(&to).status()?;
        if !status.success() {
            bail!("copying {}: {status}", self.prefix.display());
        }
        self.give(&to)?;
        Ok(to)
    }

    /// Prints the last lines of every log.
    pub fn show_logs(&self) {
        show_logs(&self.base);
    }
}

impl Drop for Scene {
    /// A test that failed leaves its processes to this; its logs are shown first.
    fn drop(&mut self) {
        if std::thread::panicking() || !self.finished.load(Ordering::Relaxed) {
            self.show_logs();
            for (pid, line) in marked(&self.mark) {
                eprintln!("ending {line}");
                // It may have ended by itself in between.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.base) {
            eprintln!("removing {}: {error}", self.base.display());
        }
    }
}

/// The last lines of every log on the stage.
fn show_logs(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() && !path.is_symlink() && !path.ends_with("p") {
            show_logs(&path);
        } else if path.extension().is_some_and(|end| end == "log") {
            let text = fs::read(&path)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            eprintln!(
                "--- {}\n{}",
                path.display(),
                lines[lines.len().saturating_sub(30)..].join("\n")
            );
        }
    }
}

/// The prefix of this name beside the directory of build output that this program lies in.
fn find_prefix(name: &str) -> Result<PathBuf> {
    let me = env::current_exe()?;
    let found = me
        .ancestors()
        .map(|dir| dir.join(name))
        .find(|dir| dir.join("bin/workerd").exists());
    found.with_context(|| format!("there is no target/{name}"))
}

fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn mounts() -> Result<String> {
    fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")
}
