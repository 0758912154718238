//! Whole builds beside `make -j2` without termite.

use super::Bench;
use super::table::{Goal, Row};
use anyhow::{Context, Result};
use rustix::process::Pid;
use std::fs;
use std::time::Duration;
use termite_e2e::project::Kind;
use termite_e2e::reference::same;
use termite_e2e::{Client, Fleet, Outcome, Project, Tree, Way};

/// How long a build may take.
const LIMIT: Duration = Duration::from_secs(1800);

/// Pairs of warm builds with one worker.
pub(super) const PAIRS_OF_A_WORKER: usize = 3;

/// A project that is built again and again.
pub(super) struct Builds<'a> {
    project: &'a Project<'a>,
    sources: Tree,
    args: Vec<String>,
}

impl<'a> Builds<'a> {
    /// `project` has not been built yet, or by somebody who cleaned up.
    pub(super) fn new(project: &'a Project<'a>, jobs: usize) -> Result<Self> {
        let (_, args) = project.command();
        let mut all = vec![format!("-j{jobs}")];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        Ok(Self {
            project,
            sources: project.tree()?,
            args: all,
        })
    }

    /// From clean sources; with more arguments for make.
    pub(super) fn build(&self, client: &Client, way: Option<Way>, more: &[&str]) -> Result<Outcome> {
        self.clean()?;
        self.made(client, way, more)
    }

    /// Removes what a build has made.
    pub(super) fn clean(&self) -> Result<()> {
        self.project.clean(&self.sources)
    }

    /// From whatever is there.
    pub(super) fn made(&self, client: &Client, way: Option<Way>, more: &[&str]) -> Result<Outcome> {
        let (driver, _) = self.project.command();
        let program = match way {
            Some(way) => client.drive(way, self.project.dir(), driver),
            None => client.bare(self.project.dir(), driver),
        };
        program.args(&self.args).args(more).limit(LIMIT).run()?.success()
    }

    /// What the last build left, before the next one.
    pub(super) fn tree(&self) -> Result<Tree> {
        self.project.tree()
    }

    /// Ratios of the times of pairs, with termite to without. Who comes first alternates:
    /// a load that changes slowly then cancels out. `with` is called for the one, each time.
    pub(super) fn pairs(
        &self,
        count: usize,
        client: &Client,
        expected: &Tree,
        mut with: impl FnMut() -> Result<Outcome>,
    ) -> Result<Vec<f64>> {
        let mut ratios = Vec::new();
        for number in 0..count {
            let local = || self.build(client, None, &[]);
            let (local, termite) = if number % 2 == 0 {
                let local = local()?;
                (local, with()?)
            } else {
                let termite = with()?;
                same(&self.tree()?, expected)?;
                (local()?, termite)
            };
            same(&self.tree()?, expected)?;
            let [local, termite] = [local, termite].map(|outcome| outcome.took.as_secs_f64());
            let ratio = termite / local;
            eprintln!(
                "pair {} of {count}: {termite:.2} s / {local:.2} s = {ratio:.3}",
                number + 1
            );
            ratios.push(ratio);
        }
        Ok(ratios)
    }
}

pub(super) fn lua_warm(bench: &Bench) -> Result<Vec<Row>> {
    warm(bench, "Lua", Kind::Lua, bench.pairs, Goal::AtMost(1.05), &[])
}

/// The same by FUSE.
pub(super) fn lua_fuse(bench: &Bench) -> Result<Vec<Row>> {
    let name = "Lua, files by FUSE (`--fault fuse`)";
    let pairs = bench.few_pairs();
    warm(bench, name, Kind::Lua, pairs, Goal::Reported, &["--fault", "fuse"])
}

pub(super) fn redis_warm(bench: &Bench) -> Result<Vec<Row>> {
    warm(bench, "Redis", Kind::Redis, bench.pairs, Goal::AtMost(1.05), &[])
}

/// The same with Linux, and what the daemons hold in memory then.
pub(super) fn linux_warm(bench: &Bench) -> Result<Vec<Row>> {
    let fleet = Fleet::start(&bench.scene, 1, 2)?;
    let client = Client::new(&bench.scene, "linux", &fleet.addresses())?;
    let project = Project::new(&bench.scene, "linux", Kind::Linux)?;
    let builds = Builds::new(&project, 2)?;
    builds.build(&client, None, &[])?;
    let expected = builds.tree()?;
    let with = || builds.build(&client, Some(Way::Env), &[]);
    with()?;
    let ratios = builds.pairs(bench.fewest_pairs(), &client, &expected, with)?;
    let last = client.all_remote(project.dir())?;
    let resident = |part: &str| -> Result<Vec<f64>> {
        let sizes = bench.scene.find(part).into_iter().map(resident_mib);
        Ok(vec![sizes.sum::<Result<f64>>()?])
    };
    let (daemon, worker) = (resident("termite daemon")?, resident("workerd")?);
    client.stop()?;
    fleet.stop()?;
    let name = "Linux 6.1 tinyconfig whole, two slots, warm, against `make -j2`";
    let note = format!("{} jobs, all on the worker; {}", last.jobs.total, phases(&last));
    let memory = |daemon: &str, mib| {
        let name = format!("resident memory of {daemon} (store apart), after that");
        Row::new(name, "MiB", mib, Goal::AtMost(100.0))
    };
    Ok(vec![
        Row::new(name, "", ratios, Goal::AtMost(1.08)).note(note),
        memory("the client daemon", daemon),
        memory("workerd", worker).note("its processes together"),
    ])
}

fn resident_mib(process: Pid) -> Result<f64> {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context(path)?;
    Ok(kib.parse::<f64>()? / 1024.0)
}

/// One worker of two slots on this machine whose mirror is filled; every command is executed.
/// Each worker is good for some of the pairs: how fast its compilers are depends on which
/// memory the kernel gave to its store, for as long as it lives.
fn warm(bench: &Bench, name: &str, kind: Kind, pairs: usize, goal: Goal, options: &[&str]) -> Result<Vec<Row>> {
    let project = Project::new(&bench.scene, "warm", kind)?;
    let builds = Builds::new(&project, 2)?;
    let local = Client::new(&bench.scene, "warm", "")?;
    builds.build(&local, None, &[])?;
    let expected = builds.tree()?;
    let (mut ratios, mut note) = (Vec::new(), String::new());
    while ratios.len() < pairs {
        let fleet = Fleet::start_with(&bench.scene, 1, 2, options)?;
        let client = Client::new(&bench.scene, &format!("warm{}", ratios.len()), &fleet.addresses())?;
        let with = || builds.build(&client, Some(Way::Env), &[]);
        with()?;
        let count = PAIRS_OF_A_WORKER.min(pairs - ratios.len());
        ratios.extend(builds.pairs(count, &client, &expected, with)?);
        let last = client.all_remote(project.dir())?;
        note = format!("{} jobs, all on the worker; {}", last.jobs.total, phases(&last));
        client.stop()?;
        fleet.stop()?;
    }
    let name = format!("{name}, one worker, two slots, same machine, against `make -j2`: warm");
    Ok(vec![Row::new(name, "", ratios, goal).note(note)])
}

/// Where the time of a build's jobs went, for a note.
fn phases(last: &termite_e2e::Last) -> String {
    let each = last.phases.iter().map(|(name, seconds)| {
        let per_job = seconds * 1e3 / last.jobs.remote.max(1) as f64;
        format!("{} {per_job:.1}", name.trim_end_matches("_s"))
    });
    format!("ms a job: {}", each.collect::<Vec<_>>().join(", "))
}

/// A worker that has never seen the client, and a client that has never built: neither
/// mirror nor forecast nor hash is there.
pub(super) fn redis_cold(bench: &Bench) -> Result<Vec<Row>> {
    let project = Project::new(&bench.scene, "cold", Kind::Redis)?;
    let builds = Builds::new(&project, 2)?;
    let local = Client::new(&bench.scene, "cold", "")?;
    builds.build(&local, None, &[])?;
    let expected = builds.tree()?;
    let mut number = 0;
    let mut notes = String::new();
    let ratios = builds.pairs(bench.few_pairs(), &local, &expected, || {
        number += 1;
        let fleet = Fleet::start(&bench.scene, 1, 2)?;
        let client = Client::new(&bench.scene, &format!("cold{number}"), &fleet.addresses())?;
        let built = builds.build(&client, Some(Way::Env), &[])?;
        let last = client.all_remote(project.dir())?;
        notes = format!(
            "{} fetched, {} prefetched; {}",
            last.fetches,
            last.prefetched,
            phases(&last)
        );
        client.stop()?;
        fleet.stop()?;
        Ok(built)
    })?;
    let name = "Redis, the same, first build ever on an empty worker";
    Ok(vec![Row::new(name, "", ratios, Goal::AtMost(1.20)).note(notes)])
}
