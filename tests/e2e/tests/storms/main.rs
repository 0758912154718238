//! Storms: many parallel jobs that all change one file. The result is that of a serial
//! build, and few jobs run again. One module for each kind of file that they change.

mod archive;
mod ccache;
mod counter;
mod coverage;

use anyhow::{Context, Result, ensure};
use std::path::Path;
use termite_e2e::{Client, Fleet, Last, Outcome, Program, Scene, User};

/// Executions, first ones and reruns, that a storm may cost for each job.
const MOST_EXECUTIONS: f64 = 1.5;

/// Runs a test as a client of two workers of four slots, and wants them all to end well.
fn with_fleet(test: impl FnOnce(&Scene, &Client) -> Result<()>) -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 2, 4)?;
    let client = Client::new(&scene, "c", &fleet.addresses())?;
    test(&scene, &client)?;
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// Runs a build in `dir` that must succeed, all on workers and without many reruns.
fn storm(name: &str, client: &Client, dir: &Path, build: Program) -> Result<(Outcome, Last)> {
    let made = build.run()?.success()?;
    let last = client.all_remote(dir).with_context(|| made.describe())?;
    let executions = (last.jobs.total + last.reruns) as f64 / last.jobs.total as f64;
    eprintln!(
        "{name}: {} jobs, {} reruns, {executions:.2} executions a job, {:.1?}, phases {:.1?}",
        last.jobs.total, last.reruns, made.took, last.phases
    );
    ensure!(
        executions <= MOST_EXECUTIONS,
        "{name}: {executions:.2} executions a job: {}",
        made.describe()
    );
    Ok((made, last))
}

/// Targets `t0`, `t1` and so on that have the same recipe, and `all` of them.
fn makefile(jobs: usize, recipe: &str) -> String {
    let names: Vec<_> = (0..jobs).map(|number| format!("t{number}")).collect();
    format!("all: {0}\n.PHONY: all {0}\n{0}:\n\t{recipe}\n", names.join(" "))
}
