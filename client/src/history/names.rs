//! What people call a job: by its whole id, by the beginning of it, or by its number in the last
//! build. Knows the builds that are kept.

use super::{History, newest};
use std::io;
use std::path::{Path, PathBuf};
use termite_types::JobId;

/// Ids of builds that are shown where a name fits several.
const SHOWN: usize = 3;

/// Why a name leads to no job.
#[derive(Debug, thiserror::Error)]
pub enum NoSuchJob {
    /// It is no name of one.
    #[error(
        "{0} is no job: a job is BUILD.N, where the beginning of BUILD will do, or N of the last build here; \
         `termite explain` lists those"
    )]
    NoName(String),
    /// There is no last build.
    #[error("no build under {} is known", .0.display())]
    NoBuild(PathBuf),
    /// No build's id begins so.
    #[error("no build is known whose id begins with {0}; `termite explain` shows that of the last one")]
    Unknown(String),
    /// Those of several do.
    #[error("{beginning} may be any of {fitting}; write more of it")]
    Ambiguous {
        /// As it was given.
        beginning: String,
        /// Some of the builds.
        fitting: String,
    },
    /// The history is not to be had.
    #[error("the history cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

impl History {
    /// The job that somebody means in `directory`. It need not be kept.
    pub fn job_called(&self, name: &str, directory: &Path) -> Result<JobId, NoSuchJob> {
        let no_name = || NoSuchJob::NoName(name.to_owned());
        let (beginning, number) = match name.split_once('.') {
            Some((beginning, number)) => (Some(beginning), number),
            None => (None, name),
        };
        let number: u32 = number.parse().map_err(|_| no_name())?;
        let builds = self.builds()?;
        let Some(beginning) = beginning else {
            let build = newest(builds, directory).ok_or_else(|| NoSuchJob::NoBuild(directory.to_owned()))?;
            let build = build.build.parse().map_err(|_| no_name())?;
            return Ok(JobId { build, number });
        };
        if beginning.is_empty() || !beginning.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(no_name());
        }
        let beginning = beginning.to_ascii_lowercase();
        let mut fitting = builds.iter().map(|build| build.build.as_str());
        let fitting: Vec<&str> = fitting.by_ref().filter(|build| build.starts_with(&beginning)).collect();
        match fitting[..] {
            [] => Err(NoSuchJob::Unknown(beginning)),
            [build] => Ok(JobId {
                build: build.parse().map_err(|_| no_name())?,
                number,
            }),
            _ => Err(NoSuchJob::Ambiguous {
                beginning,
                fitting: fitting[..fitting.len().min(SHOWN)].join(", "),
            }),
        }
    }
}
