//! Several programs as one build: each job is one recipe, and writes its answers to a file
//! of its own beside the tree. Knows how they are run, not what they should answer.

use crate::fixture;
use crate::language::Program;
use crate::search::Observed;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use termite_e2e::mode::Running;
use termite_e2e::{Client, Scene, random};

/// A build takes some seconds; one that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// The place of a build.
pub(crate) struct Batch<'a> {
    pub scene: &'a Scene,
    dir: PathBuf,
    calls: PathBuf,
}

/// Who runs a build.
pub(crate) enum Runner<'a> {
    /// Make alone.
    Plain(Client<'a>),
    /// Make under termite.
    Termite(Running<'a>),
}

impl Runner<'_> {
    /// Ends what was started for it.
    pub(crate) fn stop(self) -> Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Termite(running) => running.stop(),
        }
    }
}

impl<'a> Batch<'a> {
    /// Programs of a build.
    pub(crate) const SIZE: usize = 25;
    /// Jobs at once: those of two programs or more.
    pub(crate) const JOBS: usize = 6;

    /// A place on the stage.
    pub(crate) fn new(scene: &'a Scene) -> Result<Self> {
        Ok(Self {
            scene,
            dir: scene.dir("p")?.join("batch"),
            calls: random::compile(scene, "machine/calls.c")?,
        })
    }

    /// Runs the programs and answers what was seen of each.
    pub(crate) fn run(&self, runner: &Runner<'_>, programs: &[Program]) -> Result<Vec<Observed>> {
        self.lay_out(programs)?;
        let jobs = format!("-j{}", Self::JOBS);
        let outcome = match runner {
            Runner::Plain(client) => client.bare(&self.dir, "make").arg(jobs).limit(LIMIT).run()?,
            Runner::Termite(running) => {
                running.client.forget(&self.dir)?;
                let make = running.client.termite_env(&self.dir, ["--", "make", jobs.as_str()]);
                let outcome = make.limit(LIMIT).run()?;
                running.check_ran_on_workers(self.scene, &outcome)?;
                outcome
            }
        };
        ensure!(outcome.code() == 0, "{}", outcome.describe());
        let each = programs.iter().enumerate();
        each.map(|(number, program)| self.observe(number, program)).collect()
    }

    fn lay_out(&self, programs: &[Program]) -> Result<()> {
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        fs::create_dir_all(&self.dir)?;
        fs::copy(&self.calls, self.dir.join("calls"))?;
        let (mut goals, mut rules) = (String::new(), String::new());
        for (number, program) in programs.iter().enumerate() {
            let place = self.dir.join(number.to_string());
            fs::create_dir_all(place.join("tree"))?;
            fixture::lay(program, &place.join("tree"))?;
            for job in 0..program.jobs.len() {
                fs::write(place.join(format!("list.{job}")), program.list(job))?;
                goals += &format!(" {number}.{job}");
                let (list, answers) = (format!("{number}/list.{job}"), format!("{number}/answers.{job}"));
                rules += &format!("{number}.{job}:\n\t@./calls {number}/tree {list} > {answers}\n");
            }
        }
        fs::write(self.dir.join("Makefile"), format!("all:{goals}\n{rules}"))?;
        self.scene.give(&self.dir)
    }

    fn observe(&self, number: usize, program: &Program) -> Result<Observed> {
        let place = self.dir.join(number.to_string());
        let mut answers = Vec::new();
        for (job, calls) in program.jobs.iter().enumerate() {
            let path = place.join(format!("answers.{job}"));
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            ensure!(
                lines.len() == calls.len(),
                "job {job} answered {lines:?} to {program:?}"
            );
            answers.push(lines);
        }
        let tree = fixture::read(&place.join("tree"))?;
        Ok(Observed { answers, tree })
    }
}
