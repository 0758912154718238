//! Input that is wrong, odd or at the kernel's limit: a clear error or the right
//! result, never a hang, never a lost output.

use anyhow::{Result, ensure};
use std::ffi::OsStr;
use std::fs;
use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use termite_e2e::project::write_all;
use termite_e2e::{Client, Fleet, Outcome, Scene, User, Way};

fn refused(outcome: Outcome, code: i32, says: &str) -> Result<()> {
    let said = outcome.err().to_lowercase().contains(says);
    ensure!(
        outcome.code() == code && said,
        "expected {code} and {says:?}: {}",
        outcome.describe()
    );
    Ok(())
}

#[test]
fn what_is_wrong_is_said() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = scene.dir("p/bad")?;
    write_all(&dir, &[("Makefile".into(), "all:\n\techo made > out\n".into())])?;
    scene.give(&dir)?;

    refused(client.termite(&dir, ["--nonsense"]).run()?, 2, "nonsense")?;
    refused(client.termite_env(&dir, ["--nonsense", "true"]).run()?, 2, "nonsense")?;
    refused(client.termite_env(&dir, ["--serial", "true"]).run()?, 2, "serial")?;
    let workerd = || client.bare(&dir, scene.installed("bin/workerd"));
    refused(workerd().arg("--nonsense").run()?, 2, "nonsense")?;
    let open = workerd().args(["--listen", "0.0.0.0:7001", "--slots", "1"]).run()?;
    ensure!(
        !open.status.success() && !open.err().trim().is_empty(),
        "{}",
        open.describe()
    );
    refused(
        client.termite(&dir, ["run", "--", "no-such-command"]).run()?,
        127,
        "no-such-command",
    )?;
    refused(
        client.termite_env(&dir, ["no-such-command"]).run()?,
        127,
        "no-such-command",
    )?;
    let gone = "mkdir gone && cd gone && rmdir ../gone && exec \"$0\" run -- true";
    let gone = client
        .bare(&dir, "sh")
        .args(["-c", gone])
        .arg(scene.installed("bin/termite"))
        .run()?;
    ensure!(
        gone.status.success() || !gone.err().trim().is_empty(),
        "{}",
        gone.describe()
    );

    fs::write(dir.join(".termite.toml"), "[[rule]]\nmatch = \"(\"\nrun = \"local\"\n")?;
    scene.give(&dir)?;
    let outcome = client.drive(Way::Env, &dir, "make").run()?;
    ensure!(
        outcome.err().contains(".termite.toml"),
        "an unparsable rule is passed over: {}",
        outcome.describe()
    );
    fs::remove_file(dir.join(".termite.toml"))?;

    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

#[test]
fn a_directory_that_may_not_be_looked_into_is_changed_at_home() -> Result<()> {
    let scene = Scene::new(User::Ordinary)?;
    let fleet = Fleet::start(&scene, 1, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = scene.dir("p/shut")?;
    let shut = dir.join("dir");
    write_all(&dir, &[("dir/file".into(), String::new())])?;
    fs::set_permissions(&shut, Permissions::from_mode(0o600))?;
    scene.give(&dir)?;

    let run = |words: &[&str]| client.termite(&dir, ["run", "--"]).args(words).run();
    let looked = run(&["cat", "dir/file"])?;
    ensure!(
        looked.code() == 1 && looked.err().contains("denied"),
        "{}",
        looked.describe()
    );
    let touched = run(&["touch", "-d", "@10", "dir"])?.success()?;
    ensure!(
        touched.err().contains("may not be looked into"),
        "{}",
        touched.describe()
    );
    let stat = shut.metadata()?;
    ensure!((stat.mode() & 0o7777, stat.mtime()) == (0o600, 10), "{stat:?}");
    let moved = run(&["mv", "dir", "moved"])?.success()?;
    ensure!(
        dir.join("moved/file").exists() && !shut.exists(),
        "{}",
        moved.describe()
    );

    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

#[test]
fn what_is_odd_works() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = scene.dir("p/odd")?;
    let odd = OsStr::from_bytes(b"n\xff\xfe a\n.c");
    fs::write(dir.join(odd), "int odd;\n")?;
    scene.give(&dir)?;

    let output = OsStr::from_bytes(b"o\x80ut.o");
    client
        .termite(&dir, ["run", "--", "gcc", "-c", "-x", "c"])
        .arg(odd)
        .arg("-o")
        .arg(output)
        .run()?
        .success()?;
    let expected = fs::read(dir.join(output))?;
    client.all_remote(&dir)?;
    client
        .bare(&dir, "gcc")
        .args(["-c", "-x", "c"])
        .arg(odd)
        .arg("-o")
        .arg("here.o")
        .run()?
        .success()?;
    ensure!(
        fs::read(dir.join("here.o"))? == expected,
        "a name that is not text changes the object"
    );
    let outcome = client
        .termite(&dir, ["run", "--", "printf", "%s"])
        .arg(odd)
        .run()?
        .success()?;
    ensure!(outcome.stdout == odd.as_bytes(), "{}", outcome.describe());

    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

#[test]
fn what_is_very_big_works() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = scene.dir("p/big")?;

    // 2 MiB of environment, in strings below the kernel's limit for one.
    let fill = "ulimit -s 65536; for n in $(seq 17); do export BIG$n=$(printf %0125000d $n); done; ";
    let count = |rest: &str| {
        client
            .bare(&dir, "bash")
            .arg("-c")
            .arg(format!("{fill}{rest}"))
            .arg(scene.installed("bin/termite"))
    };
    let outcome = count("exec \"$0\" run -- sh -c 'echo ${#BIG17} ${BIG9: -1}; echo made > out' sh").run()?;
    let told = outcome.status.success() && outcome.out().starts_with("125000 ");
    ensure!(
        told || fs::exists(dir.join("out"))? || outcome.err().contains("sh"),
        "{}",
        outcome.describe()
    );

    // A command line that just fits: it must run, wherever that is, and make the same.
    let script = "gcc -c -x c /dev/null -o x.o; name=$(printf './%.0s' {1..1500})x.o; \
                  room=$(($(getconf ARG_MAX) - $(env | wc -c) - 60000)); \
                  names=$(yes $name | head -n $((room / (${#name} + 9)))); \
                  [ -z $0 ] || export LD_PRELOAD=$0; ar qcD $1 $names";
    let archive = |library: &Path, name: &str| {
        let run = client
            .bare(&dir, "bash")
            .args(["-c", script])
            .arg(library)
            .arg(name)
            .run();
        run.and_then(Outcome::success)
    };
    archive(Path::new(""), "bare.a")?;
    archive(&scene.installed("lib/libtermite.so"), "job.a")?;
    ensure!(
        fs::read(dir.join("job.a"))? == fs::read(dir.join("bare.a"))?,
        "a long command line makes something else"
    );

    client.stop()?;
    fleet.stop()?;
    scene.finish()
}
