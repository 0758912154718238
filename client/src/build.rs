//! Builds: what each run of an outermost driver did, kept for `termite last` across
//! daemons. Knows counts and reasons; knows nothing of workers' sessions.

use crate::link::Place;
use crate::report::{Bytes, JobCounts, Last, RunningJob};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use termite_types::{BuildId, JobId, JobSpec};

/// Builds that the history holds.
const KEPT: usize = 100;

/// Content bytes that crossed between client and workers.
#[derive(Default)]
pub struct Traffic {
    /// From the client.
    pub sent: Cell<u64>,
    /// To the client.
    pub received: Cell<u64>,
}

/// All builds of a daemon, and the history of earlier ones.
pub struct Builds {
    history: PathBuf,
    traffic: Rc<Traffic>,
    known: RefCell<HashMap<BuildId, Rc<Build>>>,
    running: RefCell<HashMap<JobId, RunningJob>>,
}

/// One build.
pub struct Build {
    id: BuildId,
    started: Instant,
    cpu_before: Duration,
    sent_before: u64,
    received_before: u64,
    jobs: Cell<u32>,
    reported: Cell<bool>,
    record: RefCell<Record>,
}

/// A build as the history holds it.
#[derive(Clone, Serialize, Deserialize)]
struct Record {
    build: String,
    cwd: PathBuf,
    started_unix: u64,
    report: Last,
}

/// A job's line in `termite status`; goes when dropped.
pub struct Running<'a> {
    builds: &'a Builds,
    id: JobId,
}

impl Builds {
    /// No builds yet; `history` is a directory, made when first needed.
    pub fn new(history: PathBuf, traffic: Rc<Traffic>) -> Self {
        Self {
            history,
            traffic,
            known: RefCell::default(),
            running: RefCell::default(),
        }
    }

    /// The build of that id, begun at its first job if nobody announced it.
    pub fn of(&self, id: BuildId, cwd: &Path) -> Rc<Build> {
        self.known
            .borrow_mut()
            .entry(id)
            .or_insert_with(|| Rc::new(Build::new(id, cwd, &self.traffic)))
            .clone()
    }

    /// `termite-env` starts a build, and will report it.
    pub fn begin(&self, id: BuildId, cwd: &Path) {
        self.of(id, cwd).reported.set(true);
    }

    /// Its command ended: the final figures.
    pub fn finish(&self, id: BuildId, exit: u8) -> Last {
        let build = self.of(id, Path::new("/"));
        build.record.borrow_mut().report.exit = Some(exit);
        self.touched(&build);
        build.record.borrow().report.clone()
    }

    /// A job of `build` begins.
    pub fn started(&self, spec: &JobSpec, build: &Build) -> Running<'_> {
        let line = RunningJob {
            id: spec.id.to_string(),
            command: command_line(&spec.argv),
            worker: String::new(),
            seconds: build.started.elapsed().as_secs_f64(),
        };
        self.running.borrow_mut().insert(spec.id, line);
        Running {
            builds: self,
            id: spec.id,
        }
    }

    /// The running jobs, with the seconds since each began.
    pub fn running(&self) -> Vec<RunningJob> {
        let known = self.known.borrow();
        let mut lines: Vec<_> = self
            .running
            .borrow()
            .iter()
            .map(|(id, line)| (*id, line.clone()))
            .collect();
        lines.sort_by_key(|(id, _)| *id);
        lines
            .into_iter()
            .map(|(id, line)| {
                let now = known
                    .get(&id.build)
                    .map_or(0.0, |build| build.started.elapsed().as_secs_f64());
                RunningJob {
                    seconds: now - line.seconds,
                    ..line
                }
            })
            .collect()
    }

    /// Takes the figures anew and writes them to the history.
    pub fn touched(&self, build: &Build) {
        {
            let mut record = build.record.borrow_mut();
            record.report.wall_s = build.started.elapsed().as_secs_f64();
            record.report.client_cpu_s = (processor_time() - build.cpu_before).as_secs_f64();
            record.report.bytes = Bytes {
                sent: self.traffic.sent.get() - build.sent_before,
                received: self.traffic.received.get() - build.received_before,
            };
        }
        if build.record.borrow().report.exit.is_some() || !build.reported.get() {
            self.write(build);
        }
    }

    fn write(&self, build: &Build) {
        let written = std::fs::create_dir_all(&self.history).and_then(|()| {
            let text = serde_json::to_vec(&*build.record.borrow())?;
            let path = self.history.join(format!("{}.json", build.id));
            let beside = path.with_extension("new");
            std::fs::write(&beside, text)?;
            std::fs::rename(&beside, &path)
        });
        if let Err(error) = written {
            tracing::warn!(
                "the build's history cannot be written to {}: {error}",
                self.history.display()
            );
        }
    }

    /// The newest build that ran in `directory` or below it.
    pub fn last(&self, directory: &Path) -> io::Result<Option<Last>> {
        let mut records = self.read_history()?;
        let known = self.known.borrow();
        records.retain(|record| record.build.parse().is_ok_and(|id: BuildId| !known.contains_key(&id)));
        records.extend(known.values().map(|build| build.record.borrow().clone()));
        let newest = records
            .into_iter()
            .filter(|record| record.cwd.starts_with(directory))
            .max_by_key(|record| record.started_unix);
        Ok(newest.map(|record| record.report))
    }

    fn read_history(&self) -> io::Result<Vec<Record>> {
        let names = match std::fs::read_dir(&self.history) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names?,
        };
        let mut records = Vec::new();
        for name in names {
            let path = name?.path();
            if path.extension().is_some_and(|ext| ext == "json") {
                match serde_json::from_slice(&std::fs::read(&path)?) {
                    Ok(record) => records.push(record),
                    Err(error) => tracing::warn!("{} is no build record: {error}", path.display()),
                }
            }
        }
        Ok(records)
    }

    /// Removes the oldest records past the limit.
    pub fn trim_history(&self) -> io::Result<()> {
        let mut records = self.read_history()?;
        records.sort_by_key(|record| std::cmp::Reverse(record.started_unix));
        for record in records.iter().skip(KEPT) {
            std::fs::remove_file(self.history.join(format!("{}.json", record.build)))?;
        }
        Ok(())
    }
}

impl Build {
    fn new(id: BuildId, cwd: &Path, traffic: &Traffic) -> Self {
        // A clock before 1970 sorts the build first in the history and does no harm.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            id,
            started: Instant::now(),
            cpu_before: processor_time(),
            sent_before: traffic.sent.get(),
            received_before: traffic.received.get(),
            jobs: Cell::new(0),
            reported: Cell::new(false),
            record: RefCell::new(Record {
                build: id.to_string(),
                cwd: cwd.to_path_buf(),
                started_unix: since_epoch.as_millis() as u64,
                report: Last::default(),
            }),
        }
    }

    /// The id of the next job.
    pub fn next_job(&self) -> JobId {
        self.jobs.set(self.jobs.get() + 1);
        JobId {
            build: self.id,
            number: self.jobs.get(),
        }
    }

    /// Whether `termite-env` will show a summary at its end.
    pub fn has_reporter(&self) -> bool {
        self.reported.get()
    }

    /// A job ran on the fleet, where so many of its system calls were stopped.
    pub fn remote(&self, guard_calls: u64) {
        self.count(|jobs| jobs.remote += 1);
        self.record.borrow_mut().report.guard_calls += guard_calls;
    }

    /// A job ran on the client, by rule or because of a fault. True if it is the first
    /// one for that reason.
    pub fn local(&self, reason: &str) -> bool {
        self.count(|jobs| jobs.local += 1);
        let reasons = &mut self.record.borrow_mut().report.local_reasons;
        let jobs = reasons.entry(reason.to_owned()).or_default();
        *jobs += 1;
        *jobs == 1
    }

    fn count(&self, add: impl FnOnce(&mut JobCounts)) {
        let jobs = &mut self.record.borrow_mut().report.jobs;
        jobs.total += 1;
        add(jobs);
    }
}

impl Running<'_> {
    /// The worker that the job was given to.
    pub fn on(&self, place: &Place) {
        if let Some(line) = self.builds.running.borrow_mut().get_mut(&self.id) {
            line.worker = place.link().address.to_string();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.builds.running.borrow_mut().remove(&self.id);
    }
}

/// Processor time of this process so far.
fn processor_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

/// The words of a command line as one line of text.
fn command_line(words: &[OsString]) -> String {
    words
        .iter()
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
