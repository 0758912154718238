//! What `termite explain` says of a job: the JSON, and the same for people. Knows neither
//! files nor the command line.

use crate::history::{BuildRecord, ConflictRecord, JobRecord, Site};
use crate::report::{line, one_line};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use termite_types::{TraceItem, Use};

/// One job: the keys of [`JobRecord`], and its trace.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Explained {
    /// Everything else.
    #[serde(flatten)]
    pub job: JobRecord,
    /// What it used, in order of first use; null where it did not end on a worker.
    pub trace: Option<Vec<Used>>,
}

/// One use of a path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Used {
    /// How.
    pub kind: Kind,
    /// As the job spelled it, made absolute.
    pub path: String,
    /// Its bytes in hex, where they are no UTF-8 and `path` only comes near.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_hex: Option<String>,
    /// BLAKE3 of the content that was read, where known, in hex.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hash: Option<String>,
}

/// How a path was used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Opened for reading, or executed.
    Read,
    /// Found: attributes or link target looked at, or entered.
    Stat,
    /// Looked up in vain.
    Missing,
    /// A directory opened for its names.
    Listed,
    /// Created, changed, renamed or removed.
    Write,
}

/// The jobs of a build.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Jobs {
    /// Id of the build.
    pub build: String,
    /// Where it ran.
    pub cwd: PathBuf,
    /// Those that are kept, in the order of their numbers.
    pub jobs: Vec<JobRecord>,
}

/// Some of the jobs of a build.
#[derive(Clone, Copy, Default, Debug)]
pub struct Selection {
    /// Only those that ran on the client.
    pub local: bool,
    /// Only those that failed.
    pub failed: bool,
    /// Those that took longest first.
    pub slow: bool,
}

impl Explained {
    /// A job as the history holds it.
    pub fn new(job: JobRecord, trace: &[TraceItem]) -> Self {
        let trace = job.traced.then(|| trace.iter().map(used).collect());
        Self { job, trace }
    }

    /// All of it, a line for each thing.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let job = &self.job;
        line(&mut text, "job", &job.job);
        line(&mut text, "command", &one_line(&job.command));
        line(&mut text, "directory", &job.cwd);
        line(&mut text, "ran", &place(job));
        line(&mut text, "because", &job.reason);
        for attempt in &job.attempts {
            line(&mut text, "tried in vain", attempt);
        }
        for conflict in &job.conflicts {
            line(&mut text, "ran again", &reason(conflict));
        }
        if let Some(why) = &job.commit_fault {
            line(&mut text, "half committed", why);
        }
        line(&mut text, "ended", &ending(job));
        line(&mut text, "waited for a slot", &format!("{:.3} s", job.waited_s));
        line(&mut text, "took in all", &format!("{:.3} s", job.wall_s));
        let Some(trace) = &self.trace else {
            line(&mut text, "trace", "none: only a job that ended on a worker has one");
            return text;
        };
        let costs = format!(
            "{:.3} s, {:.3} s of processor time, {} calls through the guard, {} fetches, {} prefetched",
            job.worker_s, job.cpu_s, job.guard_faults, job.fetches, job.prefetched
        );
        line(&mut text, "on the worker", &costs);
        line(&mut text, "time", &job.phases.to_string());
        line(&mut text, "trace", &format!("{} uses of paths", trace.len()));
        for used in trace {
            let hash = used
                .hash
                .as_ref()
                .map(|hash| format!("  {}", &hash[..16.min(hash.len())]));
            let path = used.path.escape_debug();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {:<8} {path}{}", used.kind.name(), hash.unwrap_or_default());
        }
        text
    }
}

impl Jobs {
    /// The jobs of a build as the history holds them.
    pub fn new(build: BuildRecord, jobs: Vec<JobRecord>) -> Self {
        Self {
            build: build.build,
            cwd: build.cwd,
            jobs,
        }
    }

    /// Some of them.
    pub fn select(mut self, selection: Selection) -> Self {
        let failed = |job: &JobRecord| {
            job.exit.is_some_and(|status| status != 0) || job.signal.is_some() || job.commit_fault.is_some()
        };
        self.jobs
            .retain(|job| (!selection.local || job.site == Site::Client) && (!selection.failed || failed(job)));
        if selection.slow {
            self.jobs.sort_by(|a, b| b.wall_s.total_cmp(&a.wall_s));
        }
        self
    }

    /// A line for each job.
    pub fn render(&self) -> String {
        let mut text = String::new();
        line(&mut text, "build", &self.build);
        line(&mut text, "directory", &self.cwd.display().to_string());
        if self.jobs.is_empty() {
            line(&mut text, "jobs", "none");
        }
        for job in &self.jobs {
            let command = one_line(&job.command);
            let says = format!("{}, {}, {:.3} s: {command}", place(job), ending(job), job.wall_s);
            line(&mut text, &job.job, &says);
        }
        text
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Stat => "stat",
            Self::Missing => "missing",
            Self::Listed => "listed",
            Self::Write => "write",
        }
    }
}

fn reason(conflict: &ConflictRecord) -> String {
    let ConflictRecord {
        path,
        path_hex: _,
        seen,
        found,
        changed_by,
    } = conflict;
    let by = match changed_by {
        Some(job) => format!("job {job}"),
        None => "something outside of the build".to_owned(),
    };
    let path = path.escape_debug();
    format!("{path}: it saw {seen}, at its commit there was {found}; changed by {by}")
}

fn place(job: &JobRecord) -> String {
    match (job.site, &job.worker) {
        (Site::Worker, Some(worker)) => format!("on {worker}"),
        (Site::Worker, None) => "on a worker".to_owned(),
        (Site::Client, _) => "on the client".to_owned(),
        (Site::Driver, _) => "on the client, as a driver".to_owned(),
        (Site::Nowhere, _) => "nowhere to its end".to_owned(),
    }
}

fn ending(job: &JobRecord) -> String {
    match (job.exit, job.signal) {
        (Some(status), _) => format!("exit {status}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "status not known here".to_owned(),
    }
}

fn used(item: &TraceItem) -> Used {
    let bytes = item.path.as_os_str().as_bytes();
    let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Used {
        kind: match item.used {
            Use::Read(_) => Kind::Read,
            Use::Stat => Kind::Stat,
            Use::Missing => Kind::Missing,
            Use::Listed => Kind::Listed,
            Use::Write => Kind::Write,
        },
        path: item.path.to_string_lossy().into_owned(),
        path_hex: std::str::from_utf8(bytes).is_err().then(hex),
        hash: item.used.content().map(|hash| hash.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Phases;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use termite_types::BlobHash;

    fn conflict(path: &str, by: Option<&str>) -> ConflictRecord {
        ConflictRecord {
            path: path.into(),
            path_hex: None,
            seen: "3 bytes".into(),
            found: "4 bytes".into(),
            changed_by: by.map(str::to_owned),
        }
    }

    fn example() -> Explained {
        let job = JobRecord {
            job: "00000000000000ab.3".into(),
            command: "gcc -c x.c".into(),
            program: "/usr/bin/gcc".into(),
            argv: vec!["gcc".into(), "-c".into(), "x.c".into()],
            cwd: "/p".into(),
            site: Site::Worker,
            worker: Some("unix:/w".into()),
            reason: "rule .termite.toml:3".into(),
            attempts: vec!["unix:/v: lost".into()],
            conflicts: vec![conflict("/p/n", None), conflict("/p/m", Some("00000000000000ab.2"))],
            commit_fault: Some("cannot make /p/d: full".into()),
            exit: Some(1),
            signal: None,
            started_unix_ms: 5,
            waited_s: 0.5,
            wall_s: 2.0,
            worker_s: 1.25,
            cpu_s: 1.0,
            guard_faults: 4,
            fetches: 2,
            prefetched: 7,
            phases: Phases {
                run_s: 1.25,
                ..Phases::default()
            },
            traced: true,
        };
        let item = |used, path: &[u8]| TraceItem {
            path: OsString::from_vec(path.to_vec()).into(),
            used,
        };
        let trace = [
            item(Use::Read(Some(BlobHash([0xab; 32]))), b"/p/x.c"),
            item(Use::Missing, b"/p/\xff"),
        ];
        Explained::new(job, &trace)
    }

    #[test]
    fn the_keys_of_explain_are_the_contract() {
        let expected = serde_json::json!({
            "job": "00000000000000ab.3", "command": "gcc -c x.c", "program": "/usr/bin/gcc",
            "argv": ["gcc", "-c", "x.c"], "cwd": "/p", "where": "worker", "worker": "unix:/w",
            "reason": "rule .termite.toml:3", "attempts": ["unix:/v: lost"], "exit": 1, "signal": null,
            "commit_fault": "cannot make /p/d: full",
            "conflicts": [
                {"path": "/p/n", "seen": "3 bytes", "found": "4 bytes", "changed_by": null},
                {"path": "/p/m", "seen": "3 bytes", "found": "4 bytes", "changed_by": "00000000000000ab.2"},
            ],
            "started_unix_ms": 5, "waited_s": 0.5, "wall_s": 2.0, "worker_s": 1.25, "cpu_s": 1.0,
            "guard_faults": 4, "fetches": 2, "brought": 7, "traced": true,
            "phases": {
                "wait_s": 0.0, "bring_s": 0.0, "start_s": 0.0, "run_s": 1.25, "harvest_s": 0.0, "commit_s": 0.0,
            },
            "trace": [
                {"kind": "read", "path": "/p/x.c", "hash": "ab".repeat(32)},
                {"kind": "missing", "path": "/p/\u{fffd}", "path_hex": "2f702fff"},
            ],
        });
        let json = serde_json::to_value(example()).unwrap();
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Explained>(json).unwrap(), example());
    }

    #[test]
    fn people_see_where_why_and_what() {
        let text = example().render();
        for part in [
            "on unix:/w",
            "rule .termite.toml:3",
            "unix:/v: lost",
            "/p/n: it saw 3 bytes, at its commit there was 4 bytes; changed by something outside",
            "/p/m: it saw 3 bytes, at its commit there was 4 bytes; changed by job 00000000000000ab.2",
            "cannot make /p/d: full",
            "exit 1",
            "read     /p/x.c  abababababababab",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let mut local = example();
        (local.job.site, local.job.exit, local.trace) = (Site::Client, None, None);
        let text = local.render();
        assert!(
            text.contains("on the client") && text.contains("status not known here") && text.contains("none: only"),
            "{text}"
        );
    }

    #[test]
    fn the_jobs_of_a_build_are_lines() {
        let jobs = Jobs {
            build: "ab".into(),
            cwd: "/p".into(),
            jobs: vec![example().job],
        };
        let text = jobs.render();
        assert!(
            text.contains("00000000000000ab.3") && text.contains("exit 1, 2.000 s: gcc -c x.c"),
            "{text}"
        );
    }

    #[test]
    fn some_jobs_of_a_build() {
        let job = |number: u32, site, exit, wall_s| JobRecord {
            job: format!("ab.{number}"),
            command: "sh -c echo a\n\techo b".to_owned(),
            site,
            exit,
            wall_s,
            ..JobRecord::default()
        };
        let jobs = Jobs {
            build: "ab".into(),
            cwd: "/p".into(),
            jobs: vec![
                job(1, Site::Worker, Some(0), 1.0),
                job(2, Site::Client, Some(0), 3.0),
                job(3, Site::Worker, Some(2), 2.0),
            ],
        };
        let numbers = |local, failed, slow| {
            let selected = jobs.clone().select(Selection { local, failed, slow });
            selected.jobs.iter().map(|job| job.job.clone()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(false, false, false), ["ab.1", "ab.2", "ab.3"]);
        assert_eq!(numbers(true, false, false), ["ab.2"]);
        assert_eq!(numbers(false, true, false), ["ab.3"]);
        assert_eq!(numbers(false, false, true), ["ab.2", "ab.3", "ab.1"]);
        assert_eq!(numbers(true, true, false), [""; 0]);
        assert!(
            jobs.render().contains("sh -c echo a\\n\\techo b\n"),
            "{}",
            jobs.render()
        );
    }
}
