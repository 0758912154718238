//! One job's way: performs what its state machine (`termite_core::job`) decides, and tells
//! it what happened. The steps themselves live elsewhere: rules, claims, the fleet, the
//! commit. Decides nothing about where a job runs or whether it counts.

mod ending;
mod input;
mod outputs;
#[cfg(test)]
mod tests;
mod verdict;

use crate::account::Account;
use crate::build::{Build, Running, command_line, unix_ms};
use crate::callers::Caller;
use crate::commit::{self, ClockShift, CommitRequest, Committed};
use crate::contention::Claim;
use crate::daemon::Daemon;
use crate::fleet::{Seeker, Unreachable};
use crate::forecast::Command;
use crate::history::ConflictRecord;
use crate::journal::JobLog;
use crate::link::SlotLease;
use crate::machine;
use crate::overlap::{Began, Pending};
use crate::pids::PidLease;
use crate::sink::{Shown, Sink};
use crate::tree::WorkerKey;
use input::{Input, Want};
use outputs::NotCommitted;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::future::pending;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use termite_core::job::{Action, Attempt, Event, Job, Policy, State};
use termite_core::jobserver;
use termite_core::rules::Verdict;
use termite_core::signs::Sign;
use termite_types::{Conflict, JobEnd, JobId, JobResult, JobSpec, Jobserver, Owner, RequestId, TraceItem};
use termite_wire::frame::{CallerJob, ToCaller, ToDaemon};
use termite_wire::rpc::RemoteError;
use tokio::sync::Notify;

/// A job under way.
struct Dispatch<'a> {
    daemon: &'a Rc<Daemon>,
    build: Rc<Build>,
    request: RequestId,
    caller: Rc<Caller>,
    spec: Rc<JobSpec>,
    command: Command,
    machine: Job<WorkerKey>,
    claim: Claim,
    account: Account,
    /// Its line in `termite status`, until it has ended.
    running: Option<Running<'a>>,
    /// The action that takes a while, if there is one.
    under_way: Option<Pin<Box<dyn Future<Output = Happened>>>>,
    /// Ends the commit that is under way, see [`outputs::commit`].
    hurry: Rc<Notify>,
    /// Of the current attempt, as all up to `result`.
    place: Option<Rc<SlotLease>>,
    began: Option<Began>,
    pids: Option<PidLease<'a>>,
    sink: Option<Rc<Sink>>,
    /// It ended on its worker, and so.
    result: Option<JobResult>,
    shown: Rc<Shown>,
    input: Input,
    /// What the caller said while no worker had the job.
    early: Vec<ToDaemon>,
    caller_left: bool,
    /// The daemon is about to end, and the job knows.
    is_stopped: bool,
}

/// How an action ended that took a while.
enum Happened {
    Claimed,
    Placed(Result<SlotLease, Unreachable>),
    Ran(Attempt, Result<Box<JobResult>, RemoteError>),
    Committed {
        attempt: Attempt,
        request: Arc<CommitRequest>,
        outcome: Result<(Committed, Pending), NotCommitted>,
        took: Duration,
    },
    HomeEnded,
}

/// What a job waits for.
enum News {
    Happened(Happened),
    Said(ToDaemon),
    CallerLeft,
    WantsInput,
    Stopping,
}

/// Serves one `termite-run` to its end.
pub(crate) async fn serve(daemon: &Rc<Daemon>, job: CallerJob, caller: Caller) {
    let build = daemon.builds.of(job.build, &job.cwd);
    let verdict = match verdict::by_rules(daemon, &job) {
        Ok(verdict @ Verdict::Remote { .. }) => {
            let needed = || machine::named_in(&job.env).map(|what| format!("it needs {what}"));
            match verdict::elsewhere(daemon, &caller).map(str::to_owned).or_else(needed) {
                Some(why) => Verdict::Local { why },
                None => verdict,
            }
        }
        Ok(verdict) => verdict,
        Err(bad) => {
            caller.send(ToCaller::Error(bad.to_string())).await;
            return;
        }
    };
    let id = build.next_job();
    let is_whole = matches!(verdict, Verdict::Remote { whole: true, .. });
    let drivers = if is_whole { Vec::new() } else { daemon.drivers.clone() };
    let spec = specify(daemon, &job, id, drivers);
    let policy = Policy {
        keeps_interrupted: job.is_driven,
        ..Policy::PLAIN
    };
    let (request, caller) = (job.request, Rc::new(caller));
    let command = Command::of(&spec);
    let verdict = match verdict {
        Verdict::Remote { .. } if !job.must => verdict::by_history(daemon, &command).unwrap_or(verdict),
        verdict => verdict,
    };
    let mut account = Account::open(id, &job);
    let is_remote = match &verdict {
        Verdict::Remote { why, .. } => {
            account.goes_because(why.clone());
            true
        }
        Verdict::Local { .. } | Verdict::Driver { .. } => false,
    };
    let mut dispatch = Dispatch {
        running: is_remote.then(|| daemon.builds.started(&spec, &build)),
        machine: Job::new(policy),
        claim: daemon.contention.join(&command),
        request,
        caller: caller.clone(),
        spec: Rc::new(spec),
        under_way: None,
        hurry: Rc::default(),
        place: None,
        began: None,
        pids: None,
        sink: None,
        result: None,
        shown: Rc::default(),
        input: Input::default(),
        early: Vec::new(),
        caller_left: false,
        is_stopped: false,
        daemon,
        build,
        command,
        account,
    };
    dispatch.machine.handle(Event::Asked(verdict));
    dispatch.run().await;
    if daemon.journal.knows(request) {
        // What the kernel has outlives this daemon; until then the stub may have to look it up.
        caller.written().await;
        daemon.journal.forget(request);
    }
}

/// The job as a worker is given it.
fn specify(daemon: &Daemon, job: &CallerJob, id: JobId, drivers: Vec<OsString>) -> JobSpec {
    let is_open = |pipe: &Jobserver| {
        [pipe.read, pipe.write]
            .iter()
            .all(|number| job.inherited.contains(number))
    };
    let jobserver = jobserver::in_environment(&job.env).filter(is_open);
    let is_jobserver = |number: &u32| jobserver.is_some_and(|pipe| [pipe.read, pipe.write].contains(number));
    JobSpec {
        id,
        program: job.program.clone(),
        argv: job.argv.clone(),
        env: job.env.clone(),
        cwd: job.cwd.clone(),
        umask: job.umask,
        ignored: job.ignored,
        nice: job.nice,
        limits: job.limits.clone(),
        owner: Owner {
            uid: daemon.uid,
            gid: daemon.gid,
            groups: job.groups.clone(),
        },
        hostname: daemon.hostname.clone(),
        stdio: job.stdio.clone(),
        inherited: job
            .inherited
            .iter()
            .copied()
            .filter(|number| !is_jobserver(number))
            .collect(),
        jobserver,
        drivers,
        pids: None,
    }
}

impl Dispatch<'_> {
    /// To the job's end.
    async fn run(mut self) {
        loop {
            while let Some(action) = self.machine.poll() {
                self.perform(action).await;
            }
            if self.machine.state() == State::Ended {
                return;
            }
            match self.news().await {
                News::Happened(happened) => {
                    self.under_way = None;
                    let event = self.event_of(happened);
                    self.machine.handle(event);
                }
                News::Said(frame) => self.handle_frame(frame),
                News::CallerLeft => {
                    self.caller_left = true;
                    self.machine.handle(Event::CallerLeft);
                }
                News::WantsInput => self.give_input().await,
                News::Stopping => {
                    self.is_stopped = true;
                    self.machine.handle(Event::Stopped);
                }
            }
        }
    }

    /// What comes next: from the action that is under way, from the caller, or from the job.
    async fn news(&mut self) -> News {
        let is_running = matches!(self.machine.state(), State::Running(_));
        let (sink, under_way) = (&self.sink, &mut self.under_way);
        let happened = async {
            match under_way {
                Some(action) => action.await,
                None => pending().await,
            }
        };
        let wanted = async {
            match sink {
                Some(sink) if is_running => sink.wanted().await,
                _ => pending().await,
            }
        };
        tokio::select! {
            happened = happened => News::Happened(happened),
            () = self.caller.gone(), if !self.caller_left => News::CallerLeft,
            said = self.caller.next(), if !self.caller_left => said.map_or(News::CallerLeft, News::Said),
            () = wanted => News::WantsInput,
            () = self.daemon.stopping(), if !self.is_stopped => News::Stopping,
        }
    }

    async fn perform(&mut self, action: Action<WorkerKey>) {
        match action {
            Action::Claim(paths) => self.ask_claims(paths),
            Action::Place { avoid } => self.find_place(avoid),
            Action::Send { attempt, .. } => self.send(attempt),
            Action::Commit(attempt) => self.commit(attempt),
            Action::Cancel => self.under_way = None,
            Action::HurryCommit => self.hurry.notify_one(),
            Action::Discard(_) => {
                if let Some(place) = &self.place {
                    outputs::discard(place, self.spec.id);
                }
            }
            Action::RecordFault(fault) => self.account.failed(&fault),
            Action::RecordConflict(conflict) => self.record(&conflict),
            Action::GoHome(home) => self.go_home(home).await,
            Action::Release => self.claim.release(),
            Action::Answer(answer) => self.answer(answer).await,
            Action::Leave => self.leave().await,
        }
    }

    fn ask_claims(&mut self, paths: BTreeSet<PathBuf>) {
        self.end_attempt();
        let granted = self.claim.ask(paths);
        self.under_way = Some(Box::pin(async move {
            granted.await;
            Happened::Claimed
        }));
    }

    fn find_place(&mut self, avoid: Vec<WorkerKey>) {
        self.end_attempt();
        let (daemon, spec, command) = (self.daemon.clone(), self.spec.clone(), self.command);
        let is_awaited = self.claim.holds_any();
        let among = self.build.workers();
        self.under_way = Some(Box::pin(async move {
            let seeker = Seeker {
                command: &command,
                cwd: &spec.cwd,
                among: &among,
                avoid: &avoid,
                is_awaited,
            };
            Happened::Placed(daemon.fleet.place(seeker).await)
        }));
    }

    /// Gives the slot back, and drops what the attempt said and was not shown.
    fn end_attempt(&mut self) {
        (self.place, self.sink, self.result) = (None, None, None);
        (self.began, self.pids) = (None, None);
    }

    /// Sends the job to its worker, and what the caller said before.
    fn send(&mut self, attempt: Attempt) {
        let Some(place) = self.place.clone() else { return };
        let (daemon, session) = (self.daemon, &place.session);
        // Of this attempt: a worker that was lost may run the job for a while yet.
        let pids = daemon.pids.lease(session.greeting.pid_limit, daemon.fleet.most_jobs());
        Rc::make_mut(&mut self.spec).pids = pids.range;
        self.pids = Some(pids);
        self.claim.begin();
        self.input.begin();
        // From here on, and not before: the worker is told of all up to now.
        self.began = Some(daemon.overlap.begin());
        let (snapshot, updates) = daemon.tree.updates_for(place.link().key, session.seen.get());
        session.seen.set(snapshot);
        let mut expected = daemon
            .forecasts
            .expect(&self.command, &updates, &mut session.told.borrow_mut());
        expected.files.extend(self.machine.contended().cloned());
        let terminal = self.spec.stdio.terminal;
        let sink = Sink::new(self.caller.clone(), terminal[1] || terminal[2], self.shown.clone());
        let sink = self.sink.insert(Rc::new(sink));
        let run = session
            .remote
            .run(&self.spec, snapshot, &updates, &expected, sink.clone());
        self.under_way = Some(Box::pin(async move { Happened::Ran(attempt, run.await.map(Box::new)) }));
        for frame in std::mem::take(&mut self.early) {
            self.pass_on(frame);
        }
    }

    /// Begins to commit the outputs of the attempt that has ended, on a thread of its own.
    fn commit(&mut self, attempt: Attempt) {
        let (Some(place), Some(result), Some(began)) = (self.place.clone(), &mut self.result, &self.began) else {
            return;
        };
        let is_here = place.session.greeting.machine == self.daemon.machine;
        let request = Arc::new(CommitRequest {
            changes: std::mem::take(&mut result.changes),
            premises: std::mem::take(&mut result.premises),
            trace: std::mem::take(&mut result.trace),
            cwd: self.spec.cwd.clone(),
            began: began.at(),
            clock: ClockShift::between(result.worker_now, is_here),
        });
        let answer = ending::journaled(result, self.sink.as_deref());
        let log = JobLog::new(self.daemon.journal.clone(), self.request, self.caller.process(), answer);
        self.claim.committing(self.spec.id, &request.changes);
        let (daemon, hurry) = (self.daemon.clone(), self.hurry.clone());
        self.under_way = Some(Box::pin(async move {
            let begun = Instant::now();
            Happened::Committed {
                attempt,
                outcome: outputs::commit(&daemon, &place, request.clone(), log, &hurry).await,
                request,
                took: begun.elapsed(),
            }
        }));
    }

    /// An action has ended that took a while.
    fn event_of(&mut self, happened: Happened) -> Event<WorkerKey> {
        match happened {
            Happened::Claimed => Event::Claimed,
            Happened::Placed(Err(unreachable)) => Event::NoWorker(unreachable.to_string()),
            Happened::Placed(Ok(_)) if self.claim.is_short() => Event::Unclaimed,
            Happened::Placed(Ok(place)) => {
                let (worker, address) = (place.link().key, place.link().address.to_string());
                if let Some(running) = &self.running {
                    running.on(&place);
                }
                self.account.try_on(&address);
                self.place = Some(Rc::new(place));
                Event::Placed { worker, address }
            }
            Happened::Ran(attempt, outcome) => self.ran(attempt, outcome),
            Happened::Committed {
                attempt,
                request,
                outcome,
                took,
            } => {
                let failure = match outcome {
                    Ok((committed, _pending)) => {
                        self.committed(request, &committed);
                        self.account.committed(took);
                        return Event::Committed(attempt);
                    }
                    Err(failure) => failure,
                };
                self.claim.not_committed(self.spec.id);
                match failure {
                    NotCommitted::Conflict(conflict) => {
                        let (changes, premises) = (&request.changes, &request.premises);
                        self.claim.conflicted_beside(&conflict.path, changes, premises);
                        Event::Conflicted(attempt, conflict)
                    }
                    NotCommitted::Refused(why) => Event::Refused(attempt, why),
                    NotCommitted::Half(why) => self.half_committed(attempt, request, why),
                }
            }
            Happened::HomeEnded => Event::HomeEnded,
        }
    }

    /// What an attempt came to, once its worker has answered or is lost.
    fn ran(&mut self, attempt: Attempt, outcome: Result<Box<JobResult>, RemoteError>) -> Event<WorkerKey> {
        if self.shown.is_any() {
            self.machine.handle(Event::Shown);
        }
        let result = match outcome {
            Ok(result) => result,
            Err(why) => {
                let why = why.to_string();
                return Event::Lost { attempt, why };
            }
        };
        if let Some(place) = &self.place {
            place.link().traffic.between(result.usage.from_peers);
        }
        if let JobEnd::Abandoned(why) = result.end {
            if let Some(sign) = Sign::of(&why, unix_ms() / 1000, command_line(&self.spec.argv)) {
                self.daemon.signs.borrow_mut().note(self.command.exact, sign);
            }
            return Event::GivenUp { attempt, why };
        }
        let succeeded = result.end == JobEnd::Exited(0);
        // Where a process of the client's holds the same lock, the commit waits for it.
        let waits = result.premises.locked;
        let has_changes = !result.changes.is_empty() || waits || commit::looks_at_links(&result.trace);
        if let (false, Some(began)) = (has_changes, &self.began) {
            let overlap = &self.daemon.overlap;
            if let Err(conflict) = overlap.end_unchanged(began.at(), &result.trace, &result.premises) {
                return Event::Conflicted(attempt, conflict);
            }
        }
        if succeeded && !has_changes {
            self.claim.committed(self.spec.id, &[], &result.trace);
        }
        self.result = Some(*result);
        Event::Finished {
            attempt,
            succeeded,
            has_changes,
        }
    }

    /// Tells worker, fleet and claims that the changes are in the client's tree.
    fn committed(&mut self, request: Arc<CommitRequest>, committed: &Committed) {
        let (Some(place), Some(result)) = (&self.place, &mut self.result) else {
            return;
        };
        outputs::merge(self.daemon, place, self.spec.id, committed);
        outputs::note_holder(self.daemon, place, &request.changes);
        self.claim.committed(self.spec.id, &request.changes, &request.trace);
        result.trace = own_trace(request);
    }

    /// Other jobs are told that something changed these paths which is no commit.
    fn half_committed(&mut self, attempt: Attempt, request: Arc<CommitRequest>, why: String) -> Event<WorkerKey> {
        tracing::error!("job {} is committed by halves: {why}", self.spec.id);
        let paths = request.changes.iter().map(|change| change.path.clone());
        self.daemon.overlap.changed_outside(paths.collect());
        if let Some(result) = &mut self.result {
            result.trace = own_trace(request);
        }
        Event::HalfCommitted(attempt, why)
    }

    fn record(&mut self, conflict: &Conflict) {
        let by = self.claim.conflicted(conflict);
        tracing::info!("job {} runs again: {conflict}", self.spec.id);
        self.account.conflicted(ConflictRecord::new(conflict, by));
    }

    /// The caller says something.
    fn handle_frame(&mut self, frame: ToDaemon) {
        match frame {
            ToDaemon::Input(piece) => {
                let wanted = self.input.came(piece);
                if self.input.is_lost() {
                    self.machine.handle(Event::InputLost);
                }
                if let Some(piece) = wanted {
                    self.pass_on(ToDaemon::Input(piece));
                }
            }
            frame => {
                let is_running = matches!(self.machine.state(), State::Running(_));
                if let ToDaemon::Signal(signal) = frame
                    && ends(signal)
                {
                    self.machine.handle(Event::Interrupted(signal));
                }
                if is_running {
                    return self.pass_on(frame);
                }
                if matches!(frame, ToDaemon::Resize(_)) {
                    self.early.retain(|early| !matches!(early, ToDaemon::Resize(_)));
                }
                self.early.push(frame);
            }
        }
    }

    async fn give_input(&mut self) {
        match self.input.wanted() {
            Want::Give(piece) => self.pass_on(ToDaemon::Input(piece)),
            Want::Ask => self.caller.send(ToCaller::WantInput).await,
            Want::Wait => {}
        }
    }

    /// Sends on what the caller says while its job runs. Each call is sent in order; only
    /// its answer is waited for elsewhere.
    fn pass_on(&self, frame: ToDaemon) {
        let (Some(place), Some(sink), job) = (&self.place, &self.sink, self.spec.id) else {
            return;
        };
        let (session, sink) = (place.session.clone(), sink.clone());
        tokio::task::spawn_local(async move {
            let done = match frame {
                ToDaemon::Signal(signal) => session.remote.signal(job, signal).await,
                ToDaemon::Resize(size) => session.remote.resize(job, size).await,
                ToDaemon::Input(bytes) => {
                    let taken = session.remote.input(job, &bytes).await;
                    if taken.is_ok() && !bytes.is_empty() {
                        sink.want_more();
                    }
                    taken
                }
                ToDaemon::Job(_) | ToDaemon::Control(_) => Ok(()),
            };
            if let Err(error) = done {
                // The job's own call fails by the same cause and decides what follows.
                tracing::debug!("job {job}: {error}");
            }
        });
    }
}

/// The trace of a request whose committer has ended, so that nobody else has it.
fn own_trace(request: Arc<CommitRequest>) -> Vec<TraceItem> {
    Arc::try_unwrap(request).map_or_else(|shared| shared.trace.clone(), |request| request.trace)
}

/// Whether a signal asks its receiver to end.
fn ends(signal: u8) -> bool {
    [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT].contains(&signal.into())
}
