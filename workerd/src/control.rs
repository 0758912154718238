//! A running job from outside: what can be done to it, and how busy it is. Knows its slot and who
//! serves its files; knows nothing of how it began or of what it leaves.

use crate::fuse::Fuse;
use crate::guard::Guard;
use crate::slot::Slot;
use crate::stdio::{Input, Terminal};
use crate::view::{View, read_below};
use rustix::fd::AsFd;
use rustix::fs::{Dir, Mode, OFlags, openat};
use rustix::io::Errno;
use std::cell::{Cell, OnceCell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use termite_core::activity::Activity;
use termite_types::{Abandon, TerminalSize};

/// What can be done to a running job from outside.
#[derive(Default)]
pub(crate) struct JobControl {
    /// Signals that came before there was a job to receive them.
    early: RefCell<Vec<u8>>,
    slot: RefCell<Option<Rc<RefCell<Slot>>>>,
    observed: RefCell<Option<Observed>>,
    reads_input: Cell<bool>,
    /// Set once the job's streams stand.
    streams: OnceCell<(Input, Terminal)>,
    why: RefCell<Option<Abandon>>,
}

impl JobControl {
    /// Sends a signal to the job's process group, once there is one.
    pub(crate) fn signal(&self, signal: u8) {
        match &*self.slot.borrow() {
            Some(slot) => send(&slot.borrow(), signal),
            None => self.early.borrow_mut().push(signal),
        }
    }

    /// The job runs: what came before is delivered.
    pub(crate) fn begin(&self, slot: Rc<RefCell<Slot>>, observed: Observed) {
        for signal in self.early.take() {
            send(&slot.borrow(), signal);
        }
        *self.slot.borrow_mut() = Some(slot);
        *self.observed.borrow_mut() = Some(observed);
    }

    /// The job has ended.
    pub(crate) fn end(&self) {
        (*self.slot.borrow_mut(), *self.observed.borrow_mut()) = (None, None);
    }

    /// The job has begun to read its standard input, and may wait for a person.
    pub(crate) fn wants_input(&self) {
        self.reads_input.set(true);
    }

    /// By which it is seen what the job does; `None`: it does not run, or may wait for a person.
    pub(crate) fn observed(&self) -> Option<Observed> {
        self.observed.borrow().clone().filter(|_| !self.reads_input.get())
    }

    /// Hands over standard input; empty: its end.
    pub(crate) async fn input(&self, bytes: &[u8]) {
        if let Some((input, _)) = self.streams.get()
            && let Err(error) = input.put(bytes).await
        {
            tracing::warn!("standard input of a job: {error}");
        }
    }

    /// The worker's ends of the job's streams, before it begins.
    pub(crate) fn connect(&self, input: Input, terminal: Terminal) {
        if self.streams.set((input, terminal)).is_err() {
            unreachable!("a job is run once");
        }
    }

    /// Bytes of its standard input that the job has read.
    pub(crate) fn read_input(&self) -> std::io::Result<u64> {
        self.streams.get().map_or(Ok(0), |(input, _)| input.read())
    }

    /// Whether the job may get more input.
    pub(crate) fn is_ready_for_input(&self) -> bool {
        self.streams.get().is_none_or(|(input, _)| input.is_ready())
    }

    /// Gives the terminal another size.
    pub(crate) fn resize(&self, size: TerminalSize) {
        if let Some((_, terminal)) = self.streams.get()
            && let Err(error) = terminal.resize(size)
        {
            tracing::warn!("terminal of a job: {error}");
        }
    }

    /// Ends the job; the first reason counts.
    pub(crate) fn abandon(&self, why: Abandon) {
        self.why.borrow_mut().get_or_insert(why);
        if let Some(slot) = &*self.slot.borrow() {
            kill(&slot.borrow());
        }
    }

    /// The reason, if it was to end.
    pub(crate) fn check(&self) -> Result<(), Abandon> {
        self.why.borrow().clone().map_or(Ok(()), Err)
    }
}

/// A running job as somebody sees it who looks how busy it is.
#[derive(Clone)]
pub(crate) struct Observed {
    pub view: Arc<View>,
    pub service: Arc<Service>,
}

impl Observed {
    /// What its processes do at the moment; `None`: they wait for files that are on their way, or
    /// nobody can tell.
    pub(crate) fn activity(&self) -> Option<Activity> {
        if self.service.is_waited_for() {
            return None;
        }
        activity_of(self.view.root()).ok()
    }
}

/// What all processes do at the moment that the proc below this root directory shows.
fn activity_of(root: impl AsFd) -> Result<Activity, Errno> {
    let proc = openat(root, "proc", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut sum = Activity::default();
    for entry in Dir::read_from(&proc)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            // Nothing once the process has ended.
            let stat = read_below(&proc, Path::new(&format!("{name}/stat"))).unwrap_or_default();
            sum = sum.and(Activity::of_stat(&String::from_utf8_lossy(&stat)));
        }
    }
    Ok(sum)
}

/// Who serves a running job.
pub(crate) enum Service {
    Guard(Guard),
    Fuse(Fuse),
}

impl Service {
    /// Waits until everything that the ended job used is on record.
    pub(crate) fn join(&self) {
        match self {
            Self::Guard(guard) => guard.join(),
            // No call of an ended process waits for an answer.
            Self::Fuse(_) => {}
        }
    }

    /// Whether the job waits for files that are on their way.
    fn is_waited_for(&self) -> bool {
        match self {
            Self::Guard(guard) => guard.is_waited_for(),
            Self::Fuse(fuse) => fuse.is_waited_for(),
        }
    }

    pub(crate) fn faults(&self) -> u64 {
        match self {
            Self::Guard(guard) => guard.faults(),
            Self::Fuse(fuse) => fuse.faults(),
        }
    }
}

fn send(slot: &Slot, signal: u8) {
    if let Err(error) = slot.signal(signal) {
        tracing::warn!("signal {signal} for a job: {error}");
    }
}

fn kill(slot: &Slot) {
    if let Err(error) = slot.kill() {
        tracing::warn!("a job cannot be killed: {error}");
    }
}
