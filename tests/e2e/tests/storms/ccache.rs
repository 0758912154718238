//! `CC="ccache gcc"`: each compile is one job, and all of them update the cache and its
//! statistics in the client's home. Outputs are those of plain gcc, with a cold cache and
//! with a warm one, and no compile is missing in the statistics.

use crate::{storm, with_fleet};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use termite_e2e::project::Kind;
use termite_e2e::reference::{long, same};
use termite_e2e::{Client, Program, Project, Scene, Tree, Way};

/// Compiles of one file each in Lua's makefiles.
const COMPILES: u64 = 34;

/// Numbers of `ccache --print-stats` by name, but for times.
type Statistics = BTreeMap<String, u64>;

/// The statistics are those of the same builds without termite. ccache takes a header for too
/// new to be relied on if its ctime is not before the compile began. In a view that is when
/// the worker got the file, so ccache is told to look at contents alone.
#[test]
fn statistics_are_those_of_a_build_without_termite() -> Result<()> {
    with_fleet(|scene, client| {
        let builds = Builds::new(scene, client, Some("include_file_ctime"))?;
        // A user with a home and a cache of its own.
        let plain = Client::new(scene, "plain", "")?;
        for state in ["cold", "warm"] {
            builds.project.renew()?;
            builds
                .options(plain.bare(builds.project.dir(), "make"))
                .run()?
                .success()?;
            let wanted = statistics(&plain, builds.project.dir())?;
            builds.by_termite(state)?;
            let found = statistics(client, builds.project.dir())?;
            ensure!(found == wanted, "{state}: expected {wanted:#?}\nfound {found:#?}");
        }
        remove_temporary(client)
    })
}

/// ccache as it comes: where it does not rely on a header it compares preprocessed text.
#[test]
fn nothing_is_lost_with_the_defaults_in_the_long_form() -> Result<()> {
    if !long() {
        return Ok(());
    }
    with_fleet(|scene, client| {
        let builds = Builds::new(scene, client, None)?;
        for (state, misses, hits) in [("cold", COMPILES, 0), ("warm", COMPILES, COMPILES)] {
            builds.by_termite(state)?;
            let found = statistics(client, builds.project.dir())?;
            let number = |name: &str| found.get(name).copied().with_context(|| format!("no {name}"));
            let found_hits = number("direct_cache_hit")? + number("preprocessed_cache_hit")?;
            ensure!(
                (number("cache_miss")?, found_hits) == (misses, hits),
                "{state}: {found:#?}"
            );
            let kept = files_below(&client.home().join("cache/ccache"))?;
            ensure!(
                number("files_in_cache")? == kept,
                "{kept} files are in the cache: {found:#?}"
            );
        }
        remove_temporary(client)
    })
}

/// Lua, and what plain gcc makes of it.
struct Builds<'a> {
    client: &'a Client<'a>,
    project: Project<'a>,
    expected: Tree,
    sloppiness: Option<&'static str>,
}

impl<'a> Builds<'a> {
    fn new(scene: &'a Scene, client: &'a Client<'a>, sloppiness: Option<&'static str>) -> Result<Self> {
        let project = Project::new(scene, "release", Kind::Lua)?;
        let (driver, args) = project.command();
        let make = client.bare(project.dir(), driver).args(["-j2", "CC=gcc"]).args(args);
        make.run()?.success()?;
        Ok(Self {
            client,
            expected: project.tree()?,
            project,
            sloppiness,
        })
    }

    fn options(&self, make: Program) -> Program {
        let (_, args) = self.project.command();
        let make = make.args(["-j8", "CC=ccache gcc"]).args(args);
        match self.sloppiness {
            Some(what) => make.env("CCACHE_SLOPPINESS", what),
            None => make,
        }
    }

    fn by_termite(&self, state: &str) -> Result<()> {
        self.project.renew()?;
        let dir = self.project.dir();
        let make = self.options(self.client.drive(Way::Env, dir, "make"));
        storm(&format!("ccache, {state}"), self.client, dir, make)?;
        same(&self.project.tree()?, &self.expected)
    }
}

fn statistics(client: &Client, dir: &Path) -> Result<Statistics> {
    let told = client.bare(dir, "ccache").arg("--print-stats").run()?.success()?.out();
    let number = |line: &str| {
        let (name, value) = line.split_once('\t')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    let all: Statistics = told.lines().filter_map(number).collect();
    ensure!(all.contains_key("cache_miss"), "ccache tells no statistics: {told}");
    Ok(all
        .into_iter()
        .filter(|(name, _)| !name.ends_with("timestamp"))
        .collect())
}

/// Removes ccache's directory of temporary files, in which it keeps the time when it last
/// removed old ones, and nothing else.
fn remove_temporary(client: &Client) -> Result<()> {
    let dir = client.home().join("run/ccache-tmp");
    fs::remove_file(dir.join(".cleaned"))?;
    fs::remove_dir(&dir).with_context(|| format!("something is left in {}", dir.display()))
}

/// Results and manifests in a cache: not its statistics, tags and settings.
fn files_below(dir: &Path) -> Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_content = !["stats", "CACHEDIR.TAG", "ccache.conf"].contains(&name.as_str());
        count += match entry.file_type()?.is_dir() {
            true => files_below(&entry.path())?,
            false => u64::from(is_content),
        };
    }
    Ok(count)
}
