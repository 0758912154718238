//! Builds over slow links.

use super::Bench;
use super::builds::Builds;
use super::table::{Goal, Row};
use anyhow::Result;
use std::time::Duration;
use termite_e2e::project::Kind;
use termite_e2e::proxy::{Proxy, Shape};
use termite_e2e::reference::same;
use termite_e2e::{Client, Fleet, Project, Way};

/// 20 ms of round-trip time against none, both through the relay, with twice as many jobs
/// as slots. Warm: mirror and forecasts are filled.
pub(super) fn delay(bench: &Bench) -> Result<Vec<Row>> {
    const SLOTS: usize = 2;
    let mut fleet = Fleet::start(&bench.scene, 2, SLOTS)?;
    let project = Project::new(&bench.scene, "delay", Kind::Redis)?;
    let builds = Builds::new(&project, 2 * SLOTS)?;
    let local = Client::new(&bench.scene, "local", "")?;
    builds.build(&local, None, &[])?;
    let expected = builds.tree()?;
    let mut sides = Vec::new();
    for (at, delay) in [Duration::ZERO, Duration::from_millis(10)].into_iter().enumerate() {
        let near = bench.scene.base().join(format!("near{at}"));
        let shape = Shape { delay, bandwidth: None };
        let proxy = Proxy::start(&near, fleet.worker(at).socket()?, shape)?;
        let client = Client::new(&bench.scene, &format!("delay{at}"), &proxy.address())?;
        builds.build(&client, Some(Way::Env), &[])?;
        sides.push((proxy, client));
    }
    let mut ratios = Vec::new();
    for round in 0..bench.few_pairs() {
        let mut took = [0.0; 2];
        for at in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let (_, client) = &sides[at];
            took[at] = builds.build(client, Some(Way::Env), &[])?.took.as_secs_f64();
            client.all_remote(project.dir())?;
            same(&builds.tree()?, &expected)?;
        }
        eprintln!("{:.2} s / {:.2} s", took[1], took[0]);
        ratios.push(took[1] / took[0]);
    }
    for (_, client) in &sides {
        client.stop()?;
    }
    fleet.stop()?;
    let name = "20 ms round-trip delay, Redis, warm, `-j` at twice the slots: of no delay";
    Ok(vec![Row::new(name, "", ratios, Goal::AtMost(1.15))])
}
