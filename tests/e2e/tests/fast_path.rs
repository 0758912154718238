//! How much of a build passes the guard: system calls that name a path, counted by strace
//! in a bare build, against those that workers' guards stopped in the same build.

use anyhow::{Result, ensure};
use std::fs;
use std::time::Duration;
use termite_e2e::project::Kind;
use termite_e2e::reference::long;
use termite_e2e::{Client, Fleet, Project, Scene, User, Way};

const LIMIT: Duration = Duration::from_secs(1200);

/// Of a hundred calls so many may be stopped. What is left is what no preloaded library
/// sees, above all the loader at each program's start: the shorter the programs run, the
/// more that is.
const LUA: u64 = 8;
const REDIS: u64 = 5;

#[test]
fn few_calls_are_stopped() -> Result<()> {
    let (kind, most) = if long() { (Kind::Redis, REDIS) } else { (Kind::Lua, LUA) };
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let project = Project::new(&scene, "release", kind)?;
    let (driver, args) = project.command();

    let log = scene.base().join("strace");
    let strace = client
        .bare(project.dir(), "strace")
        .args([
            "-f",
            "-qq",
            "--seccomp-bpf",
            "-e",
            "trace=%file",
            "-e",
            "signal=none",
            "-o",
        ])
        .arg(&log)
        .args([driver, "-j2"]);
    strace.args(args).limit(LIMIT).run()?.success()?;
    let named = fs::read_to_string(&log)?
        .lines()
        .filter(|line| names_a_path(line))
        .count() as u64;

    project.renew()?;
    let build = client.drive(Way::Env, project.dir(), driver).arg("-j2").args(args);
    build.limit(LIMIT).run()?.success()?;
    let stopped = client.all_remote(project.dir())?.guard_calls;
    eprintln!(
        "{kind:?}: {stopped} of {named} calls with a path reach the guard, {:.1} %",
        stopped as f64 * 100.0 / named as f64
    );
    ensure!(stopped > 0 && stopped * 100 <= most * named, "more than {most} %");
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// Whether a line of strace's is the first one of a call, and not `fstat` by the call that
/// takes a path, which is empty then.
fn names_a_path(line: &str) -> bool {
    let is_fstat = line
        .split_once('(')
        .is_some_and(|(name, args)| name.ends_with("newfstatat") && args.contains(", \"\", "));
    !line.contains("resumed>") && !is_fstat
}
