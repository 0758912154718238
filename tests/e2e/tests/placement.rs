//! What one build tells of its jobs' lengths orders the next one. The order itself is
//! simulated in `core/tests/placement.rs`.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;
use termite_e2e::{Client, Fleet, Scene, User, Way};

/// Short jobs first, as the makefile has them.
const SHORT: usize = 5;

#[test]
fn lengths_of_one_build_order_the_next() -> Result<()> {
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
    build()?;
    let order = order_of_last(&client, &dir)?;
    let long = order.iter().position(|command| command.ends_with("0.5"));
    let long = long.context("no long job")?;
    // make starts it last. Some short jobs may have had the slot before it came.
    ensure!(long < SHORT, "its length is known, and it went last: {order:?}");
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// The commands of the last build in the order in which they got their slot.
fn order_of_last(client: &Client, dir: &Path) -> Result<Vec<String>> {
    let build: Value = client.ask(dir, &["explain", "--json"])?;
    let listed = build["jobs"].as_array().context("no list of jobs")?;
    let mut jobs: Vec<_> = listed.iter().map(read).collect::<Result<_>>()?;
    ensure!(jobs.len() == SHORT + 1, "{jobs:?}");
    jobs.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    Ok(jobs.into_iter().map(|(_, command)| command).collect())
}

/// When a job got its slot, in milliseconds, and its command. Jobs follow one another by at
/// least 150 ms.
fn read(job: &Value) -> Result<(f64, String)> {
    let number = |name: &str| job[name].as_f64().with_context(|| format!("no {name}"));
    let began = number("started_unix_ms")? + 1e3 * number("waited_s")?;
    Ok((began, job["command"].as_str().context("no command")?.to_owned()))
}
