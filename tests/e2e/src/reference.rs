//! What a local build makes of a project, in the same absolute place. Kept between
//! runs under a name that covers sources, compiler, command and place.

use crate::client::Client;
use crate::process::PATIENCE;
use crate::project::Project;
use crate::tree::Tree;
use anyhow::{Context, Result, bail};
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Builds `project` locally, unless that is known from before, and lays its sources
/// out anew.
pub fn local(client: &Client, project: &Project) -> Result<Tree> {
    let kept = cache_file(project)?;
    if let Ok(text) = fs::read(&kept) {
        return serde_json::from_slice(&text).with_context(|| format!("reading {}", kept.display()));
    }
    let tree = build(client, project)?;
    if long() {
        let control = build(client, project)?;
        same(&control, &tree).context("two local builds differ: the project is not reproducible here")?;
    }
    fs::create_dir_all(kept.parent().context("no directory")?)?;
    fs::write(&kept, serde_json::to_vec(&tree)?)?;
    Ok(tree)
}

/// An error with the differences, unless `found` is `expected`.
pub fn same(found: &Tree, expected: &Tree) -> Result<()> {
    let lines = found.differences(expected);
    if !lines.is_empty() {
        bail!(
            "{} differences:\n{}",
            lines.len(),
            lines[..lines.len().min(40)].join("\n")
        );
    }
    Ok(())
}

/// Whether the long forms of the tests were asked for.
pub fn long() -> bool {
    env::var_os("TERMITE_LONG").is_some_and(|value| value == "1")
}

fn build(client: &Client, project: &Project) -> Result<Tree> {
    let (driver, args) = project.command();
    client
        .bare(project.dir(), driver)
        .arg("-j2")
        .args(args)
        .limit(3 * PATIENCE)
        .run()?
        .success()?;
    let tree = project.tree()?;
    project.renew()?;
    Ok(tree)
}

fn cache_file(project: &Project) -> Result<PathBuf> {
    let compiler = Command::new("gcc").arg("-v").output().context("starting gcc")?;
    let mut name = blake3::Hasher::new();
    name.update(&serde_json::to_vec(&project.tree()?)?);
    name.update(&compiler.stderr);
    name.update(format!("{:?} {:?}", project.dir(), project.command()).as_bytes());
    let me = env::current_exe()?;
    let target = me
        .ancestors()
        .find(|dir| dir.join("termite/bin/workerd").exists())
        .context("no prefix")?;
    Ok(target
        .join("e2e-references")
        .join(format!("{}.json", &name.finalize().to_hex()[..16])))
}
