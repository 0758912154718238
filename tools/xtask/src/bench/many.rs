//! Very many jobs: empty ones, and ones that only stand for compiles.

use super::Bench;
use super::table::{Goal, Row};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use termite_e2e::{Client, Fleet, Scene, Way};

/// Reads its inputs, sleeps, writes its output: the processor is free for others, as if
/// there were one for each slot.
const REPLAY: &str = r#"#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int main(int argc, char **argv) {
    static char bytes[1 << 16];
    for (int at = 3; at < argc; at++) {
        FILE *in = fopen(argv[at], "r");
        if (!in) return perror(argv[at]), 1;
        while (fread(bytes, 1, sizeof bytes, in)) { }
        fclose(in);
    }
    double seconds = atof(argv[1]);
    struct timespec time = { (time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9) };
    nanosleep(&time, NULL);
    FILE *out = fopen(argv[2], "w");
    if (!out) return perror(argv[2]), 1;
    for (int at = 0; at < 64; at++) fwrite(bytes, 1, 1 << 10, out);
    return fclose(out) ? 1 : 0;
}
"#;

const ROUNDS: usize = 3;
const EMPTY_JOBS: usize = 2000;
const LIMIT: Duration = Duration::from_secs(900);

/// Jobs a second that do nothing, with eight slots.
pub(super) fn empty_jobs(bench: &Bench) -> Result<Vec<Row>> {
    let rates = empty_jobs_a_second(&bench.scene, ROUNDS)?;
    let name = "empty jobs a second, one client, eight slots";
    Ok(vec![
        Row::new(name, "", rates, Goal::AtLeast(300.0)).note(format!("{EMPTY_JOBS} jobs of `/bin/true`")),
    ])
}

/// The rate of each of some rounds.
pub(super) fn empty_jobs_a_second(scene: &Scene, count: usize) -> Result<Vec<f64>> {
    let dir = scene.dir("p/empty")?;
    makefile(&dir, EMPTY_JOBS, |_| "/bin/true".to_owned())?;
    let fleet = Fleet::start(scene, 1, 8)?;
    let client = Client::new(scene, "empty", &fleet.addresses())?;
    let rates = rounds(&client, &dir, 8, EMPTY_JOBS, count)?;
    client.stop()?;
    fleet.stop()?;
    Ok(rates)
}

/// 640 jobs of a second on 64 slots, of which ten rounds are the ideal.
pub(super) fn replayed(bench: &Bench) -> Result<Vec<Row>> {
    const JOBS: usize = 640;
    const SLOTS: usize = 64;
    let dir = bench.scene.dir("p/replay")?;
    fs::write(dir.join("replay.c"), REPLAY)?;
    let compiled = Command::new("gcc")
        .args(["-O2", "-o", "replay", "replay.c"])
        .current_dir(&dir)
        .status()
        .context("gcc")?;
    ensure!(compiled.success(), "gcc: {compiled}");
    for header in 0..50 {
        fs::write(dir.join(format!("h{header}.h")), vec![b'h'; 4 << 10])?;
    }
    let headers: String = (0..50).map(|header| format!(" h{header}.h")).collect();
    makefile(&dir, JOBS, |job| format!("./replay 1 o{job}.o Makefile{headers}"))?;
    let fleet = Fleet::start(&bench.scene, 4, SLOTS / 4)?;
    let client = Client::new(&bench.scene, "replay", &fleet.addresses())?;
    let ideal = JOBS as f64 / SLOTS as f64;
    let rates = rounds(&client, &dir, SLOTS, JOBS, ROUNDS)?;
    let shares: Vec<_> = rates.into_iter().map(|rate| ideal / (JOBS as f64 / rate)).collect();
    client.stop()?;
    fleet.stop()?;
    let name = "64 simulated slots, 640 compiles of 1 s: of the ideal";
    Ok(vec![Row::new(name, "", shares, Goal::AtLeast(0.90)).note(
        "each reads 51 files, sleeps 1 s and writes 64 KiB; four workers of 16 slots on this machine's processors",
    )])
}

/// Jobs a second of whole builds, after a first one that does not count.
fn rounds(client: &Client, dir: &Path, parallel: usize, jobs: usize, count: usize) -> Result<Vec<f64>> {
    let mut rates = Vec::new();
    for round in 0..=count {
        let build = client.drive(Way::Env, dir, "make").arg(format!("-j{parallel}"));
        let took = build.limit(LIMIT).run()?.success()?.took.as_secs_f64();
        let last = client.all_remote(dir)?;
        ensure!(last.jobs.remote == jobs as u64, "{:?}", last.jobs);
        if round > 0 {
            eprintln!("{jobs} jobs in {took:.2} s");
            rates.push(jobs as f64 / took);
        }
    }
    Ok(rates)
}

fn makefile(dir: &Path, jobs: usize, command: impl Fn(usize) -> String) -> Result<()> {
    let mut text = String::from("all:");
    (0..jobs).for_each(|job| text += &format!(" j{job}"));
    (0..jobs).for_each(|job| text += &format!("\nj{job}:\n\t@{}\n", command(job)));
    Ok(fs::write(dir.join("Makefile"), text)?)
}
