//! Shapes of builds: recursive make, ninja, very many small jobs, two users at once,
//! jobs that append to one file, changes between jobs, standard input and output of jobs.

use anyhow::{Result, bail, ensure};
use std::fs;
use std::thread;
use std::time::Duration;
use termite_e2e::fleet::has_fuse;
use termite_e2e::project::{Kind, write_all};
use termite_e2e::reference::{local, long, same};
use termite_e2e::{Client, Fleet, Mode, Project, Scene, Topology, User, Way};

const LIMIT: Duration = Duration::from_secs(900);

#[test]
fn recursive_make_and_ninja() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 2, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    for kind in [Kind::Nested, Kind::Ninja] {
        let project = Project::new(&scene, &format!("{kind:?}"), kind)?;
        let expected = local(&client, &project)?;
        let (driver, args) = project.command();
        for way in [Way::Env, Way::Preload] {
            project.renew()?;
            client
                .drive(way, project.dir(), driver)
                .arg("-j4")
                .args(args)
                .run()?
                .success()?;
            same(&project.tree()?, &expected)?;
            let last = client.all_remote(project.dir())?;
            eprintln!("{kind:?} by {way:?}: {:?}", last.jobs);
        }
        let again = client
            .drive(Way::Env, project.dir(), driver)
            .args(args)
            .run()?
            .success()?;
        ensure!(!again.out().contains("-c "), "built twice: {}", again.describe());
    }
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

#[test]
fn very_many_tiny_files() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 2, 4)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let count = if long() { 1000 } else { 150 };
    let project = Project::new(&scene, "tiny", Kind::Tiny(count))?;
    let expected = local(&client, &project)?;
    let build = client
        .drive(Way::Env, project.dir(), "make")
        .arg("-j8")
        .limit(LIMIT)
        .run()?
        .success()?;
    same(&project.tree()?, &expected)?;
    let last = client.all_remote(project.dir())?;
    ensure!(last.jobs.total as usize == count, "{:?}", last.jobs);
    eprintln!("{count} tiny files in {:.1?}", build.took);
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

#[test]
fn two_clients_on_the_same_workers() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 2, 2)?;
    let clients = [
        Client::new(&scene, "a", &fleet.addresses())?,
        Client::new(&scene, "b", &fleet.addresses())?,
    ];
    // The same paths in both trees but for the top, and different contents.
    let projects = [
        Project::new(&scene, "x", Kind::Nested)?,
        Project::new(&scene, "y", Kind::Nested)?,
    ];
    fs::write(
        projects[1].dir().join("lib/one.c"),
        "int one(int a) { return a * 3; }\n",
    )?;
    scene.give(projects[1].dir())?;
    thread::scope(|scope| {
        let builds: Vec<_> = clients
            .iter()
            .zip(&projects)
            .map(|(client, project)| {
                scope.spawn(move || {
                    client
                        .drive(Way::Env, project.dir(), "make")
                        .arg("-j2")
                        .run()?
                        .success()
                })
            })
            .collect();
        builds.into_iter().try_for_each(|build| match build.join() {
            Ok(outcome) => outcome.map(drop),
            Err(_) => bail!("a build panicked"),
        })
    })?;
    for (client, (project, expected)) in clients.iter().zip(projects.iter().zip(["42\n", "62\n"])) {
        client.all_remote(project.dir())?;
        let found = fs::read_to_string(project.dir().join("app/app.txt"))?;
        ensure!(found == expected, "{found:?}, expected {expected:?}");
        client.stop()?;
    }
    fleet.stop()?;
    scene.finish()
}

#[test]
fn parallel_appends_lose_no_line() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 2, 4)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = scene.dir("p/log")?;
    let goals: Vec<_> = (0..60).map(|n| format!("line{n}")).collect();
    let makefile = format!(
        "all: {0}\n{0}:\n\t@echo $@ >> log; echo more $@ >> log\n",
        goals.join(" ")
    );
    write_all(&dir, &[("Makefile".into(), makefile), ("log".into(), "begin\n".into())])?;
    scene.give(&dir)?;
    client.drive(Way::Env, &dir, "make").arg("-j8").run()?.success()?;
    client.all_remote(&dir)?;
    let mut lines: Vec<_> = fs::read_to_string(dir.join("log"))?
        .lines()
        .map(str::to_owned)
        .collect();
    ensure!(
        lines.first().is_some_and(|line| line == "begin"),
        "the log has lost its beginning: {lines:?}"
    );
    lines.sort();
    let mut expected: Vec<_> = goals
        .iter()
        .flat_map(|goal| [goal.clone(), format!("more {goal}")])
        .collect();
    expected.push("begin".into());
    expected.sort();
    ensure!(lines == expected, "{lines:?}");
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// Names come on the client to a directory that no job has listed.
#[test]
fn a_directory_shows_the_time_that_it_has_now() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let faults = ["shim,guard", "guard"].into_iter().chain(has_fuse()?.then_some("fuse"));
    for (place, fault) in faults.enumerate() {
        let fleet = Fleet::start_at(&scene, place..place + 1, 1, &["--fault", fault])?;
        let client = Client::new(&scene, &fault.replace(',', "-"), &fleet.addresses())?;
        let inner = scene.dir(&format!("p/{place}/inner"))?;
        let dir = inner.with_file_name("");
        let stat = ["stat", "-c", "%y", "inner"];
        for name in ["first", "second"] {
            fs::write(inner.join(name), "")?;
            let seen = client.termite(&dir, ["run", "--"]).args(stat).run()?.success()?.out();
            let present = client.bare(&dir, "stat").args(&stat[1..]).run()?.success()?.out();
            ensure!(seen == present, "{fault}, {name}: {seen:?}, not {present:?}");
        }
        client.stop()?;
        fleet.stop()?;
    }
    scene.finish()
}

#[test]
fn standard_streams_and_status() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = scene.dir("p/stdio")?;
    let run = |script: &str| client.termite(&dir, ["run", "--", "sh", "-c", script]);

    let outcome = run("echo out; echo err >&2; exit 7").run()?;
    ensure!(
        (outcome.code(), outcome.out(), outcome.err()) == (7, "out\n".into(), "err\n".into()),
        "{}",
        outcome.describe()
    );
    let outcome = run("kill -TERM $$").run()?;
    ensure!(
        outcome.status.code().is_none() || outcome.code() == 143,
        "{}",
        outcome.describe()
    );
    let outcome = run("read a; read b; echo $b $a")
        .input(b"one\ntwo\nthree\n")
        .run()?
        .success()?;
    ensure!(outcome.out() == "two one\n", "{}", outcome.describe());
    let big = vec![b'x'; 3_000_000];
    let outcome = run("cat; cat >&2 /dev/null").input(&big).run()?.success()?;
    ensure!(
        outcome.stdout == big,
        "{} of {} bytes came through",
        outcome.stdout.len(),
        big.len()
    );
    let outcome = client
        .bare(&dir, "sh")
        .args(["-c", "umask 027; \"$0\" run -- sh -c 'umask; pwd; uname -n; id -u'"]);
    let outcome = outcome.arg(scene.installed("bin/termite")).run()?.success()?;
    let host = client.bare(&dir, "uname").arg("-n").run()?.out();
    ensure!(
        outcome.out() == format!("0027\n{}\n{host}{}\n", dir.display(), scene.uid()),
        "{}",
        outcome.describe()
    );

    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// Commands that read parts of one pipe after each other.
const SHARING: &str = "{ printf 'a\\nb\\nc\\nd\\n'; yes | head -c 3000000; } | {
    $RUN sh -c 'read line; echo first $line'
    $RUN sh -c 'exec 7<&0; read line <&7; echo second $line'
    $RUN true
    $RUN sh -c 'read line; read line; echo last $line'
    $RUN head -c 1000000 | wc -c
    wc -c
}";

#[test]
fn what_a_job_leaves_of_a_pipe_is_for_the_next_one() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    for mode in Mode::all(&scene, Topology::TwoWorkers)? {
        let dir = scene.dir(&format!("p/{mode}"))?;
        let running = mode.start(&scene, 2)?;
        let outcome = |run: &str| {
            running
                .client
                .bare(&dir, "sh")
                .args(["-c", SHARING])
                .env("RUN", run)
                .run()
        };
        let plain = outcome("")?.success()?;
        let run = format!("{} run --", scene.installed("bin/termite").display());
        let shared = outcome(&run)?.success()?;
        ensure!(
            plain.out() == shared.out(),
            "{mode}: {}{}",
            plain.describe(),
            shared.describe()
        );
        running.client.all_remote(&dir)?;
        running.stop()?;
    }
    scene.finish()
}
