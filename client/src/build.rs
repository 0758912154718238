//! Builds: what each run of an outermost driver did, kept for `termite last` across
//! daemons. Knows counts and reasons; knows nothing of workers' sessions.

use crate::history::{self, BuildRecord, History, JobRecord};
use crate::link::SlotLease;
use crate::report::{Bytes, JobCounts, Last, RunningJob};
use crate::traffic::Traffic;
use crate::tree::WorkerKey;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use termite_types::{BuildId, JobId, JobSpec, TraceItem};
use tokio::sync::Semaphore;

/// Jobs that may have ended and not be written yet.
const UNWRITTEN: u32 = 64;

/// All builds of a daemon, and the history of earlier ones.
pub(crate) struct Builds {
    history: Arc<History>,
    /// Has a permit less for each job that is being written and learnt from.
    unwritten: Arc<Semaphore>,
    traffic: Rc<Traffic>,
    known: RefCell<HashMap<BuildId, Rc<Build>>>,
    running: RefCell<HashMap<JobId, RunningJob>>,
}

/// One build.
pub(crate) struct Build {
    id: BuildId,
    started: Instant,
    cpu_before: Duration,
    bytes_before: Bytes,
    jobs: Cell<u32>,
    reported: Cell<bool>,
    /// The workers that it named.
    workers: RefCell<Rc<[WorkerKey]>>,
    record: RefCell<BuildRecord>,
}

/// A job that has not ended.
pub(crate) struct UnderWay {
    /// In its build.
    pub number: u32,
    /// How long it is under way.
    pub since: Duration,
    /// It has a worker; else it waits.
    pub is_on_worker: bool,
}

/// A job's line in `termite status`; goes when dropped.
pub(crate) struct Running<'a> {
    builds: &'a Builds,
    id: JobId,
}

impl Builds {
    /// No builds yet; `history` is a directory, made when first needed.
    pub(crate) fn new(history: PathBuf, traffic: Rc<Traffic>) -> Self {
        Self {
            history: Arc::new(History::new(history)),
            unwritten: Arc::new(Semaphore::new(UNWRITTEN as usize)),
            traffic,
            known: RefCell::default(),
            running: RefCell::default(),
        }
    }

    /// The build of that id, begun at its first job if nobody announced it.
    pub(crate) fn of(&self, id: BuildId, cwd: &Path) -> Rc<Build> {
        self.known
            .borrow_mut()
            .entry(id)
            .or_insert_with(|| Rc::new(Build::new(id, cwd, &self.traffic)))
            .clone()
    }

    /// `termite-env` starts a build on these workers (none: the usual ones), and will report it.
    pub(crate) fn begin(&self, id: BuildId, cwd: &Path, workers: Vec<WorkerKey>) {
        let build = self.of(id, cwd);
        *build.workers.borrow_mut() = workers.into();
        build.reported.set(true);
        self.write(&build);
    }

    /// The builds that were begun and have not ended. Of those that no `termite-env` reports, whose
    /// end nobody tells, the ones that have a job at the moment.
    pub(crate) fn under_way(&self) -> BTreeSet<BuildId> {
        let known = self.known.borrow();
        let reported = known.iter().filter(|(_, build)| build.is_under_way());
        let reported = reported.map(|(id, _)| *id);
        let running = self.running.borrow();
        reported.chain(running.keys().map(|job| job.build)).collect()
    }

    /// Its command ended: the final figures. `outdated`: the daemon is of an earlier installation.
    pub(crate) fn finish(&self, id: BuildId, exit: u8, outdated: bool) -> Last {
        let build = self.of(id, Path::new("/"));
        {
            let report = &mut build.record.borrow_mut().report;
            (report.exit, report.outdated) = (Some(exit), outdated);
        }
        self.touched(&build);
        build.record.borrow().report.clone()
    }

    /// A job of `build` begins.
    pub(crate) fn started(&self, spec: &JobSpec, build: &Build) -> Running<'_> {
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
    pub(crate) fn running(&self) -> Vec<RunningJob> {
        let mut lines: Vec<_> = self
            .running
            .borrow()
            .iter()
            .map(|(id, line)| (*id, line.clone()))
            .collect();
        lines.sort_by_key(|(id, _)| *id);
        lines
            .into_iter()
            .map(|(id, line)| RunningJob {
                seconds: self.age(id, &line),
                ..line
            })
            .collect()
    }

    /// Seconds since a job began.
    fn age(&self, id: JobId, line: &RunningJob) -> f64 {
        let known = self.known.borrow();
        let now = known
            .get(&id.build)
            .map_or(0.0, |build| build.started.elapsed().as_secs_f64());
        now - line.seconds
    }

    /// The running jobs of each build, and how many it has had so far.
    pub(crate) fn jobs(&self) -> HashMap<BuildId, (Vec<UnderWay>, u32)> {
        let mut jobs: HashMap<_, (Vec<_>, u32)> = HashMap::new();
        for (id, line) in &*self.running.borrow() {
            let (under_way, so_far) = jobs.entry(id.build).or_default();
            *so_far = self.known.borrow().get(&id.build).map_or(0, |build| build.jobs.get());
            under_way.push(UnderWay {
                number: id.number,
                since: Duration::try_from_secs_f64(self.age(*id, line)).unwrap_or_default(),
                is_on_worker: !line.worker.is_empty(),
            });
        }
        jobs
    }

    /// Takes the figures anew and writes them to the history.
    pub(crate) fn touched(&self, build: &Build) {
        {
            let mut record = build.record.borrow_mut();
            record.report.wall_s = build.started.elapsed().as_secs_f64();
            record.report.client_cpu_s = (processor_time() - build.cpu_before).as_secs_f64();
            record.report.bytes = self.traffic.bytes() - build.bytes_before;
        }
        if build.record.borrow().report.exit.is_some() || !build.reported.get() {
            self.write(build);
        }
    }

    fn write(&self, build: &Build) {
        if let Err(error) = self.history.write_build(&build.record.borrow()) {
            unwritable(&self.history, &error);
        }
    }

    /// Has a job that has ended kept, and what it used, which `learn` may look at afterwards.
    /// Returns before that is done, unless many others are not written either; see
    /// [`Self::settled`].
    pub(crate) async fn keep(
        &self,
        id: JobId,
        record: JobRecord,
        trace: Vec<TraceItem>,
        learn: impl FnOnce(&[TraceItem]) + Send + 'static,
    ) {
        let permit = self.unwritten.clone().acquire_owned().await;
        let history = self.history.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = history.write_job(id, &record, &trace) {
                unwritable(&history, &error);
            }
            learn(&trace);
            drop(permit);
        });
    }

    /// Waits until all jobs that were to be kept are written, and what was to be learnt is.
    pub(crate) async fn settled(&self) {
        // Nobody closes the semaphore.
        let _ = self.unwritten.acquire_many(UNWRITTEN).await;
    }

    /// The newest build that ran in `directory` or below it.
    pub(crate) fn last(&self, directory: &Path) -> io::Result<Option<Last>> {
        let mut records = self.history.builds()?;
        let known = self.known.borrow();
        records.retain(|record| record.build.parse().is_ok_and(|id: BuildId| !known.contains_key(&id)));
        records.extend(known.values().map(|build| build.record.borrow().clone()));
        Ok(history::newest(records, directory).map(|record| record.report))
    }

    /// Removes the oldest records past the limit.
    pub(crate) fn trim_history(&self) -> io::Result<()> {
        self.history.trim()
    }
}

fn unwritable(history: &History, error: &io::Error) {
    let dir = history.dir().display();
    tracing::warn!("the build's history cannot be written to {dir}: {error}");
}

impl Build {
    fn new(id: BuildId, cwd: &Path, traffic: &Traffic) -> Self {
        Self {
            id,
            started: Instant::now(),
            cpu_before: processor_time(),
            bytes_before: traffic.bytes(),
            jobs: Cell::new(0),
            reported: Cell::new(false),
            workers: RefCell::new(Rc::default()),
            record: RefCell::new(BuildRecord {
                build: id.to_string(),
                cwd: cwd.to_path_buf(),
                started_unix: unix_ms(),
                report: Last::default(),
            }),
        }
    }

    /// The id of the next job.
    pub(crate) fn next_job(&self) -> JobId {
        self.jobs.set(self.jobs.get() + 1);
        JobId {
            build: self.id,
            number: self.jobs.get(),
        }
    }

    /// The workers that it named; none: the usual ones.
    pub(crate) fn workers(&self) -> Rc<[WorkerKey]> {
        self.workers.borrow().clone()
    }

    /// Whether `termite-env` has begun it, and has not told its end.
    fn is_under_way(&self) -> bool {
        self.reported.get() && self.record.borrow().report.exit.is_none()
    }

    /// Whether `termite-env` will show a summary at its end.
    pub(crate) fn has_reporter(&self) -> bool {
        self.reported.get()
    }

    /// A job ran on the fleet.
    pub(crate) fn remote(&self, job: &JobRecord) {
        self.count(|jobs| jobs.remote += 1);
        let report = &mut self.record.borrow_mut().report;
        report.guard_calls += job.guard_faults;
        report.fetches += job.fetches;
        report.prefetched += job.prefetched;
        report.phases += job.phases;
    }

    /// A job ran on the client, by rule or because of a fault. True if it is the first
    /// one for that reason.
    pub(crate) fn local(&self, reason: &str) -> bool {
        self.count(|jobs| jobs.local += 1);
        let reasons = &mut self.record.borrow_mut().report.local_reasons;
        let jobs = reasons.entry(reason.to_owned()).or_default();
        *jobs += 1;
        *jobs == 1
    }

    /// Attempts of a job did not count.
    pub(crate) fn reran(&self, job: &JobRecord) {
        self.record.borrow_mut().report.reruns += job.conflicts.len() as u64;
    }

    fn count(&self, add: impl FnOnce(&mut JobCounts)) {
        let jobs = &mut self.record.borrow_mut().report.jobs;
        jobs.total += 1;
        add(jobs);
    }
}

impl Running<'_> {
    /// The worker that the job was given to.
    pub(crate) fn on(&self, place: &SlotLease) {
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

/// Milliseconds since 1970. A clock before that sorts what it stamps first and does no harm.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis() as u64
}

/// The words of a command line as one line of text.
pub(crate) fn command_line(words: &[OsString]) -> String {
    words
        .iter()
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
