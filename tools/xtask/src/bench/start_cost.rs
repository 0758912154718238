//! What the preloaded library adds to the start of a process: a trivial dynamic program
//! is spawned again and again, in blocks that alternate between bare and preloaded.

use super::table::{Goal, Row};
use super::{Bench, median};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Spawns of each kind in all.
const SPAWNS: usize = 2000;
/// Spawns of one kind before the other has its turn.
const BLOCK: usize = 100;

/// Compiles the program and measures what the library adds, in medians over blocks.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let dir = bench.scene.dir("start")?;
    fs::write(dir.join("nothing.c"), "int main(void) { return 0; }\n")?;
    let program = dir.join("nothing");
    let compiled = Command::new("gcc")
        .arg(dir.join("nothing.c"))
        .arg("-o")
        .arg(&program)
        .status()
        .context("gcc")?;
    ensure!(compiled.success(), "gcc: {compiled}");
    let library = bench.scene.installed("lib/libtermite.so");
    let (mut bare, mut driver, mut off) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SPAWNS / BLOCK {
        let without = block(&program, None, "")?;
        driver.push(block(&program, Some(&library), "driver")? - without);
        off.push(block(&program, Some(&library), "off")? - without);
        bare.push(without);
    }
    let note = format!("bare: {:.3} ms", median(bare));
    let row = |mode, added| {
        let name = format!("what the library adds to the start of a dynamic program, {mode}");
        Row::new(name, "ms", added, Goal::AtMost(0.15)).note(note.clone())
    };
    Ok(vec![row("driver mode", driver), row("switched off", off)])
}

/// Milliseconds for each spawn of a block.
fn block(program: &Path, library: Option<&Path>, mode: &str) -> Result<f64> {
    let since = Instant::now();
    for _ in 0..BLOCK {
        let mut command = Command::new(program);
        command.env_clear();
        if let Some(library) = library {
            command.env("LD_PRELOAD", library).env("TERMITE_MODE", mode);
        }
        let status = command.status()?;
        ensure!(status.success(), "{}: {status}", program.display());
    }
    Ok(since.elapsed().as_secs_f64() * 1000.0 / BLOCK as f64)
}
