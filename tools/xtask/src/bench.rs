//! `cargo xtask bench`: paired runs of Lua with termite and without, and the start cost
//! of the library. What counts is the median of the ratios of pairs, since times on a
//! shared machine do not compare.

use crate::prefix;
use crate::start_cost::{self, StartCost};
use crate::steps::{Steps, root};
use anyhow::{Result, ensure};
use serde::Serialize;
use std::fmt::Write;
use std::fs;
use termite_e2e::project::Kind;
use termite_e2e::reference::same;
use termite_e2e::{Client, Fleet, Project, Scene, Tree, User, Way};

/// What is written down.
#[derive(Serialize)]
struct Report {
    project: &'static str,
    set_up: &'static str,
    processors: usize,
    pairs: Vec<Pair>,
    median_ratio: f64,
    jobs: u64,
    client_cpu_s: f64,
    start_cost: StartCost,
}

/// One build of each kind, right after each other, seconds.
#[derive(Serialize)]
pub struct Pair {
    local_s: f64,
    termite_s: f64,
    /// Of `termite_s` to `local_s`.
    pub ratio: f64,
}

/// Measures, prints, and writes where asked.
pub fn run(pairs: usize, write: bool) -> Result<()> {
    ensure!(pairs > 0, "no pairs to measure");
    let mut steps = Steps::new(4);
    steps.step("building termite", prefix::build)?;
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 2)?;
    let client = Client::new(&scene, "bench", &fleet.addresses())?;
    let project = steps.step("fetching Lua 5.4.4", || Project::new(&scene, "lua", Kind::Lua))?;
    let measured = steps.step("Lua in pairs", || Lua::new(&client, &project)?.pairs(pairs))?;
    let last = client.all_remote(project.dir())?;
    let start_cost = steps.step("start cost", || start_cost::measure(&scene))?;
    client.stop()?;
    fleet.stop()?;
    scene.finish()?;
    let report = Report {
        project: "Lua 5.4.4, make -j2 linux",
        set_up: "one workerd with two slots in a bare root on this machine, warm, every command executed",
        processors: std::thread::available_parallelism()?.get(),
        median_ratio: median(measured.iter().map(|pair| pair.ratio)),
        pairs: measured,
        jobs: last.jobs.total,
        client_cpu_s: last.client_cpu_s,
        start_cost,
    };
    let text = markdown(&report);
    print!("{text}");
    if write {
        write_down("lua", &report, &text)
    } else {
        Ok(())
    }
}

/// Writes a result into `benches/results`, for programs and for readers.
pub fn write_down(name: &str, report: &impl Serialize, text: &str) -> Result<()> {
    let dir = root().join("benches/results");
    fs::create_dir_all(&dir)?;
    fs::write(
        dir.join(name).with_extension("json"),
        serde_json::to_string_pretty(report)? + "\n",
    )?;
    Ok(fs::write(dir.join(name).with_extension("md"), text)?)
}

/// Lua's sources, to be built with termite and without.
pub struct Lua<'a> {
    client: &'a Client<'a>,
    project: &'a Project<'a>,
    sources: Tree,
}

impl<'a> Lua<'a> {
    /// `project` has not been built yet, or by somebody who cleaned up.
    pub fn new(client: &'a Client<'a>, project: &'a Project<'a>) -> Result<Self> {
        let sources = project.tree()?;
        Ok(Self {
            client,
            project,
            sources,
        })
    }

    /// Builds in pairs, after a first one of each kind that does not count.
    pub fn pairs(&self, count: usize) -> Result<Vec<Pair>> {
        self.build(None)?;
        let expected = self.project.tree()?;
        // Fills the mirror.
        self.build(Some(Way::Env))?;
        let mut pairs = Vec::new();
        for number in 0..count {
            // Who comes first alternates: a load that changes slowly then cancels out.
            let first = self.build((number % 2 == 1).then_some(Way::Env))?;
            let second = self.build((number % 2 == 0).then_some(Way::Env))?;
            same(&self.project.tree()?, &expected)?;
            let (local_s, termite_s) = if number % 2 == 0 {
                (first, second)
            } else {
                (second, first)
            };
            let ratio = termite_s / local_s;
            eprintln!(
                "pair {} of {count}: {termite_s:.2} s / {local_s:.2} s = {ratio:.3}",
                number + 1
            );
            pairs.push(Pair {
                local_s,
                termite_s,
                ratio,
            });
        }
        // The last build must be one that `termite last` knows.
        self.build(Some(Way::Env))?;
        self.project.clean(&self.sources)?;
        Ok(pairs)
    }

    /// Seconds of a whole build from clean sources.
    fn build(&self, way: Option<Way>) -> Result<f64> {
        self.project.clean(&self.sources)?;
        let (driver, args) = self.project.command();
        let program = match way {
            Some(way) => self.client.drive(way, self.project.dir(), driver),
            None => self.client.bare(self.project.dir(), driver),
        };
        Ok(program.arg("-j2").args(args).run()?.success()?.took.as_secs_f64())
    }
}

/// The middle value; of an even number the mean of the two in the middle.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[half]
    } else {
        (sorted[half - 1] + sorted[half]) / 2.0
    }
}

fn markdown(report: &Report) -> String {
    let mut text = format!(
        "# {}\n\n{}; {} processors; {} jobs, all remote; client daemon {:.2} s of processor time a build.\n\n\
         | pair | local, s | termite, s | ratio |\n| --- | --- | --- | --- |\n",
        report.project, report.set_up, report.processors, report.jobs, report.client_cpu_s
    );
    for (number, pair) in report.pairs.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.2} | {:.3} |",
            number + 1,
            pair.local_s,
            pair.termite_s,
            pair.ratio
        );
    }
    let _ = writeln!(
        text,
        "\nMedian of the pairwise ratios: **{:.3}**\n",
        report.median_ratio
    );
    text + &report.start_cost.markdown()
}
