//! `cargo xtask test`: style, lints, build, unit tests, the C matrix and the end-to-end
//! tests, cheapest first. The last step proves that the user's own directories, the
//! process table and the mount table are as they were.

use crate::prefix;
use crate::steps::{Steps, cargo, has_cargo, run};
use crate::traces::Traces;
use anyhow::Result;

/// Packages whose tests drive the installed prefix.
const DRIVING: [&str; 2] = ["termite-ctests", "termite-e2e"];
/// Built with features of its dependencies that nobody else may add to.
const ALONE: &str = "termite-shim";

/// Tests that show what termite does not do rightly yet. The short form leaves them out,
/// so that what works is held; `--all` runs them, and fails until this list is empty.
const NOT_YET: [&str; 7] = [
    // Of 60 goals with two appends each, some lose their lines to a concurrent commit.
    "parallel_appends_lose_no_line",
    // Redis ends later than the test waits.
    "redis_with_the_allocator_of_libc",
    // Bare LD_PRELOAD without any worker: the one line of why is not said.
    "nobody_listens",
    "an_interactive_shell",
    "what_is_odd_works",
    "what_is_very_big_works",
    "what_is_wrong_is_said",
];

/// Expects lookups through a symlink to pass the guard, which the library does only once
/// the directory of the link's target is complete. Its stand-in has to learn that.
const OUTDATED: &str = "the_cookie_is_there_where_it_may_and_gone_afterwards";

/// Runs everything; `all` asks for the long forms.
pub fn run_all(all: bool) -> Result<()> {
    let mut steps = Steps::new(if all { 8 } else { 7 });
    let others = others();
    let others: Vec<_> = others.iter().map(String::as_str).collect();
    steps.step("format", || match has_cargo("fmt") {
        true => run(&mut cargo(&["fmt", "--all", "--check"])),
        false => skip("rustfmt is not installed"),
    })?;
    steps.step("lints", || match has_cargo("clippy") {
        true => {
            let deny = ["--all-targets", "--quiet", "--", "-D", "warnings"];
            let workspace = ["clippy", "--workspace", "--exclude", ALONE];
            run(&mut cargo(&[&workspace[..], &deny[..]].concat()))?;
            run(&mut cargo(&["clippy", "-p", ALONE, "--quiet", "--", "-D", "warnings"]))
        }
        false => skip("clippy is not installed"),
    })?;
    let prefix = steps.step("build", prefix::build)?;
    steps.step("unit tests", || {
        run(cargo(&["test", "--quiet", "--workspace", "--exclude", ALONE]).args(&others))
    })?;
    steps.step("tests of the library", || {
        let mut tests = cargo(&["test", "--quiet", "-p", ALONE]);
        if !all {
            tests.args(["--", "--skip", OUTDATED]);
        }
        run(&mut tests)
    })?;
    let before = Traces::now()?;
    let long = if all { "1" } else { "0" };
    // In the slot 13 of its programs see times or errors that differ from a bare run.
    if all {
        steps.step("C programs in every mode", || {
            run(cargo(&["test", "-p", "termite-ctests"])
                .env("TERMITE_LONG", long)
                .env("TERMITE_PREFIX", &prefix))
        })?;
    }
    steps.step("end-to-end tests", || {
        let mut harness = vec!["--", "--test-threads=1", "--nocapture"];
        if !all {
            harness.extend(NOT_YET.iter().flat_map(|test| ["--skip", test]));
        }
        run(cargo(&["test", "-p", "termite-e2e"])
            .args(harness)
            .env("TERMITE_LONG", long))
    })?;
    steps.step("nothing is left behind", || Traces::now()?.same_as(&before))
}

fn others() -> Vec<String> {
    DRIVING
        .iter()
        .flat_map(|package| ["--exclude".to_owned(), (*package).to_owned()])
        .collect()
}

fn skip(why: &str) -> Result<()> {
    eprintln!("skipped: {why}");
    Ok(())
}
