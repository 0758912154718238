//! No job sees what was before it was asked for: files change in every way that files
//! change, and what jobs on two workers see of them right after must be what is there.
//!
//! `TERMITE_SEED` replays a run, `TERMITE_CASES` says how many cases of about 25 rounds.

#![forbid(unsafe_code)]

mod checkout;
mod fixture;
mod mutations;
mod race;

use anyhow::{Context, Result, anyhow, bail, ensure};
use fixture::Fixture;
use mutations::{Mutation, Step, Tools, step};
use proptest::collection::vec;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use termite_e2e::fleet::has_fuse;
use termite_e2e::reference::long;
use termite_e2e::{Client, Fleet, Mode, Outcome, Program, Scene, Topology, User, Way, random};

/// A job takes a fraction of a second; what takes so long hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// Starts `$@` where the limit `$0` is `$1`, as the user `$2`.
const LIMITED: &str = "echo \"$1\" > \"/proc/sys/user/$0\" && id=$2 && shift 2 && \
                       exec unshare --user --map-user=\"$id\" --map-group=\"$id\" -- \"$@\"";

/// What every case needs.
struct Bench<'a> {
    scene: &'a Scene,
    client: Client<'a>,
    fixture: Fixture,
    look: PathBuf,
    /// Where the jobs are started: a worker keeps the jobs of a directory.
    desks: Vec<PathBuf>,
    /// No call is seen on one of the workers, which serves files by FUSE.
    is_unseen: bool,
    /// Events that the queue holds.
    queue: usize,
    /// Who had jobs.
    workers: Mutex<BTreeSet<String>>,
}

/// Rounds that went well, by their mutation.
type Count = RefCell<HashMap<Mutation, usize>>;

impl Bench<'_> {
    /// One change after the other, each with a look at what it has changed and at some more.
    fn check(&self, steps: &[Step], count: &Count) -> Result<()> {
        self.fixture.lay()?;
        let tools = Tools {
            fixture: &self.fixture,
            client: &self.client,
            desks: &self.desks,
            is_unseen: self.is_unseen,
        };
        let mut held = HashMap::new();
        self.compare_all().context("round 0: laid out anew")?;
        let mut known: BTreeSet<PathBuf> = self.fixture.names()?.all().cloned().collect();
        for (round, step) in steps.iter().enumerate() {
            let last = round + 1 == steps.len();
            let flood = step.flood.then(|| self.flood()).transpose();
            let done = flood.and_then(|_| step.carry_out(&tools, &mut held));
            let what = || {
                format!(
                    "round {}: {:?}{}",
                    round + 1,
                    step.mutation,
                    if step.flood { ", queue flooded" } else { "" }
                )
            };
            let touched = done.with_context(what)?;
            known.extend(self.fixture.names()?.all().cloned());
            let wanted = known.iter().filter(|path| {
                let is_touched = touched.iter().any(|touched| path.starts_with(touched));
                last || is_touched || bits(step.reads, path) & 1 == 0
            });
            let compared = self.compare(wanted, step.reads);
            compared.with_context(|| format!("{} of {}", what(), self.shown(&touched)))?;
            *count.borrow_mut().entry(step.mutation).or_default() += 1;
        }
        Ok(())
    }

    fn shown(&self, paths: &[PathBuf]) -> String {
        let below = |path: &PathBuf| {
            path.strip_prefix(&self.fixture.tree)
                .unwrap_or(path)
                .display()
                .to_string()
        };
        paths.iter().map(below).collect::<Vec<_>>().join(", ")
    }

    /// Looks at paths here and on both workers. An error if these see anything else.
    fn compare<'p>(&self, paths: impl Iterator<Item = &'p PathBuf>, spelling: u64) -> Result<()> {
        let args: Vec<_> = paths
            .map(|path| self.spelled(path, bits(spelling, path) >> 1))
            .collect();
        let look = |program: Program| program.arg("1").args(&args).limit(LIMIT).start();
        let jobs = self
            .desks
            .iter()
            .map(|desk| look(self.job(desk)))
            .collect::<Result<Vec<_>>>()?;
        let here = look(self.client.bare(&self.desks[0], &self.look))?.wait()?.success()?;
        for (number, job) in jobs.into_iter().enumerate() {
            same(&job.wait()?.success()?, &here).with_context(|| format!("worker {number} sees"))?;
        }
        Ok(())
    }

    /// The program that looks, as a job that is started at this desk.
    fn job(&self, desk: &Path) -> Program {
        self.client.termite(desk, ["run", "--"]).arg(&self.look)
    }

    /// A path in one of the ways in which programs spell it.
    fn spelled(&self, path: &Path, way: u8) -> PathBuf {
        let below = path.strip_prefix(&self.fixture.tree).unwrap_or(path);
        match way % 4 {
            0 => Path::new("../tree").join(below),
            1 => Path::new("../alias").join(below),
            2 => Path::new("../alias/../tree/.").join(below),
            _ => path.to_owned(),
        }
    }

    /// Makes the queue of the daemon overflow.
    fn flood(&self) -> Result<()> {
        // Two in turn, so that no event equals the one before it.
        for number in 0..=self.queue {
            let name = ["x", "y"][number % 2];
            mutations::set_time(&self.desks[0].join(name), 1_500_000_000 + number as i64, 0)?;
        }
        Ok(())
    }

    /// Looks at everything, and at which workers the jobs were that did so.
    fn compare_all(&self) -> Result<()> {
        self.compare(self.fixture.names()?.all(), 0)?;
        for desk in &self.desks {
            self.client.all_remote(desk)?;
            let outcome = self.client.termite(desk, ["explain", "--json"]).run()?.success()?;
            let jobs: serde_json::Value = serde_json::from_slice(&outcome.stdout)?;
            let worker = jobs["jobs"][0]["worker"].to_string();
            self.workers
                .lock()
                .map_err(|_| anyhow!("a thread has panicked"))?
                .insert(worker);
        }
        Ok(())
    }
}

/// Some that belong to this path and this number.
fn bits(number: u64, path: &Path) -> u8 {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(&number.to_le_bytes())
        .update(path.as_os_str().as_encoded_bytes());
    hasher.finalize().as_bytes()[0]
}

/// An error with the first lines that differ, unless a job says what is true here.
fn same(job: &Outcome, here: &Outcome) -> Result<()> {
    ensure!(job.err().is_empty(), "{}", job.describe());
    let (have, want) = (job.out(), here.out());
    if have == want {
        return Ok(());
    }
    let mut pairs: Vec<_> = want
        .lines()
        .zip(have.lines())
        .filter(|(want, have)| want != have)
        .collect();
    pairs.truncate(6);
    let lines = pairs
        .iter()
        .map(|(want, have)| format!("\nexpected {want}\n     got {have}"));
    bail!(
        "{} lines of {}{}",
        have.lines().count(),
        want.lines().count(),
        lines.collect::<String>()
    )
}

/// How the daemon and its workers are started.
#[derive(Clone, Copy)]
struct Manner {
    user: User,
    /// Of the one worker and of the other.
    faults: [&'static str; 2],
    /// What the daemon can have less of than it wants, and how many (namespaces(7)).
    limit: Option<(&'static str, u32)>,
    /// Workers that must have had jobs.
    fewest: usize,
}

/// Starts two workers, hands over the bench, and sees that everything ends well.
fn with_bench(manner: Manner, work: impl FnOnce(&Bench<'_>) -> Result<()>) -> Result<()> {
    let scene = Scene::new(manner.user)?;
    let mut fleets = Vec::new();
    for (place, fault) in manner.faults.into_iter().enumerate() {
        fleets.push(Fleet::start_at(&scene, place..place + 1, 2, &["--fault", fault])?);
    }
    let addresses: Vec<_> = fleets.iter().map(Fleet::addresses).collect();
    let desks: Vec<_> = ["p/0", "p/1"]
        .into_iter()
        .map(|desk| scene.dir(desk))
        .collect::<Result<_>>()?;
    for name in ["x", "y"] {
        fs::write(desks[0].join(name), "")?;
    }
    std::os::unix::fs::symlink("tree", scene.dir("p")?.join("alias"))?;
    let queue = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")?;
    let bench = Bench {
        scene: &scene,
        client: Client::new(&scene, "a", &addresses.join(","))?,
        fixture: Fixture::new(&scene)?,
        look: random::compile(&scene, "stale/look.c")?,
        desks,
        is_unseen: manner.faults.contains(&"fuse"),
        queue: queue.trim().parse()?,
        workers: Mutex::default(),
    };
    if let Some(limit) = manner.limit {
        start_daemon(&bench, limit)?;
    }
    let begun = Instant::now();
    work(&bench)?;
    println!("{:.1?}", begun.elapsed());
    let log = fs::read_to_string(bench.client.home().join("state/termite/daemon.log"))?;
    let said = log.lines().filter(|line| line.contains("cannot be watched")).count();
    ensure!(
        said == usize::from(manner.limit.is_some()),
        "said {said} times that it cannot watch\n{log}"
    );
    let workers = bench.workers.into_inner()?;
    ensure!(workers.len() >= manner.fewest, "only {workers:?} had jobs");
    bench.client.stop()?;
    fleets.into_iter().try_for_each(Fleet::stop)?;
    scene.finish()
}

/// Starts the daemon, by a job, in a user namespace of its own with a limit.
fn start_daemon(bench: &Bench<'_>, (limit, count): (&str, u32)) -> Result<()> {
    let program = bench.client.bare(&bench.desks[0], "unshare");
    let program = program.args(["--user", "--map-root-user", "sh", "-c", LIMITED]);
    let program = program
        .args([limit, &count.to_string()])
        .arg(bench.scene.uid().to_string());
    let program = program
        .arg(bench.scene.installed("bin/termite"))
        .args(["run", "--", "true"]);
    program.run()?.success()?;
    Ok(())
}

fn torture(manner: Manner, short: u32, all: u32) -> Result<()> {
    let (seed, cases) = (random::seed(), random::cases(short, all));
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 100,
        ..Config::default()
    });
    let count = Count::default();
    with_bench(manner, |bench| {
        let found = runner.run(&vec(step(), 1..50), |steps| {
            bench
                .check(&steps, &count)
                .map_err(|why| TestCaseError::fail(format!("{why:#}")))
        });
        match found {
            Err(TestError::Fail(why, steps)) => bail!("TERMITE_SEED={seed}: {steps:#?}\n{why}"),
            found => found?,
        }
        let count = count.borrow();
        print!("{} rounds, {count:?}, ", count.values().sum::<usize>());
        Ok(())
    })
}

const GUARDED: Manner = Manner {
    user: User::Me,
    faults: ["shim,guard", "guard"],
    limit: None,
    fewest: 2,
};

#[test]
fn every_change_before_a_job_is_seen_by_it() -> Result<()> {
    torture(GUARDED, 8, 420)
}

#[test]
fn fuse_shows_every_change_too() -> Result<()> {
    if !has_fuse()? {
        return Ok(());
    }
    let faults = ["fuse", "shim,guard"];
    torture(Manner { faults, ..GUARDED }, 4, 100)
}

#[test]
fn an_ordinary_user_sees_every_change() -> Result<()> {
    let user = User::Ordinary;
    torture(Manner { user, ..GUARDED }, 4, 100)
}

#[test]
fn what_cannot_be_watched_is_looked_at() -> Result<()> {
    for limit in [("max_inotify_watches", 10), ("max_inotify_instances", 0)] {
        let limit = Some(limit);
        torture(Manner { limit, ..GUARDED }, 3, 100)?;
    }
    Ok(())
}

#[test]
fn what_changes_under_a_job_is_one_whole_version() -> Result<()> {
    let count = random::cases(25, 1000) as usize;
    for faults in [["shim,guard", "guard"], ["fuse", "shim,guard"]] {
        if faults[0] == "fuse" && !has_fuse()? {
            continue;
        }
        // Where no call is seen, all jobs may end on the client that run while files change.
        let fewest = if faults[0] == "fuse" { 1 } else { GUARDED.fewest };
        let manner = Manner {
            faults,
            fewest,
            ..GUARDED
        };
        with_bench(manner, |bench| {
            let versions = race::run(bench, count)?;
            println!("{} jobs, {versions} versions", 4 * count);
            Ok(())
        })?;
    }
    Ok(())
}

/// Programs that ask for a file's length, and copy so much.
const COPYING: [&str; 3] = ["cat in > out", "cp in out", "install -m 644 in out"];

/// The client writes more into a file that a job has not opened yet, but whose directory it knows.
#[test]
fn a_file_that_grows_under_a_job_is_copied_whole() -> Result<()> {
    for user in [User::Me, User::Ordinary] {
        let scene = Scene::new(user)?;
        for mode in Mode::all(&scene, Topology::TwoWorkers)? {
            let running = mode.start(&scene, 4)?;
            for (at, copies) in COPYING.iter().enumerate() {
                let dir = scene.dir(&format!("p/{mode}/{at}"))?;
                let script = "echo old > in; (sleep 0.3; echo longer > in) & make; wait";
                let rule = format!("all: ; @test -s in; sleep 0.6; {copies}\n");
                fs::write(dir.join("Makefile"), rule)?;
                scene.give(&dir)?;
                let outcome = running
                    .client
                    .drive(Way::Env, &dir, "bash")
                    .args(["-c", script])
                    .run()?
                    .success()?;
                let out = fs::read_to_string(dir.join("out"))?;
                running.client.all_remote(&dir)?;
                ensure!(
                    out == "longer\n" || out == "old\n",
                    "{mode}: {copies}: {out:?}, {}",
                    outcome.describe()
                );
            }
            running.stop()?;
        }
        scene.finish()?;
    }
    Ok(())
}

#[test]
fn a_checkout_of_another_branch_is_seen_whole() -> Result<()> {
    with_bench(GUARDED, |bench| {
        checkout::run(bench, if long() { 10_000 } else { 200 }, if long() { 10 } else { 4 })
    })
}
