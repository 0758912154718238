//! The journal of a daemon that went away, which knows whether its job counts. Reads only a
//! file that this user alone can have written. Knows one job; writes nothing.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use termite_types::journal::{Answer, CommitStage, JOURNAL_MAX, JournalEnd, JournalState};
use termite_types::{RequestId, journal_path, lock_path};

/// How long a daemon that closed its connection may take to end. It commits until then.
const ENDING: Duration = Duration::from_secs(20);
/// How often it is looked for.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// Where to look for one job.
pub(crate) struct Journal {
    path: PathBuf,
    lock: PathBuf,
    request: RequestId,
    /// The daemon's process. `None`: it has ended, or cannot be seen from here.
    daemon: Option<OwnedFd>,
}

/// What the journal knows of the job.
#[derive(Debug)]
pub(crate) enum Known {
    /// None of its changes were made.
    Nothing,
    /// Its changes may be made in part, or all, in words.
    Half(String),
    /// All its changes were made, and it ended so.
    Done(Answer),
}

impl Journal {
    /// Of the daemon at the other end of a connection to `socket` that is up.
    pub(crate) fn new(socket: &Path, request: RequestId, daemon: &UnixStream) -> Self {
        let peer = rustix::net::sockopt::socket_peercred(daemon);
        let process = peer.and_then(|peer| pidfd_open(peer.pid, PidfdFlags::empty()));
        let daemon = process
            .map_err(io::Error::from)
            .and_then(crate::descriptor::above_stdio);
        Self {
            path: journal_path(socket),
            lock: lock_path(socket),
            request,
            daemon: daemon.ok(),
        }
    }

    /// Waits for the daemon's end and looks the job up.
    pub(crate) fn look_up(&self) -> Known {
        let has_ended = self.has_ended();
        let state = match self.read() {
            Ok(bytes) => JournalState::read(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Known::Nothing,
            Err(error) => {
                let path = self.path.display();
                return Known::Half(format!(
                    "the daemon ended, and whether it wrote the command's files is not known, as {path} cannot be \
                     read: {error}"
                ));
            }
        };
        let stage = state.entries.get(&self.request).map(|entry| &entry.stage);
        match (stage, state.end) {
            (Some(CommitStage::Done(answer)), _) => Known::Done(answer.clone()),
            (Some(CommitStage::Begun { path, others, .. }), _) => {
                let others = match others {
                    0 => String::new(),
                    others => format!(" and {others} more"),
                };
                let path = path.display();
                Known::Half(format!(
                    "the daemon ended while it wrote {path}{others}, which may be half there"
                ))
            }
            (_, JournalEnd::Corrupt(at)) => {
                let path = self.path.display();
                Known::Half(format!(
                    "the daemon ended, and whether it wrote the command's files is not known, as {path} is damaged \
                     at byte {at}"
                ))
            }
            (Some(CommitStage::Untouched), _) if !has_ended => {
                Known::Half("the daemon does not answer and may write the command's files yet".to_owned())
            }
            (Some(CommitStage::Untouched) | None, _) => Known::Nothing,
        }
    }

    /// Waits a while for the daemon's end, after which nothing more is written. Most have been
    /// killed and are gone; one that was stopped finishes its commits first.
    fn has_ended(&self) -> bool {
        let Some(daemon) = &self.daemon else { return true };
        let until = Instant::now() + ENDING;
        while Instant::now() < until {
            // A pidfd is readable once the process has ended, pidfd_open(2).
            let ready = poll(&mut [PollFd::new(daemon, PollFlags::IN)], Some(&LOOK));
            if matches!(ready, Ok(1..)) || self.is_unlocked() {
                return true;
            }
        }
        false
    }

    /// Whether no daemon holds the lock of the socket, which each does to its end.
    fn is_unlocked(&self) -> bool {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(&self.lock, flags, Mode::empty()) {
            Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockShared).is_ok(),
            Err(errno) => errno == Errno::NOENT,
        }
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(&self.path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
        let is_own = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o077 == 0;
        if !is_file || !is_own {
            return Err(io::Error::other("it is not a file that only this user can change"));
        }
        let mut bytes = Vec::new();
        File::from(file).take(JOURNAL_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
