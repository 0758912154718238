//! The strace oracle: whatever strace sees a command do to paths must be in the trace of
//! the same command as a job. Judges; what strace wrote and what the commands are is
//! known elsewhere.

mod commands;
mod exceptions;
mod observed;
mod random_names;
mod strace;
mod trace;

pub use commands::{Command, all, short};
pub use exceptions::EXCEPTIONS;

use crate::process::Outcome;
use crate::{Client, Fleet, Scene, User};
use anyhow::{Result, bail, ensure};
use observed::{Saw, Sight};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use trace::{Kind, Trace};

/// Which front ends serve the jobs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The shim, and the guard for what it does not see.
    ShimAndGuard,
    /// The guard alone.
    Guard,
}

impl Mode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::ShimAndGuard, Self::Guard];

    /// For `workerd --fault`.
    pub fn option(self) -> &'static str {
        match self {
            Self::ShimAndGuard => "shim,guard",
            Self::Guard => "guard",
        }
    }
}

/// What became of one command.
#[derive(Debug)]
pub struct Verdict {
    /// Name of the command.
    pub name: &'static str,
    /// Different paths and sights of them that strace saw.
    pub seen: usize,
    /// Records of the trace.
    pub traced: usize,
    /// Sights that an exception excuses, by its name.
    pub excused: BTreeMap<&'static str, usize>,
    /// What the trace lacks or says wrongly.
    pub faults: Vec<String>,
}

impl Verdict {
    fn of(name: &'static str) -> Self {
        Self {
            name,
            seen: 0,
            traced: 0,
            excused: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// In one line.
    pub fn line(&self) -> String {
        let excused = self.excused.iter().map(|(name, count)| format!(", {count} {name}"));
        let excused: String = excused.collect();
        let Self {
            name,
            seen,
            traced,
            faults,
            ..
        } = self;
        format!(
            "{name:<15} {seen:>4} seen, {traced:>4} traced, {} missing{excused}",
            faults.len()
        )
    }
}

/// Runs the commands bare and as jobs, and tells each verdict as it comes.
pub fn run(mode: Mode, commands: &[Command], mut tell: impl FnMut(&Verdict)) -> Result<Vec<Verdict>> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start_with(&scene, 1, 2, &["--fault", mode.option()])?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let mut verdicts = Vec::new();
    for command in commands {
        let verdict = check(&scene, &client, mode, command).unwrap_or_else(|error| Verdict {
            faults: vec![format!("{error:#}")],
            ..Verdict::of(command.name)
        });
        tell(&verdict);
        verdicts.push(verdict);
    }
    client.stop()?;
    fleet.stop()?;
    scene.finish()?;
    Ok(verdicts)
}

fn check(scene: &Scene, client: &Client, mode: Mode, command: &Command) -> Result<Verdict> {
    let dir = scene.dir(&format!("p/{}", command.name))?;
    let lay = || {
        fs::remove_dir_all(&dir)?;
        scene.dir(&format!("p/{}", command.name))?;
        command.lay(&dir)?;
        scene.give(&dir)
    };
    lay()?;
    let log = scene.dir(&format!("s/{}", command.name))?;
    let bare = client
        .bare(&dir, "strace")
        .args(["-ff", "-qq", "-y", "-e", observed::TRACED, "-o"]);
    let bare = bare.arg(log.join("s").as_os_str()).args(command.argv).run()?;
    let observed = observed::read(&log, &dir)?;
    ensure!(observed.len() > 5, "strace saw next to nothing: {}", bare.describe());
    lay()?;
    let job = client.termite(&dir, ["run", "--"].iter().chain(command.argv)).run()?;
    same_outcome(&bare, &job)?;
    let trace = Trace::of_only_job(client, &dir)?;
    let mut verdict = compare(command.name, mode, &observed, &trace);
    verdict.faults.extend(trace.wrong_hashes());
    fs::remove_dir_all(&dir)?;
    Ok(verdict)
}

fn same_outcome(bare: &Outcome, job: &Outcome) -> Result<()> {
    if (bare.code(), &bare.stdout) != (job.code(), &job.stdout) {
        bail!("the job is not as it is bare: {}\n{}", bare.describe(), job.describe());
    }
    Ok(())
}

/// Looks each sight up in the trace.
fn compare(name: &'static str, mode: Mode, observed: &[Sight], trace: &Trace) -> Verdict {
    let mut verdict = Verdict {
        traced: trace.len(),
        ..Verdict::of(name)
    };
    let changed: BTreeSet<&[u8]> = observed
        .iter()
        .filter(|sight| sight.saw == Saw::Changed)
        .map(|sight| &sight.path[..])
        .collect();
    let mut done = BTreeSet::new();
    for sight in observed {
        if !done.insert((&sight.path, sight.saw, sight.as_link)) {
            continue;
        }
        verdict.seen += 1;
        if holds(sight, observed, trace, changed.contains(&sight.path[..])) {
            continue;
        }
        if let Some(exception) = EXCEPTIONS
            .iter()
            .find(|exception| exception.excuses(mode, sight, trace))
        {
            *verdict.excused.entry(exception.name).or_default() += 1;
            continue;
        }
        let path = OsStr::from_bytes(&sight.path);
        let kinds = trace.kinds(&sight.path);
        let line: String = sight.line.chars().take(200).collect();
        verdict.faults.push(format!(
            "{path:?}: strace saw {:?}, the trace has {kinds:?}: {line}",
            sight.saw
        ));
    }
    verdict
}

/// Whether the trace says of the path what strace saw.
fn holds(sight: &Sight, observed: &[Sight], trace: &Trace, is_own: bool) -> bool {
    let path = &sight.path;
    let any = |kinds: &[Kind]| kinds.iter().any(|kind| trace.has(*kind, path));
    match sight.saw {
        Saw::Read => any(&[Kind::Read, Kind::Listed]),
        // What the job itself has put there is no news.
        Saw::Found => any(&[Kind::Stat, Kind::Read, Kind::Listed]) || is_own && any(&[Kind::Write]),
        Saw::Missing => any(&[Kind::Missing]),
        Saw::OneMissing => {
            let both = observed.iter().filter(|other| other.line == sight.line);
            both.into_iter().any(|other| trace.has(Kind::Missing, &other.path))
        }
        Saw::Listed => trace.lists(path),
        Saw::Changed => any(&[Kind::Write]),
        Saw::ReadOrChanged => any(&[Kind::Read, Kind::Write]),
        Saw::Named => any(&[Kind::Read, Kind::Stat, Kind::Missing, Kind::Listed, Kind::Write]),
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(path: &str, saw: Saw) -> Sight {
        Sight {
            path: path.into(),
            saw,
            as_link: false,
            line: format!("call({path})"),
        }
    }

    fn faults(observed: &[Sight], trace: &[(Kind, &str)]) -> Vec<String> {
        compare("x", Mode::Guard, observed, &Trace::new(trace)).faults
    }

    #[test]
    fn each_kind_of_sight_needs_its_kind_of_record() {
        use Kind::{Listed, Missing, Read, Stat, Write};
        let fits = [
            (Saw::Read, &[Read, Listed][..]),
            (Saw::Found, &[Stat, Read, Listed]),
            (Saw::Missing, &[Missing]),
            (Saw::Listed, &[Listed]),
            (Saw::Changed, &[Write]),
            (Saw::ReadOrChanged, &[Read, Write]),
            (Saw::Named, &[Read, Stat, Missing, Listed, Write]),
        ];
        for (saw, good) in fits {
            for kind in [Read, Stat, Missing, Listed, Write] {
                let found = faults(&[sight("/p/x", saw)], &[(kind, "/p/x")]);
                assert_eq!(found.is_empty(), good.contains(&kind), "{saw:?} {kind:?}");
                assert_eq!(faults(&[sight("/p/x", saw)], &[(kind, "/p/y")]).len(), 1);
            }
        }
    }

    #[test]
    fn spelled_paths_are_compared_as_they_normalise() {
        assert!(faults(&[sight("/p/x", Saw::Read)], &[(Kind::Read, "/p/a/..//./x")]).is_empty());
    }

    #[test]
    fn found_after_its_own_writing() {
        let observed = [sight("/p/x", Saw::Found), sight("/p/x", Saw::Changed)];
        assert!(faults(&observed, &[(Kind::Write, "/p/x")]).is_empty());
    }
}
