//! Jobs that run while files change: what a job sees of a file is one whole version, not
//! older than when the job was asked for, and never an older one after a newer one. Once
//! nothing changes any more, jobs see what is there. Knows one writer, and files that it
//! replaces in a known order.

use crate::fixture::content;
use crate::{Bench, mutations};
use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use std::fs;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use termite_e2e::Outcome;

/// Files, in the order in which they get a new version.
const FILES: [&str; 6] = ["a/f", "a/g", "b/f", "c/d/f", "c/d/g", "f"];
/// Jobs at the same time: two for each worker.
const JOBS: usize = 4;
/// So many of them at each of their places, then everything is at rest and compared.
const BOUT: usize = 2;
/// So often a job looks at each file.
const LOOKS: usize = 5;
/// Between two versions; without it the writer would leave the jobs no processor.
const PAUSE: Duration = Duration::from_micros(500);
/// The time of the version 0, in seconds.
const BEGIN: i64 = 1_500_000_000;

/// The files and the newest version of each that is in its place.
struct Versions {
    paths: Vec<PathBuf>,
    newest: Vec<AtomicU64>,
}

impl Versions {
    fn lay(tree: &Path) -> Result<Self> {
        let versions = Self {
            paths: FILES.map(|name| tree.join(name)).to_vec(),
            newest: FILES.map(|_| AtomicU64::new(0)).into(),
        };
        for path in &versions.paths {
            fs::create_dir_all(path.parent().context("a name")?)?;
            put(path, 0)?;
        }
        Ok(versions)
    }

    fn newest(&self) -> Vec<u64> {
        self.newest
            .iter()
            .map(|version| version.load(Ordering::SeqCst))
            .collect()
    }

    /// Version after version, until it is told to stop; ends with all files at the same.
    fn write(&self, stop: &AtomicBool) -> Result<()> {
        for version in 1 + self.newest()[0].. {
            for (path, newest) in self.paths.iter().zip(&self.newest) {
                put(path, version)?;
                newest.store(version, Ordering::SeqCst);
                thread::sleep(PAUSE);
            }
            if stop.load(Ordering::SeqCst) {
                break;
            }
        }
        Ok(())
    }
}

/// Puts a version into its place, as editors do. Size and time tell which it is, too.
fn put(path: &Path, version: u64) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content(version, size(version)))?;
    mutations::set_time(&new, BEGIN + version as i64, 0)?;
    Ok(fs::rename(&new, path)?)
}

fn size(version: u64) -> usize {
    40 + 7 * version as usize
}

/// Runs jobs, `count` at each of their places, while everything changes. Returns the number
/// of versions that there were.
pub(crate) fn run(bench: &Bench<'_>, count: usize) -> Result<u64> {
    let versions = Versions::lay(&bench.fixture.tree)?;
    bench.fixture.settle()?;
    for first in (0..count).step_by(BOUT) {
        let numbers = first..count.min(first + BOUT);
        bout(bench, &versions, &numbers)?;
        bench.compare_all().with_context(|| format!("after jobs {numbers:?}"))?;
    }
    Ok(versions.newest()[0])
}

fn bout(bench: &Bench<'_>, versions: &Versions, numbers: &Range<usize>) -> Result<()> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| versions.write(&stop));
        let jobs: Vec<_> = (0..JOBS)
            .map(|place| {
                scope.spawn(move || {
                    numbers
                        .clone()
                        .try_for_each(|number| job(bench, versions, place, number))
                })
            })
            .collect();
        let ended: Vec<_> = jobs.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::SeqCst);
        let written = writer.join();
        ended
            .into_iter()
            .chain([written])
            .try_for_each(|end| end.map_err(|_| anyhow::anyhow!("a thread has panicked"))?)
    })
}

fn job(bench: &Bench<'_>, versions: &Versions, place: usize, number: usize) -> Result<()> {
    let mut paths = versions.paths.clone();
    paths.rotate_left((place + number) % FILES.len());
    let desk = &bench.desks[place % bench.desks.len()];
    let oldest = versions.newest();
    let outcome = bench.job(desk).arg(LOOKS.to_string()).args(&paths).run()?.success()?;
    // The next one may be in place and not counted yet.
    let newest = versions.newest().into_iter().map(|version| version + 1);
    let allowed: HashMap<_, _> = versions
        .paths
        .iter()
        .map(PathBuf::as_path)
        .zip(oldest.into_iter().zip(newest).map(|(oldest, newest)| oldest..=newest))
        .collect();
    // Where no call is seen, each job may have held a lock. One that is never done before the
    // next change ends on the client, of which the same holds.
    let said = outcome.err();
    let ran_locally = said.lines().count() == 1 && said.contains("ran locally: it conflicted ");
    ensure!(
        said.is_empty() || bench.is_unseen && ran_locally,
        "{}",
        outcome.describe()
    );
    check(&outcome, allowed).with_context(|| format!("job {number} at place {place}: {}", outcome.describe()))
}

/// `allowed`: versions that each file may have.
fn check(outcome: &Outcome, mut allowed: HashMap<&Path, RangeInclusive<u64>>) -> Result<()> {
    let out = outcome.out();
    ensure!(out.lines().count() == LOOKS * FILES.len(), "lines are missing");
    for line in out.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let range = allowed.get_mut(Path::new(words[0])).context("a path that is none")?;
        let named = words.get(2..5).context("no file by its name")?;
        let opened = words.get(6..9).context("no file that can be opened")?;
        let first = whole(named).with_context(|| format!("by its name: {line}"))?;
        let second = whole(opened).with_context(|| format!("opened: {line}"))?;
        let text = content(second, size(second));
        let expected = [
            text.len().to_string(),
            format!("{:016x}", fnv(&text)),
            "version".into(),
            second.to_string(),
        ];
        ensure!(words[9..] == expected, "expected {expected:?}, got {line}");
        for version in [first, second] {
            ensure!(
                range.contains(&version),
                "expected a version in {range:?}, got {version}: {line}"
            );
            *range = version..=*range.end();
        }
    }
    Ok(())
}

/// Of mode, size and time, the version that all tell.
fn whole(attributes: &[&str]) -> Result<u64> {
    let time: i64 = attributes[2].split('.').next().unwrap_or_default().parse()?;
    let version = u64::try_from(time - BEGIN)?;
    let expected = size(version).to_string();
    ensure!(
        attributes[1] == expected,
        "expected {expected} bytes, got {}",
        attributes[1]
    );
    Ok(version)
}

/// FNV-1a, as `look.c` has it.
fn fnv(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}
