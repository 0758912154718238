//! What the preloaded library adds to the start of a process: a trivial dynamic program
//! is spawned again and again, in blocks that alternate between bare and preloaded.

use crate::bench::median;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use termite_e2e::Scene;

/// Spawns of each kind in all.
const SPAWNS: usize = 2000;
/// Spawns of one kind before the other has its turn.
const BLOCK: usize = 100;

/// Milliseconds for one process from spawn to its reaping; medians over blocks.
#[derive(Serialize)]
pub struct StartCost {
    bare_ms: f64,
    driver_ms: f64,
    off_ms: f64,
    /// Median over the blocks of the difference to the bare block beside it.
    driver_added_ms: f64,
    off_added_ms: f64,
}

impl StartCost {
    /// One paragraph.
    pub fn markdown(&self) -> String {
        format!(
            "Start of a trivial dynamic program, {SPAWNS} spawns of each kind: bare {:.3} ms; with the library it takes \
             {:+.3} ms (driver mode), {:+.3} ms (switched off).\n",
            self.bare_ms, self.driver_added_ms, self.off_added_ms
        )
    }
}

/// Compiles the program and measures.
pub fn measure(scene: &Scene) -> Result<StartCost> {
    let dir = scene.dir("start")?;
    fs::write(dir.join("nothing.c"), "int main(void) { return 0; }\n")?;
    let program = dir.join("nothing");
    let compiled = Command::new("gcc")
        .arg(dir.join("nothing.c"))
        .arg("-o")
        .arg(&program)
        .status()
        .context("gcc")?;
    ensure!(compiled.success(), "gcc: {compiled}");
    let library = scene.installed("lib/libtermite.so");
    let (mut bare, mut driver, mut off) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SPAWNS / BLOCK {
        bare.push(block(&program, None, "")?);
        driver.push(block(&program, Some(&library), "driver")?);
        off.push(block(&program, Some(&library), "off")?);
    }
    let added = |with: &[f64]| median(with.iter().zip(&bare).map(|(with, bare)| with - bare));
    Ok(StartCost {
        driver_added_ms: added(&driver),
        off_added_ms: added(&off),
        bare_ms: median(bare.iter().copied()),
        driver_ms: median(driver.into_iter()),
        off_ms: median(off.into_iter()),
    })
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
