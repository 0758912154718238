//! The modes in which a program is run: what each one puts in front of it. Knows no program.

use crate::fleet::{Fleet, Prefix};
use crate::owner::{ENVIRONMENT, Owner};
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// How a program is run.
#[derive(Debug)]
pub enum Mode<'a> {
    /// Just so.
    Bare,
    /// On the client with the shim preloaded and this `TERMITE_MODE`, which must not change anything.
    Preloaded(&'a Path, &'static str),
    /// As a job.
    Job(&'a Fleet),
}

impl Mode<'_> {
    /// The command that runs `program` with `args` for `owner`, and copies the slot's hit
    /// counters to `hits` where the program knows how to.
    pub fn command(&self, owner: Owner, program: &Path, args: &[&str], hits: &Path) -> Command {
        match self {
            Mode::Bare | Mode::Preloaded(..) => {
                let mut command = owner.command(program);
                command.args(args).env_clear().envs(ENVIRONMENT);
                if let Mode::Preloaded(shim, word) = self {
                    command.env("LD_PRELOAD", shim).env("TERMITE_MODE", word);
                }
                command
            }
            Mode::Job(fleet) => {
                let mut command = fleet.job(program, args);
                command.env("TERMITE_TEST_HITS", hits);
                command
            }
        }
    }
}

/// What this host allows, by the names that `TERMITE_REQUIRE` uses.
#[derive(Debug)]
pub struct Host {
    /// Why a mode is not there; those that are have no entry.
    absent: BTreeMap<&'static str, String>,
}

impl Host {
    /// Tries everything out.
    pub fn probe(prefix: Option<&Prefix>, scratch: &Path) -> Self {
        let mut absent = BTreeMap::new();
        let nested = Owner::Ordinary(1000).command(Path::new("/usr/bin/unshare"));
        let mut nested = if rustix::process::geteuid().is_root() {
            nested
        } else {
            Command::new("/usr/bin/unshare")
        };
        match nested
            .args(["--user", "--map-root-user", "--mount", "true"])
            .current_dir("/")
            .output()
        {
            Ok(out) if out.status.success() => {}
            Ok(out) => drop(absent.insert("userns", String::from_utf8_lossy(&out.stderr).trim().to_owned())),
            Err(why) => drop(absent.insert("userns", format!("unshare: {why}"))),
        }
        for mode in JOB_MODES {
            let tried = match prefix {
                None => Err(anyhow::anyhow!(
                    "no installation: run `cargo xtask build`, or set TERMITE_PREFIX"
                )),
                Some(prefix) => try_fleet(prefix, &scratch.join(format!("try-{mode}")), fault(mode)),
            };
            if let Err(why) = tried {
                absent.insert(mode, format!("{why:#}"));
            }
        }
        Host { absent }
    }

    /// Why the mode is not there.
    pub fn lacks(&self, mode: &str) -> Option<&str> {
        self.absent.get(mode).map(String::as_str)
    }

    /// All modes that are not there, with the reason.
    pub fn absent(&self) -> impl Iterator<Item = (&str, &str)> {
        self.absent.iter().map(|(mode, why)| (*mode, why.as_str()))
    }
}

/// The modes in which a program is a job.
pub const JOB_MODES: [&str; 3] = ["shim", "guard", "fuse"];

/// The word of `workerd --fault` for a mode.
pub fn fault(mode: &str) -> &'static str {
    match mode {
        "guard" => "guard",
        "fuse" => "fuse",
        _ => "shim,guard",
    }
}

fn try_fleet(prefix: &Prefix, dir: &Path, fault: &str) -> Result<()> {
    let fleet = Fleet::start(prefix, dir, Owner::Tester, fault)?;
    let out = fleet.job(Path::new("/bin/true"), &[]).current_dir(dir).output()?;
    anyhow::ensure!(
        out.status.success(),
        "a job that does nothing: {} {}",
        String::from_utf8_lossy(&out.stderr),
        fleet.log()
    );
    fleet.stop()
}
