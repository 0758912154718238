//! Jobs that all add 1 to one counter, under each kind of lock: none is lost, few run
//! again, and the user is told why. On one machine the lock would keep them apart.

use crate::{makefile, storm, with_fleet};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;
use termite_e2e::{Client, Way};

const JOBS: usize = 200;

/// The built-in rule keeps flock(1) on the client, where it proves nothing of jobs.
const LOCKS_ARE_JOBS: &str = "[[rule]]\nregex = \"flock \"\nrun = \"remote\"\n";

/// Adds 1 to the counter under a lock of it. The file never gets shorter.
const BUMP: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char text[32] = "";
	int counter = open("counter", O_RDWR);

	if (fcntl(counter, F_SETLKW, &lock) != 0)
		return 1;
	if (read(counter, text, sizeof text - 1) < 1)
		return 2;
	usleep(10000);
	int length = snprintf(text, sizeof text, "%d\n", atoi(text) + 1);
	return pwrite(counter, text, length, 0) != length;
}
"#;

fn counter(dir: &Path) -> Result<usize> {
    let text = fs::read_to_string(dir.join("counter"))?;
    text.trim().parse().with_context(|| format!("counter: {text}"))
}

/// Builds all targets from a counter of 0, and returns how many jobs ran again.
fn count(name: &str, client: &Client, dir: &Path) -> Result<u64> {
    fs::write(dir.join("counter"), "0\n")?;
    let make = client.drive(Way::Env, dir, "make").arg("-j64");
    let (made, last) = storm(name, client, dir, make)?;
    let found = counter(dir)?;
    ensure!(found == JOBS, "{found} of {JOBS}: {}", made.describe());
    ensure!(last.jobs.total as usize == JOBS, "{:?}", last.jobs);
    Ok(last.reruns)
}

#[test]
fn locked_by_a_directory() -> Result<()> {
    with_fleet(|scene, client| {
        let dir = scene.dir("p/storm")?;
        let wait = "until mkdir lock 2> /dev/null; do sleep .02; done";
        let add = "read n < counter; sleep .01; echo $$((n + 1)) > counter; rmdir lock";
        fs::write(dir.join("Makefile"), makefile(JOBS, &format!("@{wait}; {add}; : $@")))?;
        let first = count("mkdir", client, &dir)?;
        ensure!(first >= 1, "no job met another one");
        explained(client, &dir)?;
        let second = count("mkdir, known", client, &dir)?;
        ensure!(second == 0, "{second} reruns although history knows the counter");
        client.stop()?;
        let third = count("mkdir, known to a new daemon", client, &dir)?;
        ensure!(third == 0, "{third} reruns after the daemon was started anew");
        Ok(())
    })
}

#[test]
fn locked_by_flock() -> Result<()> {
    with_fleet(|scene, client| {
        let dir = scene.dir("p/storm")?;
        let add = "(flock 9; read n < counter; sleep .01; echo $$((n + 1)) > counter) 9> lock";
        fs::write(dir.join("Makefile"), makefile(JOBS, &format!("@{add}; : $@")))?;
        fs::write(dir.join(".termite.toml"), LOCKS_ARE_JOBS)?;
        count("flock", client, &dir).map(drop)
    })
}

#[test]
fn locked_by_fcntl() -> Result<()> {
    with_fleet(|scene, client| {
        let dir = scene.dir("p/storm")?;
        fs::write(dir.join("bump.c"), BUMP)?;
        client
            .bare(&dir, "gcc")
            .args(["-o", "bump", "bump.c"])
            .run()?
            .success()?;
        fs::write(dir.join("Makefile"), makefile(JOBS, "@./bump; : $@"))?;
        count("fcntl", client, &dir).map(drop)
    })
}

/// A lock on a file of the job's own, as each Java machine takes one, keeps no other job from
/// anything: the jobs list a directory in which all others make files, and none runs again.
#[test]
fn locked_files_of_ones_own() -> Result<()> {
    with_fleet(|scene, client| {
        let dir = scene.dir("p/storm")?;
        let recipe = "@ls > /dev/null; (flock 9; sleep .1; rm own.$@) 9> own.$@; echo > out.$@";
        fs::write(dir.join("Makefile"), makefile(40, recipe))?;
        fs::write(dir.join(".termite.toml"), LOCKS_ARE_JOBS)?;
        let make = client.drive(Way::Env, &dir, "make").arg("-j8");
        let (_, last) = storm("own locks", client, &dir, make)?;
        ensure!(last.reruns == 0, "{} reruns", last.reruns);
        Ok(())
    })
}

/// Each job that ran again names what it met another job at, and that job.
fn explained(client: &Client, dir: &Path) -> Result<()> {
    let build: Value = client.ask(dir, &["explain", "--json"])?;
    let jobs = build["jobs"].as_array().context("no jobs")?;
    let conflicts: Vec<_> = jobs
        .iter()
        .filter_map(|job| job["conflicts"].as_array())
        .flatten()
        .collect();
    ensure!(!conflicts.is_empty(), "no conflict is kept");
    for conflict in conflicts {
        let path = Path::new(conflict["path"].as_str().context("no path")?);
        let names = path == dir || path.parent() == Some(dir);
        ensure!(names && conflict["changed_by"].is_string(), "{conflict}");
    }
    Ok(())
}
