//! Content bytes on their way. Knows numbers only.

use crate::report::Bytes;
use std::cell::Cell;
use std::rc::Rc;

/// What crossed between the client and one worker, or all of them together.
#[derive(Default)]
pub struct Traffic {
    bytes: Cell<Bytes>,
    whole: Option<Rc<Traffic>>,
}

impl Traffic {
    /// A part of the whole.
    pub fn part_of(whole: &Rc<Self>) -> Rc<Self> {
        Rc::new(Self {
            bytes: Cell::default(),
            whole: Some(whole.clone()),
        })
    }

    /// So far.
    pub fn bytes(&self) -> Bytes {
        self.bytes.get()
    }

    /// The client sent some.
    pub fn sent(&self, sent: u64) {
        self.add(Bytes {
            sent,
            ..Bytes::default()
        });
    }

    /// The client received some.
    pub fn received(&self, received: u64) {
        self.add(Bytes {
            received,
            ..Bytes::default()
        });
    }

    /// Workers received some from each other.
    pub fn between(&self, between: u64) {
        self.add(Bytes {
            between,
            ..Bytes::default()
        });
    }

    fn add(&self, more: Bytes) {
        self.bytes.set(self.bytes.get() + more);
        if let Some(whole) = &self.whole {
            whole.add(more);
        }
    }
}
