//! The ways in which termite runs a build, for tests that must hold in all of them: who
//! serves the files of a job, and whether the worker is embedded or one of two in bare
//! roots. Starts them; does not know what is built.

use crate::fleet::{Fleet, has_fuse};
use crate::scene::Scene;
use crate::{Client, Outcome};
use anyhow::{Result, ensure};
use std::fmt;
use std::fs;

/// A rule that is built in may keep flock(1) on the client, where it proves nothing of jobs.
const LOCKS_ARE_JOBS: &str = "[[rule]]\nregex = \"flock \"\nrun = \"remote\"\n";

/// How jobs run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// A value of `--fault`.
    pub fault: &'static str,
    /// Where jobs run.
    pub place: Topology,
}

/// Where jobs run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topology {
    /// In the client's daemon, `TERMITE_WORKERS` being unset.
    Embedded,
    /// On two workers in bare roots.
    TwoWorkers,
}

/// A client whose jobs run in one mode.
pub struct Running<'a> {
    /// The user of the daemon.
    pub client: Client<'a>,
    fleet: Option<Fleet>,
}

impl Mode {
    /// Every way of serving files that the user of the scene has on this host, at this place.
    pub fn all(scene: &Scene, place: Topology) -> Result<Vec<Self>> {
        let mut faults = vec!["shim,guard", "guard"];
        if may_use_fuse(scene)? {
            faults.push("fuse");
        }
        Ok(faults.into_iter().map(|fault| Self { fault, place }).collect())
    }

    /// Starts workers, if they are not embedded, and gives a client `slots` slots in all.
    pub fn start(self, scene: &Scene, slots: usize) -> Result<Running<'_>> {
        let fleet = match self.place {
            Topology::Embedded => None,
            Topology::TwoWorkers => Some(Fleet::start_with(
                scene,
                2,
                slots.div_ceil(2),
                &["--fault", self.fault],
            )?),
        };
        let addresses = fleet.as_ref().map(Fleet::addresses).unwrap_or_default();
        let client = Client::new(scene, &self.to_string(), &addresses)?;
        // Only embedded workers use the settings of the user.
        let config = client.home().join("config/termite");
        fs::create_dir_all(&config)?;
        fs::write(
            config.join("config.toml"),
            format!("fault = {:?}\nslots = {slots}\n{LOCKS_ARE_JOBS}", self.fault),
        )?;
        scene.give(&config)?;
        Ok(Running { client, fleet })
    }
}

/// The device may be there for root alone.
fn may_use_fuse(scene: &Scene) -> Result<bool> {
    let mut command = scene.command("/usr/bin/test");
    let is_open = command
        .args(["-r", "/dev/fuse", "-a", "-w", "/dev/fuse"])
        .status()?
        .success();
    if !is_open && has_fuse()? {
        println!("user {} may not use /dev/fuse", scene.uid());
    }
    Ok(is_open)
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Topology::Embedded => "embedded",
            Topology::TwoWorkers => "workers",
        };
        write!(f, "{place}-{}", self.fault.replace(',', "-"))
    }
}

impl Running<'_> {
    /// Ends the daemon and the workers, which must end well.
    pub fn stop(self) -> Result<()> {
        self.client.stop()?;
        self.fleet.map_or(Ok(()), Fleet::stop)
    }

    /// An error unless some job of the build by `termite-env` that ended like this ran on a
    /// worker. The overlay of an ordinary user moves no directories, so that all jobs of a
    /// small build may have to run on the client there.
    pub fn check_ran_on_workers(&self, scene: &Scene, build: &Outcome) -> Result<()> {
        let said = build.err();
        let summary = said.lines().rfind(|line| line.starts_with("termite: "));
        let is_right = summary.is_some_and(|line| !scene.is_root() || !line.contains(", 0 on the fleet"));
        ensure!(is_right, "no job ran on a worker: {}", build.describe());
        Ok(())
    }
}
