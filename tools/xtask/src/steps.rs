//! Runs the steps of a task one after another, and says which one it is at and how
//! long each took. Does not know what the steps are for.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Steps that have been done.
#[derive(Debug)]
pub(crate) struct Steps {
    since: Instant,
    done: usize,
    total: usize,
}

impl Steps {
    /// Begins a task of `total` steps.
    pub(crate) fn new(total: usize) -> Self {
        Self {
            since: Instant::now(),
            done: 0,
            total,
        }
    }

    /// Does one step.
    pub(crate) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.done += 1;
        eprintln!("[{}/{}] {name} ...", self.done, self.total);
        let since = Instant::now();
        let result = work().with_context(|| name.to_owned())?;
        let (took, total) = (since.elapsed().as_secs_f32(), self.since.elapsed().as_secs());
        eprintln!("[{}/{}] {name}: {took:.1} s ({total} s in all)", self.done, self.total);
        Ok(result)
    }
}

/// Top of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// cargo, at the top of the repository, with every signal at its default: what a shell
/// starts in the background ignores interrupts, and so would the tests of interrupts.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new("env");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    command.arg("--default-signal").arg(cargo);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// Whether `cargo NAME` is there: a minimal toolchain has neither clippy nor rustfmt.
pub(crate) fn has_cargo(name: &str) -> bool {
    let found = cargo(&[name, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    matches!(found, Ok(status) if status.success())
}

/// Runs a command to its end; anything but success is an error that names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}
