//! A tree of many files that git takes from one branch to another and back. Knows git, and
//! nothing of who looks.

use crate::Bench;
use crate::fixture::content;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// In each directory.
const FILES: usize = 50;

/// Lays out two branches with `files` files, and looks at all of them after each of `times`
/// changes from one to the other.
pub(crate) fn run(bench: &Bench<'_>, files: usize, times: usize) -> Result<()> {
    let tree = &bench.fixture.tree;
    git(bench, &["init", "--quiet", "--initial-branch", "one", "."])?;
    lay(tree, files, 1)?;
    bench.fixture.settle()?;
    commit(bench)?;
    git(bench, &["checkout", "--quiet", "-b", "two"])?;
    lay(tree, files, 2)?;
    // Some are only on one of the branches, and one directory is a file on the other.
    fs::remove_dir_all(tree.join("d0"))?;
    fs::write(tree.join("d0"), content(2, 100))?;
    fs::remove_file(tree.join("d1/f0"))?;
    fs::write(tree.join("d1/more"), content(2, 100))?;
    bench.fixture.settle()?;
    commit(bench)?;
    for number in 0..times {
        bench
            .compare_all()
            .with_context(|| format!("after {number} checkouts"))?;
        git(bench, &["checkout", "--quiet", ["one", "two"][number % 2]])?;
    }
    bench.compare_all().with_context(|| format!("after {times} checkouts"))
}

/// Contents have the same size on both branches, but for every seventh.
fn lay(tree: &Path, files: usize, version: u64) -> Result<()> {
    for number in 0..files {
        let dir = tree.join(format!("d{}", number / FILES));
        fs::create_dir_all(&dir)?;
        let more = if number % 7 == 0 { version as usize } else { 0 };
        let text = content(version * 1_000_000 + number as u64, 40 + more);
        fs::write(dir.join(format!("f{}", number % FILES)), text)?;
    }
    Ok(())
}

fn commit(bench: &Bench<'_>) -> Result<()> {
    git(bench, &["add", "--all"])?;
    git(
        bench,
        &[
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            "commit",
            "--quiet",
            "--message",
            "x",
        ],
    )
}

fn git(bench: &Bench<'_>, args: &[&str]) -> Result<()> {
    bench
        .client
        .bare(&bench.fixture.tree, "git")
        .args(args)
        .run()?
        .success()?;
    Ok(())
}
