//! What a running job says, on its way to the caller: at once to a terminal, else held
//! until the job has ended. Knows nothing of how it is shown.

use crate::callers::Caller;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use termite_wire::frame::ToCaller;
use termite_wire::offer::SinkService;
use tokio::sync::Notify;

/// One attempt's output.
pub struct Sink {
    caller: Rc<Caller>,
    streams: bool,
    shown: Cell<bool>,
    held: RefCell<Vec<(u8, Vec<u8>)>>,
    wanted: Notify,
}

impl Sink {
    /// `streams`: pieces are shown as they come.
    pub fn new(caller: Rc<Caller>, streams: bool) -> Self {
        Self {
            caller,
            streams,
            shown: Cell::new(false),
            held: RefCell::default(),
            wanted: Notify::new(),
        }
    }

    /// Whether the user has seen some of it, so that the job cannot run again unseen.
    pub fn has_shown(&self) -> bool {
        self.shown.get()
    }

    /// What was held, in order.
    pub fn take_held(&self) -> Vec<(u8, Vec<u8>)> {
        self.held.take()
    }

    /// Resolves when the job wants a piece of its standard input.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// The job took the last piece: it may want another.
    pub fn want_more(&self) {
        self.wanted.notify_one();
    }
}

impl SinkService for Sink {
    async fn output(&self, fd: u8, bytes: Vec<u8>) {
        if self.streams {
            self.shown.set(true);
            self.caller.send(ToCaller::Output { fd, bytes }).await;
        } else {
            self.held.borrow_mut().push((fd, bytes));
        }
    }

    fn want_input(&self) {
        self.wanted.notify_one();
    }
}
