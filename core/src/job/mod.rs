//! A job's life as a pure state machine: events in, actions out.
//!
//! ```text
//!        remote         Claimed        Placed        Finished            Committed
//!  New ─────► Claiming ─────► Placing ─────► Running ─────► Committing ─────► Ended
//!   │          │   ▲            │  ▲           │ │ │            │ │              ▲
//!   │          │   ├─ Unclaimed ┘  └─ failure ─┘ │ │            │ │              │
//!   │          │   └───────────────── conflict ──┘ │ ─ conflict ┘ │              │
//!   │ local,   │ too many       │ no worker        │ driver,      │ refused      │
//!   │ driver   │ conflicts      │                  │ denied, ...  │              │
//!   ▼          ▼                ▼                  ▼              ▼              │
//!  Home ◄────────────────────────────────────────────────────────────            │
//!   └──────────────────────────── HomeEnded ─────────────────────────────────────┘
//!
//!  Running ► Ended:     Finished without changes, or interrupted and not successful (see `Policy`)
//!  Committing ► Ended:  Committed, or HalfCommitted
//!  Conflict ► Ended:    the job was interrupted, or its caller left
//!  CallerLeft:          Home and Committing go on to their end, all others ► Ended
//!  Interrupted ► Ended: in Claiming, and in Placing after a conflict
//!  Stopped:             Claiming, Placing and Running ► Home, Committing goes on to its end, Home ► Ended
//! ```
//!
//! **Failures** (a worker is lost, full, or cannot start the job) send a job to another
//! worker, which must not be one that failed it; after three the client runs it. A job
//! whose output the user has seen is not tried again elsewhere.
//!
//! **Conflicts** do not count as failures. Nothing of the attempt was changed; what it said
//! and was not shown is dropped, its outputs are discarded, and the job runs again on any
//! worker, the same one too. Before that it claims the paths that it conflicted on (see
//! [`crate::claims`]), so that no other job that is known to change them runs meanwhile.
//! Claims are held until the job has ended, in whatever way. After five conflicts on paths that
//! it had claimed, or one on a seventeenth path, the client runs the job in its own place, still
//! with the claims. What was shown on a terminal
//! cannot be taken back. The job runs again nevertheless, since its changes are needed, and
//! the dispatcher shows only the output of the new run that differs. Standard input that was
//! taken is given again; if more was taken than is kept, the job goes to the client, which
//! reports that.
//!
//! **A commit that fails** before its first change to the tree is refused: the client runs
//! the job. One that fails after it is committed by halves: the job runs nowhere again, since
//! what is changed might be changed twice, and its caller ends as a tool whose write failed.
//!
//! **An interrupted job** that fails leaves nothing: make has removed its targets by then.
//! If it ended well and its commit conflicts, it does not run again; the caller ends by
//! the signal. The same holds for a job that waits for a claim or to run again, and for one that
//! its worker gives up.
//!
//! Answers of attempts other than the current one are ignored, so a late answer does no
//! harm. Knows no clock, disk, socket, and neither results nor contents: they stay with
//! the dispatcher, which performs the actions.

mod events;
#[cfg(test)]
mod tests;

pub use events::{Action, Answer, Attempt, Event, Home, Policy};

use crate::rules::Verdict;
use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use termite_types::{Abandon, Conflict};

/// How a job stands. Only [`Job::set`] changes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nothing is decided.
    New,
    /// Waits for its claims. Holds none.
    Claiming,
    /// Waits for a slot. Holds its claims, as in all states below but the last.
    Placing,
    /// Runs on a worker.
    Running(Attempt),
    /// Has ended on its worker; its changes are validated and written.
    Committing(Attempt),
    /// The client runs it in its own place.
    Home,
    /// The caller was told, or went away. Holds nothing.
    Ended,
}

/// One job. `W` names a worker.
#[derive(Clone, Debug)]
pub struct Job<W> {
    state: State,
    policy: Policy,
    /// Where it is placed, or was placed last.
    worker: Option<(W, String)>,
    /// Workers that failed it.
    failed: Vec<W>,
    last_fault: String,
    attempts: u32,
    /// Conflicts on a path that it had claimed.
    repeated: u32,
    /// Paths that it conflicted on, each for the first time before it had claimed it.
    contended: BTreeSet<PathBuf>,
    /// Paths that it conflicted on, since it waited for others to make them. It does not claim
    /// those: they could not.
    awaited: BTreeSet<PathBuf>,
    was_shown: bool,
    is_input_lost: bool,
    interrupted: Option<u8>,
    caller_left: bool,
    actions: VecDeque<Action<W>>,
}

impl<W: Copy + Eq> Job<W> {
    /// A job before its first event.
    pub fn new(policy: Policy) -> Self {
        Self {
            state: State::New,
            policy,
            worker: None,
            failed: Vec::new(),
            last_fault: String::new(),
            attempts: 0,
            repeated: 0,
            contended: BTreeSet::new(),
            awaited: BTreeSet::new(),
            was_shown: false,
            is_input_lost: false,
            interrupted: None,
            caller_left: false,
            actions: VecDeque::new(),
        }
    }

    /// How it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Paths that it conflicted on.
    pub fn contended(&self) -> impl Iterator<Item = &PathBuf> {
        self.contended.iter()
    }

    /// The next thing to do. `None`: nothing until the next event.
    pub fn poll(&mut self) -> Option<Action<W>> {
        self.actions.pop_front()
    }

    /// Something happened. What does not fit the state comes too late and is ignored.
    pub fn handle(&mut self, event: Event<W>) {
        match (self.state, event) {
            (_, Event::Shown) => self.was_shown = true,
            (_, Event::InputLost) => self.is_input_lost = true,
            (State::New, Event::Asked(verdict)) => self.asked(verdict),
            (State::Claiming, Event::Claimed) => self.claimed(),
            (State::Placing, Event::Placed { worker, address }) => self.placed(worker, address),
            (State::Placing, Event::Unclaimed) => self.claim(),
            (State::Placing, Event::NoWorker(why)) => self.unplaced(why),
            (State::Claiming | State::Placing | State::Running(_), Event::Stopped) => self.stopped(),
            (State::Running(running), event) => self.ran(running, event),
            (State::Committing(committing), event) => self.validated(committing, event),
            (State::Home, Event::HomeEnded | Event::Stopped) => {
                self.act(Action::Release);
                self.set(State::Ended);
            }
            (State::New | State::Claiming | State::Placing, Event::CallerLeft) => self.leave(),
            (State::Claiming | State::Placing, Event::Interrupted(signal)) => self.interrupted_early(signal),
            _ => {}
        }
    }

    fn set(&mut self, state: State) {
        debug_assert!(self.state != State::Ended, "an ended job begins anew");
        self.state = state;
    }

    fn act(&mut self, action: Action<W>) {
        self.actions.push_back(action);
    }

    fn asked(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Remote { .. } => self.claim(),
            Verdict::Local { why } => self.go_home(why, false, false),
            Verdict::Driver { why } => self.go_home(why, true, false),
        }
    }

    fn claim(&mut self) {
        self.act(Action::Claim(self.contended.clone()));
        self.set(State::Claiming);
    }

    fn claimed(&mut self) {
        let paths = self.contended.len() + self.awaited.len();
        if self.repeated >= self.policy.most_repeated || paths > self.policy.most_contended {
            let conflicts = self.repeated as usize + paths;
            let reason = format!("it conflicted {conflicts} times, last on {}", self.last_fault);
            return self.go_home(reason, false, true);
        }
        if self.is_input_lost {
            return self.go_home(self.last_fault.clone(), false, true);
        }
        self.place();
    }

    fn place(&mut self) {
        let avoid = self.failed.clone();
        self.act(Action::Place { avoid });
        self.set(State::Placing);
    }

    fn placed(&mut self, worker: W, address: String) {
        self.attempts += 1;
        let attempt = Attempt(self.attempts);
        self.worker = Some((worker, address));
        self.act(Action::Send { worker, attempt });
        self.set(State::Running(attempt));
    }

    /// No worker is left. What the last one did is the better reason.
    fn unplaced(&mut self, why: String) {
        let reason = match self.last_fault.is_empty() {
            true => why,
            false => self.last_fault.clone(),
        };
        self.go_home(reason, false, true);
    }

    /// A signal came while no worker runs the job. A program may ignore signals, so a job that
    /// waits for its first slot still starts, and gets the signal then. A job that waits for
    /// other jobs ends at once: the user wants the build to end.
    fn interrupted_early(&mut self, signal: u8) {
        self.interrupted = Some(signal);
        if self.state == State::Claiming || !self.contended.is_empty() {
            self.act(Action::Cancel);
            self.answer(Answer::Signaled(signal));
        }
    }

    /// Something happened to a job on a worker.
    fn ran(&mut self, running: Attempt, event: Event<W>) {
        match event {
            Event::Finished {
                attempt,
                succeeded,
                has_changes,
            } if attempt == running => {
                let broken_off = self.interrupted.is_some() && !succeeded && !self.policy.keeps_interrupted;
                if has_changes && !broken_off {
                    self.act(Action::Commit(attempt));
                    return self.set(State::Committing(attempt));
                }
                self.act(Action::Discard(attempt));
                self.answer(Answer::AsItEnded);
            }
            Event::GivenUp { attempt, why } if attempt == running => self.given_up(why),
            Event::Lost { attempt, why } if attempt == running => self.failed(&why),
            Event::Conflicted(attempt, conflict) if attempt == running => {
                self.act(Action::Discard(attempt));
                self.conflicted(conflict);
            }
            Event::CallerLeft => self.leave(),
            Event::Interrupted(signal) => self.interrupted = Some(signal),
            _ => {}
        }
    }

    fn given_up(&mut self, why: Abandon) {
        if let Some(signal) = self.interrupted {
            // Nobody wants it any more.
            return self.answer(Answer::Signaled(signal));
        }
        match why {
            Abandon::Conflict(conflict) => self.conflicted(conflict),
            Abandon::Driver(program) => self.go_home(format!("it starts {}", program.display()), true, false),
            why @ (Abandon::Denied(_) | Abandon::Unsupported(_)) => self.go_home(why.to_string(), false, true),
            why @ (Abandon::Start(_) | Abandon::Machine(_) | Abandon::Needs(_)) => {
                self.go_home(why.to_string(), false, false)
            }
            why => self.failed(&why.to_string()),
        }
    }

    /// The worker did not bring the job to its end.
    fn failed(&mut self, why: &str) {
        let Some((worker, address)) = &self.worker else { return };
        self.failed.push(*worker);
        self.last_fault = format!("{address}: {why}");
        self.act(Action::RecordFault(self.last_fault.clone()));
        if self.was_shown || self.is_input_lost || self.failed.len() >= self.policy.most_failures {
            return self.go_home(self.last_fault.clone(), false, true);
        }
        self.place();
    }

    /// Something happened while a job's changes are committed.
    fn validated(&mut self, committing: Attempt, event: Event<W>) {
        match event {
            Event::Committed(attempt) if attempt == committing => self.answer(Answer::AsItEnded),
            Event::Conflicted(attempt, conflict) if attempt == committing => {
                self.act(Action::Discard(attempt));
                self.conflicted(conflict);
            }
            Event::Refused(attempt, why) if attempt == committing => {
                self.act(Action::Discard(attempt));
                match self.caller_left {
                    true => self.leave(),
                    false => self.go_home(why, false, true),
                }
            }
            Event::HalfCommitted(attempt, why) if attempt == committing => {
                self.act(Action::Discard(attempt));
                self.answer(Answer::HalfCommitted(why));
            }
            Event::CallerLeft if !self.caller_left => {
                self.caller_left = true;
                self.act(Action::HurryCommit);
            }
            Event::Interrupted(signal) => self.interrupted = Some(signal),
            _ => {}
        }
    }

    /// The attempt does not count. The job claims the path and runs again.
    fn conflicted(&mut self, conflict: Conflict) {
        let among = match conflict.awaited {
            true => &mut self.awaited,
            false => &mut self.contended,
        };
        let is_new = among.insert(conflict.path.clone());
        self.repeated += u32::from(!is_new);
        self.last_fault = conflict.to_string();
        self.act(Action::RecordConflict(conflict));
        match self.interrupted {
            _ if self.caller_left => self.leave(),
            Some(signal) => self.answer(Answer::Signaled(signal)),
            None => self.claim(),
        }
    }

    fn answer(&mut self, answer: Answer) {
        self.act(Action::Release);
        self.act(match self.caller_left {
            true => Action::Leave,
            false => Action::Answer(answer),
        });
        self.set(State::Ended);
    }

    /// A commit that is under way comes to its end; whatever else a job does, the client does.
    fn stopped(&mut self) {
        self.act(Action::Cancel);
        match self.interrupted {
            Some(signal) => self.answer(Answer::Signaled(signal)),
            None => self.go_home("the daemon was stopped".to_owned(), false, true),
        }
    }

    fn leave(&mut self) {
        self.act(Action::Cancel);
        self.act(Action::Release);
        self.act(Action::Leave);
        self.set(State::Ended);
    }

    fn go_home(&mut self, reason: String, as_driver: bool, fault: bool) {
        self.act(Action::GoHome(Home {
            reason,
            as_driver,
            fault,
        }));
        self.set(State::Home);
    }
}
