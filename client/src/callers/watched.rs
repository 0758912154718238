//! The end of a process that is nobody's child here. Knows processes alone.

use super::sys;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// How long a process that has ended is given to be waited for by its parent: before that, the
/// kernel does not say how it ended.
const REAPING: Duration = Duration::from_millis(100);

/// A process that lives, or has ended since.
pub struct Watched(AsyncFd<OwnedFd>);

impl Watched {
    /// The process of that number.
    pub fn new(pid: Pid) -> io::Result<Self> {
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self(sys::readable(process)?))
    }

    /// Resolves when it has ended; with how, where the kernel tells that (Linux 6.15 and newer).
    pub async fn end(self) -> Option<ExitStatus> {
        // Readable once the process has ended (pidfd_open(2)).
        self.0.readable().await.ok()?.clear_ready();
        tokio::time::timeout(REAPING, self.status()).await.ok()?
    }

    async fn status(&self) -> Option<ExitStatus> {
        loop {
            match sys::exit_status(self.0.as_fd()) {
                Ok(Some(status)) => return Some(status),
                Ok(None) => self.0.readable().await.ok()?.clear_ready(),
                // An older kernel.
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    /// A process that has ended and was waited for.
    fn reaped() -> OwnedFd {
        let mut child = Command::new("true").spawn().unwrap();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        process
    }

    fn watched(child: &std::process::Child) -> Watched {
        Watched::new(Pid::from_child(child)).unwrap()
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_noticed() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let end = watched(&child).end();
        tokio::pin!(end);
        let soon = Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, &mut end).await.is_err(), "it lives");
        drop(child.stdin.take());
        assert_eq!(end.await, None, "nobody has waited for it");
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn so_is_how_it_ended() {
        for (script, code, signal) in [("exit 7", Some(7), None), ("kill -TERM $$", None, Some(15))] {
            let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
            let watched = watched(&child);
            let waited = std::thread::spawn(move || child.wait().unwrap());
            // An older kernel does not tell.
            match watched.end().await {
                Some(status) => assert_eq!((status.code(), status.signal()), (code, signal), "{script}"),
                None => assert!(sys::exit_status(reaped().as_fd()).is_err(), "{script}"),
            }
            waited.join().unwrap();
        }
    }
}
