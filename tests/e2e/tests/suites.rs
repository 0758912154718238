//! Test suites of other projects, in the long form only: an ordinary user runs them on the
//! embedded worker, and each test ends as it does without termite.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use termite_e2e::corpus::{Archive, COREUTILS, JANSSON, MAKE};
use termite_e2e::reference::long;
use termite_e2e::{Client, Outcome, Program, Scene, User, Way};

const LIMIT: Duration = Duration::from_secs(3600);

/// A project with a suite.
struct Suite {
    name: &'static str,
    archive: &'static Archive,
    /// Builds it, by `sh -e -c`.
    prepare: &'static str,
    /// Runs the suite.
    check: &'static str,
    /// How each test ended, by its name.
    results: fn(&Path, &Outcome) -> Result<Results>,
    /// Tests that may end otherwise, and why that is right.
    otherwise: &'static [(&'static str, &'static str)],
}

type Results = BTreeMap<String, String>;

#[test]
fn of_gnu_make_in_the_long_form() -> Result<()> {
    compare(&Suite {
        name: "make",
        archive: &MAKE,
        // As Debian has it, without its documentation.
        prepare: "sed -i 's,doc/make.1,make.1,' Makefile.am; sed -i 's/in Makefile /in /' configure.ac; touch make.1; \
                  autoreconf -fi; ./configure; make -j2",
        check: "make check-regression",
        results: of_make,
        otherwise: &[],
    })
}

#[test]
fn of_jansson_in_the_long_form() -> Result<()> {
    compare(&Suite {
        name: "jansson",
        archive: &JANSSON,
        prepare: "autoreconf -fi; ./configure; make -j2",
        check: "make check -j2",
        results: of_automake,
        otherwise: &[],
    })
}

#[test]
fn of_coreutils_in_the_long_form() -> Result<()> {
    compare(&Suite {
        name: "coreutils",
        archive: &COREUTILS,
        prepare: "./configure --quiet; make -j2",
        check: "make -k check -j2",
        results: of_automake,
        otherwise: &[
            (
                "tests/dd/sparse.trs",
                "a hole beside data takes memory, which comes in huge pages",
            ),
            ("tests/df/df-symlink.trs", "what is mounted in a slot is no device"),
            (
                "tests/du/bigtime.trs",
                "a memory file system holds times that the client's may not",
            ),
            ("tests/du/threshold.trs", "directories take no blocks in memory"),
            (
                "tests/ls/stat-free-symlinks.trs",
                "it counts system calls, of which the library makes one more for a directory",
            ),
            (
                "tests/misc/csplit-heap.trs",
                "it leaves a program 1 MiB of addresses, of which the library takes some",
            ),
            (
                "tests/rm/fail-eperm.trs",
                "it looks for files of others, which are the user's in an ordinary user's slot",
            ),
            ("tests/touch/not-owner.trs", "the same of the root directory"),
            ("tests/tail-2/inotify-race.trs", "tail uses no inotify on an overlay"),
            ("tests/tail-2/inotify-race2.trs", "the same"),
        ],
    })
}

/// Runs a suite twice in the same place, the second time by termite.
fn compare(suite: &Suite) -> Result<()> {
    if !long() {
        return Ok(());
    }
    let scene = Scene::new(User::Ordinary)?;
    let client = Client::new(&scene, "a", "")?;
    let (dir, kept) = (scene.dir("p")?.join(suite.name), scene.dir("kept")?.join(suite.name));
    suite.archive.unpack(&dir)?;
    scene.give(&dir)?;
    let script = |shell: Program, text: &str| shell.args(["-e", "-c", text]).limit(LIMIT).run();
    script(client.bare(&dir, "/bin/sh"), suite.prepare)?.success()?;
    copy(&dir, &kept)?;
    let run = |shell: &dyn Fn() -> Program| -> Result<(Outcome, Results)> {
        fs::remove_dir_all(&dir)?;
        copy(&kept, &dir)?;
        let outcome = script(shell(), suite.check)?;
        let results = (suite.results)(&dir, &outcome)?;
        ensure!(!results.is_empty(), "no test ran: {}", outcome.describe());
        Ok((outcome, results))
    };
    let (here, expected) = run(&|| client.bare(&dir, "/bin/sh"))?;
    let (there, found) = run(&|| client.drive(Way::Env, &dir, "sh"))?;
    let last = client.last(&dir)?;
    eprintln!(
        "{}: {} tests, {:.1?} alone, {:.1?} by termite: {:?}, {} reruns, {:?}",
        suite.name,
        expected.len(),
        here.took,
        there.took,
        last.jobs,
        last.reruns,
        last.local_reasons
    );
    let is_known = |name: &String| suite.otherwise.iter().any(|(known, _)| known == name);
    let names = expected.keys().chain(found.keys()).filter(|name| !is_known(name));
    let differing: BTreeMap<_, _> = names
        .map(|name| (name, (expected.get(name), found.get(name))))
        .filter(|(_, (expected, found))| expected != found)
        .collect();
    ensure!(
        differing.is_empty(),
        "{} tests end otherwise: {differing:#?}",
        differing.len()
    );
    client.stop()?;
    scene.finish()
}

/// With owners and times, by which make goes.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status()
        .context("starting cp")?;
    ensure!(status.success(), "copying {}: {status}", from.display());
    Ok(())
}

/// Automake's test driver writes a file for each test, with one line for each result (The
/// Automake Manual, "Log files generation and test results recording").
fn of_automake(dir: &Path, _: &Outcome) -> Result<Results> {
    let mut results = Results::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(at) = dirs.pop() {
        for entry in fs::read_dir(&at)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            if kind.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|end| end == "trs") {
                let text = fs::read_to_string(&path)?;
                let lines = text.lines().filter_map(|line| line.strip_prefix(":test-result:"));
                let result: Vec<_> = lines.map(str::trim).collect();
                results.insert(path.strip_prefix(dir)?.display().to_string(), result.join("; "));
            }
        }
    }
    Ok(results)
}

/// GNU make's suite says for each of its scripts `NAME ..... ok     (3 passed)`.
fn of_make(_: &Path, outcome: &Outcome) -> Result<Results> {
    let out = outcome.out();
    let lines = out.lines().filter_map(|line| line.split_once(" ."));
    let result = |(name, rest): (&str, &str)| (name.trim().to_owned(), rest.trim_start_matches('.').trim().to_owned());
    Ok(lines.filter(|(name, _)| name.contains('/')).map(result).collect())
}
