//! A case as data: a directory below `commits/` with a makefile, other files and a file
//! `case`. Reads that file, lays the others out, and says what has to be equal. Does not
//! know whether termite is there.
//!
//! A line of `case` is one of
//!
//! ```text
//! # TEXT           what kind of fault it stands for, and what is right
//! needs: NAME...   programs that must be installed
//! unseen: REASON   it is not promised where no call is seen (FUSE), and why
//! $ COMMAND        a line of bash that makes the files it begins with
//! + COMMAND        the line of bash that is run plain and under termite; without it `make -j4`
//! = COMMAND        a line of bash that prints what has to be equal; without one, that is the tree and the output
//! ~ PATH           the lines of this file may stand in any order
//! ```

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use termite_e2e::{Client, EndState, Outcome, Program, Scene};

/// The file that describes a case.
const CASE: &str = "case";
/// Time of all files at the start, so that a time that a job did not set is seen (seconds).
const START: i64 = 1_400_000_000;
/// A run takes a second or two; one that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// One case.
#[derive(Debug)]
pub(crate) struct Case {
    /// Name of its directory.
    pub name: String,
    sources: PathBuf,
    about: String,
    needs: Vec<String>,
    /// Why it is not promised where no call is seen.
    pub unseen: Option<String>,
    setup: String,
    command: String,
    view: Vec<String>,
    unordered: Vec<String>,
}

/// What plain and termite must agree about.
#[derive(Debug)]
pub(crate) struct Observed {
    status: i32,
    /// Lines in sorted order, since parallel jobs may print in any order.
    output: Vec<String>,
    tree: Option<EndState>,
}

impl Case {
    /// All cases, by name.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("commits");
        let entries = fs::read_dir(&dir).with_context(|| format!("listing {}", dir.display()))?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        paths.sort();
        paths.into_iter().map(Self::read).collect()
    }

    fn read(sources: PathBuf) -> Result<Self> {
        let file = sources.join(CASE);
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let mut case = Self {
            name: sources.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            sources,
            about: String::new(),
            needs: Vec::new(),
            unseen: None,
            setup: String::new(),
            command: String::new(),
            view: Vec::new(),
            unordered: Vec::new(),
        };
        for line in text.lines() {
            case.take(line).with_context(|| format!("{}: {line}", file.display()))?;
        }
        ensure!(!case.about.is_empty(), "{} does not say what it is for", file.display());
        if case.command.is_empty() {
            case.command = "make -j4".to_owned();
        }
        Ok(case)
    }

    fn take(&mut self, line: &str) -> Result<()> {
        if let Some(names) = line.strip_prefix("needs: ") {
            self.needs.extend(names.split_whitespace().map(str::to_owned));
            return Ok(());
        }
        if let Some(reason) = line.strip_prefix("unseen: ") {
            self.unseen = Some(reason.to_owned());
            return Ok(());
        }
        match line.split_once(' ') {
            Some(("#", text)) => self.about = format!("{} {text}", self.about),
            Some(("$", command)) => self.setup += &format!("{command}\n"),
            Some(("+", command)) => command.clone_into(&mut self.command),
            Some(("=", command)) => self.view.push(command.to_owned()),
            Some(("~", path)) => self.unordered.push(path.to_owned()),
            _ => bail!("begins with none of `#`, `needs:`, `unseen:`, `$`, `+`, `=` and `~`"),
        }
        Ok(())
    }

    /// An error that names the programs that are missing from the path of `client`.
    pub(crate) fn check_installed(&self, client: &Client<'_>) -> Result<()> {
        for name in &self.needs {
            let found = client.bare(client.home(), "which").arg(name).run()?;
            ensure!(
                found.code() == 0,
                "{} needs {name}: `.ci/run` says of which package it is",
                self.name
            );
        }
        Ok(())
    }

    /// Runs it plain in `dir`, in place of what lies there.
    pub(crate) fn run_plain(&self, scene: &Scene, client: &Client<'_>, dir: &Path) -> Result<Observed> {
        self.lay_out(scene, client, dir)?;
        let outcome = self.run(client.bare(dir, "bash"))?;
        ensure!(outcome.code() == 0, "fails without termite: {}", outcome.describe());
        self.observe(client, dir, &outcome)
    }

    /// Runs it under termite in `dir`, in place of what lies there.
    pub(crate) fn run_termite(&self, scene: &Scene, client: &Client<'_>, dir: &Path) -> Result<(Observed, Outcome)> {
        self.lay_out(scene, client, dir)?;
        let outcome = self.run(client.termite_env(dir, ["--", "bash"]))?;
        Ok((self.observe(client, dir, &outcome)?, outcome))
    }

    fn run(&self, program: Program) -> Result<Outcome> {
        program.args(["-c", &self.command]).limit(LIMIT).run()
    }

    fn lay_out(&self, scene: &Scene, client: &Client<'_>, dir: &Path) -> Result<()> {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        fs::create_dir_all(dir)?;
        for entry in fs::read_dir(&self.sources)? {
            let entry = entry?;
            if entry.file_name() != CASE {
                fs::copy(entry.path(), dir.join(entry.file_name()))?;
            }
        }
        scene.give(dir)?;
        let setup = client.bare(dir, "bash").args(["-e", "-c", &self.setup]);
        setup.run()?.success()?;
        set_times(dir)
    }

    fn observe(&self, client: &Client<'_>, dir: &Path, outcome: &Outcome) -> Result<Observed> {
        let (text, tree) = if self.view.is_empty() {
            let tree = EndState::read(dir, |path| self.unordered.iter().any(|name| name == path))?;
            (outcome.out(), Some(tree))
        } else {
            // Each of them says what it finds, also where others find nothing.
            let shown = client.bare(dir, "bash").args(["-c", &self.view.join("\n")]).run()?;
            (shown.out() + &shown.err(), None)
        };
        let mut output: Vec<_> = text.lines().map(str::to_owned).collect();
        output.sort();
        Ok(Observed {
            status: outcome.code(),
            output,
            tree,
        })
    }
}

impl Observed {
    /// An error that shows what is not as expected.
    pub(crate) fn check_same(&self, expected: &Self, case: &Case) -> Result<()> {
        let mut lines = Vec::new();
        if self.status != expected.status {
            lines.push(format!("status {}, expected {}", self.status, expected.status));
        }
        if self.output != expected.output {
            lines.push(format!("output {:?}, expected {:?}", self.output, expected.output));
        }
        if let (Some(tree), Some(expected)) = (&self.tree, &expected.tree) {
            lines.extend(tree.differences(expected));
        }
        ensure!(lines.is_empty(), "{}\n({})", lines.join("\n"), case.about.trim());
        Ok(())
    }
}

/// Gives all files at and below `path` one time of the past.
fn set_times(path: &Path) -> Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::read_dir(path)?.try_for_each(|entry| set_times(&entry?.path()))?;
    }
    let time = Timespec {
        tv_sec: START,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .with_context(|| format!("setting the time of {}", path.display()))
}
