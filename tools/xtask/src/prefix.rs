//! Lays out `target/termite`, the prefix that is ready to use: what people run below
//! `bin`, what is preloaded below `lib`. Asks cargo where its output lies.

use crate::steps::{cargo, root};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Where each file goes.
const LAYOUT: [(&str, &str); 5] = [
    ("termite", "bin/termite"),
    ("termite-env", "bin/termite-env"),
    ("termite-run", "bin/termite-run"),
    ("workerd", "bin/workerd"),
    ("libtermite.so", "lib/libtermite.so"),
];

/// A line of `cargo build --message-format=json`; only artifacts matter here.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
}

/// cargo's output directory.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let out = cargo(&["metadata", "--no-deps", "--format-version=1"])
        .stderr(Stdio::inherit())
        .output()?;
    let metadata: Metadata = serde_json::from_slice(&out.stdout).context("reading cargo metadata")?;
    Ok(metadata.target_directory)
}

/// Builds everything for release and lays it out; returns the prefix.
pub(crate) fn build() -> Result<PathBuf> {
    let mut built = release("build", &["-p", "termite", "-p", "termite-workerd"])?;
    // Apart from the programs: their libc crate has std in it, the library has none.
    built.extend(release("build", &["-p", "termite-shim"])?);
    // Starts for every command of a build: without the loader it takes half the time.
    let stub = ["-p", "termite-run", "--bin", "termite-run"];
    let linked_statically = ["--", "-C", "target-feature=+crt-static"];
    built.extend(release("rustc", &[&stub[..], &linked_statically].concat())?);
    let prefix = target_dir()?.join("termite");
    for (name, place) in LAYOUT {
        let from = built.iter().find(|path| path.ends_with(name));
        match from {
            Some(from) => install(from, &prefix.join(place))?,
            None => bail!("no package builds {name}"),
        }
    }
    Ok(prefix)
}

/// Lays out `target/termite-planted`, which is the built prefix but for a daemon that commits
/// wrongly when it is told to: for the test of the tests of commits.
pub(crate) fn build_planted(prefix: &Path) -> Result<PathBuf> {
    // Not for release, which would take five times as long. With the worker, for the same
    // features of what both are made of.
    let packages = ["-p", "termite", "-p", "termite-workerd", "--bin", "termite"];
    let feature = ["--features", "termite/planted-faults"];
    let built = artifacts("build", &[&packages[..], &feature].concat())?;
    let planted = target_dir()?.join("termite-planted");
    for (name, place) in LAYOUT {
        let from = built.iter().find(|path| name == "termite" && path.ends_with(name));
        install(from.unwrap_or(&prefix.join(place)), &planted.join(place))?;
    }
    Ok(planted)
}

/// Files that `cargo TASK --release ARGS` makes.
fn release(task: &str, args: &[&str]) -> Result<Vec<PathBuf>> {
    artifacts(task, &[&["--release"], args].concat())
}

/// Files that `cargo TASK ARGS` makes.
fn artifacts(task: &str, args: &[&str]) -> Result<Vec<PathBuf>> {
    let mut command = cargo(&[task, "--message-format=json-render-diagnostics"]);
    let out = command.args(args).stderr(Stdio::inherit()).output();
    let out = out.context("starting cargo")?;
    if !out.status.success() {
        let args = args.join(" ");
        bail!("cargo {task} {args} in {}: {}", root().display(), out.status);
    }
    let lines = out.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let messages = lines.map(|line| serde_json::from_slice::<Message>(line).context("reading cargo's messages"));
    Ok(messages
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flat_map(|message| message.filenames)
        .collect())
}

/// Copies beside and renames, so that whoever runs the old file keeps it.
fn install(from: &Path, to: &Path) -> Result<()> {
    let dir = to.parent().context("a file at the root")?;
    fs::create_dir_all(dir)?;
    let beside = tempfile::Builder::new().prefix(".new").tempfile_in(dir)?;
    fs::copy(from, beside.path()).with_context(|| format!("copying {}", from.display()))?;
    beside
        .persist(to)
        .with_context(|| format!("putting {} in place", to.display()))?;
    Ok(())
}
