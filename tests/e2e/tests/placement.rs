//! Which of the jobs that wait goes next.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;
use termite_e2e::{Client, Fleet, Scene, User, Way};

/// Short jobs first, as the makefile has them.
const SHORT: usize = 5;
/// What a time may be off by: that a job came is known to the millisecond.
const ROUNDED: f64 = 2.0;

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
    let mut jobs = jobs_of_last(&client, &dir)?;
    ensure!(
        jobs.is_sorted_by(|a, b| a.began <= b.began),
        "no length is known: {jobs:?}"
    );
    build()?;
    jobs = jobs_of_last(&client, &dir)?;
    let long = jobs.iter().find(|job| job.command.ends_with("0.5"));
    let (came, began) = long.map(|long| (long.came, long.began)).context("no long job")?;
    // One may have come to the free slot just before it.
    jobs.retain(|job| came + ROUNDED < job.began && job.began < began);
    ensure!(jobs.is_empty(), "went before it, its length is known: {jobs:?}");
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

#[derive(Debug)]
struct Job {
    command: String,
    /// When it began to wait, and when it had its place. [ms]
    came: f64,
    began: f64,
}

/// The jobs of the last build by their numbers, which is the order in which they came: a
/// `make -j` that starts them at once does not say which is first.
fn jobs_of_last(client: &Client, dir: &Path) -> Result<Vec<Job>> {
    let build: Value = client.ask(dir, &["explain", "--json"])?;
    let listed = build["jobs"].as_array().context("no list of jobs")?;
    let jobs: Vec<_> = listed.iter().map(read).collect::<Result<_>>()?;
    ensure!(jobs.len() == SHORT + 1, "{jobs:?}");
    Ok(jobs)
}

fn read(job: &Value) -> Result<Job> {
    let number = |name: &str| job[name].as_f64().with_context(|| format!("no {name}"));
    let came = number("started_unix_ms")?;
    Ok(Job {
        command: job["command"].as_str().context("no command")?.to_owned(),
        came,
        began: came + 1e3 * number("waited_s")?,
    })
}
