//! A worker whose store is far too small for a build: content is evicted between jobs, what
//! does not fit runs elsewhere, and the build ends right.

use anyhow::{Result, ensure};
use std::fs;
use std::time::Duration;
use termite_e2e::project::{Kind, write_all};
use termite_e2e::reference::{local, long, same};
use termite_e2e::{Client, Fleet, Project, Scene, User, Way};

const LIMIT: Duration = Duration::from_secs(1800);
/// What a worker says when it evicts, and what it says of all evictions as it ends.
const SAYS: &str = "files made room";

#[test]
fn a_build_finishes_in_a_store_that_is_too_small() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let (kind, name) = if long() {
        (Kind::Redis, "redis")
    } else {
        (Kind::Lua, "lua")
    };
    let mut fleet = Fleet::start_with(&scene, 1, 2, &["--store", "64M"])?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let project = Project::new(&scene, name, kind)?;
    let expected = local(&client, &project)?;
    let (driver, args) = project.command();
    let build = client
        .drive(Way::Env, project.dir(), driver)
        .arg("-j2")
        .args(args)
        .limit(LIMIT)
        .run()?
        .success()?;
    same(&project.tree()?, &expected)?;
    let last = client.last(project.dir())?;
    let log = fleet.worker(0).log();
    eprintln!(
        "{name} in 64 MiB: {:.1?}, {:?}, {:?}, {} fetches\n{log}",
        build.took, last.jobs, last.local_reasons, last.fetches
    );
    ensure!(log.contains(SAYS), "nothing was evicted: {log}");
    // Where the linker has LLVM for a plugin, what loads that does not fit, and says so.
    let is_full = |why: &String| why.contains("the worker is full");
    ensure!(
        last.jobs.remote * 4 >= last.jobs.total * 3 && last.local_reasons.keys().all(is_full),
        "{:?}, because of {:?}",
        last.jobs,
        last.local_reasons
    );
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// A job that writes more than the store holds, and hides it.
const HOG: &str = "head -c 200M /dev/zero > big || true; wc -c < big > size; rm big";

#[test]
fn a_job_that_does_not_fit_runs_elsewhere_with_the_reason() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start_with(&scene, 1, 2, &["--store", "64M"])?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = scene.dir("p/hog")?;
    write_all(&dir, &[("hog".into(), HOG.into())])?;
    scene.give(&dir)?;
    for _ in 0..3 {
        client.termite(&dir, ["run", "--", "sh", "hog"]).run()?.success()?;
        ensure!(fs::read_to_string(dir.join("size"))? == "209715200\n");
        let last = client.last(&dir)?;
        let reasons: Vec<_> = last.local_reasons.keys().collect();
        eprintln!("{:?}, {reasons:?}", last.jobs);
        ensure!(
            last.jobs.local == 1 && reasons.iter().any(|why| why.contains("the worker is full")),
            "{:?}, {reasons:?}",
            last.jobs
        );
        // There is room for others again.
        client.termite(&dir, ["run", "--", "wc", "size"]).run()?.success()?;
        client.all_remote(&dir)?;
    }
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// A file of holes takes no memory, neither while it is hashed nor while it is copied.
#[test]
fn a_file_of_holes_may_be_larger_than_the_store() -> Result<()> {
    const SIZE: u64 = 200 << 20;
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start_with(&scene, 1, 2, &["--store", "64M"])?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = scene.dir("p/holes")?;
    for (command, output) in [
        (["truncate", "-s", "200M", "holes"].as_slice(), "holes"),
        (&["cp", "--sparse=always", "holes", "more"], "more"),
    ] {
        client.termite(&dir, ["run", "--"]).args(command).run()?.success()?;
        ensure!(fs::metadata(dir.join(output))?.len() == SIZE, "{output}");
        client.all_remote(&dir)?;
    }
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// Two jobs that fit alone, at once: neither may come back with less than it wrote.
#[test]
fn what_a_job_could_not_write_is_not_committed() -> Result<()> {
    const ROUNDS: usize = 6;
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start_with(&scene, 1, 2, &["--store", "64M"])?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = scene.dir("p/greedy")?;
    let recipe = |number: usize| {
        format!("s{number}:\n\t@head -c 36M /dev/zero > b{number}; wc -c < b{number} > $@; rm b{number}\n")
    };
    fs::write(dir.join("Makefile"), format!("all: s0 s1\n{}{}", recipe(0), recipe(1)))?;
    for round in 0..ROUNDS {
        let build = client.drive(Way::Env, &dir, "make").arg("-j2").limit(LIMIT);
        build.run()?.success()?;
        for name in ["s0", "s1"] {
            let size = fs::read_to_string(dir.join(name))?;
            ensure!(size.trim() == (36 << 20).to_string(), "round {round}, {name}: {size}");
            fs::remove_file(dir.join(name))?;
        }
        eprintln!("{:?}", client.last(&dir)?.jobs);
    }
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}
