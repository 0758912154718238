//! A worker that knows nothing is brought what a job is expected to use, in few questions.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;
use termite_e2e::project::write_all;
use termite_e2e::{Client, Fleet, Scene, User};

const HEADERS: usize = 30;
/// Questions that a job may still ask itself.
const FEW: u64 = 3;

/// Compiles NAME.c on a worker; returns what the job had to ask for while it ran.
fn compile(client: &Client, dir: &Path, name: &str) -> Result<u64> {
    let (source, object) = (format!("{name}.c"), format!("{name}.o"));
    let args = ["run", "--", "gcc", "-O1", "-c", &source, "-o", &object];
    client.termite(dir, args).run()?.success()?;
    let build: Value = client.ask(dir, &["explain", "--json"])?;
    let job = build["jobs"]
        .as_array()
        .and_then(|jobs| jobs.first())
        .context("a job")?;
    ensure!(job["where"] == "worker", "{job}");
    job["fetches"].as_u64().context("fetches")
}

#[test]
fn an_empty_worker_is_brought_what_is_expected() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let dir = scene.dir("p/cold")?;
    let includes: String = (0..HEADERS).map(|n| format!("#include \"d{n}/h.h\"\n")).collect();
    let mut files: Vec<_> = (0..HEADERS)
        .map(|n| (format!("d{n}/h.h"), format!("int h{n}(void);\n")))
        .collect();
    for name in ["a", "b"] {
        files.push((
            format!("{name}.c"),
            format!("{includes}int {name}(void) {{ return 0; }}\n"),
        ));
    }
    write_all(&dir, &files)?;
    scene.give(&dir)?;
    let (mut fetches, mut objects) = (Vec::new(), Vec::new());
    for name in ["a", "a", "b"] {
        // Both are new each time, so all that is known comes from the client's disk.
        let fleet = Fleet::start(&scene, 1, 1)?;
        let client = Client::new(&scene, "a", &fleet.addresses())?;
        fetches.push(compile(&client, &dir, name)?);
        objects.push(fs::read(dir.join(format!("{name}.o")))?);
        client.stop()?;
        fleet.stop()?;
    }
    eprintln!("asked for while it ran: {fetches:?}");
    ensure!(fetches[0] > HEADERS as u64, "nothing was to be expected: {fetches:?}");
    ensure!(fetches[1] <= FEW, "the same command: {fetches:?}");
    ensure!(fetches[2] <= FEW + 1, "a like command with another source: {fetches:?}");
    ensure!(objects[0] == objects[1], "another object from the same source");
    let client = Client::new(&scene, "a", "")?;
    client
        .bare(&dir, "gcc")
        .args(["-O1", "-c", "b.c", "-o", "b.o"])
        .run()?
        .success()?;
    ensure!(
        objects[2] == fs::read(dir.join("b.o"))?,
        "another object than the local one"
    );
    scene.finish()
}
