//! What happens to a job, and what is to be done about it: the two sides of [`super::Job`].
//! Knows no state.

use crate::rules::Verdict;
use std::collections::BTreeSet;
use std::path::PathBuf;
use termite_types::{Abandon, Conflict};

/// Counts the workers that a job was sent to, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Attempt(pub u32);

/// What happened. `W` names a worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<W> {
    /// A caller asks for the job, and the rules say where it may run.
    Asked(Verdict),
    /// All claims that were asked for are granted.
    Claimed,
    /// A worker has a free slot.
    Placed {
        /// The worker.
        worker: W,
        /// How its faults name it.
        address: String,
    },
    /// There is a free slot, but the command is known by this time to change a contended
    /// path that was not asked for. In place of `Placed`; the slot goes to another job.
    Unclaimed,
    /// No worker can take the job, in words.
    NoWorker(String),
    /// The job ended on its worker.
    Finished {
        /// Of which attempt.
        attempt: Attempt,
        /// It exited with status 0.
        succeeded: bool,
        /// It left changes to commit.
        has_changes: bool,
    },
    /// The worker gave the job up.
    GivenUp {
        /// Of which attempt.
        attempt: Attempt,
        /// Why.
        why: Abandon,
    },
    /// The connection to the worker broke, in words.
    Lost {
        /// Of which attempt.
        attempt: Attempt,
        /// What broke.
        why: String,
    },
    /// The job's changes are in the client's tree.
    Committed(Attempt),
    /// The commit found that something the job was told does not hold any more. It changed
    /// nothing. Also of a job that ended without changes, in place of `Finished`.
    Conflicted(Attempt, Conflict),
    /// The commit failed or was not allowed before it changed anything, in words.
    Refused(Attempt, String),
    /// The commit failed after it had changed something, in words: what failed, and what is
    /// changed. A second execution might change that twice.
    HalfCommitted(Attempt, String),
    /// The caller went away.
    CallerLeft,
    /// The caller passed on a signal that asks the job to end.
    Interrupted(u8),
    /// The daemon is about to end, at the user's request.
    Stopped,
    /// The user has seen some of the job's output.
    Shown,
    /// The job took more of its standard input than is kept to be given again.
    InputLost,
    /// The command that the client ran in its own place ended, or nothing is known of it.
    HomeEnded,
}

/// What is to be done. Actions are done in their order; those that say so take a while and
/// are answered by an event, and at most one of them is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action<W> {
    /// Wait for the claims on these paths, and on those that the command is known to
    /// change, in place of all that the job holds. Answer: `Claimed`.
    Claim(BTreeSet<PathBuf>),
    /// Wait for a free slot on a worker that is none of these. Answer: `Placed`, `Unclaimed`
    /// or `NoWorker`.
    Place {
        /// Workers that failed the job.
        avoid: Vec<W>,
    },
    /// Send the job to the worker that has the slot. Answer: `Finished`, `Conflicted`,
    /// `GivenUp` or `Lost`.
    Send {
        /// The worker.
        worker: W,
        /// To be named in the answer.
        attempt: Attempt,
    },
    /// Validate what the attempt left and write it into the client's tree. Answer:
    /// `Committed`, `Conflicted`, `Refused` or `HalfCommitted`.
    Commit(Attempt),
    /// End the action that is under way: the wait, or the job on its worker. No answer.
    Cancel,
    /// Let a commit end early if it has changed nothing yet. Its answer still comes.
    HurryCommit,
    /// Have the worker drop what the attempt left.
    Discard(Attempt),
    /// Keep for the job's record that this worker failed it, in words.
    RecordFault(String),
    /// Keep for the job's record that an attempt did not count, and drop what it said and
    /// was not shown yet.
    RecordConflict(Conflict),
    /// Have the caller run the command in its own place. Answer: `HomeEnded`; a command
    /// that holds no claim need not be watched, its answer may come at once.
    GoHome(Home),
    /// Give back all claims, and the place in the queue for them.
    Release,
    /// Tell the caller how the job ended.
    Answer(Answer),
    /// Keep the record of a job whose caller went away.
    Leave,
}

/// Why and how the caller runs a command itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Home {
    /// The rule or the fault.
    pub reason: String,
    /// With the shim in it, since what it starts may be jobs.
    pub as_driver: bool,
    /// Something failed; otherwise a rule or the command itself has it so.
    pub fault: bool,
}

/// How a job ended for its caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// As the attempt ended that counts.
    AsItEnded,
    /// As a tool whose write failed, in words: some of the changes are made.
    HalfCommitted(String),
    /// By this signal, which the caller itself passed on: no attempt counts.
    Signaled(u8),
}

/// How a mode of building treats its jobs.
///
/// Plain mode answers the caller when the job is committed. Serial mode is going to answer
/// before the job is sent, and a cache of results is going to answer without a worker; both
/// are a policy's choice at [`Event::Asked`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Workers that may fail a job before the client runs it.
    pub most_failures: usize,
    /// Conflicts of a job on paths that it had claimed, after which the client runs it.
    pub most_repeated: u32,
    /// Paths that a job may conflict on.
    pub most_contended: usize,
    /// What a job wrote until a signal ended it is committed. Else it is dropped: who started the
    /// job may have removed the target by then, which would be there again.
    pub keeps_interrupted: bool,
}

impl Policy {
    /// Of an unmodified `make -jN`.
    pub const PLAIN: Self = Self {
        most_failures: 3,
        most_repeated: 5,
        most_contended: 16,
        keeps_interrupted: false,
    };

    /// Times that a job may be sent to a worker.
    pub const fn most_attempts(&self) -> u32 {
        (self.most_failures + self.most_contended) as u32 + self.most_repeated - 1
    }
}
