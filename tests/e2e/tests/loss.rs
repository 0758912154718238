//! Things that break in the middle: workers and daemons killed, nobody listening, a
//! build interrupted. The build ends right or stops clean, and nothing stays behind.

use anyhow::{Result, ensure};
use rustix::process::{Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use termite_e2e::process::{PATIENCE, wait_until};
use termite_e2e::project::{Kind, write_all};
use termite_e2e::reference::{local, same};
use termite_e2e::{Client, Fleet, Mode, Project, Scene, Topology, Tree, User, Way};

/// Four jobs that each take a while and then make a file.
const SLOW: &str = "all: a b c d\na b c d:\n\t@echo half > $@; sleep 2.71; echo whole > $@\n";
/// Part of the command line of a running one.
const SLEEPING: &str = "sleep 2.71";

fn slow(scene: &Scene) -> Result<PathBuf> {
    let dir = scene.dir("p/slow")?;
    write_all(&dir, &[("Makefile".into(), SLOW.into())])?;
    scene.give(&dir)?;
    Ok(dir)
}

fn running(scene: &Scene, count: usize) -> Result<()> {
    // Not what merely has it in its command line, which is there before any daemon.
    let asleep = |line: &&String| line.starts_with(SLEEPING);
    let enough = || scene.living().iter().filter(asleep).count() >= count;
    wait_until("jobs to run", PATIENCE / 5, enough)
}

fn none_running(scene: &Scene) -> Result<()> {
    let quiet = || scene.find(SLEEPING).is_empty();
    wait_until("the interrupted jobs to end", PATIENCE / 10, quiet)
}

fn all_whole(dir: &std::path::Path) -> Result<()> {
    for name in ["a", "b", "c", "d"] {
        let text = fs::read_to_string(dir.join(name))?;
        ensure!(text == "whole\n", "{name} holds {text:?}");
    }
    Ok(())
}

#[test]
fn a_worker_is_killed_in_the_middle_of_lua() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let mut fleet = Fleet::start(&scene, 2, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let project = Project::new(&scene, "release", Kind::Lua)?;
    let expected = local(&client, &project)?;
    let (driver, args) = project.command();
    let build = client
        .drive(Way::Env, project.dir(), driver)
        .arg("-j4")
        .args(args)
        .start()?;
    let object = project.dir().join("src/lcode.o");
    wait_until("the first object", PATIENCE, || object.exists())?;
    fleet.worker(0).kill()?;
    let outcome = build.wait()?.success()?;
    same(&project.tree()?, &expected)?;
    let last = client.last(project.dir())?;
    eprintln!(
        "worker killed: {:?}, {:?}\n{}",
        last.jobs,
        last.local_reasons,
        outcome.err()
    );
    client.stop()?;
    drop(fleet);
    scene.finish()
}

#[test]
fn workers_killed_under_jobs_leave_nothing() -> Result<()> {
    for user in [User::Me, User::Ordinary] {
        let scene = Scene::new(user)?;
        let mut fleet = Fleet::start(&scene, 2, 2)?;
        let client = Client::new(&scene, "a", &fleet.addresses())?;
        let dir = slow(&scene)?;
        let build = client.drive(Way::Preload, &dir, "make").arg("-j4").start()?;
        running(&scene, 2)?;
        fleet.worker(0).kill()?;
        fleet.worker(1).kill()?;
        build.wait()?.success()?;
        all_whole(&dir)?;
        client.stop()?;
        drop(fleet);
        scene.finish()?;
    }
    Ok(())
}

#[test]
fn a_daemon_killed_under_jobs_leaves_nothing() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 2, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = slow(&scene)?;
    let build = client.drive(Way::Preload, &dir, "make").arg("-j4").start()?;
    running(&scene, 2)?;
    let daemons = scene.find("termite daemon");
    ensure!(daemons.len() == 1, "daemons: {daemons:?} in {:#?}", scene.living());
    kill_process(daemons[0], Signal::KILL)?;
    build.wait()?.success()?;
    all_whole(&dir)?;
    let quiet = || scene.find(SLEEPING).is_empty();
    wait_until("the jobs of the dead client to end", PATIENCE / 10, quiet)?;
    // The socket of the dead daemon is in the way of nobody.
    client.termite(&dir, ["run", "--", "true"]).run()?.success()?;
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

#[test]
fn an_interrupted_make_leaves_no_job_and_no_half_file() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 4)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = slow(&scene)?;
    for way in [Way::Env, Way::Preload] {
        let before = Tree::read(&dir)?;
        let build = client.drive(way, &dir, "make").arg("-j4").start()?;
        running(&scene, 2)?;
        build.signal(Signal::INT)?;
        let outcome = build.wait()?;
        ensure!(!outcome.status.success(), "{}", outcome.describe());
        ensure!(outcome.took < Duration::from_secs(60), "{}", outcome.describe());
        same(&Tree::read(&dir)?, &before)?;
        none_running(&scene)?;
    }
    client.drive(Way::Env, &dir, "make").arg("-j4").run()?.success()?;
    all_whole(&dir)?;
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// Recipes that have written something when they are interrupted.
const INTERRUPTED: &str = "all: a b\n\
    a: ; @echo line >> log; echo half > $@; sleep 2.71; echo whole > $@\n\
    b: ; @trap 'echo caught > trap; exit 3' INT TERM; sleep 2.71; touch $@\n";

#[test]
fn what_an_interrupted_job_wrote_stays_but_for_its_target() -> Result<()> {
    for user in [User::Me, User::Ordinary] {
        let scene = Scene::new(user)?;
        for mode in Mode::all(&scene, Topology::Embedded)? {
            let embedded = mode.start(&scene, 4)?;
            for (way, signal) in [(Way::Env, Signal::INT), (Way::Preload, Signal::TERM)] {
                let dir = scene.dir(&format!("p/{mode}/{way:?}"))?;
                write_all(&dir, &[("Makefile".into(), INTERRUPTED.into())])?;
                scene.give(&dir)?;
                let build = embedded.client.drive(way, &dir, "make").arg("-j4").start()?;
                running(&scene, 2)?;
                build.signal(signal)?;
                let outcome = build.wait()?;
                ensure!(!outcome.status.success(), "{mode}: {}", outcome.describe());
                none_running(&scene)?;
                let left = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
                let found = [left("log"), left("trap"), left("a")];
                let last = embedded.client.last(&dir)?;
                ensure!(
                    found == ["line\n", "caught\n", ""],
                    "{mode}: {found:?}, {:?} {:?}, {}",
                    last.jobs,
                    last.local_reasons,
                    outcome.describe()
                );
            }
            embedded.stop()?;
        }
        scene.finish()?;
    }
    Ok(())
}

#[test]
fn a_build_goes_on_here_whose_daemon_is_stopped() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 4)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    for way in [Way::Env, Way::Preload] {
        let dir = slow(&scene)?;
        let text = fs::read_to_string(dir.join("Makefile"))?;
        fs::write(dir.join("Makefile"), format!("last: all\n\t@echo whole > last\n{text}"))?;
        let build = client.drive(way, &dir, "make").arg("-j4").start()?;
        running(&scene, 4)?;
        client.termite(&dir, ["stop"]).run()?.success()?;
        let outcome = build.wait()?.success()?;
        all_whole(&dir)?;
        ensure!(fs::read_to_string(dir.join("last"))? == "whole\n");
        ensure!(
            outcome.err().contains("the daemon was stopped"),
            "{}",
            outcome.describe()
        );
        let status = client.termite(&dir, ["status"]).run()?;
        ensure!(status.code() == 1, "the build started a daemon: {}", status.describe());
        // A new one clears away what the old one left for the build.
        client.termite(&dir, ["last"]).run()?.success()?;
        client.stop()?;
        for name in ["a", "b", "c", "d", "last"] {
            fs::remove_file(dir.join(name))?;
        }
    }
    fleet.stop()?;
    scene.finish()
}

#[test]
fn nobody_listens() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let nowhere = format!("unix:{}", scene.base().join("nobody").display());
    let client = Client::new(&scene, "a", &nowhere)?;
    let project = Project::new(&scene, "nested", Kind::Nested)?;
    let expected = local(&client, &project)?;
    for way in [Way::Env, Way::Preload] {
        project.renew()?;
        let outcome = client.drive(way, project.dir(), "make").arg("-j4").run()?.success()?;
        same(&project.tree()?, &expected)?;
        let last = client.last(project.dir())?;
        ensure!(last.jobs.remote == 0 && last.jobs.local > 0, "{:?}", last.jobs);
        ensure!(!last.local_reasons.is_empty(), "no reason is given");
        ensure!(
            outcome.err().contains("local"),
            "nothing is said: {}",
            outcome.describe()
        );
        eprintln!("{way:?}: {}", outcome.err());
    }
    client.stop()?;
    scene.finish()
}

#[test]
fn a_worker_drains_on_sigterm_and_ends_on_the_second() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let mut fleet = Fleet::start(&scene, 1, 4)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = slow(&scene)?;
    let build = client.drive(Way::Env, &dir, "make").arg("-j4").start()?;
    running(&scene, 4)?;
    fleet.worker(0).signal(Signal::TERM)?;
    build.wait()?.success()?;
    all_whole(&dir)?;
    let last = client.last(&dir)?;
    ensure!(
        last.jobs.remote == 4,
        "draining lost jobs: {:?} {:?}",
        last.jobs,
        last.local_reasons
    );
    let status = fleet.worker(0).ended()?;
    ensure!(status.success(), "{status}\n{}", fleet.worker(0).log());

    let mut second = Fleet::start(&scene, 1, 4)?;
    fs::remove_file(dir.join("a"))?;
    let build = client.drive(Way::Env, &dir, "make").start()?;
    running(&scene, 1)?;
    second.worker(0).signal(Signal::TERM)?;
    second.worker(0).signal(Signal::TERM)?;
    second.worker(0).ended()?;
    build.wait()?.success()?;
    all_whole(&dir)?;
    client.stop()?;
    drop((fleet, second));
    scene.finish()
}

#[test]
fn a_killed_embedded_worker_is_started_again() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let client = Client::new(&scene, "a", "")?;
    let dir = scene.dir("p/killed")?;
    write_all(&dir, &[("Makefile".into(), "all: ; @echo made > out\n".into())])?;
    let make = || client.termite_env(&dir, ["make"]).run()?.success();
    make()?;
    client.all_remote(&dir)?;
    let killed = scene.find("workerd --listen");
    ensure!(!killed.is_empty(), "no worker in {:#?}", scene.living());
    for worker in &killed {
        // Some end with their parent.
        let _ = kill_process(*worker, Signal::KILL);
    }
    let is_new = || {
        scene
            .find("workerd --listen")
            .iter()
            .any(|worker| !killed.contains(worker))
    };
    wait_until("another worker", PATIENCE, is_new)?;
    // It has to be dialled, too.
    let takes_jobs = || make().is_ok() && client.all_remote(&dir).is_ok();
    wait_until("a job on it", PATIENCE, takes_jobs)?;
    client.stop()?;
    scene.finish()
}
