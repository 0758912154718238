//! Jobs that change one file at once: each counts, few run again, and the user is told why.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;
use termite_e2e::{Client, Fleet, Scene, User, Way};

const JOBS: usize = 200;

/// Targets that all add 1 to one counter, each under a lock: on one machine none is lost.
fn makefile() -> String {
    let names: Vec<_> = (0..JOBS).map(|number| format!("t{number}")).collect();
    let wait = "until mkdir lock 2> /dev/null; do sleep .02; done";
    let rule = format!("\t@{wait}; read n < counter; sleep .01; echo $$((n + 1)) > counter; rmdir lock");
    format!("all: {0}\n.PHONY: all {0}\n{0}:\n{rule}; : $@\n", names.join(" "))
}

fn counter(dir: &Path) -> Result<usize> {
    let text = fs::read_to_string(dir.join("counter"))?;
    text.trim().parse().with_context(|| format!("counter: {text}"))
}

#[test]
fn a_storm_on_one_counter_loses_nothing() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 2, 4)?;
    let client = Client::new(&scene, "c", &fleet.addresses())?;
    let dir = scene.dir("p/storm")?;
    fs::write(dir.join("Makefile"), makefile())?;
    let build = || -> Result<u64> {
        fs::write(dir.join("counter"), "0\n")?;
        let made = client.drive(Way::Env, &dir, "make").arg("-j64").run()?.success()?;
        ensure!(
            counter(&dir)? == JOBS,
            "{} of {JOBS}: {}",
            counter(&dir)?,
            made.describe()
        );
        let last: Value = client.ask(&dir, &["last", "--json"])?;
        ensure!(last["jobs"]["remote"] == JOBS, "{last}");
        last["reruns"].as_u64().context("no reruns")
    };
    let first = build()?;
    ensure!(first >= 1 && first <= JOBS as u64 / 2, "{first} reruns");
    explained(&client, &dir)?;
    let second = build()?;
    ensure!(second == 0, "{second} reruns although history knows the counter");
    client.stop()?;
    let third = build()?;
    ensure!(third == 0, "{third} reruns after the daemon was started anew");
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// Each job that ran again names what it met another job at, and that job.
fn explained(client: &Client, dir: &Path) -> Result<()> {
    let build: Value = client.ask(dir, &["explain", "--json"])?;
    let jobs = build["jobs"].as_array().context("no jobs")?;
    let conflicts: Vec<_> = jobs
        .iter()
        .filter_map(|job| job["conflicts"].as_array())
        .flatten()
        .collect();
    ensure!(!conflicts.is_empty(), "no conflict is kept");
    for conflict in conflicts {
        let path = Path::new(conflict["path"].as_str().context("no path")?);
        let names = path == dir || path.parent() == Some(dir);
        ensure!(names && conflict["changed_by"].is_string(), "{conflict}");
    }
    Ok(())
}
