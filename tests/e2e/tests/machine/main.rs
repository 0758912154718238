//! Random jobs of one build over one small tree: what they answer and leave together must
//! be what some order of their calls answers and leaves on one machine. The machine is a
//! model, which is compared with a tmpfs.
//!
//! `TERMITE_SEED=N TERMITE_CASES=1` replays the program that failed, `TERMITE_CASES` says
//! how many programs. `TERMITE_STRICT=1` also refuses what the rules of commits allow beyond
//! one machine (see `search`).

#![forbid(unsafe_code)]

mod faults;
mod fixture;
mod language;
mod model;
mod planted;
mod runs;
mod search;
mod step;

use anyhow::{Context, Result, bail, ensure};
use language::Program;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use runs::{Batch, Runner};
use search::{Observed, Verdict, run_alone, start, verdict_on};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Instant;
use termite_e2e::{Client, Mode, Program as Command, Scene, Topology, User, random};

/// Failing programs of a mode that are made smaller and shown; of the others, the seeds are.
const SHOWN: usize = 2;
/// Tries to make one smaller, each of so many copies at once, since failures depend on time.
const SHRINKS: usize = 25;
const COPIES: usize = 6;

/// The program of a seed, which can be made smaller.
fn generate(seed: u64, programs: &impl Strategy<Value = Program>) -> Result<impl ValueTree<Value = Program>> {
    let mut runner = TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    });
    programs
        .new_tree(&mut runner)
        .map_err(|why| anyhow::anyhow!("no program: {why}"))
}

/// How a wrong outcome came about, as far as that can be told.
fn describe(program: &Program, observed: &Observed) -> String {
    let mut text = format!(
        "{program:?}\nanswers {:#?}\ntree {:#?}\n",
        observed.answers, observed.tree
    );
    let (mut state, _) = start(program);
    for job in 0..program.jobs.len() {
        let (answers, after) = run_alone(state, program, job);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "one after the other, job {job} answers {answers:?}");
        state = after;
    }
    text + &format!("and the tree is {:#?}", state.tree())
}

/// Numbers of programs by how they went, and which went wrong.
#[derive(Default)]
struct Tally {
    programs: usize,
    allowed: usize,
    /// Seeds.
    wrong: Vec<u64>,
}

impl Tally {
    /// Whether it has gone well.
    fn add(&mut self, verdict: Verdict) -> bool {
        self.programs += 1;
        let is_strict = std::env::var_os("TERMITE_STRICT").is_some_and(|value| value == "1");
        self.allowed += usize::from(verdict == Verdict::Allowed);
        match verdict {
            Verdict::OneMachine => true,
            Verdict::Allowed => !is_strict,
            Verdict::Wrong => false,
        }
    }

    fn check(&self) -> Result<()> {
        let (count, all) = (self.wrong.len(), self.programs);
        ensure!(
            count == 0,
            "{count} of {all} programs are wrong, those of the seeds {:?}",
            self.wrong
        );
        Ok(())
    }
}

/// Runs the programs of these seeds in batches and judges them.
fn try_seeds(batch: &Batch<'_>, runner: &Runner<'_>, seeds: &[u64], tally: &mut Tally) -> Result<()> {
    let strategy = language::parallel();
    for seeds in seeds.chunks(Batch::SIZE) {
        let mut trees = Vec::new();
        for seed in seeds {
            trees.push(generate(*seed, &strategy)?);
        }
        let programs: Vec<_> = trees.iter().map(ValueTree::current).collect();
        let observed = batch.run(runner, &programs)?;
        for (((seed, tree), program), observed) in seeds.iter().zip(trees).zip(&programs).zip(&observed) {
            if tally.add(verdict_on(program, observed)) {
                continue;
            }
            // Which jobs ran again or on the client, and why.
            batch.scene.show_logs();
            let mut text = format!("TERMITE_SEED={seed} TERMITE_CASES=1");
            if tally.wrong.len() < SHOWN {
                let smaller = shrink(batch, runner, tree)?;
                text += &smaller.unwrap_or_else(|| describe(program, observed));
            }
            // A long run says at once what it has found.
            println!("{text}");
            tally.wrong.push(*seed);
        }
    }
    Ok(())
}

/// Makes a program smaller that went wrong, as long as one of a few copies goes wrong.
fn shrink(batch: &Batch<'_>, runner: &Runner<'_>, mut tree: impl ValueTree<Value = Program>) -> Result<Option<String>> {
    let mut found = None;
    let mut is_wrong = true;
    for _ in 0..SHRINKS {
        if !(if is_wrong { tree.simplify() } else { tree.complicate() }) {
            break;
        }
        let program = tree.current();
        // All jobs of a smaller one may be for the client, which proves nothing.
        let Ok(observed) = batch.run(runner, &vec![program.clone(); COPIES]) else {
            is_wrong = false;
            continue;
        };
        let wrong = observed
            .iter()
            .find(|observed| verdict_on(&program, observed) == Verdict::Wrong);
        is_wrong = wrong.is_some();
        found = wrong.map(|observed| describe(&program, observed)).or(found);
    }
    Ok(found)
}

fn in_every_mode(user: User, short: u32, all: u32) -> Result<()> {
    let (first, count) = (random::seed(), u64::from(random::cases(short, all)));
    let scene = Scene::new(user)?;
    let batch = Batch::new(&scene)?;
    let mut modes = Mode::all(&scene, Topology::Embedded)?;
    modes.extend(Mode::all(&scene, Topology::TwoWorkers)?);
    let mut all = Tally::default();
    for (turn, mode) in modes.iter().enumerate() {
        let mine = |seed: &u64| *seed as usize % modes.len() == turn;
        let seeds: Vec<_> = (first..first + count).filter(mine).collect();
        let begun = Instant::now();
        let runner = Runner::Termite(mode.start(&scene, Batch::JOBS)?);
        let mut tally = Tally::default();
        try_seeds(&batch, &runner, &seeds, &mut tally).with_context(|| mode.to_string())?;
        runner.stop()?;
        println!(
            "{mode}: {} of {} programs wrong, {} allowed though no machine does so, {:.1?}",
            tally.wrong.len(),
            tally.programs,
            tally.allowed,
            begun.elapsed()
        );
        all.programs += tally.programs;
        all.wrong.extend(tally.wrong);
    }
    scene.finish()?;
    all.check()
}

#[test]
fn jobs_do_together_what_one_machine_can_do() -> Result<()> {
    in_every_mode(User::Me, 300, 20_000)
}

#[test]
fn jobs_of_an_ordinary_user_do_too() -> Result<()> {
    in_every_mode(User::Ordinary, 60, 2000)
}

/// The search finds every outcome of a real machine.
#[test]
fn parallel_processes_do_what_the_model_can_do() -> Result<()> {
    let (first, count) = (random::seed(), u64::from(random::cases(300, 20_000)));
    let scene = Scene::new(User::Me)?;
    let batch = Batch::new(&scene)?;
    let runner = Runner::Plain(Client::new(&scene, "plain", "")?);
    let mut tally = Tally::default();
    let seeds: Vec<_> = (first..first + count).collect();
    try_seeds(&batch, &runner, &seeds, &mut tally)?;
    ensure!(
        tally.allowed == 0,
        "{} programs have stale looks without termite",
        tally.allowed
    );
    scene.finish()?;
    tally.check()
}

/// The model answers and leaves what a tmpfs does, call by call.
#[test]
fn the_model_is_a_tmpfs() -> Result<()> {
    let (first, count) = (random::seed(), u64::from(random::cases(2000, 20_000)));
    let scene = Scene::new(User::Me)?;
    let calls = random::compile(&scene, "machine/calls.c")?;
    let strategy = language::programs(1..=1, 24);
    let work = tempfile::tempdir_in("/dev/shm")?;
    let mut went_well = BTreeMap::new();
    for seed in first..first + count {
        let mut tree = generate(seed, &strategy)?;
        let mut wrong = compare(&scene, &calls, work.path(), &tree.current());
        if wrong.is_ok() {
            count_calls(&tree.current(), &mut went_well);
            continue;
        }
        let mut is_wrong = true;
        while if is_wrong { tree.simplify() } else { tree.complicate() } {
            let again = compare(&scene, &calls, work.path(), &tree.current());
            is_wrong = again.is_err();
            wrong = if is_wrong { again } else { wrong };
        }
        wrong.with_context(|| format!("TERMITE_SEED={seed} TERMITE_CASES=1"))?;
    }
    println!("calls that went well, of all: {went_well:?}");
    let is_vacuous = |(well, all): &(u32, u32)| *well == 0 || well == all;
    let vacuous = went_well.values().filter(|counts| is_vacuous(counts)).count();
    // One program alone has not all calls.
    ensure!(vacuous == 0 || count < 1000, "some call never goes well, or always");
    scene.finish()
}

/// Adds the calls of the one job by their names: how many go well in the model, and all.
fn count_calls(program: &Program, went_well: &mut BTreeMap<String, (u32, u32)>) {
    let (answers, _) = run_alone(start(program).0, program, 0);
    for ((_, call), answer) in program.jobs[0].iter().zip(answers) {
        let name = call.to_string().split(' ').next().unwrap_or_default().to_owned();
        let counts = went_well.entry(name).or_default();
        counts.0 += u32::from(!answer.starts_with('E'));
        counts.1 += 1;
    }
}

/// Runs the one job of a program in a directory and in the model.
fn compare(scene: &Scene, calls: &Path, work: &Path, program: &Program) -> Result<()> {
    let (root, list) = (work.join("tree"), work.join("list"));
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir(&root)?;
    fixture::lay(program, &root)?;
    let text: String = program.jobs[0].iter().map(|(_, call)| format!("0 {call}\n")).collect();
    fs::write(&list, text)?;
    let outcome = Command::new(scene.command(calls))
        .arg(&root)
        .arg(&list)
        .run()?
        .success()?;
    let answers: Vec<_> = outcome.out().lines().map(str::to_owned).collect();
    let (expected, state) = run_alone(start(program).0, program, 0);
    if answers != expected {
        let calls = program.jobs[0].iter().map(|(_, call)| call.to_string());
        let first = calls
            .zip(answers.iter().zip(&expected))
            .find(|(_, (have, want))| have != want);
        bail!("{program:?}\nfirst difference (call, tmpfs, model): {first:?}");
    }
    let tree = fixture::read(&root)?;
    ensure!(
        tree == state.tree(),
        "{program:?}\ntmpfs {tree:#?}\nmodel {:#?}",
        state.tree()
    );
    Ok(())
}
