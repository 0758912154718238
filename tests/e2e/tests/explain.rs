//! `termite explain` tells where each job of a build ran, why, and what it used, also
//! when the daemon is long gone.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;
use termite_e2e::project::write_all;
use termite_e2e::{Client, Fleet, Scene, User, Way};

const MAKEFILE: &str = "all: one two three\none: in\n\t@cat in none > one 2>/dev/null; cp one copy\n\
                        two: one\n\t@echo here > two\nthree: two\n\t@exit 3\n";
const RULE: &str = "[[rule]]\nregex = \"echo here\"\nrun = \"local\"\n";

/// Whether a trace has this use of a file of the directory.
fn has(job: &Value, dir: &Path, kind: &str, name: &str) -> bool {
    let path = dir.join(name);
    let uses = job["trace"].as_array().into_iter().flatten();
    uses.into_iter()
        .any(|used| used["kind"] == kind && used["path"].as_str() == path.to_str())
}

/// Whether the kernel tells how a process ended that is nobody's child (Linux 6.15).
fn tells_how_others_end() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next()) >= (6, 15)
}

#[test]
fn jobs_are_explained() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = scene.dir("p/explained")?;
    let files = [("Makefile", MAKEFILE), (".termite.toml", RULE), ("in", "in\n")];
    write_all(&dir, &files.map(|(name, text)| (name.into(), text.into())))?;
    scene.give(&dir)?;
    let built = client.drive(Way::Env, &dir, "make").run()?;
    ensure!(built.code() == 2, "{}", built.describe());
    // What follows needs neither daemon nor worker.
    client.stop()?;
    fleet.stop()?;

    let jobs: Value = client.ask(&dir, &["explain", "--json"])?;
    ensure!(jobs["cwd"].as_str() == dir.to_str(), "{jobs}");
    let jobs = jobs["jobs"].as_array().context("jobs")?;
    let find = |part: &str| {
        let mut found = jobs
            .iter()
            .filter(|job| job["command"].as_str().is_some_and(|line| line.contains(part)));
        found.next().with_context(|| format!("{part} in {jobs:?}"))
    };
    let (one, two, three) = (find("cat in")?, find("echo here")?, find("exit 3")?);
    ensure!(one["where"] == "worker" && one["exit"] == 0, "{one}");
    ensure!(
        two["where"] == "client"
            && two["reason"]
                .as_str()
                .is_some_and(|why| why.contains(".termite.toml:2")),
        "{two}"
    );
    ensure!(three["where"] == "worker" && three["exit"] == 3, "{three}");

    let id = one["job"].as_str().context("an id")?;
    let job: Value = client.ask(&dir, &["explain", id, "--json"])?;
    for (kind, name) in [
        ("read", "in"),
        ("missing", "none"),
        ("write", "one"),
        ("write", "copy"),
        ("read", "one"),
    ] {
        ensure!(has(&job, &dir, kind, name), "{kind} {name} in {job:#}");
    }
    let hashes: Vec<_> = job["trace"].as_array().into_iter().flatten().collect();
    let hash_of = |name: &str| {
        hashes
            .iter()
            .find(|used| used["kind"] == "read" && used["path"].as_str() == dir.join(name).to_str())
    };
    let expected = blake3::hash(&fs::read(dir.join("in"))?).to_hex();
    ensure!(
        hash_of("in").is_some_and(|used| used["hash"].as_str() == Some(expected.as_str())),
        "{job:#}"
    );
    ensure!(
        hash_of("one").is_some_and(|used| used.get("hash").is_none()),
        "its own output: {job:#}"
    );
    let local: Value = client.ask(&dir, &["explain", two["job"].as_str().context("an id")?, "--json"])?;
    // An older kernel does not tell how it ended.
    let has_ended = local["exit"] == 0 || local["exit"].is_null() && !tells_how_others_end();
    ensure!(local["trace"].is_null() && has_ended, "{local}");
    let by_number: Value = client.ask(&dir, &["explain", "2", "--json"])?;
    ensure!(by_number["job"] == two["job"], "{by_number}");
    for (option, part) in [("--local", "echo here"), ("--failed", "exit 3")] {
        let some: Value = client.ask(&dir, &["explain", option, "--json"])?;
        let some = some["jobs"].as_array().context("jobs")?;
        ensure!(
            some.len() == 1 && some[0]["command"].as_str().is_some_and(|line| line.contains(part)),
            "{option}: {some:?}"
        );
    }

    let text = client.termite(&dir, ["explain", id]).run()?.success()?.out();
    for part in ["on unix:", "exit 0", "no rule keeps it", "missing", "/explained/none"] {
        ensure!(text.contains(part), "{part} in {text}");
    }
    let list = client.termite(&dir, ["explain"]).run()?.success()?.out();
    ensure!(list.contains(id) && list.contains("exit 3"), "{list}");
    let (build, _) = id.split_once('.').context("BUILD.N")?;
    let unknown = client.termite(&dir, ["explain", &format!("{build}.999")]).run()?;
    ensure!(
        unknown.code() == 1 && unknown.err().contains("no job"),
        "{}",
        unknown.describe()
    );
    scene.finish()
}
