//! The standard input of one job: what its caller gave, for each attempt from the
//! beginning. Knows pieces of bytes; does not know callers or workers.

use std::collections::VecDeque;

/// Input is kept up to so many bytes, for an attempt that begins anew. `termite-run` keeps
/// as much.
const KEPT: usize = 8 << 20;

/// Standard input.
#[derive(Default)]
pub(super) struct Input {
    /// In the order in which they came; an empty one is the end.
    pieces: VecDeque<Vec<u8>>,
    /// So many of the pieces the current attempt has.
    given: usize,
    /// Bytes that came in all.
    came: u64,
    /// The caller is asked for a piece that did not come yet.
    is_asked: bool,
    /// The current attempt waits for a piece.
    is_wanted: bool,
    is_lost: bool,
}

/// What to do when an attempt wants a piece.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Want {
    /// Give it this one.
    Give(Vec<u8>),
    /// Ask the caller.
    Ask,
    /// The caller is asked already.
    Wait,
}

impl Input {
    /// Another attempt begins, and reads from the beginning.
    pub(super) fn begin(&mut self) {
        (self.given, self.is_wanted) = (0, false);
    }

    /// The attempt wants a piece.
    pub(super) fn wanted(&mut self) -> Want {
        if let Some(piece) = self.pieces.get(self.given) {
            let piece = piece.clone();
            self.took_one();
            return Want::Give(piece);
        }
        self.is_wanted = true;
        match std::mem::replace(&mut self.is_asked, true) {
            true => Want::Wait,
            false => Want::Ask,
        }
    }

    /// A piece came from the caller. Returns it if the attempt waits for it.
    pub(super) fn came(&mut self, piece: Vec<u8>) -> Option<Vec<u8>> {
        self.is_asked = false;
        self.came += piece.len() as u64;
        self.is_lost |= self.came > KEPT as u64;
        self.pieces.push_back(piece);
        if !std::mem::take(&mut self.is_wanted) {
            return None;
        }
        let piece = self.pieces.get(self.given).cloned();
        self.took_one();
        piece
    }

    /// Whether more came than is kept, so that no other attempt can have it all.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    fn took_one(&mut self) {
        self.given += 1;
        if self.is_lost {
            self.pieces.drain(..self.given);
            self.given = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_reads_from_the_beginning() {
        let mut input = Input::default();
        assert_eq!((input.wanted(), input.wanted()), (Want::Ask, Want::Wait));
        assert_eq!(input.came(b"one".into()), Some(b"one".into()));
        assert_eq!(input.wanted(), Want::Ask);
        input.begin();
        assert_eq!(input.came(b"two".into()), None, "the attempt that asked is gone");
        assert_eq!(input.wanted(), Want::Give(b"one".into()));
        assert_eq!(input.wanted(), Want::Give(b"two".into()));
        assert_eq!(input.wanted(), Want::Ask);
        assert_eq!(input.came(Vec::new()), Some(Vec::new()), "the end is a piece too");
        input.begin();
        assert_eq!(input.wanted(), Want::Give(b"one".into()));
        assert_eq!(input.wanted(), Want::Give(b"two".into()));
    }

    #[test]
    fn what_is_too_much_is_not_kept() {
        let mut input = Input::default();
        let half = vec![7; KEPT / 2 + 1];
        for piece in [&half, &half] {
            assert_eq!(input.wanted(), Want::Ask);
            assert!(!input.is_lost());
            assert_eq!(input.came(piece.clone()).as_ref(), Some(piece));
        }
        assert!(input.is_lost() && input.pieces.is_empty());
    }
}
