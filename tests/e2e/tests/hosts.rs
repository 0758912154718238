//! Hosts that refuse the guard: FUSE serves whole slots there, by `--fault fuse` and by
//! the choice of `auto`; and `termite doctor` tells.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;
use termite_e2e::fleet::has_fuse;
use termite_e2e::project::Kind;
use termite_e2e::reference::{local, same};
use termite_e2e::{Client, Fleet, Project, Scene, User, Way};

const LIMIT: Duration = Duration::from_secs(600);

/// What `termite doctor --json` says.
#[derive(Debug, Deserialize)]
struct Report {
    ok: bool,
    fault: Option<String>,
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
struct Check {
    name: String,
    state: String,
    advice: Option<String>,
}

impl Report {
    fn check(&self, name: &str) -> Result<&Check> {
        let found = self.checks.iter().find(|check| check.name == name);
        found.with_context(|| format!("doctor does not tell of {name}: {self:?}"))
    }
}

#[test]
fn lua_on_fuse() -> Result<()> {
    if !has_fuse()? {
        return Ok(());
    }
    let scene = Scene::new(User::Me)?;
    let mut fleet = Fleet::start_with(&scene, 2, 2, &["--fault", "fuse"])?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let project = Project::new(&scene, "release", Kind::Lua)?;
    let expected = local(&client, &project)?;
    let (driver, args) = project.command();
    let build = client.drive(Way::Env, project.dir(), driver).arg("-j4").args(args);
    let build = build.limit(LIMIT).run()?.success()?;
    same(&project.tree()?, &expected)?;
    let last = client.all_remote(project.dir())?;
    eprintln!("Lua on FUSE: {:?} in {:.1?}", last.jobs, build.took);
    let log = fleet.worker(0).log();
    ensure!(log.contains("files are served by fuse: asked for"), "{log}");
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// What a job left is merged into the tree while the next one begins to change directories.
#[test]
fn one_worker_on_fuse_builds_again_and_again() -> Result<()> {
    if !has_fuse()? {
        return Ok(());
    }
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start_with(&scene, 1, 2, &["--fault", "fuse"])?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let project = Project::new(&scene, "tiny", Kind::Tiny(60))?;
    let sources = project.tree()?;
    let expected = local(&client, &project)?;
    let (driver, args) = project.command();
    for _ in 0..4 {
        project.clean(&sources)?;
        let build = client.drive(Way::Env, project.dir(), driver).arg("-j2").args(args);
        build.limit(LIMIT).run()?.success()?;
        same(&project.tree()?, &expected)?;
        client.all_remote(project.dir())?;
    }
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// What the guard learns from calls, FUSE has to find out another way.
#[test]
fn jobs_on_fuse_are_known_without_their_calls() -> Result<()> {
    if !has_fuse()? {
        return Ok(());
    }
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start_with(&scene, 1, 2, &["--fault", "fuse"])?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = scene.dir("p/fuse")?;
    let run = |script: &str| client.termite(&dir, ["run", "--", "sh", "-c", script]);
    let termite = scene.installed("bin/termite");

    // A job that reads no input leaves it to the next one, and so does one that waits first.
    let each = "while read line; do \"$0\" run -- sh -c \"sleep 0.2; echo job $line\"; done";
    let looped = client.bare(&dir, "sh").args(["-c", each]).arg(&termite);
    let looped = looped.input(b"one\ntwo\nthree\n").run()?.success()?;
    ensure!(looped.out() == "job one\njob two\njob three\n", "{}", looped.describe());
    // Waiting in read, poll (perl's select is select) or behind another descriptor.
    for reads in [
        "read a; echo $a",
        "exec 7<&0 0</dev/null; read a <&7; echo $a",
        "cat | head -n 1",
        SELECTS,
    ] {
        let read = run(reads).input(b"one\ntwo\n").run()?.success()?;
        ensure!(read.out() == "one\n", "{reads}: {}", read.describe());
    }
    client.all_remote(&dir)?;

    // Times that were set stay, also on a file of the client; others are of now.
    fs::write(dir.join("old"), "first\n")?;
    scene.give(&dir)?;
    run(
        "touch -d @1000000000 set; cp -p set copied; chmod 640 old; echo second >> old; echo x > new; \
         mkdir -p a/b; touch -d @1100000000 a; mv new renamed",
    )
    .run()?
    .success()?;
    let second = |name: &str| Ok::<_, anyhow::Error>(fs::metadata(dir.join(name))?.mtime());
    ensure!((second("set")?, second("copied")?, second("a")?) == (1_000_000_000, 1_000_000_000, 1_100_000_000));
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs() as i64;
    ensure!((now - second("renamed")?).abs() < 300 && (now - second("old")?).abs() < 300);
    ensure!(fs::read_to_string(dir.join("old"))? == "first\nsecond\n");
    client.all_remote(&dir)?;

    // Two jobs that append at the same time both survive: what the file was is known.
    fs::write(
        dir.join("Makefile"),
        "all: one two\none two:\n\t@sleep 0.5; echo $@ >> old; sleep 0.5\n",
    )?;
    scene.give(&dir)?;
    client.drive(Way::Env, &dir, "make").arg("-j2").run()?.success()?;
    client.all_remote(&dir)?;
    let text = fs::read_to_string(dir.join("old"))?;
    let mut added: Vec<_> = text.lines().skip(2).collect();
    added.sort_unstable();
    ensure!(added == ["one", "two"], "{text}");

    // A driver inside a job sends the job home.
    let makefile = "at := $(shell test -e /dev/.termite && echo slot || echo home)\nall:\n\t@echo $(at)\n";
    fs::write(dir.join("nested"), makefile)?;
    scene.give(&dir)?;
    let driven = run("make -s -f nested").run()?.success()?;
    ensure!(driven.out() == "home\n", "{}", driven.describe());

    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// Waits for input in `select`, without time, before it reads.
const SELECTS: &str =
    "perl -e '$set = \"\"; vec($set, 0, 1) = 1; select($set, undef, undef, undef); sysread(STDIN, $_, 4); print'";

/// A program that runs another one where no filter with a listener can be installed.
fn refusing(scene: &Scene, client: &Client) -> Result<PathBuf> {
    let dir = scene.dir("refuse")?;
    fs::write(dir.join("refuse.c"), include_str!("../src/refuse.c"))?;
    scene.give(&dir)?;
    let compile = client
        .bare(&dir, "gcc")
        .args(["-O", "-Wall", "-Werror", "refuse.c", "-o", "refuse"]);
    compile.run()?.success()?;
    Ok(dir.join("refuse"))
}

#[test]
fn auto_takes_fuse_where_notification_is_refused() -> Result<()> {
    if !has_fuse()? {
        return Ok(());
    }
    let scene = Scene::new(User::Me)?;
    // The embedded worker's: its daemon begins behind the filter, and so does the worker.
    let client = Client::new(&scene, "a", "")?;
    let refusing = refusing(&scene, &client)?;
    let project = Project::new(&scene, "nested", Kind::Nested)?;
    let expected = local(&client, &project)?;
    let build = client.bare(project.dir(), &refusing);
    let build = build.arg(scene.installed("bin/termite-env")).args(["make", "-j2"]);
    build.run()?.success()?;
    same(&project.tree()?, &expected)?;
    client.all_remote(project.dir())?;
    let mut logs = String::new();
    for entry in walk(&client.home().join("state"))? {
        logs += &String::from_utf8_lossy(&fs::read(entry)?);
    }
    ensure!(
        logs.contains("files are served by fuse: the kernel refuses seccomp user notification"),
        "{logs}"
    );
    client.stop()?;
    scene.finish()
}

fn walk(dir: &std::path::Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(walk(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

#[test]
fn doctor_tells_what_a_host_allows() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let client = Client::new(&scene, "a", "")?;
    let home = client.home().to_path_buf();
    let said = client.termite(&home, ["doctor", "--json"]).run()?.success()?;
    let report: Report = serde_json::from_slice(&said.stdout)?;
    ensure!(report.ok && report.fault.as_deref() == Some("shim,guard"), "{report:?}");
    for name in [
        "kernel",
        "namespaces",
        "store",
        "overlayfs",
        "seccomp-notification",
        "slot",
    ] {
        ensure!(report.check(name)?.state == "ok", "{report:?}");
    }
    for name in ["seccomp-wake-up", "fuse", "inotify-watches", "open-files"] {
        report.check(name)?;
    }
    let text = client.termite(&home, ["doctor"]).run()?.success()?;
    ensure!(
        text.out()
            .contains("\nA worker can run here. Files are served by shim,guard"),
        "{}",
        text.describe()
    );

    let refusing = refusing(&scene, &client)?;
    let termite = scene.installed("bin/termite");
    let refused = client.bare(&home, &refusing).arg(&termite).args(["doctor", "--json"]);
    let refused = refused.run()?;
    let report: Report = serde_json::from_slice(&refused.stdout)?;
    let notification = report.check("seccomp-notification")?;
    ensure!(
        notification.state == "lacking" && notification.advice.is_some(),
        "{report:?}"
    );
    let expected = if has_fuse()? { (0, Some("fuse")) } else { (1, None) };
    ensure!((refused.code(), report.fault.as_deref()) == expected, "{report:?}");
    ensure!(report.ok == (expected.0 == 0), "{report:?}");

    // Slots cannot do without user namespaces of their own.
    let without = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$0\" doctor --json";
    let lacking = client
        .bare(&home, "unshare")
        .args(["--user", "--map-root-user", "sh", "-c", without]);
    let lacking = lacking.arg(&termite).run()?;
    let report: Report = serde_json::from_slice(&lacking.stdout).with_context(|| lacking.describe())?;
    ensure!(lacking.code() == 1 && !report.ok, "{report:?}");
    ensure!(report.check("slot")?.state == "lacking", "{report:?}");
    scene.finish()
}
