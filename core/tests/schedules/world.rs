//! Performs the actions of all jobs of a schedule, as the client's daemon does, with a
//! fleet and a tree that are models. Each step is one of all that can happen, by chance;
//! invariants are checked on the way and at the end.

use crate::random::Random;
use crate::script::{Plan, Script};
use crate::tree::Tree;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use termite_core::claims::{Claimant, Claims};
use termite_core::job::{Action, Answer, Attempt, Event, Job, Policy, State};
use termite_core::rules::Verdict;
use termite_core::writers::{Contended, Moment, Writers};
use termite_types::{Abandon, BuildId, Conflict, JobId};

type Worker = usize;

/// More steps than that are a loop.
const MOST_STEPS: usize = 200_000;

/// What schedules came to.
#[derive(Default, Debug)]
pub(crate) struct Outcome {
    pub jobs: usize,
    pub executions: usize,
    pub committed: usize,
    pub conflicts: usize,
    pub halves: usize,
    pub homes: usize,
    pub left: usize,
    pub lost: usize,
    pub signaled: usize,
    pub late: usize,
    /// Jobs that held a claim.
    pub claimed: usize,
    pub history: HashMap<PathBuf, Contended>,
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, more: Self) {
        self.jobs += more.jobs;
        self.executions += more.executions;
        self.committed += more.committed;
        self.conflicts += more.conflicts;
        self.halves += more.halves;
        self.homes += more.homes;
        self.left += more.left;
        self.lost += more.lost;
        self.signaled += more.signaled;
        self.late += more.late;
        self.claimed += more.claimed;
    }
}

/// Something that can happen next.
#[derive(Clone)]
enum Step {
    Tell(usize, Event<Worker>),
    /// The attempt reads its next path, or ends.
    Go(usize, Attempt),
    /// The commit looks at the tree and changes it.
    Validate(usize, Attempt),
    /// The client runs the job.
    RunHome(usize),
    WorkerUp(Worker),
}

struct Lane {
    machine: Job<Worker>,
    claimant: Claimant,
    asked: BTreeSet<PathBuf>,
    is_claiming: bool,
    /// Waits for a slot on another worker than these.
    seeks: Option<Vec<Worker>>,
    slot: Option<Worker>,
    begun: Moment,
    read: HashMap<Attempt, Vec<u64>>,
    is_hurried: bool,
    conflicted: BTreeSet<Attempt>,
    executions: u32,
    /// Times that its changes came into the tree.
    applied: u32,
    answers: Vec<Option<Answer>>,
    is_home: bool,
}

pub(crate) struct World<'a> {
    plan: &'a Plan,
    random: Random,
    tree: Tree,
    claims: Claims,
    writers: Writers,
    lanes: Vec<Lane>,
    /// Jobs that run on each worker; `None`: it is down.
    fleet: Vec<Option<usize>>,
    steps: Vec<Step>,
    outcome: Outcome,
}

fn id(job: usize) -> JobId {
    JobId {
        build: BuildId(1),
        number: job as u32 + 1,
    }
}

impl<'a> World<'a> {
    pub(crate) fn new(plan: &'a Plan, random: Random) -> Self {
        Self::with_history(plan, random, HashMap::new())
    }

    pub(crate) fn with_history(plan: &'a Plan, random: Random, history: HashMap<PathBuf, Contended>) -> Self {
        let mut claims = Claims::default();
        let lane = |_: &Script| Lane {
            machine: Job::new(Policy::PLAIN),
            claimant: claims.join(),
            asked: BTreeSet::new(),
            is_claiming: false,
            seeks: None,
            slot: None,
            begun: Moment::default(),
            read: HashMap::new(),
            is_hurried: false,
            conflicted: BTreeSet::new(),
            executions: 0,
            applied: 0,
            answers: Vec::new(),
            is_home: false,
        };
        let lanes: Vec<_> = plan.jobs.iter().map(lane).collect();
        let asked = || {
            Event::Asked(Verdict::Remote {
                why: String::new(),
                whole: false,
            })
        };
        Self {
            steps: (0..lanes.len()).map(|job| Step::Tell(job, asked())).collect(),
            fleet: vec![Some(0); plan.workers.len()],
            tree: Tree::default(),
            writers: Writers::saved(history),
            outcome: Outcome::default(),
            plan,
            random,
            claims,
            lanes,
        }
    }

    /// To the end of all jobs. The error is the invariant that does not hold.
    pub(crate) fn run(mut self) -> Result<Outcome, String> {
        for _ in 0..MOST_STEPS {
            self.disturb()?;
            self.place()?;
            if self.steps.is_empty() {
                return self.close();
            }
            let next = self.random.below(self.steps.len());
            let step = self.steps.swap_remove(next);
            self.take(step)?;
        }
        Err("it does not end".into())
    }

    fn close(mut self) -> Result<Outcome, String> {
        for (job, lane) in self.lanes.iter().enumerate() {
            ensure(lane.machine.state() == State::Ended, || {
                format!("job {job} waits for ever: {:?}", lane.machine)
            })?;
            let answers = lane.answers.len() + usize::from(lane.is_home);
            ensure(answers == 1, || {
                format!("the caller of job {job} was told {answers} times")
            })?;
            ensure(lane.slot.is_none(), || format!("job {job} keeps its slot"))?;
        }
        ensure(self.claims.is_empty(), || format!("claims are left: {:?}", self.claims))?;
        ensure(self.tree.is_serial(&self.plan.jobs), || {
            "the tree is of no serial order".into()
        })?;
        self.outcome.jobs = self.lanes.len();
        self.outcome.history = self.writers.take_unsaved().into_iter().collect();
        Ok(self.outcome)
    }

    /// What comes from outside, by chance.
    fn disturb(&mut self) -> Result<(), String> {
        let faults = self.plan.faults;
        let job = self.random.below(self.lanes.len());
        if self.random.permille(faults.caller_leaves) {
            self.tell(job, Event::CallerLeft)?;
        }
        if self.random.permille(faults.interrupted) {
            self.tell(job, Event::Interrupted(2))?;
        }
        if self.random.permille(faults.stopped) {
            self.tell(job, Event::Stopped)?;
        }
        if self.random.permille(faults.shown) {
            self.tell(job, Event::Shown)?;
        }
        if self.random.permille(faults.outside_write) && !self.steps.is_empty() {
            let paths: Vec<_> = self.plan.jobs.iter().flat_map(|job| &job.reads).collect();
            if !paths.is_empty() {
                let path = paths[self.random.below(paths.len())].clone();
                let value = self.random.next() % 100;
                self.tree.write_outside(path, value);
            }
        }
        if self.random.permille(faults.worker_lost) {
            let worker = self.random.below(self.fleet.len());
            self.lose(worker);
        }
        Ok(())
    }

    fn lose(&mut self, worker: Worker) {
        if self.fleet[worker].take().is_none() {
            return;
        }
        self.steps.push(Step::WorkerUp(worker));
        for job in 0..self.lanes.len() {
            let lane = &mut self.lanes[job];
            if lane.slot != Some(worker) {
                continue;
            }
            // What the client already has of the job it keeps, but no more contents come.
            lane.is_hurried = true;
            if let State::Running(attempt) = lane.machine.state() {
                self.outcome.lost += 1;
                // Its answer may still be on its way.
                let ends = self.random.permille(500);
                let is_of = |step: &Step| matches!(step, Step::Go(of, _) if *of == job);
                self.steps.retain(|step| !ends || !is_of(step));
                let why = "lost".into();
                self.steps.push(Step::Tell(job, Event::Lost { attempt, why }));
            }
        }
    }

    /// Gives free slots to jobs that wait for one, in any order.
    fn place(&mut self) -> Result<(), String> {
        let waiting: Vec<_> = (0..self.lanes.len())
            .filter(|job| self.lanes[*job].seeks.is_some())
            .collect();
        for job in waiting {
            let Some(avoid) = self.lanes[job].seeks.clone() else {
                continue;
            };
            let able: Vec<_> = (0..self.fleet.len()).filter(|worker| !avoid.contains(worker)).collect();
            let has_room =
                |worker: &&Worker| self.fleet[**worker].is_some_and(|runs| runs < self.plan.workers[**worker]);
            let open: Vec<_> = able.iter().filter(has_room).copied().collect();
            if open.is_empty() {
                if able.iter().all(|worker| self.fleet[*worker].is_none()) {
                    self.lanes[job].seeks = None;
                    self.tell(job, Event::NoWorker("none".into()))?;
                }
                continue;
            }
            let worker = open[self.random.below(open.len())];
            self.lanes[job].seeks = None;
            if !self.known(job).is_subset(&self.lanes[job].asked) {
                self.tell(job, Event::Unclaimed)?;
                continue;
            }
            self.fleet[worker] = self.fleet[worker].map(|runs| runs + 1);
            self.lanes[job].slot = Some(worker);
            let address = format!("w{worker}");
            self.tell(job, Event::Placed { worker, address })?;
        }
        Ok(())
    }

    fn known(&self, job: usize) -> BTreeSet<PathBuf> {
        self.writers.contended_by(self.plan.jobs[job].command)
    }

    fn take(&mut self, step: Step) -> Result<(), String> {
        if let Step::Tell(_, event) = &step
            && !matches!(event, Event::Claimed)
            && self.random.permille(self.plan.faults.duplicated)
        {
            self.steps.push(step.clone());
            self.outcome.late += 1;
        }
        match step {
            Step::Tell(job, event) => self.tell(job, event),
            Step::Go(job, attempt) => {
                self.go(job, attempt);
                Ok(())
            }
            Step::Validate(job, attempt) => self.validate(job, attempt),
            Step::RunHome(job) => {
                self.tree.run(job, &self.plan.jobs[job]);
                self.applied(job)?;
                self.steps.push(Step::Tell(job, Event::HomeEnded));
                Ok(())
            }
            Step::WorkerUp(worker) => {
                self.fleet[worker] = Some(0);
                Ok(())
            }
        }
    }

    /// One step of an attempt, also of an attempt whose answer comes too late.
    fn go(&mut self, job: usize, attempt: Attempt) {
        let (script, faults) = (&self.plan.jobs[job], self.plan.faults);
        let read = self.lanes[job].read.entry(attempt).or_default();
        if let Some(path) = script.reads.get(read.len()) {
            read.push(self.tree.read(path));
            return self.steps.push(Step::Go(job, attempt));
        }
        let torn = self.tree.check(script, read).err();
        let found = torn.filter(|_| self.random.permille(100)).or_else(|| {
            let path = script.reads.first()?.clone();
            let (seen, found) = ("a", "b");
            let is_false = self.random.permille(faults.false_conflict);
            is_false.then(|| Conflict::new(&path, seen, found))
        });
        let event = match found {
            Some(conflict) => Event::GivenUp {
                attempt,
                why: Abandon::Conflict(conflict),
            },
            None if self.random.permille(faults.abandoned) => Event::GivenUp {
                attempt,
                why: match self.random.below(3) {
                    0 => Abandon::Driver("make".into()),
                    1 => Abandon::Full("full".into()),
                    _ => Abandon::Denied("key".into()),
                },
            },
            None if script.writes.is_empty() && self.random.permille(500) => match self.tree.check(script, read) {
                Err(conflict) => Event::Conflicted(attempt, conflict),
                Ok(()) => Event::Finished {
                    attempt,
                    succeeded: script.succeeds,
                    has_changes: false,
                },
            },
            None => Event::Finished {
                attempt,
                succeeded: script.succeeds,
                has_changes: !script.writes.is_empty(),
            },
        };
        self.steps.push(Step::Tell(job, event));
    }

    fn validate(&mut self, job: usize, attempt: Attempt) -> Result<(), String> {
        let script = &self.plan.jobs[job];
        let read = self.lanes[job].read.get(&attempt).cloned().unwrap_or_default();
        let is_cut = self.lanes[job].is_hurried && self.random.permille(500);
        let event = if is_cut || self.random.permille(self.plan.faults.refused) {
            Event::Refused(attempt, "refused".into())
        } else if let Err(conflict) = self.tree.check(script, &read) {
            Event::Conflicted(attempt, conflict)
        } else {
            let is_new = !self.lanes[job].conflicted.contains(&attempt);
            ensure(is_new, || format!("job {job} commits an attempt that conflicted"))?;
            if self.random.permille(self.plan.faults.half_committed) {
                self.tree.commit_half(job, script, &read);
                self.outcome.halves += 1;
                self.steps
                    .push(Step::Tell(job, Event::HalfCommitted(attempt, "full".into())));
                return self.applied(job);
            }
            self.tree.commit(job, script, &read);
            self.applied(job)?;
            self.outcome.committed += 1;
            let changed = script.writes.iter().map(PathBuf::as_path);
            self.writers.committed(id(job), script.command, changed, []);
            Event::Committed(attempt)
        };
        self.steps.push(Step::Tell(job, event));
        Ok(())
    }

    fn applied(&mut self, job: usize) -> Result<(), String> {
        self.lanes[job].applied += 1;
        ensure(self.lanes[job].applied == 1, || {
            format!("job {job} changes the tree twice")
        })
    }

    fn tell(&mut self, job: usize, event: Event<Worker>) -> Result<(), String> {
        self.lanes[job].machine.handle(event);
        while let Some(action) = self.lanes[job].machine.poll() {
            self.perform(job, action)?;
        }
        Ok(())
    }

    fn perform(&mut self, job: usize, action: Action<Worker>) -> Result<(), String> {
        match action {
            Action::Claim(mut paths) => {
                self.free(job);
                paths.extend(self.known(job));
                let lane = &mut self.lanes[job];
                self.outcome.claimed += usize::from(lane.asked.is_empty() && !paths.is_empty());
                lane.asked.clone_from(&paths);
                lane.is_claiming = true;
                let granted = self.claims.ask(lane.claimant, paths);
                self.granted(granted);
            }
            Action::Place { avoid } => {
                self.free(job);
                self.lanes[job].seeks = Some(avoid);
            }
            Action::Send { worker, attempt } => {
                ensure(self.lanes[job].slot == Some(worker), || {
                    format!("job {job} has no slot")
                })?;
                let lane = &mut self.lanes[job];
                lane.executions += 1;
                let most = Policy::PLAIN.most_attempts();
                ensure(lane.executions <= most, || format!("job {job} runs too often"))?;
                self.outcome.executions += 1;
                (lane.begun, lane.is_hurried) = (self.writers.now(), false);
                self.steps.push(Step::Go(job, attempt));
            }
            Action::Commit(attempt) => self.steps.push(Step::Validate(job, attempt)),
            Action::Cancel => self.lanes[job].seeks = None,
            Action::HurryCommit => self.lanes[job].is_hurried = true,
            Action::Discard(_) | Action::RecordFault(_) => {}
            Action::RecordConflict(conflict) => {
                self.outcome.conflicts += 1;
                let lane = &mut self.lanes[job];
                lane.conflicted.insert(Attempt(lane.executions));
                let (command, begun) = (self.plan.jobs[job].command, lane.begun);
                self.writers.conflicted(command, &conflict.path, begun);
            }
            Action::GoHome(_) => {
                self.free(job);
                self.outcome.homes += 1;
                self.lanes[job].is_home = true;
                self.steps.push(Step::RunHome(job));
            }
            Action::Release => {
                let granted = self.claims.release(self.lanes[job].claimant);
                self.granted(granted);
            }
            Action::Answer(answer) => {
                self.free(job);
                self.outcome.signaled += usize::from(matches!(answer, Answer::Signaled(_)));
                self.lanes[job].answers.push(Some(answer));
            }
            Action::Leave => {
                self.free(job);
                self.outcome.left += 1;
                self.lanes[job].answers.push(None);
            }
        }
        Ok(())
    }

    /// The jobs learn of their claims at some later time, unless they ended meanwhile.
    fn granted(&mut self, granted: Vec<Claimant>) {
        for claimant in granted {
            let job = self.lanes.iter().position(|lane| lane.claimant == claimant);
            self.steps.extend(job.map(|job| Step::Tell(job, Event::Claimed)));
        }
    }

    fn free(&mut self, job: usize) {
        if let Some(worker) = self.lanes[job].slot.take() {
            self.fleet[worker] = self.fleet[worker].map(|runs| runs.saturating_sub(1));
        }
    }
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
