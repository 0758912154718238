//! `cargo xtask bench --against PREFIX`: this build beside another one of termite, in pairs.
//! A change that is to cost nothing is measured against the build before it.

use super::builds::{Builds, PAIRS_OF_A_WORKER};
use super::many;
use super::table::{Goal, Row, Table};
use super::write_down;
use crate::prefix;
use crate::steps::Steps;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use termite_e2e::project::Kind;
use termite_e2e::reference::same;
use termite_e2e::{Client, Fleet, Project, Scene, User, Way};

/// What a change may cost.
const PROCESSOR_TIME: Goal = Goal::AtMost(1.03);
const WALL_TIME: Goal = Goal::AtMost(1.02);
const EMPTY_JOBS: Goal = Goal::AtLeast(0.95);

/// Two builds of termite, each on a stage of its own.
struct Sides {
    ours: Scene,
    theirs: Scene,
}

/// Measures, prints, and writes where asked.
pub(crate) fn run(other: &Path, pairs: usize, write: bool) -> Result<()> {
    let mut steps = Steps::new(4);
    let ours = steps.step("building termite", prefix::build)?;
    let other = fs::canonicalize(other).with_context(|| format!("no prefix at {}", other.display()))?;
    let sides = Sides {
        ours: Scene::of_prefix(User::Me, &ours)?,
        theirs: Scene::of_prefix(User::Me, &other)?,
    };
    let mut table = Table::of_this_machine()?;
    for (name, kind) in [("Lua", Kind::Lua), ("Redis", Kind::Redis)] {
        table.add(steps.step(name, || sides.builds(name, kind, pairs))?);
    }
    table.add(steps.step("empty jobs", || sides.empty_jobs(pairs))?);
    sides.ours.finish()?;
    sides.theirs.finish()?;
    let text = table.markdown();
    print!("{text}");
    if write {
        write_down("against", &table, &text)
    } else {
        Ok(())
    }
}

impl Sides {
    /// Whole builds, one worker of two slots on this machine, warm.
    fn builds(&self, name: &str, kind: Kind, pairs: usize) -> Result<Vec<Row>> {
        let projects = [&self.ours, &self.theirs].map(|scene| Project::new(scene, "against", kind));
        let [ours, theirs] = projects;
        let projects = [ours?, theirs?];
        let (mut wall, mut processor) = (Vec::new(), Vec::new());
        while wall.len() < pairs {
            let sides = [
                Side::start(&self.ours, &projects[0], wall.len())?,
                Side::start(&self.theirs, &projects[1], wall.len())?,
            ];
            for _ in 0..PAIRS_OF_A_WORKER.min(pairs - wall.len()) {
                let [ours, theirs] = in_turn(wall.len(), &sides, Side::build)?;
                eprintln!(
                    "pair {} of {pairs}: {:.2} s / {:.2} s, processors {:.2} s / {:.2} s",
                    wall.len() + 1,
                    ours.wall,
                    theirs.wall,
                    ours.processor,
                    theirs.processor
                );
                wall.push(ours.wall / theirs.wall);
                processor.push(ours.processor / theirs.processor);
            }
            sides.into_iter().try_for_each(Side::stop)?;
        }
        let row = |what: &str, ratios: Vec<f64>, goal| {
            let interval = interval_of_median(&ratios);
            Row::new(format!("{name}, {what}: of the other build's"), "", ratios, goal).note(interval)
        };
        Ok(vec![
            row("processor time of the whole machine", processor, PROCESSOR_TIME),
            row("wall time", wall, WALL_TIME),
        ])
    }

    /// Jobs that do nothing, with eight slots.
    fn empty_jobs(&self, pairs: usize) -> Result<Vec<Row>> {
        let scenes = [&self.ours, &self.theirs];
        let mut ratios = Vec::new();
        for number in 0..pairs {
            let [ours, theirs] = in_turn(number, &scenes, |scene| many::empty_jobs_a_second(scene, 1))?;
            let rate = |rates: Vec<f64>| rates.first().copied().context("no round");
            ratios.push(rate(ours)? / rate(theirs)?);
        }
        let interval = interval_of_median(&ratios);
        let name = "empty jobs a second, one client, eight slots: of the other build's";
        Ok(vec![Row::new(name, "", ratios, EMPTY_JOBS).note(interval)])
    }
}

/// Seconds of one build.
struct Took {
    wall: f64,
    processor: f64,
}

/// A client and its worker, who have built the project once.
struct Side<'a> {
    client: Client<'a>,
    fleet: Fleet,
    builds: Builds<'a>,
}

impl<'a> Side<'a> {
    fn start(scene: &'a Scene, project: &'a Project<'a>, number: usize) -> Result<Self> {
        project.renew()?;
        let fleet = Fleet::start(scene, 1, 2)?;
        let client = Client::new(scene, &format!("against{number}"), &fleet.addresses())?;
        let builds = Builds::new(project, 2)?;
        builds.build(&client, Some(Way::Env), &[])?;
        Ok(Self { client, fleet, builds })
    }

    fn build(&self) -> Result<Took> {
        let expected = self.builds.tree()?;
        self.builds.clean()?;
        let before = processor_seconds()?;
        let wall = self.builds.made(&self.client, Some(Way::Env), &[])?.took.as_secs_f64();
        let processor = processor_seconds()? - before;
        same(&self.builds.tree()?, &expected)?;
        Ok(Took { wall, processor })
    }

    fn stop(self) -> Result<()> {
        self.client.stop()?;
        self.fleet.stop()
    }
}

/// Ours and theirs, measured one after the other. Who comes first alternates.
fn in_turn<S, T>(number: usize, sides: &[S; 2], measure: impl Fn(&S) -> Result<T>) -> Result<[T; 2]> {
    let [ours, theirs] = sides;
    if number.is_multiple_of(2) {
        let ours = measure(ours)?;
        Ok([ours, measure(theirs)?])
    } else {
        let theirs = measure(theirs)?;
        Ok([measure(ours)?, theirs])
    }
}

/// What all processes of this machine have used so far: daemons and slots are nobody's
/// children here. Of the files that say so the most exact one that is there.
fn processor_seconds() -> Result<f64> {
    if let Ok(nanoseconds) = fs::read_to_string("/sys/fs/cgroup/cpuacct/cpuacct.usage") {
        return Ok(nanoseconds.trim().parse::<f64>()? / 1e9);
    }
    if let Ok(stat) = fs::read_to_string("/sys/fs/cgroup/cpu.stat") {
        let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
        return Ok(usage.context("/sys/fs/cgroup/cpu.stat")?.parse::<f64>()? / 1e6);
    }
    let stat = fs::read_to_string("/proc/stat")?;
    let fields = stat.lines().next().context("/proc/stat")?.split_whitespace().skip(1);
    // proc_stat(5): user, nice, system, idle, iowait, irq, softirq; guests are within user.
    let ticks = fields.take(7).map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    Ok((ticks.iter().sum::<f64>() - idle) / super::TICKS)
}

/// Where the true median lies with a probability of at least 95 %, whatever the
/// distribution: between two of the sorted samples, by the binomial distribution.
fn interval_of_median(samples: &[f64]) -> String {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let (mut below, mut chance) = (0.0, 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX)));
    let mut left_out = 0;
    // `below`: how likely at most `left_out` samples are below the median.
    while below + chance <= 0.025 {
        below += chance;
        chance *= (count - left_out) as f64 / (left_out + 1) as f64;
        left_out += 1;
    }
    match left_out.checked_sub(1) {
        Some(at) => format!("95 % interval {:.3} to {:.3}", sorted[at], sorted[count - 1 - at]),
        None => "too few samples for an interval".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::interval_of_median;

    #[test]
    fn the_interval_of_a_median_is_that_of_the_tables() {
        let samples = |count: u8| (1..=count).map(f64::from).collect::<Vec<_>>();
        assert_eq!(interval_of_median(&samples(5)), "too few samples for an interval");
        assert_eq!(interval_of_median(&samples(6)), "95 % interval 1.000 to 6.000");
        assert_eq!(interval_of_median(&samples(9)), "95 % interval 2.000 to 8.000");
        assert_eq!(interval_of_median(&samples(15)), "95 % interval 4.000 to 12.000");
    }
}
