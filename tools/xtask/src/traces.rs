//! What termite could leave behind on a machine: processes, mounts, files in the
//! user's own directories. Takes two looks and compares; removes nothing.

use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// One look.
#[derive(Debug)]
pub(crate) struct Traces(BTreeSet<String>);

impl Traces {
    /// Looks at the machine as it is.
    pub(crate) fn now() -> Result<Self> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir("/proc")? {
            let process = entry?.path();
            // A process that ends while we look leaves nothing; neither does one that has
            // ended and waits for its parent to notice, which has no program any more.
            let (Ok(name), Ok(_)) = (
                fs::read_to_string(process.join("comm")),
                fs::read_link(process.join("exe")),
            ) else {
                continue;
            };
            if ["termite", "workerd"].iter().any(|part| name.contains(part)) {
                found.insert(format!("process {}", name.trim()));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        found.extend(mounts.lines().map(|line| format!("mount {line}")));
        for dir in places() {
            add(&dir, &mut found);
        }
        Ok(Self(found))
    }

    /// An error that tells what has come or gone since `before`.
    pub(crate) fn same_as(&self, before: &Self) -> Result<()> {
        let come = self.0.difference(&before.0).map(|trace| format!("come: {trace}"));
        let gone = before.0.difference(&self.0).map(|trace| format!("gone: {trace}"));
        let changed: Vec<_> = come.chain(gone).collect();
        if !changed.is_empty() {
            bail!("changed by the tests:\n{}", changed.join("\n"));
        }
        Ok(())
    }
}

/// Directories that termite uses where no test has given it others.
fn places() -> Vec<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let xdg = |name: &str, else_below: &str| env::var_os(name).map_or_else(|| home.join(else_below), PathBuf::from);
    let mut places = vec![
        xdg("XDG_CACHE_HOME", ".cache").join("termite"),
        xdg("XDG_STATE_HOME", ".local/state").join("termite"),
        xdg("XDG_CONFIG_HOME", ".config").join("termite"),
    ];
    places.extend(env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("termite")));
    let temporary = fs::read_dir(env::temp_dir())
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("termite") || name.starts_with("te2e") && !name.ends_with(".lock")
    };
    places.extend(temporary.filter(named));
    places
}

/// Adds everything at and below `path`, if there is anything. Symlinks are not followed: a
/// test's own may lead in a circle, or out.
fn add(path: &Path, found: &mut BTreeSet<String>) {
    let Ok(stat) = fs::symlink_metadata(path) else {
        return;
    };
    found.insert(format!("file {}", path.display()));
    if !stat.is_dir() {
        return;
    }
    let entries = fs::read_dir(path).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .for_each(|path| add(&path, found));
}
