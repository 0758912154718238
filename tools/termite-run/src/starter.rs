//! Starts the daemon as nobody's child: in a session of its own, in the root directory,
//! with no descriptor of ours. Knows nothing of its socket.

use crate::sys;
use rustix::event::{PollFd, PollFlags, poll};
use std::ffi::{CString, OsString};
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A log that has grown beyond this is put aside before a daemon starts.
const LOG_MAX: u64 = 4 << 20;

/// What is started.
pub(crate) struct Start {
    pub program: PathBuf,
    pub environment: Vec<OsString>,
    pub log: Option<PathBuf>,
}

/// A daemon that was started, while it is not known to listen.
pub(crate) struct Daemon {
    /// `None`: it has ended and is not even waited for.
    process: Option<OwnedFd>,
    log: File,
    /// Where its own messages begin.
    begin: u64,
}

impl Start {
    /// Starts `PROGRAM daemon`. The error is the kernel's on executing it.
    pub(crate) fn spawn(&self) -> io::Result<Daemon> {
        let mut log = match self.log.as_deref().map(open_log) {
            Some(Ok(log)) => log,
            // Its first words are wanted even where no log can be kept.
            _ => File::from(rustix::fs::memfd_create("log", rustix::fs::MemfdFlags::CLOEXEC)?),
        };
        let begin = log.seek(SeekFrom::End(0))?;
        let program = CString::new(self.program.clone().into_os_string().into_vec())?;
        let mut environment = Vec::new();
        for entry in &self.environment {
            environment.push(CString::new(entry.clone().into_vec())?);
        }
        let pid = sys::spawn_orphan(
            &program,
            &[c"termite".to_owned(), c"daemon".to_owned()],
            &environment,
            log.as_fd(),
        )?;
        let process = match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => None,
            process => Some(process?),
        };
        Ok(Daemon { process, log, begin })
    }
}

impl Daemon {
    /// Waits up to `time`, or until it has ended.
    pub(crate) fn ended_within(&self, time: Duration) -> bool {
        let Some(process) = &self.process else { return true };
        let mut fds = [PollFd::new(process, PollFlags::IN)];
        // An interrupted wait is a short one.
        let ready = poll(&mut fds, rustix::time::Timespec::try_from(time).ok().as_ref());
        ready.is_ok_and(|ready| ready > 0)
    }

    /// What it wrote so far.
    pub(crate) fn last_words(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = self
            .log
            .seek(SeekFrom::Start(self.begin))
            .and_then(|_| self.log.read_to_end(&mut bytes));
        match read {
            Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => format!("its log cannot be read: {error}"),
        }
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    if std::fs::metadata(path).is_ok_and(|meta| meta.len() > LOG_MAX) {
        std::fs::rename(path, path.with_extension("log.old"))?;
    }
    File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}
