//! Jobs that each add a member to one archive, without a lock. On one machine members
//! would be lost; jobs lose none, since `ar` reads the archive that it replaces.

use crate::{makefile, storm, with_fleet};
use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use termite_e2e::{Client, Way};

const JOBS: usize = 200;

/// Makes `t0.o`, `t1.o` and so on, each with a symbol of its own. `$0` is the number of them.
const MEMBERS: &str = "for n in $(seq 0 $(($0 - 1))); do \
                       printf '.globl f%s\\nf%s: .long %s\\n' $n $n $n | as -o t$n.o - || exit; done";

#[test]
fn every_member_is_in_the_archive() -> Result<()> {
    with_fleet(|scene, client| {
        let dir = scene.dir("p/storm")?;
        let jobs = JOBS.to_string();
        client.bare(&dir, "sh").args(["-c", MEMBERS, &jobs]).run()?.success()?;
        fs::write(dir.join("Makefile"), makefile(JOBS, "@ar r lib.a $@.o"))?;
        let make = client.drive(Way::Env, &dir, "make").arg("-j64");
        let (_, last) = storm("archive", client, &dir, make)?;
        ensure!(last.jobs.total as usize == JOBS, "{:?}", last.jobs);
        check_members(client, &dir)?;
        check_index(client, &dir)
    })
}

/// The archive has each member once, with the content of its file.
fn check_members(client: &Client, dir: &Path) -> Result<()> {
    let listed = client.bare(dir, "ar").args(["t", "lib.a"]).run()?.success()?.out();
    let mut found: Vec<_> = listed.lines().map(str::to_owned).collect();
    found.sort();
    let names: BTreeSet<_> = (0..JOBS).map(|number| format!("t{number}.o")).collect();
    ensure!(names.iter().eq(&found), "members: {found:?}");
    let out = dir.join("out");
    fs::create_dir(&out)?;
    client.bare(&out, "ar").args(["x", "../lib.a"]).run()?.success()?;
    for name in &names {
        ensure!(fs::read(out.join(name))? == fs::read(dir.join(name))?, "{name} differs");
    }
    Ok(())
}

/// The archive's index leads from each symbol to its member.
fn check_index(client: &Client, dir: &Path) -> Result<()> {
    let listed = client.bare(dir, "nm").args(["-s", "lib.a"]).run()?.success()?.out();
    let found: BTreeSet<_> = listed.lines().filter(|line| line.contains(" in ")).collect();
    let expected: Vec<_> = (0..JOBS).map(|number| format!("f{number} in t{number}.o")).collect();
    ensure!(
        found.len() == JOBS && expected.iter().all(|line| found.contains(line.as_str())),
        "index: {found:?}"
    );
    Ok(())
}
