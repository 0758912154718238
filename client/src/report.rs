//! What the daemon answers to `termite last` and `termite status`: the JSON, and the
//! same for people. Knows neither the daemon nor the socket.

use crate::config::Shown;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::ops::{Add, AddAssign, Sub};

/// Reasons that the summary names, and characters of each.
const REASONS_SHOWN: usize = 4;
const REASON_LENGTH: usize = 120;
/// Programs that the summary names.
const NAMES_SHOWN: usize = 6;

/// What one build did.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Last {
    /// Status of the outermost command, where `termite-env` ran it; a signal counts 128 more.
    pub exit: Option<u8>,
    /// From the first job (or the start of `termite-env`) to the last, seconds.
    pub wall_s: f64,
    /// Jobs by where they ran.
    pub jobs: JobCounts,
    /// Why jobs ran on the client, and how many for each reason.
    pub local_reasons: BTreeMap<String, u64>,
    /// Processor time of the daemon, seconds.
    pub client_cpu_s: f64,
    /// Content that crossed to and from workers.
    pub bytes: Bytes,
    /// System calls of jobs that a worker's guard stopped.
    #[serde(default)]
    pub guard_calls: u64,
    /// Questions of workers to the client while jobs ran.
    #[serde(default)]
    pub fetches: u64,
    /// Directories and files that workers were brought before jobs began.
    #[serde(default, rename = "brought")]
    pub prefetched: u64,
    /// Where the time of its jobs on the fleet went, of all together.
    #[serde(default)]
    pub phases: Phases,
    /// Attempts of jobs that did not count, since what the job was told did not hold any
    /// more at its commit: each ran again.
    pub reruns: u64,
    /// Commits of serial mode that were undone.
    pub rollbacks: u64,
    /// The daemon is of an installation that another one has taken the place of.
    #[serde(default)]
    pub outdated: bool,
}

/// Jobs by where they ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct JobCounts {
    /// All.
    pub total: u64,
    /// On a worker.
    pub remote: u64,
    /// On the client.
    pub local: u64,
}

/// Parts of the time of one job or of several, seconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Phases {
    /// Waiting for a worker with a free slot.
    pub wait_s: f64,
    /// On the worker: taking in news, and bringing what is expected to be used.
    pub bring_s: f64,
    /// On the worker: waiting for the slot and making it.
    pub start_s: f64,
    /// From the first process to the end of the last.
    pub run_s: f64,
    /// On the worker: looking at what it left.
    pub harvest_s: f64,
    /// On the client: receiving and writing the outputs.
    pub commit_s: f64,
}

impl AddAssign for Phases {
    fn add_assign(&mut self, more: Self) {
        self.wait_s += more.wait_s;
        self.bring_s += more.bring_s;
        self.start_s += more.start_s;
        self.run_s += more.run_s;
        self.harvest_s += more.harvest_s;
        self.commit_s += more.commit_s;
    }
}

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            wait_s,
            bring_s,
            start_s,
            run_s,
            harvest_s,
            commit_s,
        } = self;
        write!(
            f,
            "wait {wait_s:.3} s, bring {bring_s:.3} s, start {start_s:.3} s, run {run_s:.3} s, \
             harvest {harvest_s:.3} s, commit {commit_s:.3} s"
        )
    }
}

/// Content bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Bytes {
    /// From the client.
    pub sent: u64,
    /// To the client.
    pub received: u64,
    /// From worker to worker.
    #[serde(default)]
    pub between: u64,
}

impl Add for Bytes {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self {
            sent: self.sent + more.sent,
            received: self.received + more.received,
            between: self.between + more.between,
        }
    }
}

impl Sub for Bytes {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        Self {
            sent: self.sent - less.sent,
            received: self.received - less.received,
            between: self.between - less.between,
        }
    }
}

/// What [`Control::Forget`](termite_wire::frame::Control::Forget) came to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Forgotten {
    /// Command lines.
    pub commands: Vec<String>,
}

/// How the daemon stands.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// Of the daemon.
    pub pid: u32,
    /// Since it started, seconds.
    pub uptime_s: f64,
    /// Its release.
    pub version: String,
    /// In the order in which they became known.
    pub workers: Vec<WorkerStatus>,
    /// Jobs that run at this moment.
    pub running: Vec<RunningJob>,
    /// What it was started with.
    #[serde(default)]
    pub settings: Vec<SettingStatus>,
}

/// A setting of the daemon.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SettingStatus {
    /// Its name in files.
    pub key: String,
    /// As text, or null.
    pub value: Option<String>,
    /// Where the value comes from.
    pub origin: String,
}

impl SettingStatus {
    /// As `termite config` shows it.
    pub fn of(shown: &Shown) -> Self {
        Self {
            key: shown.key.to_owned(),
            value: shown.value.clone(),
            origin: shown.origin.clone(),
        }
    }
}

/// One worker.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Where it listens.
    pub address: String,
    /// `up`, `dialling`, or why it is down.
    pub state: String,
    /// Jobs that it takes at once.
    pub slots: u16,
    /// Jobs that it runs for us.
    pub running: u32,
    /// How fast it is by the jobs whose length was known before: 1.0 takes as long as usual.
    #[serde(default)]
    pub speed: f64,
    /// Content that crossed to and from it; `between`: that others gave it.
    #[serde(default)]
    pub bytes: Bytes,
}

/// One running job.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct RunningJob {
    /// `BUILD.N`.
    pub id: String,
    /// Its command line.
    pub command: String,
    /// Address of its worker; empty while it waits for one.
    pub worker: String,
    /// Since it began.
    pub seconds: f64,
}

impl Last {
    /// The one line that `termite-env` ends with. `others`: programs that were started and are
    /// no build tools, of which it says something where there was no job.
    pub fn summary(&self, others: &[String]) -> String {
        let JobCounts { total, remote, local } = self.jobs;
        let jobs = if total == 1 { "job" } else { "jobs" };
        let reasons = match self.reasons() {
            reasons if reasons.is_empty() => reasons,
            reasons => format!(" ({reasons})"),
        };
        let advice = match others {
            [first, ..] if total == 0 => format!(
                "; no program that was started is a known build tool ({}): to make jobs of one, write `[[rule]]`, \
                 `names = [{first:?}]`, `run = \"remote\"` into .termite.toml",
                some_of(others)
            ),
            _ => String::new(),
        };
        let outdated = match self.outdated {
            true => "; by a daemon of an earlier installation, which ends once it is idle",
            false => "",
        };
        format!(
            "termite: {total} {jobs}, {remote} on the fleet, {local} local{reasons}; {:.1} s{outdated}{advice}",
            self.wall_s
        )
    }

    /// All of it, a line for each thing.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let exit = self.exit.map_or("not reported".to_owned(), |status| status.to_string());
        line(&mut text, "exit status", &exit);
        line(&mut text, "wall time", &format!("{:.1} s", self.wall_s));
        line(
            &mut text,
            "jobs",
            &format!(
                "{} ({} on the fleet, {} local)",
                self.jobs.total, self.jobs.remote, self.jobs.local
            ),
        );
        for (reason, count) in &self.local_reasons {
            line(&mut text, "  local", &format!("{count} x {reason}"));
        }
        line(
            &mut text,
            "client processor time",
            &format!("{:.2} s", self.client_cpu_s),
        );
        line(&mut text, "sent", &size(self.bytes.sent));
        line(&mut text, "received", &size(self.bytes.received));
        line(&mut text, "between workers", &size(self.bytes.between));
        line(&mut text, "calls stopped", &self.guard_calls.to_string());
        line(
            &mut text,
            "fetched",
            &format!("{} while jobs ran, {} before they began", self.fetches, self.prefetched),
        );
        line(&mut text, "time of jobs", &self.phases.to_string());
        if self.reruns > 0 {
            line(&mut text, "reruns", &self.reruns.to_string());
        }
        if self.rollbacks > 0 {
            line(&mut text, "rollbacks", &self.rollbacks.to_string());
        }
        if self.outdated {
            line(&mut text, "daemon", "of an earlier installation");
        }
        text
    }

    /// The most frequent reasons, so that the summary stays a line.
    fn reasons(&self) -> String {
        let mut reasons: Vec<_> = self.local_reasons.iter().collect();
        reasons.sort_by_key(|(_, count)| Reverse(**count));
        let others = reasons.split_off(reasons.len().min(REASONS_SHOWN));
        let shown = reasons
            .iter()
            .map(|(reason, count)| format!("{}: {count}", shortened(reason)));
        let mut shown: Vec<_> = shown.collect();
        if !others.is_empty() {
            let count: u64 = others.iter().map(|(_, count)| **count).sum();
            shown.push(format!("other reasons, see `termite last`: {count}"));
        }
        shown.join(", ")
    }
}

/// The first names of a list, on one line.
fn some_of(names: &[String]) -> String {
    let (shown, others) = names.split_at(names.len().min(NAMES_SHOWN));
    let mut shown: Vec<String> = shown.iter().map(|name| shortened(name)).collect();
    if !others.is_empty() {
        shown.push(format!("{} more", others.len()));
    }
    shown.join(", ")
}

/// A reason in at most so many characters, on one line: it may have paths in it.
fn shortened(reason: &str) -> String {
    let line: String = reason.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let length = line.chars().count();
    if length <= REASON_LENGTH {
        return line;
    }
    let (begins, ends) = (REASON_LENGTH / 2, REASON_LENGTH - REASON_LENGTH / 2 - 3);
    let head: String = line.chars().take(begins).collect();
    let tail: String = line.chars().skip(length - ends).collect();
    format!("{head}...{tail}")
}

impl Status {
    /// All of it, for people.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let uptime = format!("pid {}, version {}, up {:.0} s", self.pid, self.version, self.uptime_s);
        line(&mut text, "daemon", &uptime);
        for WorkerStatus {
            address,
            state,
            slots,
            running,
            speed,
            bytes,
        } in &self.workers
        {
            line(
                &mut text,
                "worker",
                &format!(
                    "{address}: {state}, {running} of {slots} slots in use, speed {speed:.2}, {} sent, {} received, {} from others",
                    size(bytes.sent),
                    size(bytes.received),
                    size(bytes.between)
                ),
            );
        }
        if self.running.is_empty() {
            line(&mut text, "jobs", "none running");
        }
        for RunningJob {
            id,
            command,
            worker,
            seconds,
        } in &self.running
        {
            let place = if worker.is_empty() {
                "waiting for a slot"
            } else {
                worker
            };
            line(
                &mut text,
                "job",
                &format!("{id} {seconds:.1} s, {place}: {}", one_line(command)),
            );
        }
        text
    }
}

/// A command line on one line: recipes may have several.
pub(crate) fn one_line(command: &str) -> String {
    let escaped = |c: char| {
        if c.is_control() {
            c.escape_default().collect()
        } else {
            c.to_string()
        }
    };
    command.chars().map(escaped).collect()
}

pub(crate) fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{name:<22} {value}");
}

fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Last {
        Last {
            exit: Some(0),
            wall_s: 2.25,
            jobs: JobCounts {
                total: 38,
                remote: 36,
                local: 2,
            },
            local_reasons: [("rule: git (version control)".to_owned(), 2)].into(),
            client_cpu_s: 0.5,
            bytes: Bytes {
                between: 30,
                sent: 10,
                received: 2048,
            },
            guard_calls: 700,
            fetches: 3,
            prefetched: 90,
            phases: Phases {
                wait_s: 0.5,
                ..Phases::default()
            },
            reruns: 0,
            rollbacks: 0,
            outdated: false,
        }
    }

    #[test]
    fn the_keys_of_last_are_the_contract() {
        let json = serde_json::to_value(example()).unwrap();
        let expected = serde_json::json!({
            "exit": 0, "wall_s": 2.25, "jobs": {"total": 38, "remote": 36, "local": 2},
            "local_reasons": {"rule: git (version control)": 2}, "client_cpu_s": 0.5,
            "bytes": {"sent": 10, "received": 2048, "between": 30}, "guard_calls": 700, "fetches": 3, "brought": 90,
            "phases": {
                "wait_s": 0.5, "bring_s": 0.0, "start_s": 0.0, "run_s": 0.0, "harvest_s": 0.0, "commit_s": 0.0,
            },
            "reruns": 0, "rollbacks": 0, "outdated": false,
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn the_summary_is_one_line() {
        let line = "termite: 38 jobs, 36 on the fleet, 2 local (rule: git (version control): 2); 2.2 s";
        assert_eq!(example().summary(&["sh".to_owned()]), line);
        let mut of_old = example();
        of_old.outdated = true;
        assert!(of_old.summary(&[]).contains("earlier installation"));
    }

    #[test]
    fn where_there_is_no_job_the_summary_says_what_to_do() {
        let none = Last::default();
        let line = "termite: 0 jobs, 0 on the fleet, 0 local; 0.0 s";
        assert_eq!(none.summary(&[]), line);
        let others = ["pdflatex", "b\nb", "c", "d", "e", "f", "g", "h"].map(str::to_owned);
        let summary = none.summary(&others);
        assert!(
            summary.starts_with(line)
                && summary.contains("(pdflatex, b?b, c, d, e, f, 2 more)")
                && summary.contains("`names = [\"pdflatex\"]`"),
            "{summary}"
        );
    }

    #[test]
    fn the_summary_stays_a_line_whatever_the_reasons_are() {
        let mut last = example();
        last.local_reasons = (1..=9)
            .map(|n| (format!("/{}/{n}\nis missing", "long/".repeat(99)), n))
            .collect();
        let summary = last.summary(&[]);
        assert!(summary.len() < 700 && !summary.contains('\n'), "{summary}");
        assert!(
            summary.contains("/9?is missing: 9") && summary.contains("`termite last`: 15"),
            "{summary}"
        );
    }

    #[test]
    fn people_see_sizes_with_units() {
        let text = example().render();
        assert!(
            text.contains("2.0 KiB") && text.contains("10 B") && text.contains("2 x rule: git"),
            "{text}"
        );
    }
}
