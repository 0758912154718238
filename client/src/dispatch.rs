//! One job's way: rules, a place on a worker, its end, the commit. Knows the order of
//! these steps and what to do when one fails; the steps themselves live elsewhere.

use crate::account::Account;
use crate::build::{Build, Running};
use crate::callers::Caller;
use crate::commit::{self, ClockShift, CommitRequest, Committed};
use crate::daemon::Daemon;
use crate::fleet::Seeker;
use crate::forecast::Command;
use crate::link::Place;
use crate::sink::Sink;
use std::ffi::OsString;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use termite_core::jobserver;
use termite_core::rules::{self, Verdict};
use termite_types::{Abandon, BlobHash, Change, ChangeKind, JobEnd, JobId, JobResult, JobSpec, Node, Owner, TraceItem};
use termite_wire::frame::{CallerJob, ToCaller, ToDaemon};
use tokio::sync::mpsc;

/// Workers that a job is offered to before it stays at home.
const ATTEMPTS: usize = 3;

/// How the fleet's part of a job ended.
enum Outcome {
    /// It ran; its outputs are committed.
    Done(Box<JobResult>, Command),
    /// It stays on the client, with the shim in it or not, by rule or because of a fault.
    Home {
        reason: String,
        as_driver: bool,
        fault: bool,
    },
    /// Nobody waits for it any more.
    CallerGone,
}

/// Serves one `termite-run` to its end.
pub async fn serve(daemon: &Rc<Daemon>, job: CallerJob, caller: Caller) {
    let build = daemon.builds.of(job.build, &job.cwd);
    let caller = Rc::new(caller);
    let verdict = match judge(daemon, &job) {
        Ok(verdict) => verdict,
        Err(bad) => {
            caller.send(ToCaller::Error(bad)).await;
            return;
        }
    };
    let id = build.next_job();
    let mut account = Account::open(id, &job);
    let outcome = match verdict {
        Verdict::Local { why } => Outcome::Home {
            reason: why,
            as_driver: false,
            fault: false,
        },
        Verdict::Driver { why } => Outcome::Home {
            reason: why,
            as_driver: true,
            fault: false,
        },
        Verdict::Remote { why, whole } => {
            account.goes_because(why);
            let drivers = if whole { Vec::new() } else { daemon.drivers.clone() };
            let mut spec = specify(daemon, &job, id, drivers);
            let running = daemon.builds.started(&spec, &build);
            let outcome = on_fleet(daemon, &mut spec, &caller, &running, &mut account).await;
            drop(running);
            outcome
        }
    };
    match outcome {
        Outcome::Done(mut result, command) => {
            let trace = std::mem::take(&mut result.trace);
            let record = account.ended(&result);
            build.remote(&record);
            let forecasts = daemon.forecasts.clone();
            let learn = move |trace: &[TraceItem]| forecasts.learn(&command, trace);
            daemon.builds.keep(id, record, trace, learn).await;
            daemon.builds.touched(&build);
            finish(&caller, *result).await;
        }
        Outcome::Home {
            reason,
            as_driver,
            fault,
        } => {
            if fault {
                tracing::warn!("{} runs on the client: {reason}", job.program.display());
            }
            let record = account.stays(as_driver, &reason);
            daemon.builds.keep(id, record, Vec::new(), |_| {}).await;
            send_home(daemon, &build, &caller, reason, as_driver, fault).await;
        }
        Outcome::CallerGone => daemon.builds.keep(id, account.left(), Vec::new(), |_| {}).await,
    }
}

/// Where the rules want the command.
fn judge(daemon: &Daemon, job: &CallerJob) -> Result<Verdict, String> {
    let decided = daemon.rules_for(&job.cwd)?.decide(&rules::Command {
        program: &job.program,
        argv: &job.argv,
        cwd: &job.cwd,
    });
    Ok(match decided {
        Verdict::Local { .. } | Verdict::Driver { .. } if job.must => Verdict::Remote {
            why: "asked for as a job".to_owned(),
            whole: false,
        },
        decided => decided,
    })
}

/// Has the caller execute the command itself.
async fn send_home(daemon: &Daemon, build: &Build, caller: &Caller, reason: String, as_driver: bool, fault: bool) {
    let mut is_news = false;
    // A driver is not a job.
    if !as_driver {
        is_news = build.local(&reason);
        daemon.builds.touched(build);
    }
    let tell = fault && is_news && !build.has_reporter();
    let tools = daemon.config.tools_value();
    let reason = if fault { reason } else { String::new() };
    caller
        .send(ToCaller::Local {
            reason,
            as_driver,
            tell,
            tools,
        })
        .await;
}

fn specify(daemon: &Daemon, job: &CallerJob, id: JobId, drivers: Vec<OsString>) -> JobSpec {
    JobSpec {
        id,
        program: job.program.clone(),
        argv: job.argv.clone(),
        env: job.env.clone(),
        cwd: job.cwd.clone(),
        umask: job.umask,
        limits: job.limits.clone(),
        owner: Owner {
            uid: daemon.uid,
            gid: daemon.gid,
            groups: job.groups.clone(),
        },
        hostname: daemon.hostname.clone(),
        stdio: job.stdio.clone(),
        jobserver: jobserver::in_environment(&job.env),
        drivers,
        pids: None,
    }
}

/// Tries workers until one ends the job, or says why none can.
async fn on_fleet(
    daemon: &Rc<Daemon>,
    spec: &mut JobSpec,
    caller: &Rc<Caller>,
    running: &Running<'_>,
    account: &mut Account,
) -> Outcome {
    let command = Command::of(spec);
    let mut tried = Vec::new();
    let mut last_fault = String::new();
    while tried.len() < ATTEMPTS {
        let seeker = Seeker {
            command: &command,
            cwd: &spec.cwd,
            avoid: &tried,
        };
        let place = tokio::select! {
            place = daemon.fleet.place(seeker) => place,
            () = caller.gone() => return Outcome::CallerGone,
        };
        let place = match place {
            Ok(place) => place,
            Err(unreachable) if last_fault.is_empty() => return home(unreachable.to_string()),
            Err(_) => break,
        };
        running.on(&place);
        // Of this attempt: a worker that was lost may run the job for a while yet.
        let pids = daemon
            .pids
            .lease(place.session.greeting.pid_limit, daemon.fleet.most_jobs());
        spec.pids = pids.range;
        account.try_on(&place.link().address);
        let sink = Rc::new(Sink::new(
            caller.clone(),
            spec.stdio.terminal[1] || spec.stdio.terminal[2],
        ));
        let ended = tokio::select! {
            ended = on_worker(daemon, &place, spec, &command, &sink, caller) => ended,
            () = caller.gone() => return Outcome::CallerGone,
        };
        tried.push(place.link().key);
        match ended {
            Ok(Ended::Done(mut result, commit)) => {
                account.committed(commit);
                note_length(daemon, &command, &place, &result);
                result.output.splice(0..0, sink.take_held());
                return Outcome::Done(Box::new(result), command);
            }
            Ok(Ended::Refused(why)) => return home(why),
            Ok(Ended::GivenUp(Abandon::Driver(program))) => {
                let reason = format!("it starts {}", program.display());
                return Outcome::Home {
                    reason,
                    as_driver: true,
                    fault: false,
                };
            }
            Ok(Ended::GivenUp(why @ (Abandon::Denied(_) | Abandon::Unsupported(_)))) => return home(why.to_string()),
            Ok(Ended::GivenUp(why)) => last_fault = format!("{}: {why}", place.link().address),
            Err(lost) => last_fault = format!("{}: {lost}", place.link().address),
        }
        account.failed(&last_fault);
        if sink.has_shown() {
            break;
        }
    }
    home(last_fault)
}

/// What is told of its worker and to later jobs by how long a job ran; a failed one may have
/// ended early.
fn note_length(daemon: &Daemon, command: &Command, place: &Place, result: &JobResult) {
    if result.end != JobEnd::Exited(0) {
        return;
    }
    let took = Duration::from_micros(result.usage.phases.run_us);
    if let Some(usual) = daemon.forecasts.length(command) {
        place.link().ran(usual, took);
    }
    daemon.forecasts.ran(command, took);
}

fn home(reason: String) -> Outcome {
    Outcome::Home {
        reason,
        as_driver: false,
        fault: true,
    }
}

/// How one worker's attempt ended, short of losing the worker.
enum Ended {
    /// With the time that the commit took.
    Done(JobResult, Duration),
    GivenUp(Abandon),
    /// The client cannot write what it wrote.
    Refused(String),
}

async fn on_worker(
    daemon: &Rc<Daemon>,
    place: &Place,
    spec: &JobSpec,
    command: &Command,
    sink: &Rc<Sink>,
    caller: &Rc<Caller>,
) -> Result<Ended, String> {
    let session = &place.session;
    daemon.tree.drain();
    let (snapshot, updates) = daemon.tree.updates_for(place.link().key, session.seen.get());
    session.seen.set(snapshot);
    let expected = daemon
        .forecasts
        .expect(command, &updates, &mut session.told.borrow_mut());
    let run = session.remote.run(spec, snapshot, &updates, &expected, sink.clone());
    tokio::pin!(run);
    let mut interrupted = false;
    let mut result = loop {
        tokio::select! {
            result = &mut run => break result.map_err(|e| e.to_string())?,
            said = caller.next() => match said {
                Some(frame) => {
                    interrupted |= matches!(frame, ToDaemon::Signal(signal) if ends(signal));
                    pass_on(place, spec.id, sink, frame);
                }
                None => std::future::pending().await,
            },
            () = sink.wanted() => caller.send(ToCaller::WantInput).await,
        }
    };
    place.link().traffic.between(result.usage.from_peers);
    if let JobEnd::Abandoned(why) = result.end {
        return Ok(Ended::GivenUp(why));
    }
    // make removes the targets of what it interrupts, and by then it has done so.
    let broken_off = interrupted && result.end != JobEnd::Exited(0);
    if result.changes.is_empty() || broken_off {
        drop_outputs(place, spec.id);
        return Ok(Ended::Done(result, Duration::ZERO));
    }
    let begun = Instant::now();
    let request = Arc::new(CommitRequest {
        changes: std::mem::take(&mut result.changes),
        premises: std::mem::take(&mut result.premises),
        clock: ClockShift::between(result.worker_now, session.greeting.machine == daemon.machine),
    });
    match commit_on_client(daemon, place, request.clone()).await {
        Ok(committed) => {
            merge_outputs(daemon, place, spec.id, &committed);
            note_outputs(daemon, place, &request.changes);
            Ok(Ended::Done(result, begun.elapsed()))
        }
        Err(why) => {
            drop_outputs(place, spec.id);
            Ok(Ended::Refused(why))
        }
    }
}

/// Whether a signal asks its receiver to end.
fn ends(signal: u8) -> bool {
    [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT].contains(&signal.into())
}

/// Sends on what the caller says while its job runs. Each call is sent in order; only
/// its answer is waited for elsewhere.
fn pass_on(place: &Place, job: JobId, sink: &Rc<Sink>, frame: ToDaemon) {
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

/// Writes the outputs into the client's tree, reading their contents from the worker.
async fn commit_on_client(daemon: &Daemon, place: &Place, request: Arc<CommitRequest>) -> Result<Committed, String> {
    let (ask, mut asked) = mpsc::unbounded_channel::<BlobRequest>();
    let deny = daemon.deny.clone();
    let mut work = tokio::task::spawn_blocking(move || commit::commit(&request, &FromWorker(ask), &deny));
    loop {
        tokio::select! {
            Some(BlobRequest { hash, offset, length, answer }) = asked.recv() => {
                let piece = place.session.remote.read(hash, offset, length).await;
                if let Ok(bytes) = &piece {
                    place.link().traffic.received(bytes.len() as u64);
                }
                // The committer ends by itself when nobody answers.
                let _ = answer.send(piece.map_err(|e| io::Error::other(e.to_string())));
            }
            done = &mut work => return match done {
                Ok(committed) => committed.map_err(|e| e.to_string()),
                Err(error) => Err(format!("the committer failed: {error}")),
            },
        }
    }
}

struct BlobRequest {
    hash: BlobHash,
    offset: u64,
    length: u32,
    answer: std::sync::mpsc::Sender<io::Result<Vec<u8>>>,
}

/// Contents that are still on the worker, for the committer's thread.
struct FromWorker(mpsc::UnboundedSender<BlobRequest>);

impl commit::Contents for FromWorker {
    fn read(&self, hash: BlobHash, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        let (answer, answered) = std::sync::mpsc::channel();
        let gone = || io::Error::from(io::ErrorKind::ConnectionAborted);
        self.0
            .send(BlobRequest {
                hash,
                offset,
                length,
                answer,
            })
            .map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

/// Lets the worker keep the outputs in its mirror. The next job's dispatch follows on
/// the same connection, so it is enough that this call is sent first.
fn merge_outputs(daemon: &Rc<Daemon>, place: &Place, job: JobId, committed: &Committed) {
    let (snapshot, updates) = daemon.tree.committed(place.link().key, &committed.paths);
    let merged = place.session.remote.committed(job, snapshot, &updates);
    tokio::task::spawn_local(async move {
        if let Err(error) = merged.await {
            tracing::debug!("job {job}: outputs not merged: {error}");
        }
    });
}

/// Other workers may have the outputs from this one.
fn note_outputs(daemon: &Daemon, place: &Place, changes: &[Change]) {
    for change in changes {
        let content = match &change.kind {
            ChangeKind::File { attr, .. } => match attr.node {
                Node::File { size, hash: Some(hash) } => Some((hash, size)),
                _ => None,
            },
            ChangeKind::Alter(alter) => alter.content.as_ref().map(|edit| (edit.hash, edit.size)),
            _ => None,
        };
        if let Some((hash, size)) = content {
            daemon.fleet.holders.has(place.link().key, hash, size);
        }
    }
}

fn drop_outputs(place: &Place, job: JobId) {
    let session = place.session.clone();
    tokio::task::spawn_local(async move {
        if let Err(error) = session.remote.discard(job).await {
            tracing::debug!("job {job}: outputs not dropped: {error}");
        }
    });
}

/// Shows what the job said and ends the caller as the job ended.
async fn finish(caller: &Caller, result: JobResult) {
    for (fd, bytes) in result.output {
        caller.send(ToCaller::Output { fd, bytes }).await;
    }
    let unread_input = result.unread_input;
    let last = match result.end {
        JobEnd::Exited(status) => ToCaller::Exited { status, unread_input },
        JobEnd::Signaled(signal) => ToCaller::Signaled { signal, unread_input },
        JobEnd::Abandoned(why) => ToCaller::Error(why.to_string()),
    };
    caller.send(last).await;
}
