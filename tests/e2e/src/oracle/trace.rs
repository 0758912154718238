//! A job's trace as `termite explain --json` tells it. Knows that command's keys.

use super::random_names::strike_random;
use super::{as_path, observed};
use crate::Client;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// How a path was used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Read,
    Stat,
    Missing,
    Listed,
    Write,
}

/// All uses of paths.
#[derive(Debug, Default)]
pub struct Trace {
    uses: BTreeSet<(Vec<u8>, Kind)>,
    /// The same with the random parts of names struck out.
    struck: BTreeSet<(Vec<u8>, Kind)>,
    /// Listed directories by the kernel's names.
    listed: BTreeSet<Vec<u8>>,
    hashes: BTreeMap<Vec<u8>, String>,
}

#[derive(Deserialize)]
struct Jobs {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    job: String,
    #[serde(rename = "where")]
    site: String,
    reason: String,
}

#[derive(Deserialize)]
struct Explained {
    trace: Option<Vec<Used>>,
}

#[derive(Deserialize)]
struct Used {
    kind: Kind,
    path: String,
    path_hex: Option<String>,
    hash: Option<String>,
}

impl Trace {
    /// Of the one job of the last build in `dir`, which must have run on a worker.
    pub fn of_only_job(client: &Client, dir: &Path) -> Result<Self> {
        let jobs: Jobs = ask(client, dir, &["explain", "--json"])?;
        let [job] = &jobs.jobs[..] else {
            anyhow::bail!("{} jobs in the place of one", jobs.jobs.len());
        };
        ensure!(job.site == "worker", "it ran on the {}: {}", job.site, job.reason);
        let explained: Explained = ask(client, dir, &["explain", &job.job, "--json"])?;
        let mut trace = Self::default();
        for used in explained.trace.context("no trace")? {
            let path = match &used.path_hex {
                Some(hex) => unhex(hex).context("path_hex")?,
                None => used.path.into_bytes(),
            };
            if let Some(hash) = used.hash {
                trace.hashes.insert(path.clone(), hash);
            }
            trace.add(used.kind, &path);
        }
        Ok(trace)
    }

    #[cfg(test)]
    pub fn new(uses: &[(Kind, &str)]) -> Self {
        let mut trace = Self::default();
        uses.iter().for_each(|(kind, path)| trace.add(*kind, path.as_bytes()));
        trace
    }

    fn add(&mut self, kind: Kind, path: &[u8]) {
        let normal = observed::normal(path);
        if kind == Kind::Listed {
            // The kernel follows symlinks before `..`.
            if let Ok(real) = fs::canonicalize(as_path(path)) {
                self.listed.insert(real.into_os_string().into_encoded_bytes());
            }
            self.listed.insert(normal.clone());
        }
        self.struck.insert((strike_random(&normal), kind));
        self.uses.insert((normal, kind));
    }

    /// Number of different records.
    pub fn len(&self) -> usize {
        self.uses.len()
    }

    /// Whether a path was used so.
    pub fn has(&self, kind: Kind, path: &[u8]) -> bool {
        self.uses.contains(&(path.to_vec(), kind))
    }

    /// Whether some path that is equal but for random parts was used so.
    pub fn has_struck(&self, kinds: &[Kind], struck: &[u8]) -> bool {
        kinds.iter().any(|kind| self.struck.contains(&(struck.to_vec(), *kind)))
    }

    /// Whether a directory, by the kernel's name, was listed.
    pub fn lists(&self, path: &[u8]) -> bool {
        self.listed.contains(path)
    }

    /// All kinds of use of a path.
    pub fn kinds(&self, path: &[u8]) -> Vec<Kind> {
        let all = [Kind::Read, Kind::Stat, Kind::Missing, Kind::Listed, Kind::Write];
        all.into_iter().filter(|kind| self.has(*kind, path)).collect()
    }

    /// All paths that were used.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.uses.iter().map(|(path, _)| &path[..])
    }

    /// Hashes that are not those of the files, which nobody but the job has changed.
    pub fn wrong_hashes(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (path, hash) in &self.hashes {
            if self.has(Kind::Write, &observed::normal(path)) {
                continue;
            }
            match fs::read(as_path(path)) {
                Ok(content) if blake3::hash(&content).to_hex().as_str() == hash => {}
                Ok(_) => wrong.push(format!("{:?}: not the hash of its content", as_path(path))),
                Err(error) => wrong.push(format!("{:?}: has a hash and cannot be read: {error}", as_path(path))),
            }
        }
        wrong
    }
}

fn ask<T: for<'de> Deserialize<'de>>(client: &Client, dir: &Path, arguments: &[&str]) -> Result<T> {
    let outcome = client.termite(dir, arguments).run()?.success()?;
    serde_json::from_slice(&outcome.stdout).with_context(|| format!("reading {}", outcome.describe()))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}
