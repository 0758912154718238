//! A family of programs as data: a directory below `programs/` with sources and a file
//! `commands`. Reads the file and lays the sources out; runs nothing.
//!
//! A line of `commands` is one of
//!
//! ```text
//! needs: NAME...   programs that must be installed
//! long             only in the long form of the tests
//! $ COMMAND        a shell command that is one job
//! + COMMAND        a shell command that drives others
//! - PATH           a file or directory that no two runs have in common
//! # ...            why
//! ```

use crate::scene::Scene;
use crate::tree::Tree;
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::fs;
use std::path::{Path, PathBuf};

/// Times of all sources, so that what copies or records them is the same in each run.
const MTIME: i64 = 1_600_000_000;
/// The file that says what to run.
const COMMANDS: &str = "commands";

/// One family of programs.
#[derive(Debug)]
pub struct Script {
    /// Name of its directory.
    pub name: String,
    /// In their order; each needs what the earlier ones made.
    pub lines: Vec<Line>,
    /// It takes so long that only the long form has it.
    pub long: bool,
    sources: PathBuf,
    needs: Vec<String>,
    differing: Vec<String>,
}

/// One command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// Runs whole on a worker.
    Job(String),
    /// Stays here; what it starts runs on workers.
    Driver(String),
}

impl Script {
    /// All of them, by name.
    pub fn all() -> Result<Vec<Self>> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
        let mut paths = Vec::new();
        for entry in fs::read_dir(&dir).with_context(|| format!("listing {}", dir.display()))? {
            paths.push(entry?.path());
        }
        paths.sort();
        paths.into_iter().map(Self::read).collect()
    }

    fn read(sources: PathBuf) -> Result<Self> {
        let file = sources.join(COMMANDS);
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let name = sources.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut script = Self {
            name,
            lines: Vec::new(),
            long: false,
            sources,
            needs: Vec::new(),
            differing: Vec::new(),
        };
        for (number, line) in text.lines().enumerate() {
            script
                .take(line)
                .with_context(|| format!("{}:{}: {line}", file.display(), number + 1))?;
        }
        ensure!(!script.lines.is_empty(), "{} has no command", file.display());
        Ok(script)
    }

    fn take(&mut self, line: &str) -> Result<()> {
        if let Some(names) = line.strip_prefix("needs: ") {
            self.needs.extend(names.split_whitespace().map(str::to_owned));
            return Ok(());
        }
        match line.split_once(' ') {
            Some(("$", command)) => self.lines.push(Line::Job(command.to_owned())),
            Some(("+", command)) => self.lines.push(Line::Driver(command.to_owned())),
            Some(("-", path)) => self.differing.push(path.to_owned()),
            None if line == "long" => self.long = true,
            _ if line.starts_with('#') || line.is_empty() => {}
            _ => bail!("begins with none of `needs:`, `long`, `$`, `+`, `-` and `#`"),
        }
        Ok(())
    }

    /// An error that names the programs missing from `path`, a value of `PATH`.
    pub fn check(&self, path: &str) -> Result<()> {
        let is_there = |name: &&String| path.split(':').any(|dir| Path::new(dir).join(name).exists());
        let missing: Vec<_> = self.needs.iter().filter(|name| !is_there(name)).collect();
        ensure!(
            missing.is_empty(),
            "{} needs {missing:?}: `.ci/run` says of which packages they are",
            self.name
        );
        Ok(())
    }

    /// Lays its sources out in `dir`, in the place of whatever is there.
    pub fn lay_out(&self, scene: &Scene, dir: &Path) -> Result<()> {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        copy(&self.sources, dir)?;
        scene.give(dir)
    }

    /// What lies in `dir`, but for the names that no two runs have in common.
    pub fn tree(&self, dir: &Path) -> Result<Tree> {
        let mut tree = Tree::read(dir)?;
        for path in &self.differing {
            let below: Vec<_> = tree
                .paths()
                .filter(|found| Path::new(found).starts_with(path))
                .map(str::to_owned)
                .collect();
            ensure!(!below.is_empty(), "{} makes no {path}", self.name);
            below.iter().for_each(|found| tree.forget(found));
        }
        Ok(tree)
    }
}

impl Line {
    /// Its text.
    pub fn text(&self) -> &str {
        let (Self::Job(text) | Self::Driver(text)) = self;
        text
    }
}

/// Copies everything but the commands; contents before times, which a copy would change.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let beside = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &beside)?;
        } else if entry.file_name() != COMMANDS {
            fs::copy(entry.path(), &beside)?;
            set_time(&beside)?;
        }
    }
    set_time(to)
}

fn set_time(path: &Path) -> Result<()> {
    let time = Timespec {
        tv_sec: MTIME,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::empty()).with_context(|| format!("setting the time of {}", path.display()))
}
