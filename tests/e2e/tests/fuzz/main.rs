//! Random operations of several processes in one job, over a client's tree that no
//! worker has seen: each answer, and the tree after the commit, must be those of the
//! same operations on a tmpfs.
//!
//! `TERMITE_SEED` replays a run, `TERMITE_CASES` says how many cases.

#![forbid(unsafe_code)]

mod fixture;
mod sequence;

use anyhow::{Context, Result, bail, ensure};
use fixture::Left;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use sequence::{Case, Kind, Seed};
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use termite_e2e::{Client, Fleet, Outcome, Program, Scene, User, random};

/// A case takes a fraction of a second; what takes so long hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// Where the tree lies below the directory of a case: a job may leave it upwards, and
/// must not meet other cases there.
const DEPTH: &str = "1/2/3/tree";
/// Covers the directory `$1` with `$0` for a command.
const BIND: &str = "mount --bind \"$0\" \"$1\" && cd \"$2\" && shift 2 && exec \"$@\"";

/// What every case needs.
struct Bench<'a> {
    scene: &'a Scene,
    operations: PathBuf,
    slots: Vec<(&'static str, Client<'a>)>,
    /// Cases and jobs so far.
    count: Cell<(usize, usize)>,
    /// Jobs that went home.
    home: Cell<usize>,
}

/// What one job answered and left.
struct Run {
    outcome: Outcome,
    left: Left,
}

impl Bench<'_> {
    fn check(&self, case: &Case) -> Result<()> {
        let (number, _) = self.count.get();
        self.count.set((number + 1, self.count.get().1));
        let place = self.scene.dir(&format!("p/{number:05}"))?;
        let result = self.check_at(case, &place);
        fs::remove_dir_all(&place)?;
        result
    }

    fn check_at(&self, case: &Case, place: &Path) -> Result<()> {
        let tmpfs = tempfile::tempdir_in("/dev/shm")?;
        let root = place.join(DEPTH);
        fs::create_dir_all(&root)?;
        self.lay(&case.seeds, tmpfs.path(), &root)?;
        let mut expected: Vec<Run> = Vec::new();
        for job in &case.jobs {
            if expected.last().is_some_and(|run| run.left.has_links()) || !may_enter(tmpfs.path()) {
                break;
            }
            let program = self.on_tmpfs(tmpfs.path(), place);
            expected.push(self.run(program, job, &root, &tmpfs.path().join("1"))?);
        }
        for (fault, client) in &self.slots {
            fs::remove_dir_all(place)?;
            self.lay(&case.seeds, place, &root)?;
            for (job, expected) in case.jobs.iter().zip(&expected) {
                let program = client
                    .termite(&root, ["run", "--"])
                    .arg(root.with_file_name("operations"));
                let run = self.run(program, job, &root, &place.join("1"))?;
                self.count_home(&run.outcome)?;
                if meets_limit(job, &run.outcome.out(), &expected.outcome.out(), self.scene.is_root()) {
                    break;
                }
                same(&run, expected, self.scene.is_root()).with_context(|| format!("{fault}, list\n{}", job))?;
                self.count.set((self.count.get().0, self.count.get().1 + 1));
            }
        }
        Ok(())
    }

    /// An ordinary user's overlay moves no directories, so that a job that exchanges some
    /// has to run on the client. It says so in one line; nothing else is said there.
    fn count_home(&self, outcome: &Outcome) -> Result<()> {
        let said = outcome.err();
        let is_home = !self.scene.is_root() && said.starts_with("termite: operations ran locally: ");
        ensure!(
            said.is_empty() || is_home && said.lines().count() == 1,
            "{}",
            outcome.describe()
        );
        self.home.set(self.home.get() + usize::from(is_home));
        Ok(())
    }

    fn lay(&self, seeds: &[Seed], place: &Path, seen: &Path) -> Result<()> {
        fixture::lay(seeds, &place.join(DEPTH), seen)?;
        fs::copy(&self.operations, place.join(DEPTH).with_file_name("operations"))?;
        self.scene.give(place)
    }

    /// The program of operations where `tmpfs` takes the place of the case.
    fn on_tmpfs(&self, tmpfs: &Path, place: &Path) -> Program {
        let root = place.join(DEPTH);
        let mut command = Command::new("unshare");
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", BIND])
            .args([tmpfs, place, &root]);
        let id = self.scene.uid();
        command
            .arg("setpriv")
            .args([format!("--reuid={id}"), format!("--regid={id}")])
            .args(["--clear-groups", "--"])
            .arg(root.with_file_name("operations"));
        Program::new(command)
    }

    fn run(&self, program: Program, list: &str, root: &Path, left: &Path) -> Result<Run> {
        let outcome = program.arg(root).arg(list).limit(LIMIT).run()?;
        let left = Left::read(left)?;
        Ok(Run { outcome, left })
    }
}

/// Whether the tree is still a directory that its owner can have as working directory.
fn may_enter(place: &Path) -> bool {
    let is_open = |dir: &Path| {
        let stat = dir.symlink_metadata();
        stat.is_ok_and(|stat| stat.is_dir() && stat.mode() & 0o500 == 0o500)
    };
    place
        .join(DEPTH)
        .ancestors()
        .take_while(|dir| *dir != place)
        .all(is_open)
}

/// Whether a job met what overlayfs itself (seen on Linux 6.18) does in another way. It does
/// not copy up a file that was opened for reading and then removed, and goes on telling that
/// it has a name. That of an ordinary user takes two names of a file that it copied up for
/// two files, and does not rename one over the other.
fn meets_limit(job: &str, have: &str, want: &str, is_root: bool) -> bool {
    let operation = |answer: &str| {
        job.lines()
            .nth(answer.split(' ').next()?.parse::<usize>().ok()?.checked_sub(1)?)
    };
    let calls = |answer: &str, name: &str| operation(answer).is_some_and(|line| line.contains(&format!(" {name} ")));
    let changes_open = |answer: &str| calls(answer, "futimens") || calls(answer, "fchmod");
    let is_uncopied = |answer: &str| answer.ends_with("= EEXIST") && changes_open(answer);
    let is_named =
        |(have, want): (&str, &str)| calls(have, "fstat") && have != want && have.replace(" 1l", " 0l") == want;
    have.lines().any(is_uncopied) || have.lines().zip(want.lines()).any(is_named) || !is_root && have.contains("ESTALE")
}

/// An error that shows the first difference of answers, or all of the trees.
fn same(run: &Run, expected: &Run, with_times: bool) -> Result<()> {
    let (have, want) = (run.outcome.out(), expected.outcome.out());
    if have != want {
        let mut pairs = have.lines().zip(want.lines());
        let first = pairs.find(|(have, want)| have != want);
        bail!("first difference {first:#?}\n{}", run.outcome.describe());
    }
    ensure!(
        run.outcome.status == expected.outcome.status,
        "{}",
        run.outcome.describe()
    );
    let differences = expected.left.differences(&run.left, with_times);
    ensure!(differences.is_empty(), "trees: {differences}");
    Ok(())
}

/// Starts a worker for each way of serving faults, hands over the bench, and sees that
/// everything ends well.
fn with_bench(user: User, work: impl FnOnce(&Bench<'_>) -> Result<()>) -> Result<()> {
    let scene = Scene::new(user)?;
    let (mut slots, mut fleets) = (Vec::new(), Vec::new());
    for (place, fault) in ["shim,guard", "guard"].into_iter().enumerate() {
        let fleet = Fleet::start_at(&scene, place..place + 1, 1, &["--fault", fault])?;
        let client = Client::new(&scene, &fault.replace(',', "-"), &fleet.addresses())?;
        slots.push((fault, client));
        fleets.push(fleet);
    }
    let bench = Bench {
        scene: &scene,
        operations: random::compile(&scene, "fuzz/operations.c")?,
        slots,
        count: Cell::default(),
        home: Cell::default(),
    };
    work(&bench)?;
    let (cases, jobs) = bench.count.get();
    let home = bench.home.get();
    println!("{user:?}: {cases} cases, {jobs} jobs, {home} of them on the client");
    ensure!(home <= jobs / 4, "hardly anything ran in a slot");
    bench.slots.iter().try_for_each(|(_, client)| client.stop())?;
    fleets.into_iter().try_for_each(Fleet::stop)?;
    scene.finish()
}

fn fuzz(user: User, short: u32, all: u32) -> Result<()> {
    let (seed, cases) = (random::seed(), random::cases(short, all));
    println!("TERMITE_CASES={cases}");
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 200,
        ..Config::default()
    });
    with_bench(user, |bench| {
        let found = runner.run(&sequence::cases(bench.scene.is_root()), |case| {
            bench
                .check(&case)
                .map_err(|why| TestCaseError::fail(format!("{why:#}")))
        });
        match found {
            Err(TestError::Fail(why, case)) => bail!("TERMITE_SEED={seed}: {case:?}\n{why}"),
            found => Ok(found?),
        }
    })
}

fn seed(path: &str, kind: Kind) -> Seed {
    Seed {
        path: path.to_owned(),
        kind,
        mode: 0o644,
    }
}

fn case(seeds: Vec<Seed>, jobs: &[&str]) -> Case {
    Case {
        seeds,
        jobs: jobs.iter().map(|&job| job.to_owned()).collect(),
    }
}

/// Cases that once went wrong, as the fuzz test found and shrank them.
fn found_before() -> Vec<Case> {
    vec![
        // Names that the mirror took out of a directory gave it a new time.
        case(
            vec![
                seed("c", Kind::Dir),
                seed("d/e/a", Kind::Dir),
                seed("b/b", Kind::File(0)),
            ],
            &["0 exchange d b\n", "0 stat d\n"],
        ),
        // A directory took the place of another one that looked the same.
        case(
            vec![seed("d/c", Kind::Dir), seed("b/a", Kind::File(0))],
            &["0 exchange d b\n", "0 exchange @/d @/b/a\n"],
        ),
        // A job gave a directory the time again that it had, after a name had come.
        case(
            vec![seed("e/a", Kind::Dir)],
            &["0 utimens e 10\n", "0 mkdir e/d 755\n0 utimens e 10\n"],
        ),
        // The worker was not told of the new time of a directory.
        case(
            vec![seed("c/c", Kind::Dir)],
            &[
                "0 utimens c 10\n0 mkdir c/a 755\n0 rmdir c/a\n0 utimens c 10\n",
                "0 lstat c\n",
            ],
        ),
        case(vec![seed("c/c", Kind::Dir)], &["0 utimens c 10\n", "0 lstat c\n"]),
        // A directory that was touched, or whose names are as before, kept its old time.
        case(vec![seed("d", Kind::Dir)], &["0 utimens d n\n"]),
        case(
            vec![seed("d", Kind::Dir)],
            &["0 mkdir d/x 755\n0 rmdir d/x\n", "0 stat d\n"],
        ),
        case(
            vec![seed("b/e", Kind::File(0))],
            &["0 truncate b/e 3\n0 utimens b n\n", "0 stat b\n"],
        ),
        // A directory that was committed with its names had a new time in the mirror.
        case(
            vec![seed("d/a", Kind::Dir), seed("a", Kind::Dir)],
            &["0 exchange a d\n", "0 chmod a/. 600\n"],
        ),
        // A file that was moved in the place of a directory was not committed once it was
        // looked at for writing, since that was taken for what the client had there.
        case(
            vec![seed("b/a", Kind::File(0)), seed("c", Kind::Dir)],
            &["0 exchange b/a c\n0 rename c d/\n"],
        ),
        case(
            vec![seed("a", Kind::File(300)), seed("c", Kind::File(5000))],
            &["0 rename a c\n0 utimens c o\n", "0 stat c\n"],
        ),
        // A directory that was moved with others had the time from before a name came.
        case(
            vec![seed("e/b/d", Kind::Dir), seed("d", Kind::Dir)],
            &["0 symlink x e/b/d/b\n", "0 exchange e d\n"],
        ),
        // Directories changed places that looked the same, so that no name did in the mirror.
        case(
            vec![seed("a/b", Kind::Dir), seed("c", Kind::Dir)],
            &["0 exchange c a/b\n", "0 lstat a\n0 lstat .\n"],
        ),
        // A file that was replaced gave its directory a new time in the mirror.
        case(vec![seed("d", Kind::File(1))], &["0 utimens d 10\n", "0 stat .\n"]),
    ]
}

fn found_before_as_an_ordinary_user() -> Vec<Case> {
    vec![
        // A file and a directory changed places.
        case(
            vec![seed("d", Kind::Dir), seed("e", Kind::File(0))],
            &["0 exchange e d\n", "0 stat e\n", "0 stat d\n", "0 list e/\n0 list .\n"],
        ),
        // A directory that may not be written to got another parent.
        case(
            vec![seed("b/d", Kind::Dir)],
            &["0 mkdir e 555\n", "0 rename e b/d/e\n0 exchange e b/d\n0 rename e c\n"],
        ),
        // A name went from a directory on the client, which gave that a time that the worker
        // was not told.
        case(
            vec![seed("a/a", Kind::Dir), seed("c", Kind::Dir)],
            &["0 fork 1\n1 chdir a/a\n0 rename a c/a\n", "0 lstat .\n0 lstat c\n"],
        ),
        // The same where the worker had not listed that directory.
        case(
            vec![seed("a/a", Kind::Dir), seed("b/c", Kind::Dir)],
            &[
                "0 lstat b/c\n",
                "0 fork 1\n1 chdir a/a\n0 rename a b/c/a\n",
                "0 lstat b/c\n",
            ],
        ),
    ]
}

fn replay(user: User, cases: &[Case]) -> Result<()> {
    with_bench(user, |bench| {
        cases
            .iter()
            .try_for_each(|case| bench.check(case).with_context(|| format!("{case:?}")))
    })
}

#[test]
fn what_was_found_before() -> Result<()> {
    replay(User::Me, &found_before())
}

#[test]
fn what_was_found_before_as_an_ordinary_user() -> Result<()> {
    replay(User::Ordinary, &found_before_as_an_ordinary_user())
}

#[test]
fn operations_answer_and_leave_what_they_do_on_a_tmpfs() -> Result<()> {
    fuzz(User::Me, 100, 3000)
}

#[test]
fn an_ordinary_users_operations_do_too() -> Result<()> {
    fuzz(User::Ordinary, 40, 1000)
}
