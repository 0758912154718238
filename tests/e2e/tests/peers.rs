//! Workers give each other what they have: the client sends it about once.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use termite_e2e::process::{PATIENCE, wait_until};
use termite_e2e::project::{Kind, Project};
use termite_e2e::{Client, Fleet, Scene, User, Way};

const WORKERS: usize = 4;
/// Of an output that goes from worker to worker.
const OUTPUT: u64 = 3_000_000;

fn token(scene: &Scene) -> Result<PathBuf> {
    let path = scene.base().join("token");
    fs::write(&path, "a secret of sixteen characters or more\n")?;
    scene.give(&path)?;
    Ok(path)
}

/// Builds on empty workers; returns what left the client and what went between workers.
fn build(scene: &Scene, project: &Project<'_>, workers: usize, token: &Path) -> Result<(u64, u64)> {
    project.renew()?;
    let fleet = Fleet::start_on_loopback(scene, workers, 1, token)?;
    let client = Client::new(scene, &format!("of{workers}"), &fleet.addresses())?.with_token(token);
    let make = client
        .drive(Way::Env, project.dir(), "make")
        .arg(format!("-j{workers}"));
    make.run()?.success()?;
    let last = client.all_remote(project.dir())?;
    client.stop()?;
    fleet.stop()?;
    let bytes = |name: &str| last.bytes.get(name).copied().context("bytes");
    Ok((bytes("sent")?, bytes("between")?))
}

#[test]
fn a_toolchain_leaves_the_client_about_once() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let token = token(&scene)?;
    let project = Project::new(&scene, "tiny", Kind::Tiny(24))?;
    let (copy, none) = build(&scene, &project, 1, &token)?;
    ensure!(none == 0, "one worker alone got {none} bytes from others");
    let alone = project.tree()?;
    let (sent, between) = build(&scene, &project, WORKERS, &token)?;
    eprintln!("to one worker {copy} bytes; to {WORKERS} workers {sent}, and {between} between them");
    ensure!(
        sent * 10 <= copy * 13,
        "{sent} bytes left the client, {copy} are one copy"
    );
    ensure!(between > copy, "only {between} bytes went between workers");
    let differences = project.tree()?.differences(&alone);
    ensure!(differences.is_empty(), "{differences:?}");
    scene.finish()
}

/// Who ran the last job.
fn worker(client: &Client<'_>, dir: &Path) -> Result<String> {
    let build: Value = client.ask(dir, &["explain", "--json"])?;
    let worker = build["jobs"][0]["worker"].as_str();
    Ok(worker.with_context(|| build.to_string())?.to_owned())
}

/// What has left the client so far, and what went between workers.
fn bytes(client: &Client<'_>, dir: &Path) -> Result<(u64, u64)> {
    let status: Value = client.ask(dir, &["status", "--json"])?;
    let workers = status["workers"].as_array().context("workers")?;
    let sum = |name: &str| workers.iter().filter_map(|worker| worker["bytes"][name].as_u64()).sum();
    Ok((sum("sent"), sum("between")))
}

#[test]
fn an_output_goes_from_where_it_was_made_to_where_it_is_used() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let token = token(&scene)?;
    let dir = scene.dir("p/output")?;
    scene.give(&dir)?;
    let fleet = Fleet::start_on_loopback(&scene, 2, 1, &token)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?.with_token(&token);
    let run = |script: &str| client.termite(&dir, ["run", "--", "sh", "-c", script]);
    run(&format!("head -c {OUTPUT} /dev/urandom > made")).run()?.success()?;
    let maker = worker(&client, &dir)?;
    // Goes to who knows the directory, who then has no room.
    let busy = run("> busy; sleep 60").start()?;
    wait_until(
        "the long job",
        PATIENCE,
        || matches!(client.termite(&dir, ["status"]).run(), Ok(status) if status.out().contains("sleep 60")),
    )?;
    run("cksum < made > sum").run()?.success()?;
    ensure!(worker(&client, &dir)? != maker, "{maker} had no room");
    let (sent, between) = bytes(&client, &dir)?;
    ensure!(
        between >= OUTPUT,
        "{between} bytes went between the workers, {sent} left the client"
    );
    busy.signal(Signal::TERM)?;
    busy.wait()?;
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}
