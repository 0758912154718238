//! Each command takes effect once, at whatever moment of its commit the daemon dies: killed,
//! asked to end, or stopped and then killed. The witness is what the commands append to files
//! of their own: a second execution that counts is a second line.

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;
use termite_e2e::process::{Outcome, PATIENCE, Running};
use termite_e2e::{Client, Fleet, Scene, User};

/// Files that each job appends to, but the first kind.
const FILES: usize = 40;
/// Part of what a stub says whose files may be half there.
const HALF: &str = "may be half there; run make again";

/// What a job does, and at which moment its daemon dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// One line to a file that is there; dies when it is longer.
    Append,
    /// One line to each of many files that are there; dies when so many are longer.
    AppendMany(usize),
    /// One line to each of many new files; dies when so many are there.
    Create(usize),
    /// The same; dies when so many temporary files are there.
    Stage(usize),
    /// A long new file; dies when there is a temporary one.
    StageLong,
}

const KINDS: [Kind; 10] = [
    Kind::Append,
    Kind::AppendMany(1),
    Kind::Create(1),
    Kind::Stage(1),
    Kind::StageLong,
    Kind::AppendMany(FILES / 2),
    Kind::Create(FILES / 2),
    Kind::Stage(FILES / 2),
    Kind::AppendMany(FILES),
    Kind::Create(FILES),
];

/// How the daemon dies.
const DEATHS: [&[Signal]; 3] = [&[Signal::KILL], &[Signal::TERM], &[Signal::STOP, Signal::KILL]];

impl Kind {
    /// Makes the job's directory. Returns its script.
    fn prepare(self, dir: &Path) -> Result<String> {
        fs::create_dir_all(dir)?;
        let many = format!("for n in $(seq {FILES}); do echo x >> $n; done; echo said");
        Ok(match self {
            Self::Append => {
                fs::write(dir.join("1"), "")?;
                "echo x >> 1; echo said".into()
            }
            Self::AppendMany(_) => {
                for number in 1..=FILES {
                    fs::write(dir.join(number.to_string()), "")?;
                }
                many
            }
            Self::Create(_) | Self::Stage(_) => many,
            Self::StageLong => format!("head -c 32M /dev/zero | tr '\\0' y > long; {many}"),
        })
    }

    fn has_come(self, dir: &Path) -> bool {
        let grown = || {
            let is_grown = |number: &usize| fs::metadata(dir.join(number.to_string())).is_ok_and(|meta| meta.len() > 0);
            (1..=FILES).filter(is_grown).count()
        };
        match self {
            Self::Append => grown() > 0,
            Self::AppendMany(count) | Self::Create(count) => grown() >= count,
            // They may have been there and gone between two looks.
            Self::Stage(count) => temporaries(dir).len() >= count || grown() > 0,
            Self::StageLong => !temporaries(dir).is_empty(),
        }
    }

    /// Sees that the job counted once if it ended well, and never twice.
    fn check(self, dir: &Path, outcome: &Outcome) -> Result<()> {
        let count = if self == Self::Append { 1 } else { FILES };
        let mut least = usize::MAX;
        for number in 1..=count {
            let text = fs::read_to_string(dir.join(number.to_string())).unwrap_or_default();
            let lines = text.lines().count();
            ensure!(lines <= 1, "{self:?} counted {lines} times: {}", outcome.describe());
            least = least.min(lines);
        }
        if outcome.status.success() {
            ensure!(least == 1, "{self:?} is not whole: {}", outcome.describe());
            ensure!(outcome.out() == "said\n", "{}", outcome.describe());
        } else {
            ensure!(outcome.err().contains(HALF), "{self:?}: {}", outcome.describe());
        }
        Ok(())
    }
}

/// Temporary files of commits in a directory.
fn temporaries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let is_temporary = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(".termite-commit-")
    };
    entries.map(|entry| entry.path()).filter(is_temporary).collect()
}

fn daemon(scene: &Scene) -> Result<Pid> {
    scene.find("termite daemon").first().copied().context("no daemon")
}

fn start(client: &Client, dir: &Path, script: &str) -> Result<Running> {
    client.termite(dir, ["run", "--", "sh", "-c", script]).start()
}

/// Waits for the moment without giving up the processor.
fn watch(kind: Kind, dir: &Path) -> Result<()> {
    let began = Instant::now();
    while !kind.has_come(dir) {
        ensure!(began.elapsed() < PATIENCE / 5, "{kind:?} does not come");
    }
    Ok(())
}

#[test]
fn a_command_counts_once_whenever_the_daemon_dies() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let top = scene.dir("p/once")?;
    let mut whole = 0;
    let deaths = DEATHS.iter().flat_map(|death| KINDS.map(|kind| (death, kind)));
    for (number, (death, kind)) in deaths.enumerate() {
        client.termite(&top, ["run", "--", "true"]).run()?.success()?;
        let daemon = daemon(&scene)?;
        let dir = top.join(number.to_string());
        let script = kind.prepare(&dir)?;
        scene.give(&dir)?;
        let job = start(&client, &dir, &script)?;
        watch(kind, &dir)?;
        for signal in *death {
            kill_process(daemon, *signal)?;
        }
        let outcome = job.wait()?;
        kind.check(&dir, &outcome)
            .with_context(|| format!("{number}: {death:?}"))?;
        whole += usize::from(outcome.status.success());
        client.termite(&top, ["run", "--", "true"]).run()?.success()?;
        ensure!(
            temporaries(&dir).is_empty(),
            "{kind:?}, {death:?}: {:?}",
            temporaries(&dir)
        );
    }
    println!("{whole} of {} ended well", DEATHS.len() * KINDS.len());
    ensure!(whole >= DEATHS.len() * KINDS.len() / 3, "only {whole} ended well");
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

#[test]
fn a_stopped_stub_learns_from_later_daemons_what_became_of_its_job() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let top = scene.dir("p/stopped")?;
    for (number, kind) in KINDS.into_iter().enumerate() {
        client.termite(&top, ["run", "--", "true"]).run()?.success()?;
        let killed = daemon(&scene)?;
        let dir = top.join(number.to_string());
        let script = format!("echo started >&2; {}", kind.prepare(&dir)?);
        scene.give(&dir)?;
        let job = start(&client, &dir, &script)?;
        watch(kind, &dir)?;
        job.signal(Signal::STOP)?;
        kill_process(killed, Signal::KILL)?;
        for _ in 0..2 {
            client.termite(&top, ["run", "--", "true"]).run()?.success()?;
            kill_process(daemon(&scene)?, Signal::KILL)?;
        }
        job.signal(Signal::CONT)?;
        kind.check(&dir, &job.wait()?).with_context(|| format!("{number}"))?;
        client.termite(&top, ["run", "--", "true"]).run()?.success()?;
        ensure!(temporaries(&dir).is_empty(), "{kind:?}: {:?}", temporaries(&dir));
    }
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

#[test]
fn daemons_on_two_sockets_clear_only_after_themselves() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 2)?;
    let one = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = scene.dir("p/two")?;
    one.termite(&dir, ["run", "--", "true"]).run()?.success()?;
    let killed = daemon(&scene)?;
    let kind = Kind::StageLong;
    let job = start(&one, &dir, &kind.prepare(&dir)?)?;
    watch(kind, &dir)?;
    // The other one starts while the first commits, and must not take its files away.
    kill_process(killed, Signal::STOP)?;
    let before = temporaries(&dir);
    let two = Client::new(&scene, "b", &fleet.addresses())?;
    two.termite(&dir, ["run", "--", "true"]).run()?.success()?;
    let after = temporaries(&dir);
    ensure!(
        before.iter().all(|path| after.contains(path)),
        "{after:?} of {before:?}"
    );
    kill_process(killed, Signal::CONT)?;
    kind.check(&dir, &job.wait()?.success()?)?;
    one.stop()?;
    two.stop()?;
    fleet.stop()?;
    scene.finish()
}

#[test]
fn the_next_daemon_removes_the_socket_of_a_killed_ones_worker() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let client = Client::new(&scene, "a", "")?;
    let dir = scene.dir("p/embedded")?;
    for _ in 0..3 {
        client.termite(&dir, ["run", "--", "true"]).run()?.success()?;
        kill_process(daemon(&scene)?, Signal::KILL)?;
    }
    client.termite(&dir, ["run", "--", "true"]).run()?.success()?;
    // Sees that the run-time directory is empty.
    client.stop()?;
    scene.finish()
}
