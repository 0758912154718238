//! What the client's user may not write its jobs may not write either: calls fail as they do
//! without termite, and those that ask beforehand are told so. Where no call is seen (FUSE), a
//! job that writes there runs on the client in the end.

use anyhow::{Result, ensure};
use rustix::fs::{Gid, Mode as Bits, Uid, chmod, chown};
use std::fs;
use std::path::{Path, PathBuf};
use termite_e2e::{Client, Mode, Scene, Topology, User, Way};

/// Each tries something in a directory of another user's, in one that all may write to, or on what
/// is in them.
const TRIES: [&str; 27] = [
    "test -w others",
    "test -w others/file",
    "test -w others/shared",
    "test -w all",
    "test -w all/file",
    "test -w .",
    "touch others/new",
    "touch others",
    "touch others/file",
    "touch -d 2020-01-01 others/shared",
    "echo more >> others/file",
    "chmod +x others/shared",
    "mkdir others/dir",
    "rm -f others/file",
    "mv mine others/mine",
    "ln -s x others/link",
    "rm -f all/file",
    "mv all/file all/moved",
    "touch all/new && rm all/new",
    // From here on it takes the machine.
    "echo more >> others/shared",
    "echo new > own && touch others/shared && cat own",
    "cat entered/file",
    "test -f entered/file",
    "./set-uid -u",
    "./set-gid -g",
    "test -e /dev/kmsg",
    "python3 -c 'import ctypes; print(ctypes.CDLL(\"librt.so.1\").mq_unlink(b\"/termite-e2e\"))'",
];
/// So many of them.
const OF_MACHINE: u64 = 8;

#[test]
fn a_job_may_write_what_its_user_may_write() -> Result<()> {
    let scene = Scene::new(User::Ordinary)?;
    for mode in Mode::all(&scene, Topology::Embedded)? {
        let running = mode.start(&scene, 2)?;
        let client = &running.client;
        let (plain, _) = said(&scene, client, &format!("p/{mode}-plain"), false)?;
        let (by_jobs, dir) = said(&scene, client, &format!("p/{mode}-jobs"), true)?;
        ensure!(by_jobs == plain, "{mode}: {by_jobs}\ninstead of\n{plain}");
        let last = client.last(&dir)?;
        ensure!(
            mode.fault == "fuse" || last.jobs.local == OF_MACHINE,
            "{mode}: {last:?}"
        );
        running.stop()?;
    }
    scene.finish()
}

/// What make and its commands say about all tries.
fn said(scene: &Scene, client: &Client, name: &str, by_jobs: bool) -> Result<(String, PathBuf)> {
    let dir = scene.dir(name)?;
    for (sub, mode) in [("others", 0o755), ("all", 0o1777), ("entered", 0o711)] {
        let sub = dir.join(sub);
        fs::create_dir(&sub)?;
        fs::write(sub.join("file"), "old\n")?;
        chmod(&sub, Bits::from_raw_mode(mode))?;
        chmod(sub.join("file"), Bits::from_raw_mode(0o644))?;
    }
    fs::write(dir.join("others/shared"), "old\n")?;
    chmod(dir.join("others/shared"), Bits::from_raw_mode(0o666))?;
    for (name, mode) in [("set-uid", 0o4755), ("set-gid", 0o2755)] {
        fs::copy("/usr/bin/id", dir.join(name))?;
        chmod(dir.join(name), Bits::from_raw_mode(mode))?;
    }
    fs::write(dir.join("mine"), "")?;
    fs::write(dir.join("own"), "old\n")?;
    let mut makefile = format!(
        "all: {}\n",
        (0..TRIES.len()).map(|at| format!("t{at} ")).collect::<String>()
    );
    for (at, tried) in TRIES.iter().enumerate() {
        makefile += &format!("t{at}: ; @{{ {tried} && echo {at}: done || echo {at}: failed; }} 2>&1\n");
    }
    fs::write(dir.join("Makefile"), makefile)?;
    own(&dir, scene.uid())?;
    own(&dir.join("mine"), scene.uid())?;
    own(&dir.join("own"), scene.uid())?;
    let make = match by_jobs {
        true => client.drive(Way::Env, &dir, "make"),
        false => client.bare(&dir, "/usr/bin/make"),
    };
    let out = make.run()?.success()?.out();
    Ok((out, dir))
}

fn own(path: &Path, uid: u32) -> Result<()> {
    Ok(chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?)
}

/// Starts its arguments with other groups than its caller has, or elsewhere.
const OTHERWISE: [&str; 3] = ["setpriv --groups 4711", "setarch --addr-no-randomize", "unshare --uts"];

#[test]
fn who_has_other_groups_than_the_daemon_has_no_jobs() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    if !scene.is_root() {
        eprintln!("only root can give other groups");
        return scene.finish();
    }
    let running = Mode::all(&scene, Topology::Embedded)?[0].start(&scene, 2)?;
    let client = &running.client;
    let dir = scene.dir("p/rights")?;
    fs::write(dir.join("shut"), "shut\n")?;
    chown(dir.join("shut"), Some(Uid::from_raw(1000)), None)?;
    chmod(dir.join("shut"), Bits::from_raw_mode(0o600))?;
    let recipe = "all: ; @cat shut; grep Cap /proc/self/status; id; cat /proc/self/personality\n";
    fs::write(dir.join("Makefile"), recipe)?;
    let make = |prefix: &str, by_jobs: bool| {
        let words = format!("{prefix} make -k 2>&1; true");
        let shell = match by_jobs {
            true => client.drive(Way::Env, &dir, "bash"),
            false => client.bare(&dir, "bash"),
        };
        shell.args(["-c", &words]).run()?.success().map(|outcome| outcome.out())
    };
    make("env", true)?;
    client.all_remote(&dir)?;
    for prefix in OTHERWISE {
        let (jobs, plain) = (make(prefix, true)?, make(prefix, false)?);
        ensure!(jobs == plain, "{prefix}: {jobs} and not {plain}");
        let last = client.last(&dir)?;
        ensure!((last.jobs.remote, last.jobs.local) == (0, 1), "{prefix}: {last:?}");
    }
    running.stop()?;
    scene.finish()
}
