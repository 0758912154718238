//! A client's disk that is full: the project lies on a tmpfs of 1 MiB in a mount namespace of
//! the test, in which client, daemon and make run. The command fails as it would without
//! termite, says why, leaves no temporary file, and takes effect once.

use anyhow::{Result, ensure};
use std::fs;
use std::path::Path;
use termite_e2e::{Client, Outcome, Scene, User};

/// Runs a shell script with the project directory of the scene on a tmpfs of these options.
fn on_small_disk(scene: &Scene, client: &Client, options: &str, script: &str) -> Result<Outcome> {
    let dir = scene.dir("p")?;
    let script = format!(
        "set -e; mount -t tmpfs -o {options} none {dir}; cd {dir}; trap '{termite} stop' EXIT\n{script}",
        dir = dir.display(),
        termite = scene.installed("bin/termite").display(),
    );
    // Root may mount as it is.
    let namespaces: &[&str] = if scene.is_root() { &["-m"] } else { &["-Urm"] };
    let command = client.bare(&dir, Path::new("/usr/bin/unshare"));
    command.args(namespaces).args(["sh", "-c", &script]).run()
}

/// `make` under termite with one recipe, and what is there afterwards.
fn script(scene: &Scene, before: &str, recipe: &str) -> String {
    let make = scene.installed("bin/termite-env");
    format!(
        "printf 'all:\\n\\t@{recipe}\\n' > Makefile; echo 1 > log; {before}\n\
         status=0; {} -- make || status=$?\n\
         echo status $status; grep -c more log; find . -name '.termite*' | wc -l; ls -d d* | wc -l\n\
         {} explain --json $({} explain | grep -oE '[0-9a-f]{{16}}[.]1')\n",
        make.display(),
        scene.installed("bin/termite").display(),
        scene.installed("bin/termite").display(),
    )
}

fn check(outcome: &Outcome, lines: &[&str], said: &[&str]) -> Result<()> {
    let out = outcome.out();
    ensure!(outcome.code() == 0, "{}", outcome.describe());
    ensure!(
        out.lines().take(lines.len()).eq(lines.iter().copied()),
        "{lines:?} are wanted: {}",
        outcome.describe()
    );
    let all = format!("{out}{}", outcome.err());
    for part in said {
        ensure!(all.contains(part), "{part:?} is not said: {}", outcome.describe());
    }
    Ok(())
}

#[test]
fn what_does_not_fit_fails_as_on_the_client() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let client = Client::new(&scene, "full", "")?;
    let recipe = "echo more >> log; head -c 3000000 /dev/zero > big";
    let outcome = on_small_disk(&scene, &client, "size=1m", &script(&scene, "mkdir d", recipe))?;
    // Once: the client ran it, as nothing was changed before.
    check(
        &outcome,
        &["status 2", "1", "0", "1"],
        &["No space left on device", "\"where\":\"client\""],
    )?;
    scene.finish()
}

#[test]
fn what_fails_halfway_is_not_run_again() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let client = Client::new(&scene, "half", "")?;
    // Inodes for the project, for the temporary file of what is appended, and for one directory.
    let options = "size=1m,nr_inodes=5";
    let recipe = "echo more >> log; mkdir d1 d2 d3; echo said";
    let outcome = on_small_disk(&scene, &client, options, &script(&scene, "", recipe))?;
    let log = scene.dir("p")?.join("log");
    ensure!(fs::metadata(&log).is_err(), "the namespace was not the test's own");
    check(
        &outcome,
        &["said", "status 2", "1", "0"],
        &[
            "termite: sh: cannot make ",
            "No space left on device",
            "/d1 and 2 more are changed already",
            "it is not run again, as that might change files twice",
            "\"where\":\"worker\"",
            "\"commit_fault\":\"cannot make ",
            "\"exit\":1",
        ],
    )?;
    scene.finish()
}
