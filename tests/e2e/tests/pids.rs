//! Process numbers of jobs: no two jobs that overlap have the same, and none has the number of a
//! living process of the client.

use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use termite_e2e::fleet::has_fuse;
use termite_e2e::project::write_all;
use termite_e2e::{Client, Fleet, Scene, User, Way};

const JOBS: usize = 12;

/// Each recipe leaves its number and that of its first child.
const MAKEFILE: &str = "out%: ; @sh -c 'echo $$$$; :' > out.$$$$; sleep .2\n";

#[test]
fn parallel_jobs_have_numbers_of_their_own() -> Result<()> {
    for user in [User::Me, User::Ordinary] {
        let scene = Scene::new(user)?;
        // FUSE is root's alone on most hosts.
        let fuse = scene.is_root() && has_fuse()?;
        for (number, fault) in ["shim,guard", "guard"]
            .into_iter()
            .chain(fuse.then_some("fuse"))
            .enumerate()
        {
            let embedded = Client::new(&scene, &format!("embedded{number}"), "")?;
            on(&scene, &embedded, &format!("p/embedded{number}"), fault)?;
            let fleet = Fleet::start_at(&scene, 2 * number..2 * number + 2, 2, &["--fault", fault])?;
            let client = Client::new(&scene, &format!("fleet{number}"), &fleet.addresses())?;
            on(&scene, &client, &format!("p/fleet{number}"), fault)?;
            fleet.stop()?;
        }
        scene.finish()?;
    }
    Ok(())
}

/// Builds with four jobs at a time, and looks at their numbers.
fn on(scene: &Scene, client: &Client, dir: &str, fault: &str) -> Result<()> {
    let dir = scene.dir(dir)?;
    let goals: Vec<_> = (0..JOBS).map(|n| format!("out{n}")).collect();
    let makefile = format!("all: {}\n{MAKEFILE}", goals.join(" "));
    write_all(&dir, &[("Makefile".into(), makefile)])?;
    scene.give(&dir)?;
    let before = living()?;
    let build = client.drive(Way::Env, &dir, "make").arg("-j4");
    build
        .env("TERMITE_FAULT", fault)
        .env("TERMITE_SLOTS", "4")
        .run()?
        .success()?;
    let living: BTreeSet<_> = living()?.intersection(&before).copied().collect();
    client.all_remote(&dir)?;
    client.stop()?;

    let numbers = numbers(&dir)?;
    let different: BTreeSet<_> = numbers.iter().flatten().copied().collect();
    ensure!(
        numbers.len() == JOBS && different.len() == 2 * JOBS,
        "{fault}: {numbers:?}"
    );
    for [first, next] in &numbers {
        ensure!(*first >= 300 && *next == first + 1, "{fault}: {numbers:?}");
    }
    ensure!(different.is_disjoint(&living), "{fault}: {numbers:?} and {living:?}");
    Ok(())
}

/// What recipes left in files that are named by their numbers.
fn numbers(dir: &Path) -> Result<Vec<[u32; 2]>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if let Some(first) = path.file_name().and_then(|name| name.to_str()?.strip_prefix("out.")) {
            numbers.push([first.parse()?, fs::read_to_string(&path)?.trim().parse()?]);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn living() -> Result<BTreeSet<u32>> {
    let mut living = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        living.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(living)
}
