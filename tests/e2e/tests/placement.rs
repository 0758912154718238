//! Which of the jobs that wait goes next.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use termite_e2e::{Client, Fleet, Scene, User, Way};

/// Short jobs first, as the makefile has them.
const SHORT: usize = 5;

#[test]
fn the_longest_job_that_waits_goes_first_once_its_length_is_known() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 1)?;
    let client = Client::new(&scene, "c", &fleet.addresses())?;
    let dir = scene.dir("p/lengths")?;
    let short = |number: usize| format!("short{number}:\n\tsleep 0.15\n");
    let names: Vec<_> = (0..SHORT).map(|number| format!("short{number}")).collect();
    let rules: String = (0..SHORT).map(short).collect();
    let makefile = format!("all: {} long\n{rules}long:\n\tsleep 0.5\n", names.join(" "));
    fs::write(dir.join("Makefile"), makefile)?;
    let build = || {
        client
            .drive(Way::Env, &dir, "make")
            .arg("-j9")
            .run()?
            .success()
            .map(drop)
    };
    build()?;
    let before = place_of_the_long_one(&client, &dir)?;
    ensure!(before == SHORT, "place {before} where no length is known");
    build()?;
    // One may have come to the free slot before it.
    let after = place_of_the_long_one(&client, &dir)?;
    ensure!(after <= 1, "place {after} where its length is known");
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// How many jobs of the last build had their place before it.
fn place_of_the_long_one(client: &Client, dir: &std::path::Path) -> Result<usize> {
    let build: Value = client.ask(dir, &["explain", "--json"])?;
    let mut jobs = Vec::new();
    for job in build["jobs"].as_array().context("no list of jobs")? {
        let began =
            job["started_unix_ms"].as_f64().context("a start")? + 1e3 * job["waited_s"].as_f64().context("a wait")?;
        jobs.push((began, job["command"].as_str().context("a command")?));
    }
    ensure!(jobs.len() == SHORT + 1, "{jobs:?}");
    jobs.sort_by(|a, b| a.0.total_cmp(&b.0));
    jobs.iter()
        .position(|(_, command)| command.ends_with("0.5"))
        .context("no long job")
}
