//! What random tests have in common: their seed, how many cases they try, and the C
//! program that is their job. `TERMITE_SEED` replays a run, `TERMITE_CASES` says how many
//! cases. Knows nothing of what a case is.

use crate::reference::long;
use crate::scene::Scene;
use anyhow::{Result, ensure};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Of the short form.
const SEED: u64 = 1;

/// The seed of this run, which is printed.
pub fn seed() -> u64 {
    // The short form is the same each time; the long one goes on looking.
    let seed = number("TERMITE_SEED").unwrap_or_else(|| if long() { fresh() } else { SEED });
    println!("TERMITE_SEED={seed}");
    seed
}

/// How many cases are to be tried, of these for the short form and the long one.
pub fn cases(short: u32, all: u32) -> u32 {
    number("TERMITE_CASES").map_or(if long() { all } else { short }, |cases| cases as u32)
}

/// Compiles a C source, named below `tests`, to a program on the stage.
pub fn compile(scene: &Scene, source: &str) -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source);
    let program = scene.dir("bin")?.join(path.file_stem().unwrap_or_default());
    let mut command = Command::new("cc");
    let status = command.arg("-O1").arg(&path).arg("-o").arg(&program).status()?;
    ensure!(status.success(), "cc {source}: {status}");
    Ok(program)
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Neighbouring times give seeds that have nothing in common.
    let digest = blake3::hash(&now.as_nanos().to_le_bytes());
    digest.as_bytes()[..8]
        .iter()
        .fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}
