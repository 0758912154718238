//! `cargo xtask bench`: what termite costs and gains beside what it replaces. Each row of
//! the table is measured by itself; what counts in a comparison is the median of the
//! ratios of pairs in one session, since times on a shared machine do not compare.

pub(crate) mod against;
mod builds;
mod clients;
mod links;
mod many;
pub(crate) mod modes;
mod spread;
mod start_cost;
mod store;
mod table;

use crate::prefix;
use crate::steps::{Steps, root};
use anyhow::{Result, ensure};
use serde::Serialize;
use std::fs;
use std::path::PathBuf;
use table::{Row, Table};
use termite_e2e::{Scene, User};

const MIB: f64 = (1 << 20) as f64;
/// Ticks a second in files of `/proc`, which are 100 on every Linux that there is.
const TICKS: f64 = 100.0;

/// What is asked for.
pub(crate) struct Options {
    /// Pairs of whole builds of Lua; of Redis a third as many, of Linux a ninth, but five at
    /// least.
    pub pairs: usize,
    /// Only measurements with this in their name.
    pub only: Option<String>,
    /// Write the table into benches/results: a new one, or with [`Self::only`] into what was
    /// written on this machine.
    pub write: bool,
}

/// What measurements share.
struct Bench {
    scene: Scene,
    pairs: usize,
}

type Measure = fn(&Bench) -> Result<Vec<Row>>;

/// The measurements, in the order of the table.
const MEASUREMENTS: [(&str, Measure); 13] = [
    ("lua-warm", builds::lua_warm),
    ("redis-warm", builds::redis_warm),
    ("redis-cold", builds::redis_cold),
    ("client-cpu", clients::processor_time),
    ("empty-jobs", many::empty_jobs),
    ("replay", many::replayed),
    ("delay", links::delay),
    ("four-workers", spread::four_workers),
    ("slow-link", spread::slow_link),
    ("store", store::by_slots),
    ("lua-fuse", builds::lua_fuse),
    ("start-cost", start_cost::measure),
    ("linux", builds::linux_warm),
];

impl Bench {
    /// Pairs of builds that take minutes.
    fn few_pairs(&self) -> usize {
        (self.pairs / 3).max(5)
    }

    /// Pairs of builds that take many minutes: fewer would tell nothing.
    fn fewest_pairs(&self) -> usize {
        (self.pairs / 9).max(5)
    }
}

/// Measures, prints, and writes where asked.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.pairs > 0, "no pairs to measure");
    let wanted: Vec<_> = MEASUREMENTS
        .iter()
        .filter(|(name, _)| options.only.as_ref().is_none_or(|only| name.contains(&**only)))
        .collect();
    let names = MEASUREMENTS.map(|(name, _)| name).join(", ");
    ensure!(!wanted.is_empty(), "no measurement of that name; there are {names}");
    let mut steps = Steps::new(1 + wanted.len());
    steps.step("building termite", prefix::build)?;
    let bench = Bench {
        scene: Scene::new(User::Me)?,
        pairs: options.pairs,
    };
    let written = match options.only {
        Some(_) if options.write => Table::written(&results("bench.json"))?,
        _ => None,
    };
    let mut table = written.map_or_else(Table::of_this_machine, Ok)?;
    for (name, measure) in wanted {
        let measured = steps.step(name, || measure(&bench))?;
        measured.iter().for_each(|row| eprintln!("{}", row.markdown()));
        table.add(measured);
        // What comes later may fail, after an hour.
        if options.write {
            write_down("bench", &table, &table.markdown())?;
        }
    }
    bench.scene.finish()?;
    print!("{}", table.markdown());
    Ok(())
}

/// Writes a result into `benches/results`, for programs and for readers.
fn write_down(name: &str, report: &impl Serialize, text: &str) -> Result<()> {
    fs::create_dir_all(results(""))?;
    let json = serde_json::to_string_pretty(report)? + "\n";
    fs::write(results(&format!("{name}.json")), json)?;
    Ok(fs::write(results(&format!("{name}.md")), text)?)
}

/// A file of results.
fn results(name: &str) -> PathBuf {
    root().join("benches/results").join(name)
}

/// The middle value; of an even number the mean of the two in the middle.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[half]
    } else {
        (sorted[half - 1] + sorted[half]) / 2.0
    }
}
