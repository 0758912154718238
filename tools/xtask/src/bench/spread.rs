//! Redis on workers that know nothing, where bytes are dear: how many leave the client.

use super::builds::Builds;
use super::table::{Goal, Row};
use super::{Bench, MIB};
use anyhow::{Context, Result};
use std::fs;
use std::time::{Duration, Instant};
use termite_e2e::project::Kind;
use termite_e2e::proxy::{Proxy, Shape};
use termite_e2e::reference::same;
use termite_e2e::{Client, Fleet, Last, Project, Way};

/// 100 Mbit/s.
const BANDWIDTH: u64 = 100_000_000 / 8;

/// Four empty workers of one slot against one.
pub(super) fn four_workers(bench: &Bench) -> Result<Vec<Row>> {
    let token = bench.scene.base().join("token");
    fs::write(&token, "a secret for the length of a bench\n")?;
    bench.scene.give(&token)?;
    let project = Project::new(&bench.scene, "spread", Kind::Redis)?;
    let mut sent = Vec::new();
    for workers in [1, 4] {
        let fleet = Fleet::start_on_loopback(&bench.scene, workers, 1, &token)?;
        let client = Client::new(&bench.scene, &format!("spread{workers}"), &fleet.addresses())?.with_token(&token);
        let builds = Builds::new(&project, workers)?;
        builds.build(&client, Some(Way::Env), &[])?;
        let last = client.all_remote(project.dir())?;
        sent.push((bytes(&last, "sent")?, bytes(&last, "between")?));
        client.stop()?;
        fleet.stop()?;
        project.renew()?;
    }
    let [(copy, _), (all, between)] = sent[..] else {
        unreachable!("two fleets")
    };
    let name = "four empty workers, one client, Redis: bytes leaving the client, of those for one worker";
    Ok(vec![Row::new(name, "", vec![all / copy], Goal::AtMost(1.3)).note(
        format!(
            "{:.1} MiB against {:.1}; {:.1} went between workers",
            all / MIB,
            copy / MIB,
            between / MIB
        ),
    )])
}

/// An empty worker behind a link of 100 Mbit/s.
pub(super) fn slow_link(bench: &Bench) -> Result<Vec<Row>> {
    let project = Project::new(&bench.scene, "slow", Kind::Redis)?;
    let builds = Builds::new(&project, 2)?;
    let mut fleet = Fleet::start(&bench.scene, 1, 2)?;
    let shape = Shape {
        delay: Duration::from_micros(250),
        bandwidth: Some(BANDWIDTH),
    };
    let proxy = Proxy::start(&bench.scene.base().join("slow"), fleet.worker(0).socket()?, shape)?;
    let client = Client::new(&bench.scene, "slow", &proxy.address())?;
    builds.build(&client, None, &[])?;
    let expected = builds.tree()?;
    let begun = Instant::now();
    builds.build(&client, Some(Way::Env), &[])?;
    let took = begun.elapsed();
    same(&builds.tree()?, &expected)?;
    let last = client.all_remote(project.dir())?;
    let content = bytes(&last, "sent")? + bytes(&last, "received")?;
    let (there, back) = proxy.bytes();
    let wire = (there + back) as f64;
    client.stop()?;
    fleet.stop()?;
    let name = "100 Mbit/s link, cold, Redis: bytes on the wire, of the content's";
    Ok(vec![Row::new(name, "", vec![wire / content], Goal::AtMost(0.5)).note(
        format!(
            "{:.1} MiB for {:.1}, listings and messages among them; the build took {:.1} s",
            wire / MIB,
            content / MIB,
            took.as_secs_f64()
        ),
    )])
}

fn bytes(last: &Last, which: &str) -> Result<f64> {
    Ok(last.bytes.get(which).copied().context("bytes")? as f64)
}
