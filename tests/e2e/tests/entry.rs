//! The other ways in: a shell, compiler wrappers, ccache, and the embedded worker.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use termite_e2e::process::{PATIENCE, wait_until};
use termite_e2e::project::{Kind, write_all};
use termite_e2e::reference::{local, same};
use termite_e2e::{Client, Fleet, Project, Scene, User, Way};

/// A C file in a directory, and the object that gcc makes of it locally.
fn one_file(scene: &Scene, client: &Client) -> Result<(PathBuf, Vec<u8>)> {
    let dir = scene.dir("p/one")?;
    write_all(
        &dir,
        &[(
            "one.c".into(),
            "#include <stdio.h>\nint one(void) { return puts(\"one\"); }\n".into(),
        )],
    )?;
    scene.give(&dir)?;
    client
        .bare(&dir, "gcc")
        .args(["-O2", "-c", "one.c", "-o", "one.o"])
        .run()?
        .success()?;
    let object = fs::read(dir.join("one.o"))?;
    fs::remove_file(dir.join("one.o"))?;
    Ok((dir, object))
}

fn made_remotely(client: &Client, dir: &std::path::Path, expected: &[u8]) -> Result<()> {
    let object = dir.join("one.o");
    ensure!(
        fs::read(&object).context("no object")? == expected,
        "the object is another"
    );
    client.all_remote(dir)?;
    fs::remove_file(object)?;
    Ok(())
}

#[test]
fn an_interactive_shell() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let (dir, expected) = one_file(&scene, &client)?;
    let shell = scene.installed("bin/termite-env");
    let typed = b"gcc -O2 -c one.c -o one.o; echo status=$?\nexit\n";
    let script = client
        .bare(&dir, "script")
        .args(["-qec", &shell.display().to_string(), "/dev/null"]);
    let outcome = script.env("TERM", "dumb").input(typed).run()?.success()?;
    ensure!(outcome.out().contains("status=0"), "{}", outcome.describe());
    let prompt = outcome
        .out()
        .lines()
        .any(|line| line.contains("termite") && line.contains("gcc -O2"));
    ensure!(prompt, "no mark in the prompt: {}", outcome.describe());
    made_remotely(&client, &dir, &expected)?;
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

#[test]
fn wrappers_and_ccache() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let (dir, expected) = one_file(&scene, &client)?;
    let termite = scene.installed("bin/termite");
    let path = format!("{}:/usr/bin:/bin", scene.installed("bin").display());
    fs::write(dir.join("Makefile"), "one.o: one.c\n\t$(CC) -O2 -c one.c -o one.o\n")?;

    client
        .bare(&dir, "make")
        .arg("CC=termite gcc")
        .env("PATH", &path)
        .run()?
        .success()?;
    made_remotely(&client, &dir, &expected).context("CC=\"termite gcc\"")?;

    let masks = scene.dir("mask")?;
    symlink(&termite, masks.join("gcc"))?;
    let masked = format!("{}:/usr/bin:/bin", masks.display());
    client
        .bare(&dir, "make")
        .arg("CC=gcc")
        .env("PATH", masked)
        .run()?
        .success()?;
    made_remotely(&client, &dir, &expected).context("masquerade")?;

    let ccache = client
        .bare(&dir, "ccache")
        .args(["gcc", "-O2", "-c", "one.c", "-o", "one.o"]);
    let ccache = ccache
        .env("CCACHE_PREFIX", "termite")
        .env("PATH", &path)
        .env("CCACHE_DIR", client.home().join("ccache"))
        .env("CCACHE_TEMPDIR", client.home().join("ccache-tmp"));
    ccache.run()?.success()?;
    made_remotely(&client, &dir, &expected).context("CCACHE_PREFIX=termite")?;

    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

#[test]
fn the_embedded_worker() -> Result<()> {
    for user in [User::Me, User::Ordinary] {
        let scene = Scene::new(user)?;
        let client = Client::new(&scene, "a", "")?;
        let project = Project::new(&scene, "nested", Kind::Nested)?;
        let expected = local(&client, &project)?;
        client
            .drive(Way::Preload, project.dir(), "make")
            .arg("-j2")
            .run()?
            .success()?;
        same(&project.tree()?, &expected)?;
        client.all_remote(project.dir())?;
        client.stop()?;
        scene.finish()?;
    }
    Ok(())
}

/// The daemon and its jobs see other files there, by the same names.
#[test]
fn a_caller_in_another_mount_namespace_runs_its_commands_itself() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let client = Client::new(&scene, "a", "")?;
    let dir = scene.dir("p/covered")?;
    write_all(&dir, &[("Makefile".into(), "all: ; @cat text; touch out\n".into())])?;
    fs::write(dir.join("text"), "outside\n")?;
    let outcome = client.termite_env(&dir, ["make"]).run()?.success()?;
    ensure!(outcome.out() == "outside\n", "{}", outcome.describe());
    client.all_remote(&dir)?;
    fs::remove_file(dir.join("out"))?;
    let script = "cp Makefile /dev/shm/Makefile.$$; mount -t tmpfs none . && cd \"$PWD\" && mv /dev/shm/Makefile.$$ Makefile && \
                  echo inside > text && \"$0\" make && ls";
    let program = scene.installed("bin/termite-env").display().to_string();
    let covered = client.bare(&dir, "unshare").args(["-rm", "sh", "-c", script, &program]);
    let outcome = covered.run()?.success()?;
    ensure!(
        outcome.out() == "inside\nMakefile\nout\ntext\n",
        "{}",
        outcome.describe()
    );
    ensure!(outcome.err().contains("mount namespace"), "{}", outcome.describe());
    ensure!(!dir.join("out").exists(), "the job ran outside");
    client.stop()?;
    scene.finish()
}

/// A stream that make does not have is closed for its jobs too; one for the summary that is full
/// changes nothing.
#[test]
fn streams_that_are_closed_or_full() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let client = Client::new(&scene, "a", "")?;
    let dir = scene.dir("p/closed")?;
    let makefile = "out: ; @echo out && touch made\nerr: ; @echo err >&2 && touch made\nquiet: ; @touch made\n";
    write_all(&dir, &[("Makefile".into(), makefile.into())])?;
    let program = scene.installed("bin/termite-env").display().to_string();
    let ends = |before: &str, goal: &str, streams: &str| -> Result<(i32, bool)> {
        let script = format!("{before} make {goal} {streams}");
        let outcome = client.bare(&dir, "sh").args(["-c", &script, &program]).run()?;
        let made = dir.join("made");
        let is_made = made.exists();
        if is_made {
            fs::remove_file(made)?;
        }
        Ok((outcome.code(), is_made))
    };
    let closed = [">&-", "2>&-", "<&- >&-", "<&- 2>&-"];
    let each = ["out", "err", "quiet"].map(|goal| closed.map(|streams| (goal, streams)));
    for (goal, streams) in each.into_iter().flatten().chain([("quiet", "2>/dev/full")]) {
        let (plain, ours) = (ends("", goal, streams)?, ends("\"$0\"", goal, streams)?);
        ensure!(plain == ours, "make {goal} {streams}: {plain:?}, with termite {ours:?}");
    }
    client.all_remote(&dir)?;
    client.stop()?;
    scene.finish()
}

/// Installing termite anew is enough: nobody has to end the daemon.
#[test]
fn an_idle_daemon_of_an_earlier_installation_ends() -> Result<()> {
    // That user's scene has an installation of its own.
    let scene = Scene::new(User::Ordinary)?;
    let client = Client::new(&scene, "a", "")?;
    let dir = scene.dir("p/one")?;
    scene.give(&dir)?;
    let job = || client.termite(&dir, ["run", "--", "true"]).run()?.success().map(drop);
    job()?;
    let before = scene.find("termite daemon");
    let (program, new) = (scene.installed("bin/termite"), scene.installed("bin/termite.new"));
    fs::copy(&program, &new)?;
    fs::rename(&new, &program)?;
    wait_until("the daemon to end", PATIENCE, || {
        scene.find("termite daemon").iter().all(|pid| !before.contains(pid))
    })?;
    job()?;
    ensure!(before.len() == 1 && scene.find("termite daemon").len() == 1);
    client.stop()?;
    scene.finish()
}

/// Bear preloads a library of its own, whose programs report to it over the loopback.
#[test]
fn settings_hold_from_the_build_after_the_change_on() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let client = Client::new(&scene, "a", "")?;
    let dir = scene.dir("p/settings")?;
    fs::write(dir.join("Makefile"), "all: ; @echo made > out\n")?;
    let slots = || -> Result<u64> {
        client.termite_env(&dir, ["make", "-B"]).run()?.success()?;
        let status: serde_json::Value = client.ask(&dir, &["status", "--json"])?;
        status["workers"][0]["slots"].as_u64().context("slots")
    };
    ensure!(slots()? != 5);
    let config = client.home().join("config/termite");
    fs::create_dir_all(&config)?;
    scene.give(&config)?;
    let pid = |status: serde_json::Value| status["pid"].as_u64();
    let first = pid(client.ask(&dir, &["status", "--json"])?);
    fs::write(config.join("config.toml"), "slots = 5\n")?;
    let is_gone = || {
        client
            .termite(&dir, ["status"])
            .run()
            .is_ok_and(|asked| asked.code() == 1)
    };
    let shown = client.termite(&dir, ["config"]).run()?.success()?.out();
    ensure!(shown.contains("the daemon that runs has"), "{shown}");
    wait_until("the daemon to end", PATIENCE, is_gone)?;
    ensure!(slots()? == 5);
    ensure!(pid(client.ask(&dir, &["status", "--json"])?) != first);
    client.stop()?;
    scene.finish()
}

#[test]
fn bear_around_and_inside_sees_every_compile() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let client = Client::new(&scene, "a", "")?;
    let env = scene.installed("bin/termite-env").display().to_string();
    for (name, command) in [
        ("around", ["bear", "--", &env, "--", "make"]),
        ("inside", [&env, "--", "bear", "--", "make"]),
    ] {
        let dir = scene.dir(&format!("p/{name}"))?;
        let rules = "prog: a.o b.o ; gcc -o $@ $^\n%.o: %.c ; gcc -c -o $@ $<\n";
        let sources = [
            ("Makefile", rules),
            ("a.c", "int main(void) { return 0; }\n"),
            ("b.c", "int b;\n"),
        ];
        write_all(&dir, &sources.map(|(file, text)| (file.into(), text.to_owned())))?;
        client.bare(&dir, command[0]).args(&command[1..]).run()?.success()?;
        let seen = fs::read_to_string(dir.join("compile_commands.json"))?;
        ensure!(seen.matches("\"file\"").count() == 2, "{name}: {seen}");
        ensure!(dir.join("prog").exists(), "{name}");
    }
    client.stop()?;
    scene.finish()
}

const MODULE: [(&str, &str); 4] = [
    ("go.mod", "module example.org/m\n\ngo 1.19\n"),
    (
        "main.go",
        "package main\n\nimport \"example.org/m/add\"\n\nfunc main() { println(add.Two(3)) }\n",
    ),
    ("add/add.go", "package add\n\nfunc Two(int) int\n"),
    (
        "add/add_amd64.s",
        "TEXT ·Two(SB),4,$0-16\n\tMOVQ x+0(FP), AX\n\tADDQ $2, AX\n\tMOVQ AX, ret+8(FP)\n\tRET\n",
    ),
];

#[test]
fn the_tools_of_go_are_jobs() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let client = Client::new(&scene, "a", "")?;
    let dir = scene.dir("p/go")?;
    write_all(&dir, &MODULE.map(|(name, text)| (name.into(), text.into())))?;
    let build = |program: termite_e2e::Program, cache: &str| -> Result<Vec<u8>> {
        program.env("GOCACHE", dir.join(cache)).run()?.success()?;
        let made = fs::read(dir.join("m"))?;
        fs::remove_file(dir.join("m"))?;
        Ok(made)
    };
    let alone = build(client.bare(&dir, "go").arg("build"), "alone")?;
    let jobs = build(client.termite_env(&dir, ["go", "build"]), "jobs")?;
    ensure!(alone == jobs, "another program");
    let last = client.all_remote(&dir)?;
    let explained = client.termite(&dir, ["explain"]).run()?.success()?.out();
    for tool in ["/compile -o", "/asm -p", "/link -o"] {
        ensure!(explained.contains(tool), "no {tool} in {explained}");
    }
    // The cache knows them, with jobs or without.
    build(client.termite_env(&dir, ["go", "build"]), "jobs")?;
    ensure!(client.last(&dir)?.jobs.total < last.jobs.total);
    client.stop()?;
    scene.finish()
}
