//! Rules of the project say where a job runs, in the present form and in that of the
//! old Termite.

use anyhow::{Result, ensure};
use std::fs;
use termite_e2e::project::write_all;
use termite_e2e::{Client, Fleet, Scene, User, Way};

const MAKEFILE: &str = "all: here there\nhere there:\n\t@echo $@ > $@\n";
const RULES: [(&str, &str); 2] = [
    (".termite.toml", "[[rule]]\nregex = \"echo here\"\nrun = \"local\"\n"),
    (
        ".termite-localrc",
        "# old\n[{\"Regexp\": \".*echo here.*\", \"Local\": true, \"Recurse\": false}]\n",
    ),
];

#[test]
fn a_rule_keeps_a_job_at_home() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 1, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    for (number, (name, text)) in RULES.into_iter().enumerate() {
        let dir = scene.dir(&format!("p/rules{number}"))?;
        write_all(
            &dir,
            &[("Makefile".into(), MAKEFILE.into()), (name.into(), text.into())],
        )?;
        scene.give(&dir)?;
        let outcome = client.drive(Way::Env, &dir, "make").run()?.success()?;
        let jobs = client.last(&dir)?.jobs;
        ensure!(
            (jobs.local, jobs.remote) == (1, 1),
            "{name}: {jobs:?}\n{}",
            outcome.describe()
        );
        ensure!(
            fs::read_to_string(dir.join("here"))? == "here\n" && fs::exists(dir.join("there"))?,
            "{name}"
        );
    }
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}
