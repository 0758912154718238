//! Checks of the hook table from outside: against libc's exports, against the library's
//! own, and against the counters that the programs raised. Knows no hook's meaning.

use crate::exports::{Functions, Reviewed};
use crate::program::{Binaries, Ordinary, Program, sources};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Exports of libc that look like twins of a hooked function and need no hook.
const NO_TWINS: &[(&str, &str)] = &[
    ("__mktemp", "private to libc, whose own calls no preloaded library sees"),
    ("__fstat64", "private to libc"),
    ("__mmap", "private to libc"),
    ("__sigaction", "not what make calls, for which sigaction is hooked"),
    ("openat2", "left to the guard, as exports.txt says"),
];

/// What the twins of a function would be called: wide (`64`), at a descriptor (`at`),
/// checked (`_2`, `_chk`), of another structure (`x`), not following links (`l`), and
/// the older spellings with `__` and `_IO_`.
fn twins(name: &str) -> Vec<String> {
    let core = name.trim_start_matches("_IO_").trim_start_matches('_');
    let core = core.trim_end_matches("_chk").trim_end_matches("_2");
    let plain = core.strip_suffix("64").unwrap_or(core);
    let mut names = vec![format!("{plain}at2")];
    let stems = ["{}", "x{}", "lx{}", "fx{}at", "{}at", "x{}at", "f{}at", "l{}"].map(|form| form.replace("{}", plain));
    for base in stems.iter().flat_map(|stem| [stem.clone(), format!("{stem}64")]) {
        names.extend(["", "_2", "_chk"].map(|end| format!("__{base}{end}")));
        names.extend([format!("_IO_{base}"), base]);
    }
    names
}

/// What `nm` says about the names that a dynamic library defines.
fn defined(library: &Path) -> Result<String> {
    let out = Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(library)
        .output()
        .context("cannot run nm")?;
    ensure!(
        out.status.success(),
        "nm {}: {}",
        library.display(),
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Names that a dynamic library defines.
pub fn exports(library: &Path) -> Result<BTreeSet<String>> {
    let text = defined(library)?;
    let names = text.lines().filter_map(|line| line.split_whitespace().nth(2));
    Ok(names
        .filter_map(|name| name.split('@').next())
        .map(str::to_owned)
        .collect())
}

/// Names that a dynamic library takes from others.
fn imports(library: &Path) -> Result<BTreeSet<String>> {
    let out = Command::new("nm")
        .args(["-D", "--undefined-only"])
        .arg(library)
        .output()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.split_whitespace().last());
    Ok(names
        .filter_map(|name| name.split('@').next())
        .map(str::to_owned)
        .collect())
}

/// The rows of the library's hook table, in order.
pub fn rows(library: &Path, binaries: &Binaries) -> Result<Vec<String>> {
    let out = Command::new(binaries.path("names")).arg(library).output()?;
    ensure!(
        out.status.success(),
        "termite_hook_names: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

/// Where this machine's libc is.
fn libc() -> Result<std::path::PathBuf> {
    let out = Command::new("cc")
        .arg("-print-file-name=libc.so.6")
        .output()
        .context("cannot run cc")?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().into())
}

/// Every row is a function of libc and an export of the library; the library exports
/// nothing else of libc's and needs libc alone.
pub fn symbols(library: &Path, rows: &[String]) -> Result<()> {
    let (libc, own) = (exports(&libc()?)?, exports(library)?);
    let strange: Vec<_> = rows.iter().filter(|row| !libc.contains(*row)).collect();
    ensure!(strange.is_empty(), "libc does not export {strange:?}");
    let lost: Vec<_> = rows.iter().filter(|row| !own.contains(*row)).collect();
    ensure!(lost.is_empty(), "rows that the library does not export: {lost:?}");
    let silent: Vec<_> = own
        .iter()
        .filter(|name| libc.contains(*name) && !rows.contains(name))
        .collect();
    ensure!(
        silent.is_empty(),
        "functions of libc that the library replaces without a row: {silent:?}"
    );
    let weak = [
        "_ITM_deregisterTMCloneTable",
        "_ITM_registerTMCloneTable",
        "__gmon_start__",
        "__cxa_finalize",
        "__tls_get_addr",
    ];
    let foreign: Vec<_> = imports(library)?
        .into_iter()
        .filter(|name| !libc.contains(name) && !weak.contains(&name.as_str()))
        .collect();
    ensure!(foreign.is_empty(), "not from libc: {foreign:?}");
    let hooked: Vec<_> = imports(library)?
        .into_iter()
        .filter(|name| rows.contains(name))
        .collect();
    ensure!(hooked.is_empty(), "the library calls what it hooks: {hooked:?}");
    Ok(())
}

/// No twin of a hooked function is left without a hook.
pub fn no_twin_missing(rows: &[String]) -> Result<()> {
    let libc = exports(&libc()?)?;
    let mut missing = BTreeMap::new();
    for row in rows {
        for twin in twins(row) {
            if libc.contains(&twin) && !rows.contains(&twin) && NO_TWINS.iter().all(|(name, _)| *name != twin) {
                missing.insert(twin, row);
            }
        }
    }
    ensure!(
        missing.is_empty(),
        "exports of libc that are twins of a row (twin: row): {missing:?}"
    );
    Ok(())
}

/// Each function that libc exports is a row, or has its place in the reviewed list.
pub fn every_export_is_reviewed(rows: &[String]) -> Result<()> {
    let list = sources().join("exports.txt");
    let text = std::fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let reviewed = Reviewed::parse(&text).with_context(|| list.display().to_string())?;
    reviewed.compare(&Functions::parse(&defined(&libc()?)?)?, rows)
}

/// Each row is named by a program, and the programs name nothing that is no row.
pub fn every_row_has_a_test(rows: &[String], programs: &[Program]) -> Result<()> {
    let named: BTreeSet<_> = programs.iter().flat_map(|program| &program.hooks).collect();
    let bare: Vec<_> = rows.iter().filter(|row| !named.contains(row)).collect();
    ensure!(bare.is_empty(), "hooks that no program names: {bare:?}");
    let stale: Vec<_> = named.iter().filter(|name| !rows.contains(name)).collect();
    ensure!(stale.is_empty(), "named by a program, but no hook: {stale:?}");
    Ok(())
}

/// Each program raised the counter of every hook that it names. `privileged`: whoever
/// runs the tests is root, whose jobs are all run in slots.
pub fn every_counter_rose(
    rows: &[String],
    programs: &[Program],
    hits: &BTreeMap<String, Vec<u32>>,
    privileged: bool,
) -> Result<()> {
    let mut still = Vec::new();
    let in_slot = |program: &&Program| privileged || program.ordinary == Ordinary::Same;
    for program in programs.iter().filter(in_slot) {
        let counters = hits
            .get(&program.family)
            .with_context(|| format!("{} left no counters", program.family))?;
        for hook in &program.hooks {
            let row = rows.iter().position(|row| row == hook);
            if row.is_some_and(|row| counters.get(row).is_none_or(|count| *count == 0)) {
                still.push(format!("{}: {hook}", program.family));
            }
        }
    }
    ensure!(still.is_empty(), "counters that did not rise: {}", still.join(", "));
    Ok(())
}
