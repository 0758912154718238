//! Lua, Redis and Linux, as released: built by two workers in bare roots they are the
//! files that a local build makes, and the client's machine has run no compiler.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::time::Duration;
use termite_e2e::project::Kind;
use termite_e2e::reference::{local, long, same};
use termite_e2e::{Client, Fleet, Project, Scene, Tree, User, Way};

const LIMIT: Duration = Duration::from_secs(1200);

/// Base names of programs that must not run on the client.
const TOOLS: [&str; 10] = [
    "cc",
    "gcc",
    "x86_64-linux-gnu-gcc-12",
    "cc1",
    "as",
    "x86_64-linux-gnu-as",
    "ld",
    "collect2",
    "ar",
    "ranlib",
];

#[test]
fn lua_by_both_ways() -> Result<()> {
    both_ways(Kind::Lua, User::Me)
}

#[test]
fn lua_as_an_ordinary_user() -> Result<()> {
    both_ways(Kind::Lua, User::Ordinary)
}

#[test]
fn redis_with_the_allocator_of_libc() -> Result<()> {
    both_ways(Kind::Redis, User::Me)
}

#[test]
fn redis_whole_in_the_long_form() -> Result<()> {
    if long() {
        both_ways(Kind::RedisWhole, User::Me)
    } else {
        Ok(())
    }
}

#[test]
fn linux_in_the_long_form() -> Result<()> {
    if !long() {
        return Ok(());
    }
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 2, 1)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let project = Project::new(&scene, "release", Kind::Linux)?;
    let expected = local(&client, &project)?;
    by_termite_env(&client, &project, Kind::Linux, &expected)?;
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

fn by_termite_env(client: &Client, project: &Project, kind: Kind, expected: &Tree) -> Result<()> {
    let (driver, args) = project.command();
    let make = client.drive(Way::Env, project.dir(), driver).arg("-j4").args(args);
    let build = make.limit(LIMIT).run()?.success()?;
    same(&project.tree()?, expected)?;
    let last = client.all_remote(project.dir())?;
    eprintln!("{kind:?} by termite-env: {:?} in {:.1?}", last.jobs, build.took);
    Ok(())
}

/// Builds with termite-env, then with the library alone while strace looks on.
fn both_ways(kind: Kind, user: User) -> Result<()> {
    let scene = Scene::new(user)?;
    let fleet = Fleet::start(&scene, 2, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let project = Project::new(&scene, "release", kind)?;
    let expected = local(&client, &project)?;
    by_termite_env(&client, &project, kind, &expected)?;
    if kind == Kind::Lua {
        touch_and_break(&client, &project)?;
    }

    project.renew()?;
    let log = scene.dir("log")?.join("execve");
    let (driver, args) = project.command();
    let preload = format!("LD_PRELOAD={}", scene.installed("lib/libtermite.so").display());
    let traced =
        client
            .bare(project.dir(), "strace")
            .args(["-f", "--seccomp-bpf", "-qq", "-e", "trace=execve,execveat"]);
    let traced = traced
        .args(["-o".as_ref(), log.as_os_str()])
        .args(["-E", &preload, driver, "-j4"])
        .args(args);
    let build = traced.limit(LIMIT).run()?.success()?;
    same(&project.tree()?, &expected)?;
    let last = client.all_remote(project.dir())?;
    eprintln!(
        "{kind:?} by the library under strace: {:?} in {:.1?}",
        last.jobs, build.took
    );
    no_tool_ran(&log)?;

    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// A line of strace is `PID execve("PATH", [ARGV], ENV) = RESULT`; an interrupted one
/// ends in `<unfinished ...>` and still names the path.
fn no_tool_ran(log: &Path) -> Result<()> {
    let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    let failed = |line: &&str| line.contains(") = -1 ");
    let program = |line: &str| Some(line.split_once('"')?.1.split_once('"')?.0.to_owned());
    let run: Vec<_> = text.lines().filter(|line| !failed(line)).filter_map(program).collect();
    if !run.iter().any(|path| path.ends_with("/termite-run")) {
        bail!(
            "strace has seen no termite-run, so it proves nothing:\n{}",
            run.join("\n")
        );
    }
    let base = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
    let tools: Vec<_> = run.iter().filter(|path| TOOLS.contains(&base(path).as_str())).collect();
    if !tools.is_empty() {
        bail!("run on the client: {tools:?}");
    }
    Ok(())
}

/// A touched file is compiled again and no other; a broken one fails as it does locally.
fn touch_and_break(client: &Client, project: &Project) -> Result<()> {
    let (driver, args) = project.command();
    let built = project.tree()?;
    let source = project.dir().join("src/lmathlib.c");
    let text = fs::read_to_string(&source)?;

    fs::write(&source, &text)?;
    client
        .drive(Way::Env, project.dir(), driver)
        .arg("-j4")
        .args(args)
        .run()?
        .success()?;
    same(&project.tree()?, &built)?;
    let last = client.all_remote(project.dir())?;
    if last.jobs.total > 12 {
        bail!("one touched file made {:?}", last.jobs);
    }

    let broken = text.replacen("static int math_abs", "static int int math_abs(", 1);
    fs::write(&source, broken)?;
    let here = client.bare(project.dir(), driver).args(args).run()?;
    let tree = project.tree()?;
    fs::write(&source, fs::read(&source)?)?;
    let there = client.drive(Way::Env, project.dir(), driver).args(args).run()?;
    same(&project.tree()?, &tree)?;
    let error = |text: &str| text.lines().find(|line| line.contains("error:")).map(str::to_owned);
    let message = error(&here.err()).context("the broken file compiles locally")?;
    if here.code() != there.code() || !there.err().contains(&message) {
        bail!("locally\n{}\nwith termite\n{}", here.describe(), there.describe());
    }
    client.all_remote(project.dir()).map(drop)
}
