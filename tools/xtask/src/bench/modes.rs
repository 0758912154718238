//! `cargo xtask bench --modes`: what single calls and a whole build cost by each of the
//! ways in which a worker can serve a job's files, and without termite.

use super::builds::Builds;
use super::{median, write_down};
use crate::prefix;
use crate::steps::{Steps, root};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use termite_e2e::project::Kind;
use termite_e2e::{Client, Fleet, Outcome, Project, Scene, User, Way};

/// Values of `workerd --fault`, and their names in the table.
const MODES: [(&str, &str); 3] = [
    ("shim,guard", "shim and guard"),
    ("guard", "guard alone"),
    ("fuse", "FUSE"),
];
/// What `calls.c` prints, how the table calls it, and its unit in nanoseconds.
const CALLS: [(&str, &str, f64); 5] = [
    ("stat", "`stat`, µs", 1e3),
    ("open", "`open` and `close`, µs", 1e3),
    ("read", "`pread` of 4 KiB, µs", 1e3),
    ("write", "`pwrite` of 4 KiB, µs", 1e3),
    ("start", "start and end of a process, ms", 1e6),
];
/// Runs of `calls.c` in each mode, one after the other.
const ROUNDS: usize = 7;

/// What is written down.
#[derive(Serialize)]
struct Report {
    set_up: &'static str,
    /// Nanoseconds by mode (`bare` is without termite) and call: medians over all runs.
    calls_ns: BTreeMap<String, BTreeMap<String, f64>>,
    /// Ratios of pairs of whole builds to `make -j2` without termite, by mode.
    lua: BTreeMap<String, Vec<f64>>,
}

/// Measures, prints, and writes where asked.
pub(crate) fn run(pairs: usize, write: bool) -> Result<()> {
    let mut steps = Steps::new(2 + MODES.len());
    steps.step("building termite", prefix::build)?;
    let scene = Scene::new(User::Me)?;
    let fleets = MODES
        .iter()
        .zip(0..)
        .map(|((fault, _), at)| Fleet::start_at(&scene, at..at + 1, 2, &["--fault", fault]))
        .collect::<Result<Vec<_>>>()?;
    let clients = fleets
        .iter()
        .zip(MODES)
        .map(|(fleet, (_, name))| Client::new(&scene, &name.replace(' ', "-"), &fleet.addresses()))
        .collect::<Result<Vec<_>>>()?;
    let calls_ns = steps.step("single calls", || calls(&scene, &clients))?;
    let project = Project::new(&scene, "lua", Kind::Lua)?;
    let mut lua = BTreeMap::new();
    for (client, (_, name)) in clients.iter().zip(MODES) {
        let measured = steps.step(&format!("Lua in pairs, {name}"), || {
            let builds = Builds::new(&project, 2)?;
            builds.build(client, None, &[])?;
            let expected = builds.tree()?;
            let with = || builds.build(client, Some(Way::Env), &[]);
            // Fills the mirror.
            with()?;
            builds.pairs(pairs, client, &expected, with)
        })?;
        lua.insert(name.to_owned(), measured);
    }
    clients.iter().try_for_each(Client::stop)?;
    fleets.into_iter().try_for_each(Fleet::stop)?;
    scene.finish()?;
    let report = Report {
        set_up: "one workerd of two slots for each mode in a bare root on this machine, warm",
        calls_ns,
        lua,
    };
    let text = markdown(&report);
    print!("{text}");
    if write {
        write_down("modes", &report, &text)
    } else {
        Ok(())
    }
}

/// The median times of single calls, by mode and by call.
fn calls(scene: &Scene, clients: &[Client<'_>]) -> Result<BTreeMap<String, BTreeMap<String, f64>>> {
    let dir = scene.dir("p/calls")?;
    let [program, nothing] = [
        ("calls", root().join("tools/xtask/src/bench/calls.c")),
        ("nothing", {
            let source = dir.join("nothing.c");
            fs::write(&source, "int main(void) { return 0; }\n")?;
            source
        }),
    ]
    .map(|(name, source)| compile(&source, dir.join(name)));
    let (program, nothing) = (program?, nothing?);
    fs::write(dir.join("input"), vec![b'x'; 1 << 20])?;
    let mut found: BTreeMap<String, BTreeMap<String, Vec<f64>>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let bare = clients[0].bare(&dir, &program).arg(&nothing).run()?.success()?;
        note(found.entry("bare".into()).or_default(), &bare)?;
        for (client, (_, name)) in clients.iter().zip(MODES) {
            let job = client.termite(&dir, ["run", "--"]).arg(&program).arg(&nothing);
            note(found.entry(name.into()).or_default(), &job.run()?.success()?)?;
            client.all_remote(&dir)?;
        }
    }
    let middle = |(call, all): (String, Vec<f64>)| (call, median(all));
    let of_mode = |(mode, calls): (String, BTreeMap<_, _>)| (mode, calls.into_iter().map(middle).collect());
    Ok(found.into_iter().map(of_mode).collect())
}

fn compile(source: &Path, program: PathBuf) -> Result<PathBuf> {
    let mut gcc = Command::new("gcc");
    let status = gcc
        .arg("-O2")
        .arg(source)
        .arg("-o")
        .arg(&program)
        .status()
        .context("gcc")?;
    ensure!(status.success(), "gcc {}: {status}", source.display());
    Ok(program)
}

fn note(found: &mut BTreeMap<String, Vec<f64>>, run: &Outcome) -> Result<()> {
    for (call, _, _) in CALLS {
        let said = run.out();
        let value = said.lines().find_map(|line| line.strip_prefix(call)?.strip_prefix(' '));
        let value = value
            .with_context(|| format!("no {call}: {}", run.describe()))?
            .parse()?;
        found.entry(call.into()).or_default().push(value);
    }
    Ok(())
}

fn markdown(report: &Report) -> String {
    let names = || MODES.iter().map(|(_, name)| *name);
    let mut text = format!("| | bare | {} |\n| --- |", names().collect::<Vec<_>>().join(" | "));
    text += &" --- |".repeat(1 + MODES.len());
    // Writing to a string cannot fail.
    for (call, title, unit) in CALLS {
        let _ = write!(text, "\n| {title} |");
        for mode in std::iter::once("bare").chain(names()) {
            let _ = write!(text, " {:.2} |", report.calls_ns[mode][call] / unit);
        }
    }
    text += "\n| Lua, ratio to `make -j2` without termite | 1 |";
    for mode in names() {
        let _ = write!(text, " {:.2} |", median(report.lua[mode].iter().copied()));
    }
    text + "\n"
}
