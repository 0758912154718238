//! Programs of parallel jobs whose acts commute: what they leave under termite, in every
//! mode, is what they leave under make alone, in whatever order they run.
//!
//! `TERMITE_SEED=N TERMITE_CASES=1` replays the round that said so, `TERMITE_CASES` says
//! how many rounds.

#![forbid(unsafe_code)]

mod program;

use anyhow::{Context, Result, bail, ensure};
use program::{LOGS, Program, programs};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use termite_e2e::mode::Running;
use termite_e2e::{Client, EndState, Mode, Outcome, Scene, Topology, User, random};

/// A round takes about a second; one that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// Jobs at once.
const SLOTS: usize = 4;
/// Tries to make a failing program smaller. Since failures depend on time, more find little.
const SHRINKS: u32 = 30;
/// Failing programs that are made smaller.
const SHRUNK: usize = 2;

/// What every round needs.
struct Bench<'a> {
    scene: &'a Scene,
    dir: PathBuf,
    count: PathBuf,
    plain: Client<'a>,
}

/// What a program has left and said.
#[derive(PartialEq, Eq)]
struct Ended {
    /// The last line on standard error, which tells where jobs ran.
    summary: String,
    status: i32,
    output: Vec<String>,
    tree: EndState,
}

impl<'a> Bench<'a> {
    fn new(scene: &'a Scene) -> Result<Self> {
        let dir = scene.dir("p")?.join("program");
        let count = random::compile(scene, "commuting/count.c")?;
        let plain = Client::new(scene, "plain", "")?;
        Ok(Self {
            scene,
            dir,
            count,
            plain,
        })
    }

    fn lay_out(&self, program: &Program) -> Result<()> {
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        fs::create_dir_all(&self.dir)?;
        program.lay_out(&self.dir, &self.count)?;
        self.scene.give(&self.dir)?;
        let database = self.plain.bare(&self.dir, "sqlite3");
        let made = database
            .args(["db", "create table t (n); insert into t values (0)"])
            .run();
        made?.success().context("making a database")?;
        Ok(())
    }

    fn run_plain(&self, program: &Program) -> Result<Ended> {
        self.lay_out(program)?;
        let outcome = self.plain.bare(&self.dir, "make").arg("-j4").limit(LIMIT).run()?;
        ensure!(
            outcome.code() == 0 && !outcome.out().contains(": 1"),
            "{}",
            outcome.describe()
        );
        Ended::read(&self.dir, &outcome)
    }

    fn run_termite(&self, program: &Program, running: &Running<'_>) -> Result<Ended> {
        self.lay_out(program)?;
        running.client.forget(&self.dir)?;
        let make = running.client.termite_env(&self.dir, ["--", "make", "-j4"]);
        let outcome = make.limit(LIMIT).run()?;
        running.check_ran_on_workers(self.scene, &outcome)?;
        Ended::read(&self.dir, &outcome)
    }
}

impl Ended {
    fn read(dir: &Path, outcome: &Outcome) -> Result<Self> {
        let mut output: Vec<_> = outcome.out().lines().map(str::to_owned).collect();
        output.sort();
        Ok(Self {
            status: outcome.code(),
            output,
            tree: EndState::read(dir, |path| LOGS.contains(&path))?,
            summary: outcome.err().lines().last().unwrap_or_default().to_owned(),
        })
    }

    fn check_same(&self, expected: &Self) -> Result<()> {
        let mut lines = self.tree.differences(&expected.tree);
        if self.status != expected.status {
            lines.push(format!("status {}, expected {}", self.status, expected.status));
        }
        let said = self.output.iter().filter(|line| !expected.output.contains(line));
        lines.extend(said.map(|line| format!("printed {line}")));
        let unsaid = expected.output.iter().filter(|line| !self.output.contains(line));
        lines.extend(unsaid.map(|line| format!("did not print {line}")));
        ensure!(lines.is_empty(), "{}\n{}", lines.join("\n"), self.summary);
        Ok(())
    }
}

/// Makes the program of one seed and tries it, and that many smaller ones if it fails.
fn try_seed(seed: u64, shrinks: u32, check: impl Fn(&Program) -> Result<()>) -> Result<()> {
    let mut runner = TestRunner::new(Config {
        cases: 1,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: shrinks,
        ..Config::default()
    });
    let found = runner.run(&programs(), |program| {
        check(&program).map_err(|why| TestCaseError::fail(format!("{why:#}")))
    });
    match found {
        Err(TestError::Fail(why, program)) => bail!("TERMITE_SEED={seed} TERMITE_CASES=1: {program:?}\n{why}"),
        found => Ok(found?),
    }
}

/// Tries as many programs as are wanted, each in the next mode, and tells of all that fail.
fn rounds(user: User, short: u32, all: u32) -> Result<()> {
    let (first, count) = (random::seed(), u64::from(random::cases(short, all)));
    let scene = Scene::new(user)?;
    let bench = Bench::new(&scene)?;
    let places = [Topology::Embedded, Topology::TwoWorkers];
    let modes: Vec<_> = places
        .iter()
        .map(|place| Mode::all(&scene, *place))
        .collect::<Result<_>>()?;
    let modes = modes.concat();
    let mut failures = Vec::new();
    let mut right = BTreeMap::<String, u32>::new();
    let begun = Instant::now();
    // Workers have fixed places on the stage, so that one fleet runs at a time.
    for (turn, mode) in modes.iter().enumerate() {
        let mine = |seed: &u64| *seed as usize % modes.len() == turn;
        let running = mode.start(&scene, SLOTS)?;
        for seed in (first..first + count).filter(mine) {
            let check = |program: &Program| {
                let expected = bench.run_plain(program)?;
                bench.run_termite(program, &running)?.check_same(&expected)
            };
            let shrinks = if failures.len() < SHRUNK { SHRINKS } else { 0 };
            match try_seed(seed, shrinks, check) {
                Ok(()) => *right.entry(mode.to_string()).or_default() += 1,
                Err(why) => failures.push(format!("{mode}: {why:#}")),
            }
        }
        running.stop()?;
    }
    println!(
        "{user:?}: {} of {count} programs right, {right:?}, {:.1?}",
        right.values().sum::<u32>(),
        begun.elapsed()
    );
    scene.finish()?;
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

#[test]
fn acts_that_commute_do_so_in_jobs() -> Result<()> {
    rounds(User::Me, 20, 500)
}

#[test]
fn acts_of_an_ordinary_user_commute_too() -> Result<()> {
    rounds(User::Ordinary, 8, 200)
}

/// Acts that depend on their order would prove nothing.
#[test]
fn acts_commute_without_termite() -> Result<()> {
    let (first, count) = (random::seed(), u64::from(random::cases(12, 500)));
    let scene = Scene::new(User::Me)?;
    let bench = Bench::new(&scene)?;
    for seed in first..first + count {
        try_seed(seed, SHRINKS, |program| {
            let expected = bench.run_plain(program)?;
            bench.run_plain(program)?.check_same(&expected)
        })?;
    }
    scene.finish()
}
