//! Real programs, family by family: each command of `programs/*/commands` run locally,
//! then on workers in the same place. Status, words and every byte left behind must be
//! the same, and what is no driver must have run on a worker.

use anyhow::{Context, Result, bail, ensure};
use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};
use termite_e2e::reference::{long, same};
use termite_e2e::script::{Line, Script};
use termite_e2e::{Client, Fleet, Outcome, Program, Scene, User};

const LIMIT: Duration = Duration::from_secs(600);
/// Families at once.
const LANES: usize = 2;

#[test]
fn every_family_of_programs() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 2, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let path = search_path()?;
    let scripts: Vec<_> = chosen()?;
    scripts.iter().try_for_each(|script| script.check(&path))?;
    let stage = Stage {
        scene: &scene,
        client: &client,
        path,
        waiting: Mutex::new(scripts.iter().collect()),
    };
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(script) = stage.next() {
                    if let Err(error) = stage.compare(script) {
                        failures.lock().unwrap().push(format!("{}: {error:?}", script.name));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner()?;
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// All that this form of the tests has, or those that `TERMITE_PROGRAMS` names.
fn chosen() -> Result<Vec<Script>> {
    let mut scripts = Script::all()?;
    match std::env::var("TERMITE_PROGRAMS") {
        Ok(names) => scripts.retain(|script| names.split(',').any(|name| name == script.name)),
        Err(_) => scripts.retain(|script| long() || !script.long),
    }
    ensure!(!scripts.is_empty(), "no such programs");
    Ok(scripts)
}

/// Rust's programs stand where its own launcher finds them, which is no place of Debian's.
fn search_path() -> Result<String> {
    let out = Command::new("rustc").args(["--print", "sysroot"]).output()?;
    let sysroot = String::from_utf8(out.stdout)?;
    Ok(format!("{}/bin:/usr/local/bin:/usr/bin:/bin", sysroot.trim_end()))
}

struct Stage<'a> {
    scene: &'a Scene,
    client: &'a Client<'a>,
    path: String,
    waiting: Mutex<VecDeque<&'a Script>>,
}

/// Status, standard output, standard error.
type Said = (i32, String, String);

impl Stage<'_> {
    fn next(&self) -> Option<&Script> {
        self.waiting.lock().unwrap().pop_front()
    }

    fn compare(&self, script: &Script) -> Result<()> {
        let dir = self.scene.dir("p")?.join(&script.name);
        script.lay_out(self.scene, &dir)?;
        let begun = Instant::now();
        let mut expected = Vec::new();
        for line in &script.lines {
            let outcome = self.run(self.client.bare(&dir, "/bin/sh"), &["-c", line.text()])?;
            expected.push(said(&outcome.success().context("locally")?));
        }
        let tree = script.tree(&dir)?;
        let local = begun.elapsed();
        script.lay_out(self.scene, &dir)?;
        let begun = Instant::now();
        for (line, expected) in script.lines.iter().zip(&expected) {
            self.check(&dir, line, expected).with_context(|| format!("{line:?}"))?;
        }
        same(&script.tree(&dir)?, &tree)?;
        let count = script.lines.len();
        eprintln!(
            "{}: {count} commands, {local:.1?} locally, {:.1?} on workers",
            script.name,
            begun.elapsed()
        );
        Ok(())
    }

    /// Runs one line by termite.
    fn check(&self, dir: &Path, line: &Line, expected: &Said) -> Result<()> {
        let outcome = match line {
            Line::Job(text) => self.run(self.client.termite(dir, ["run", "--"]), &["/bin/sh", "-c", text])?,
            Line::Driver(text) => self.run(self.client.termite_env(dir, ["--"]), &["/bin/sh", "-c", text])?,
        };
        let mut found = said(&outcome);
        let jobs = self.client.all_remote(dir)?.jobs;
        match line {
            Line::Job(_) => ensure!(jobs.remote == 1, "{jobs:?}"),
            // The last line is termite's own.
            Line::Driver(_) => found.2 = without_summary(&found.2)?,
        }
        ensure!(&found == expected, "expected {expected:#?}\nfound {found:#?}");
        Ok(())
    }

    fn run(&self, program: Program, args: &[&str]) -> Result<Outcome> {
        program.args(args).env("PATH", &self.path).limit(LIMIT).run()
    }
}

fn said(outcome: &Outcome) -> Said {
    (outcome.code(), outcome.out(), outcome.err())
}

fn without_summary(text: &str) -> Result<String> {
    let mut lines: Vec<_> = text.split_inclusive('\n').collect();
    match lines.pop() {
        Some(last) if last.starts_with("termite: ") => Ok(lines.concat()),
        last => bail!("the last line is no summary: {last:?}"),
    }
}
