//! The account of one job while it is under way: where it was tried, how long that took,
//! and at its end the record that the history keeps. Knows no worker and no file.

use crate::build::{command_line, unix_ms};
use crate::history::{ConflictRecord, JobRecord, Site};
use crate::report::Phases;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use termite_types::{JobEnd, JobId, JobResult};
use termite_wire::frame::CallerJob;

/// A job that has not ended.
pub(crate) struct Account {
    since: Instant,
    record: JobRecord,
}

impl Account {
    /// A job is asked for.
    pub(crate) fn open(id: JobId, job: &CallerJob) -> Self {
        let argv = job.argv.iter().map(|word| word.to_string_lossy().into_owned());
        let record = JobRecord {
            job: id.to_string(),
            command: command_line(&job.argv),
            program: job.program.to_string_lossy().into_owned(),
            argv: argv.collect(),
            cwd: job.cwd.to_string_lossy().into_owned(),
            started_unix_ms: unix_ms(),
            ..JobRecord::default()
        };
        Self {
            since: Instant::now(),
            record,
        }
    }

    /// When it was asked for.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// What decided that it goes to the fleet.
    pub(crate) fn goes_because(&mut self, why: String) {
        self.record.reason = why;
    }

    /// It is given to this worker.
    pub(crate) fn try_on(&mut self, worker: &impl ToString) {
        self.record.waited_s = self.since.elapsed().as_secs_f64();
        self.record.phases.wait_s = self.record.waited_s;
        self.record.worker = Some(worker.to_string());
    }

    /// That worker did not end it.
    pub(crate) fn failed(&mut self, fault: &str) {
        self.record.worker = None;
        self.record.attempts.push(fault.to_owned());
    }

    /// What it did there does not count, and it runs again.
    pub(crate) fn conflicted(&mut self, conflict: ConflictRecord) {
        self.record.worker = None;
        self.record.conflicts.push(conflict);
    }

    /// Its outputs were written into the client's tree.
    pub(crate) fn committed(&mut self, took: Duration) {
        self.record.phases.commit_s = took.as_secs_f64();
    }

    /// Its outputs were written into the client's tree in part, and it is not run again.
    pub(crate) fn half_committed(&mut self, why: &str) {
        self.record.commit_fault = Some(why.to_owned());
    }

    /// It ended on the worker that it was given to.
    pub(crate) fn ended(&mut self, result: &JobResult) -> JobRecord {
        let record = &mut self.record;
        record.site = Site::Worker;
        (record.exit, record.signal) = match result.end {
            JobEnd::Exited(status) => (Some(status), None),
            JobEnd::Signaled(signal) => (None, Some(signal)),
            JobEnd::Abandoned(_) => (None, None),
        };
        let seconds = |us: u64| us as f64 / 1e6;
        record.worker_s = seconds(result.usage.wall_us);
        record.cpu_s = seconds(result.usage.cpu_us);
        record.guard_faults = result.usage.guard_faults;
        record.fetches = result.usage.fetches;
        record.prefetched = result.usage.prefetched;
        let phases = &result.usage.phases;
        record.phases = Phases {
            bring_s: seconds(phases.bring_us),
            start_s: seconds(phases.start_us),
            run_s: seconds(phases.run_us),
            harvest_s: seconds(phases.harvest_us),
            ..record.phases
        };
        record.traced = true;
        self.close()
    }

    /// It stays on the client.
    pub(crate) fn stays(&mut self, as_driver: bool, why: &str) -> JobRecord {
        self.record.site = if as_driver { Site::Driver } else { Site::Client };
        self.record.worker = None;
        self.record.reason = why.to_owned();
        self.close()
    }

    /// Nobody waits for it any more.
    pub(crate) fn left(&mut self) -> JobRecord {
        self.record.reason = "who had started it went away".to_owned();
        self.close()
    }

    /// A signal that its caller passed on ended its wait to run again.
    pub(crate) fn interrupted(&mut self, signal: u8) -> JobRecord {
        self.record.worker = None;
        self.record.signal = Some(signal);
        self.record.reason = "it was interrupted before it could run again".to_owned();
        self.close()
    }

    /// The record, once.
    fn close(&mut self) -> JobRecord {
        self.record.wall_s = self.since.elapsed().as_secs_f64();
        std::mem::take(&mut self.record)
    }
}

/// The record of a job that stayed on the client and has ended now, as far as that is known.
pub(crate) fn ended_at_home(record: JobRecord, since: Instant, end: Option<ExitStatus>) -> JobRecord {
    let end = end.map(|status| (status.code(), status.signal()));
    let (exit, signal) = end.unwrap_or_default();
    JobRecord {
        exit: exit.and_then(|code| code.try_into().ok()),
        signal: signal.and_then(|signal| signal.try_into().ok()),
        wall_s: since.elapsed().as_secs_f64(),
        ..record
    }
}
