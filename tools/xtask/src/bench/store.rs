//! What a worker keeps in its store after a build: that grows with what was used, not with
//! the number of slots.

use super::builds::Builds;
use super::table::{Goal, Row};
use super::{Bench, MIB};
use anyhow::{Context, Result};
use rustix::fs::statvfs;
use rustix::process::Pid;
use std::path::Path;
use termite_e2e::project::Kind;
use termite_e2e::{Client, Fleet, Project, Way, bare};

/// Memory of an inode and its name, which tmpfs does not count (as workerd reckons).
const INODE: u64 = 1 << 10;

/// What is used of a store.
#[derive(Clone, Copy, Default)]
struct Used {
    bytes: u64,
    inodes: u64,
}

/// Eight slots against one, after Redis.
pub(super) fn by_slots(bench: &Bench) -> Result<Vec<Row>> {
    let project = Project::new(&bench.scene, "store", Kind::Redis)?;
    let mut all = Vec::new();
    for slots in [1, 8] {
        let fleet = Fleet::start_with(&bench.scene, 1, slots, &["--store-dir", bare::STORE])?;
        let client = Client::new(&bench.scene, &format!("store{slots}"), &fleet.addresses())?;
        let builds = Builds::new(&project, slots)?;
        builds.build(&client, Some(Way::Env), &[])?;
        client.all_remote(project.dir())?;
        all.push(used(bench.scene.find("workerd"))?);
        client.stop()?;
        fleet.stop()?;
        project.renew()?;
    }
    let [one, eight] = all[..] else {
        unreachable!("two fleets")
    };
    let name = "store with eight slots, of that with one, same client, after Redis";
    let ratio = eight.memory() / one.memory();
    Ok(vec![Row::new(name, "", vec![ratio], Goal::AtMost(1.25)).note(format!(
        "{:.1} MiB of content and {} inodes against {:.1} and {}; an inode counts 1 KiB",
        eight.bytes as f64 / MIB,
        eight.inodes,
        one.bytes as f64 / MIB,
        one.inodes
    ))])
}

impl Used {
    fn memory(self) -> f64 {
        (self.bytes + self.inodes * INODE) as f64
    }
}

/// What the one worker among these processes uses of both its file systems; its supervisor
/// does not see them.
fn used(processes: impl IntoIterator<Item = Pid>) -> Result<Used> {
    let of = |pid: Pid| {
        let root = Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join("root");
        let store = root.join(bare::STORE.trim_start_matches('/'));
        let mut used = Used::default();
        for place in [store.clone(), store.join("store/apart")] {
            let stat = statvfs(&place).ok()?;
            used.bytes += (stat.f_blocks - stat.f_bfree) * stat.f_frsize;
            used.inodes += stat.f_files - stat.f_ffree;
        }
        Some(used)
    };
    processes
        .into_iter()
        .find_map(of)
        .context("no process of the worker shows its store")
}
