//! What a running job says, on its way to the caller: at once to a terminal, else held
//! until the job has ended. Knows nothing of how it is shown.
//!
//! What a terminal has shown cannot be taken back. If the job runs again, its output is
//! compared with what was shown: what is the same is not shown twice, and from the first
//! byte that differs all is shown.

use crate::callers::Caller;
use std::cell::RefCell;
use std::rc::Rc;
use termite_wire::client_services::SinkService;
use termite_wire::frame::ToCaller;
use tokio::sync::Notify;

/// Bytes of each stream that are remembered as shown. What a job says beyond them is shown
/// again if it runs again.
const REMEMBERED: usize = 1 << 20;

/// One attempt's output.
pub(crate) struct Sink {
    caller: Rc<Caller>,
    streams: bool,
    shown: Rc<Shown>,
    held: RefCell<Vec<(u8, Vec<u8>)>>,
    wanted: Notify,
}

/// Output of a job that ended and was not answered.
pub(crate) struct Owed {
    /// Bytes of descriptors 1 and 2 that the caller was sent before.
    pub sent: [u64; 2],
    /// What is still to be sent. `None`: more than was asked for.
    pub output: Option<Vec<(u8, Vec<u8>)>>,
}

/// What the user has seen of a job in all of its attempts.
#[derive(Clone, Default)]
pub(crate) struct Shown(RefCell<[Stream; 2]>);

/// One of the descriptors 1 and 2.
#[derive(Clone, Default)]
struct Stream {
    seen: Vec<u8>,
    /// So much of that was said by the current attempt too.
    at: usize,
    /// Bytes that the caller was sent.
    sent: u64,
}

impl Sink {
    /// For another attempt of a job. `streams`: pieces are shown as they come.
    pub(crate) fn new(caller: Rc<Caller>, streams: bool, shown: Rc<Shown>) -> Self {
        shown.begin();
        Self {
            caller,
            streams,
            shown,
            held: RefCell::default(),
            wanted: Notify::new(),
        }
    }

    /// All that was not shown, in order, when the attempt ended with this last output.
    pub(crate) fn unshown(&self, last: Vec<(u8, Vec<u8>)>) -> Vec<(u8, Vec<u8>)> {
        if !self.streams {
            return [self.held.take(), last].concat();
        }
        let fresh = last.into_iter().map(|(fd, bytes)| (fd, self.shown.fresh(fd, &bytes)));
        fresh.filter(|(_, bytes)| !bytes.is_empty()).collect()
    }

    /// What the caller is going to be sent if the attempt ends with this last output and
    /// counts, and what it was sent before. It stays to be sent.
    pub(crate) fn owed(&self, last: &[(u8, Vec<u8>)], most: usize) -> Owed {
        let fits = |output: &[(u8, Vec<u8>)], most: usize| {
            let length: usize = output.iter().map(|(_, bytes)| bytes.len()).sum();
            (length <= most).then(|| most - length)
        };
        let sent = self.shown.sent();
        let Some(room) = fits(last, most) else {
            return Owed { sent, output: None };
        };
        let output = if self.streams {
            let shown = self.shown.clone();
            let fresh = last.iter().map(|(fd, bytes)| (*fd, shown.fresh(*fd, bytes)));
            Some(fresh.filter(|(_, bytes)| !bytes.is_empty()).collect())
        } else {
            let held = self.held.borrow();
            fits(&held, room).map(|_| [&held[..], last].concat())
        };
        Owed { sent, output }
    }

    /// Resolves when the job wants a piece of its standard input.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// The job took the last piece: it may want another.
    pub(crate) fn want_more(&self) {
        self.wanted.notify_one();
    }
}

impl SinkService for Sink {
    async fn output(&self, fd: u8, bytes: Vec<u8>) {
        if !self.streams {
            return self.held.borrow_mut().push((fd, bytes));
        }
        let bytes = self.shown.fresh(fd, &bytes);
        if !bytes.is_empty() {
            self.caller.send(ToCaller::Output { fd, bytes }).await;
        }
    }

    fn want_input(&self) {
        self.wanted.notify_one();
    }
}

impl Shown {
    /// Whether the user has seen anything.
    pub(crate) fn is_any(&self) -> bool {
        self.0.borrow().iter().any(|stream| !stream.seen.is_empty())
    }

    /// Bytes of descriptors 1 and 2 that the caller was sent.
    fn sent(&self) -> [u64; 2] {
        self.0.borrow().each_ref().map(|stream| stream.sent)
    }

    /// Another attempt begins.
    fn begin(&self) {
        self.0.borrow_mut().iter_mut().for_each(|stream| stream.at = 0);
    }

    /// What of these bytes is to be shown; it counts as shown.
    fn fresh(&self, fd: u8, bytes: &[u8]) -> Vec<u8> {
        let stream = &mut self.0.borrow_mut()[usize::from(fd == 2)];
        let known = stream.seen[stream.at..].iter().zip(bytes);
        let same = known.take_while(|(seen, said)| seen == said).count();
        stream.at += same;
        let fresh = &bytes[same..];
        if !fresh.is_empty() {
            stream.sent += fresh.len() as u64;
            stream.seen.truncate(stream.at);
            let room = REMEMBERED.saturating_sub(stream.seen.len());
            stream.seen.extend_from_slice(&fresh[..room.min(fresh.len())]);
            stream.at = stream.seen.len();
        }
        fresh.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(shown: &Shown, pieces: &[&str]) -> String {
        shown.begin();
        let fresh = pieces.iter().flat_map(|piece| shown.fresh(1, piece.as_bytes()));
        String::from_utf8(fresh.collect()).unwrap()
    }

    #[test]
    fn what_was_shown_is_not_shown_again() {
        let shown = Shown::default();
        assert!(!shown.is_any());
        assert_eq!(says(&shown, &["one\ntw"]), "one\ntw");
        assert!(shown.is_any());
        assert_eq!(says(&shown, &["on", "e\ntwo\n"]), "o\n");
        assert_eq!(
            says(&shown, &["one\n", "2\n"]),
            "2\n",
            "from the first byte that differs"
        );
        assert_eq!(
            says(&shown, &["one\n", "2\n", "3\n"]),
            "3\n",
            "the newest attempt is compared with"
        );
        assert_eq!(shown.fresh(2, b"one"), b"one", "another stream");
    }

    #[test]
    fn what_is_too_long_is_shown_again() {
        let shown = Shown::default();
        let long = "x".repeat(REMEMBERED + 9);
        assert_eq!(says(&shown, &[&long, "end"]).len(), long.len() + 3);
        assert_eq!(says(&shown, &[&long, "end"]), ["x".repeat(9).as_str(), "end"].concat());
    }
}
