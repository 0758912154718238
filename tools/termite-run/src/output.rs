//! What the job said and this process has not written yet. Never blocks: a signal must
//! get through while nobody reads our output.

use crate::sys;
use rustix::fs::FileType;
use std::collections::VecDeque;
use std::io;

/// Beyond so many bytes the daemon is not listened to.
const FULL: usize = 1 << 20;
/// What a pipe that polls as writable takes without blocking, pipe(7).
const PIPE_BUF: usize = 4096;

/// Pieces in order, each with its descriptor (1 or 2).
#[derive(Default)]
pub(crate) struct Output {
    pieces: VecDeque<(i32, Vec<u8>)>,
    /// Written of the first piece.
    written: usize,
    held: usize,
    /// Why a descriptor does not take any more, by its number less one.
    failed: [Option<io::ErrorKind>; 2],
    /// By number less one: writing all at once cannot block.
    whole: [Option<bool>; 2],
}

impl Output {
    /// Adds a piece.
    pub(crate) fn push(&mut self, fd: u8, bytes: Vec<u8>) {
        let at = slot(i32::from(fd));
        if self.failed[at].is_none() && !bytes.is_empty() {
            self.held += bytes.len();
            self.pieces.push_back((i32::from(fd), bytes));
        }
    }

    /// The descriptor that has to be writable next.
    pub(crate) fn waits_for(&self) -> Option<i32> {
        self.pieces.front().map(|(fd, _)| *fd)
    }

    /// Whether no more should be added for the moment.
    pub(crate) fn is_full(&self) -> bool {
        self.held >= FULL
    }

    /// Writes some of the first piece, whose descriptor is writable. After EPIPE a
    /// SIGPIPE is pending; `Err`: it is time to die of it.
    pub(crate) fn write(&mut self) -> Result<(), ()> {
        let Some((fd, bytes)) = self.pieces.front() else {
            return Ok(());
        };
        let (fd, at) = (*fd, slot(*fd));
        let whole = *self.whole[at].get_or_insert_with(|| is_file(fd));
        let rest = bytes.get(self.written..).unwrap_or_default();
        let rest = if whole { rest } else { &rest[..rest.len().min(PIPE_BUF)] };
        match rustix::io::write(sys::borrow(fd), rest) {
            Ok(len) => {
                self.written += len;
                self.held -= len;
                if self.written == bytes.len() {
                    self.pieces.pop_front();
                    self.written = 0;
                }
                Ok(())
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Ok(()),
            Err(rustix::io::Errno::PIPE) if !crate::signals::is_ignored(libc::SIGPIPE) => Err(()),
            Err(error) => {
                self.fail(fd, io::Error::from(error));
                Ok(())
            }
        }
    }

    /// Whether some of it could not be written: the job's success is none then.
    pub(crate) fn is_lost(&self) -> bool {
        self.failed.iter().any(Option::is_some)
    }

    fn fail(&mut self, fd: i32, error: io::Error) {
        self.failed[slot(fd)] = Some(error.kind());
        self.pieces.retain(|(to, _)| *to != fd);
        self.written = 0;
        self.held = self.pieces.iter().map(|(_, bytes)| bytes.len()).sum();
        crate::finish::complain(&format!("write error: {}", sys::words(&error)));
    }
}

fn slot(fd: i32) -> usize {
    usize::from(fd == 2)
}

fn is_file(fd: i32) -> bool {
    rustix::fs::fstat(sys::borrow(fd)).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
}
