//! Workers alone in bare roots: they start, listen, end on SIGTERM and leave nothing,
//! also after `kill -9`.

use anyhow::{Result, ensure};
use std::fs;
use termite_e2e::{Fleet, Scene, User, bare};

#[test]
fn workers_come_and_go_in_bare_roots() -> Result<()> {
    for user in [User::Me, User::Ordinary] {
        let scene = Scene::new(user)?;
        let fleet = Fleet::start(&scene, 2, 2)?;
        ensure!(!scene.living().is_empty(), "workers run unseen");
        fleet.stop()?;
        scene.finish()?;
    }
    Ok(())
}

#[test]
fn a_killed_worker_leaves_nothing() -> Result<()> {
    for user in [User::Me, User::Ordinary] {
        let scene = Scene::new(user)?;
        let mut fleet = Fleet::start(&scene, 1, 2)?;
        fleet.worker(0).kill()?;
        scene.finish()?;
        let left: Vec<_> = fs::read_dir(scene.base().join("w/0"))?.collect::<Result<_, _>>()?;
        let names: Vec<_> = left.iter().map(|entry| entry.file_name()).collect();
        // The socket's name stays, as with every server that is killed.
        let known = [
            "bin",
            "lib",
            "lib64",
            "dev",
            "sock",
            "usr",
            "tmp",
            "proc",
            "termite-store",
            &bare::STORE[1..],
        ];
        ensure!(
            names.iter().all(|name| known.iter().any(|known| name == known)),
            "left behind: {names:?}"
        );
    }
    Ok(())
}
