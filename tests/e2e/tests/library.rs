//! What the preloaded library asks of the programs that it is loaded into.

use anyhow::{Context, Result, ensure};
use std::process::Command;
use termite_e2e::{Scene, User};

#[test]
fn the_library_needs_only_libc() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let library = scene.installed("lib/libtermite.so");
    let out = Command::new("readelf")
        .arg("-d")
        .arg(&library)
        .output()
        .context("starting readelf")?;
    ensure!(
        out.status.success(),
        "readelf: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    let text = String::from_utf8(out.stdout)?;
    let needed: Vec<_> = text.lines().filter(|line| line.contains("(NEEDED)")).collect();
    ensure!(
        needed.len() <= 1 && needed.iter().all(|line| line.contains("[libc.so.6]")),
        "{needed:#?}"
    );
    scene.finish()
}
