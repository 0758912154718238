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

/// Runs everything; `all` asks for the long forms.
pub(crate) fn run_all(all: bool) -> Result<()> {
    let mut steps = Steps::new(9);
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
            let planted = ["clippy", "-p", "termite", "--features", "planted-faults"];
            run(&mut cargo(&[&planted[..], &deny[..]].concat()))?;
            run(&mut cargo(&["clippy", "-p", ALONE, "--quiet", "--", "-D", "warnings"]))
        }
        false => skip("clippy is not installed"),
    })?;
    let prefix = steps.step("build", prefix::build)?;
    steps.step("unit tests", || {
        run(cargo(&["test", "--quiet", "--workspace", "--exclude", ALONE]).args(&others))
    })?;
    steps.step("tests of the library", || {
        run(&mut cargo(&["test", "--quiet", "-p", ALONE]))
    })?;
    steps.step("build with faults that tests plant", || prefix::build_planted(&prefix))?;
    let before = Traces::now()?;
    let long = if all { "1" } else { "0" };
    steps.step("C programs in every mode", || {
        run(cargo(&["test", "-p", "termite-ctests"])
            .env("TERMITE_LONG", long)
            .env("TERMITE_PREFIX", &prefix))
    })?;
    steps.step("end-to-end tests", || {
        run(cargo(&["test", "-p", "termite-e2e", "--", "--test-threads=1", "--nocapture"]).env("TERMITE_LONG", long))
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
