//! The oracle in practice: a daemon that commits wrongly in one way is found out by random
//! programs, and the same daemon without a fault is not. Needs `cargo xtask build --planted`.

use crate::language::{Program, parallel};
use crate::runs::{Batch, Runner};
use crate::search::{Verdict, verdict_on};
use crate::{describe, generate};
use anyhow::{Context, Result, ensure};
use proptest::strategy::ValueTree;
use std::collections::BTreeSet;
use std::time::Instant;
use termite_e2e::reference::long;
use termite_e2e::{Mode, Scene, Topology, User, random};

/// As the daemon calls them (`client/src/commit/planted.rs`), with the seed of the first
/// program: where the first ones seldom find a fault, a later one, so that it takes seconds.
const FAULTS: [(&str, u64); 6] = [
    ("content-unchecked", 1),
    ("append-overwrites", 51),
    ("exclusive-unchecked", 1),
    ("removal-takes-all", 2351),
    ("inode-replaced", 26),
    ("content-reverted", 1),
];

/// Runs programs from a seed on until one goes wrong, `most` at most. Returns how many it took.
fn programs_until_wrong(batch: &Batch<'_>, runner: &Runner<'_>, first: u64, most: u64) -> Result<Option<usize>> {
    let strategy = parallel();
    let seeds: Vec<_> = (first..first + most).collect();
    let mut done = 0;
    for seeds in seeds.chunks(Batch::SIZE) {
        let programs = seeds.iter().map(|seed| Ok(generate(*seed, &strategy)?.current()));
        let programs = programs.collect::<Result<Vec<Program>>>()?;
        let observed = batch.run(runner, &programs)?;
        for (program, observed) in programs.iter().zip(&observed) {
            done += 1;
            if verdict_on(program, observed) == Verdict::Wrong {
                println!("{}", describe(program, observed));
                return Ok(Some(done));
            }
        }
    }
    Ok(None)
}

/// Looks for a wrong outcome with one fault or none, from this seed on.
fn search(scene: &Scene, mode: Mode, fault: Option<&'static str>, first: u64, most: u64) -> Result<Option<usize>> {
    let batch = Batch::new(scene)?;
    let mut running = mode.start(scene, Batch::JOBS)?;
    if let Some(fault) = fault {
        running.client = running.client.with_planted_fault(fault);
    }
    let runner = Runner::Termite(running);
    let begun = Instant::now();
    let found = programs_until_wrong(&batch, &runner, first, most)?;
    runner.stop()?;
    let (fault, took) = (fault.unwrap_or("no fault"), begun.elapsed());
    match found {
        Some(count) => println!("{mode}, {fault}: found by program {count} from {first} on, {took:.1?}"),
        None => println!("{mode}, {fault}: not found by {most} programs from {first} on, {took:.1?}"),
    }
    Ok(found)
}

#[test]
fn planted_faults_are_found() -> Result<()> {
    let scene = Scene::with_planted_faults(User::Me)?;
    let mut modes = Mode::all(&scene, Topology::Embedded)?;
    if !long() {
        modes.truncate(1);
    }
    // The long form does not begin where a fault is known to be found.
    let (seed, most) = (random::seed(), random::cases(1000, 5000).into());
    for mode in modes {
        // Where no call is seen, nothing is known to be appended.
        let is_possible = |fault: &&(&str, u64)| mode.fault != "fuse" || fault.0 != "append-overwrites";
        for (fault, first) in FAULTS.iter().filter(is_possible).copied() {
            let first = if long() { seed } else { first };
            let found = search(&scene, mode, Some(fault), first, most)?;
            found.with_context(|| format!("{mode}: {most} programs from {first} on went well in spite of {fault}"))?;
        }
        // It is the fault that makes these programs go wrong.
        let firsts = BTreeSet::from(FAULTS.map(|(_, first)| first));
        for first in firsts {
            let found = search(&scene, mode, None, first, Batch::SIZE as u64)?;
            ensure!(found.is_none(), "{mode}: a program went wrong without a fault");
        }
    }
    scene.finish()
}
