//! Jobs that need something of the client's own machine go home by themselves: what they
//! leave is as without termite, and `termite last` has the reason. A build has the workers
//! that it names, and no others.

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use termite_e2e::{Client, Mode, Place, Scene, User, Way};

/// Targets, their commands, and what a reason of the build must hold.
const NEEDING: [(&str, &str, &[&str]); 4] = [
    ("fifo", "mkfifo $@", &["a FIFO, socket or device at"]),
    (
        "socket",
        "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('$@')\"",
        &["a FIFO, socket or device at"],
    ),
    (
        "pid",
        "sleep 100 > /dev/null 2>&1 & echo $$! > $@",
        &["a process that goes on when it has ended"],
    ),
    (
        "listed",
        "touch $@; setfacl -m u:0:r $@",
        &["the extended attribute system.posix_acl_access", "an access list on"],
    ),
];

#[test]
fn what_needs_the_machine_goes_home() -> Result<()> {
    for user in [User::Me, User::Ordinary] {
        let scene = Scene::new(user)?;
        for mode in Mode::all(&scene, Place::Embedded)? {
            let dir = scene.dir(&format!("p/{mode}"))?;
            let running = mode.start(&scene, 4)?;
            check_needs(&running.client, &dir).with_context(|| format!("user {}, {mode}", scene.uid()))?;
            running.stop()?;
        }
        scene.finish()?;
    }
    Ok(())
}

fn check_needs(client: &Client, dir: &Path) -> Result<()> {
    let names: Vec<_> = NEEDING.iter().map(|(name, ..)| *name).collect();
    let mut makefile = format!(
        "all: {} plain\nplain: ; @mkfifo gone; rm gone; touch $@\n",
        names.join(" ")
    );
    for (name, command, _) in NEEDING {
        makefile += &format!("{name}: ; @{command}\n");
    }
    fs::write(dir.join("Makefile"), makefile)?;
    client.drive(Way::Env, dir, "make").arg("-j4").run()?.success()?;
    let pid: i32 = fs::read_to_string(dir.join("pid"))?.trim().parse()?;
    let pid = Pid::from_raw(pid).context("no pid")?;
    test_kill_process(pid).context("the process that was left is gone")?;
    kill_process(pid, Signal::KILL)?;
    let kind = |name: &str| fs::symlink_metadata(dir.join(name)).map(|file| file.file_type());
    ensure!(kind("fifo")?.is_fifo() && kind("socket")?.is_socket() && kind("plain")?.is_file());
    let listed = client.bare(dir, "/usr/bin/getfacl").arg("listed").run()?.success()?;
    ensure!(listed.out().contains("\nuser:root:r"), "{}", listed.describe());
    let last = client.last(dir)?;
    ensure!((last.jobs.local, last.jobs.remote) == (4, 1), "{last:?}");
    for (name, _, reasons) in NEEDING {
        let has = |reason: &&&str| last.local_reasons.keys().any(|known| known.contains(**reason));
        ensure!(reasons.iter().any(|reason| has(&reason)), "{name}: {last:?}");
    }
    Ok(())
}

#[test]
fn a_build_has_the_workers_that_it_names() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let client = Client::new(&scene, "c", "")?;
    let dir = scene.dir("p/named")?;
    let nowhere = format!("unix:{}", scene.base().join("nowhere.sock").display());
    let named = ["--workers", &nowhere, "make"];
    // The usual worker, which runs by then, takes none of its jobs, and those of the next build.
    for (args, expected) in [(&["make"][..], (0, 1)), (&named, (1, 0)), (&["make"], (0, 1))] {
        fs::write(dir.join("Makefile"), "all: ; @touch $@; rm -f all\n")?;
        client.termite_env(&dir, args).run()?.success()?;
        let jobs = client.last(&dir)?.jobs;
        ensure!((jobs.local, jobs.remote) == expected, "{args:?}: {jobs:?}");
    }
    client.stop()?;
    scene.finish()
}
