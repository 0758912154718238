//! Standard input that is a pipe: what the command leaves of it belongs to whoever reads the pipe
//! next. A piece is copied (tee(2)), and taken out of the pipe once the job has read it. Knows no
//! daemon.

use crate::sys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, tee};

/// Descriptor 0, of which the last piece was shown to the job and is still in its pipe.
pub(crate) struct SharedInput {
    copy_from: OwnedFd,
    copy_to: OwnedFd,
    /// Length of that piece.
    shown: usize,
}

impl SharedInput {
    pub(crate) fn new() -> Result<Self, Errno> {
        let (copy_from, copy_to) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self {
            copy_from,
            copy_to,
            shown: 0,
        })
    }

    /// Bytes that were shown and not taken.
    pub(crate) fn shown(&self) -> usize {
        self.shown
    }

    /// Copies what is there. 0: there will be nothing more.
    pub(crate) fn show(&mut self, piece: &mut [u8]) -> Result<usize, Errno> {
        let len = tee(sys::borrow(0), &self.copy_to, piece.len(), SpliceFlags::NONBLOCK)?;
        let mut got = 0;
        while got < len {
            got += rustix::io::read(&self.copy_from, &mut piece[got..len])?;
        }
        self.shown = len;
        Ok(len)
    }

    /// Takes so much of what was shown out of the pipe. Another reader may have been there first.
    pub(crate) fn take(&mut self, len: usize) {
        let mut left = len.min(self.shown);
        self.shown = 0;
        let mut piece = vec![0; left];
        while left > 0 && is_readable() {
            match rustix::io::read(sys::borrow(0), &mut piece[..left]) {
                Ok(len) if len > 0 => left -= len,
                Err(Errno::INTR | Errno::AGAIN) => {}
                // Nor can it be copied then.
                Ok(_) | Err(_) => return,
            }
        }
    }
}

fn is_readable() -> bool {
    let stdin = sys::borrow(0);
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
