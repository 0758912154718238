//! How a job ends: on the fleet, on the client, or with its caller gone. Its record is
//! written, and the caller is told. Decides none of it.

use super::{Dispatch, Happened, ends};
use crate::account;
use crate::daemon::Daemon;
use crate::forecast::Command;
use crate::history::JobRecord;
use crate::home::Stay;
use crate::link::SlotLease;
use crate::sink::Sink;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;
use termite_core::job::{Answer, Home};
use termite_types::journal::{self, Ended};
use termite_types::{JobEnd, JobResult, TraceItem};
use termite_wire::frame::{ToCaller, ToDaemon};

/// Resolves when a command has ended on the client.
type HomeEnd = Pin<Box<dyn Future<Output = ()>>>;

/// How a command that is to run on the client gets there.
enum Arrival {
    /// There is room.
    Room(Stay),
    /// None is needed.
    Free,
    /// Its caller is to end.
    Interrupted(u8),
    CallerLeft,
}

impl Dispatch<'_> {
    /// Tells the caller how its job ended.
    pub(super) async fn answer(&mut self, answer: Answer) {
        match (answer, self.result.take()) {
            (Answer::AsItEnded, Some(result)) => self.finish(result, None).await,
            (Answer::HalfCommitted(why), Some(result)) => self.fail(result, &why).await,
            // There is a result whenever an attempt was to be committed.
            (Answer::AsItEnded | Answer::HalfCommitted(_), None) => self.leave().await,
            (Answer::Signaled(signal), _) => self.end_interrupted(signal).await,
        }
    }

    /// Ends the caller as a tool whose write failed, of a job that is committed by halves.
    async fn fail(&mut self, mut result: JobResult, why: &str) {
        if result.end == JobEnd::Exited(0) {
            result.end = JobEnd::Exited(1);
        }
        self.account.half_committed(why);
        let word = self.spec.argv.first().map(Path::new).and_then(Path::file_name);
        let name = word.unwrap_or(self.spec.program.as_os_str()).display();
        let line = format!(
            "termite: {name}: {why}\ntermite: {name}: it is not run again, as that might change files twice; mend the \
             cause, see to these files, and start the build again\n"
        );
        self.finish(result, Some(line)).await;
    }

    /// Shows what the job said, and a last line of ours, and ends the caller as the job ended.
    async fn finish(&mut self, mut result: JobResult, line: Option<String>) {
        if let Some(place) = &self.place {
            note_length(self.daemon, &self.command, place, &result);
        }
        if let Some(sink) = &self.sink {
            result.output = sink.unshown(result.output);
        }
        result.output.extend(line.map(|line| (2, line.into_bytes())));
        let record = self.account.ended(&result);
        self.end_attempt();
        self.running = None;
        self.build.remote(&record);
        self.build.reran(&record);
        let (forecasts, command) = (self.daemon.forecasts.clone(), self.command);
        let learn = move |trace: &[TraceItem]| forecasts.learn(&command, trace);
        let trace = std::mem::take(&mut result.trace);
        self.daemon.builds.keep(self.spec.id, record, trace, learn).await;
        self.daemon.builds.touched(&self.build);
        for (fd, bytes) in result.output {
            self.caller.send(ToCaller::Output { fd, bytes }).await;
        }
        let read_input = result.read_input;
        let last = match result.end {
            JobEnd::Exited(status) => ToCaller::Exited { status, read_input },
            JobEnd::Signaled(signal) => ToCaller::Signaled { signal, read_input },
            JobEnd::Abandoned(why) => ToCaller::Error(why.to_string()),
        };
        self.caller.send(last).await;
    }

    /// Has the caller execute the command itself, once there is room for it.
    pub(super) async fn go_home(&mut self, home: Home) {
        let Home {
            reason,
            as_driver,
            fault,
        } = home;
        if fault {
            tracing::warn!("{} runs on the client: {reason}", self.spec.program.display());
        }
        self.end_attempt();
        // A driver is not a job, and mostly waits for those that it starts.
        let arrival = match as_driver {
            true => Arrival::Free,
            false => self.arrive().await,
        };
        let stay = match arrival {
            Arrival::Room(stay) => Some(stay),
            Arrival::Free => None,
            Arrival::Interrupted(signal) => {
                self.end_interrupted(signal).await;
                return self.home_ends(None);
            }
            Arrival::CallerLeft => {
                self.leave().await;
                return self.home_ends(None);
            }
        };
        let record = self.account.stays(as_driver, &reason);
        self.keep(record.clone()).await;
        let mut is_news = false;
        if !as_driver {
            is_news = self.build.local(&reason);
            self.daemon.builds.touched(&self.build);
        }
        let home_end = self.home_end(record, stay);
        // Nobody will ask a daemon that ends for a summary.
        let tell = fault && is_news && (self.is_stopped || !self.build.has_reporter());
        let rules = self.daemon.rules_for(&self.spec.cwd).unwrap_or_default();
        let tools = self.daemon.config.tools_value(&rules);
        let reason = if fault { reason } else { String::new() };
        self.caller
            .send(ToCaller::Local {
                reason,
                as_driver,
                tell,
                tools,
            })
            .await;
        self.home_ends(home_end);
    }

    /// Waits for room on the client, as long as anybody wants the command.
    async fn arrive(&mut self) -> Arrival {
        let enter = self
            .daemon
            .room
            .clone()
            .enter(self.caller.process(), self.spec.id.build);
        tokio::pin!(enter);
        loop {
            tokio::select! {
                biased;
                stay = &mut enter => return Arrival::Room(stay),
                () = self.caller.gone() => return Arrival::CallerLeft,
                // Its build goes on without this daemon.
                () = self.daemon.stopping() => return Arrival::Free,
                said = self.caller.next() => match said {
                    None => return Arrival::CallerLeft,
                    Some(ToDaemon::Signal(signal)) if ends(signal) => return Arrival::Interrupted(signal),
                    // The command has its own streams and signals.
                    Some(_) => {}
                },
            }
        }
    }

    /// Has the job end with its command on the client, where others that would change what it
    /// reads are held up until then.
    fn home_ends(&mut self, home_end: Option<HomeEnd>) {
        let is_awaited = self.claim.holds_any();
        self.under_way = Some(Box::pin(async move {
            match home_end {
                Some(home_end) if is_awaited => home_end.await,
                Some(home_end) => drop(tokio::task::spawn_local(home_end)),
                None => {}
            }
            Happened::HomeEnded
        }));
    }

    /// Begins to wait for the end of a command that the caller executes: it leaves its room, and its
    /// record is kept anew, with how it ended.
    fn home_end(&self, record: JobRecord, stay: Option<Stay>) -> Option<HomeEnd> {
        let unwatched = |error| tracing::warn!("job {} cannot be watched on the client: {error}", self.spec.id);
        let watched = self.caller.watch().map_err(unwatched).ok()?;
        let (daemon, id, since) = (self.daemon.clone(), self.spec.id, self.account.since());
        Some(Box::pin(async move {
            let end = watched.end().await;
            drop(stay);
            let record = account::ended_at_home(record, since, end);
            daemon.builds.keep(id, record, Vec::new(), |_| {}).await;
        }))
    }

    /// Ends the caller by a signal that it passed on.
    async fn end_interrupted(&mut self, signal: u8) {
        self.end_attempt();
        let record = self.account.interrupted(signal);
        self.keep(record).await;
        // Nothing that it read counts.
        let read_input = 0;
        self.caller.send(ToCaller::Signaled { signal, read_input }).await;
    }

    /// The caller went away.
    pub(super) async fn leave(&mut self) {
        self.end_attempt();
        let record = self.account.left();
        self.keep(record).await;
    }

    /// Keeps the record of a job that has no trace.
    async fn keep(&mut self, record: JobRecord) {
        self.running = None;
        self.build.reran(&record);
        self.daemon.builds.keep(self.spec.id, record, Vec::new(), |_| {}).await;
    }
}

/// What a stub is to show that loses the daemon once the job's changes are made: as
/// [`Dispatch::finish`] would have told it.
pub(super) fn journaled(result: &JobResult, sink: Option<&Sink>) -> journal::Answer {
    let owed = sink.map(|sink| sink.owed(&result.output, journal::OUTPUT_MAX));
    let (sent, output) = owed.map_or(([0; 2], None), |owed| (owed.sent, owed.output));
    journal::Answer {
        end: match result.end {
            JobEnd::Exited(status) => Ended::Exited(status),
            JobEnd::Signaled(signal) => Ended::Signaled(signal),
            // Nothing of such a job is committed.
            JobEnd::Abandoned(_) => Ended::Exited(1),
        },
        read_input: result.read_input,
        sent,
        is_output_lost: output.is_none(),
        output: output.unwrap_or_default(),
    }
}

/// What is told of its worker and to later jobs by how long a job ran; a failed one may have
/// ended early.
fn note_length(daemon: &Daemon, command: &Command, place: &SlotLease, result: &JobResult) {
    if result.end != JobEnd::Exited(0) {
        return;
    }
    let took = Duration::from_micros(result.usage.phases.run_us);
    if let Some(usual) = daemon.forecasts.length(command) {
        place.link().ran(usual, took);
    }
    daemon.forecasts.ran(command, took);
}
