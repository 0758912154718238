//! A job: the command as the driver started it, and how it ended. Knows nothing of
//! slots or sockets.

use crate::{BlobHash, BuildId, Change, FileTime, JobId, Premises, Resource};
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// A command and all of its surroundings that a worker has to recreate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobSpec {
    /// Its name.
    pub id: JobId,
    /// File to execute: absolute, or relative to `cwd`. Already looked up in `PATH`.
    pub program: PathBuf,
    /// Arguments with the zeroth.
    pub argv: Vec<OsString>,
    /// `NAME=value` strings, as they are, in their order.
    pub env: Vec<OsString>,
    /// Working directory.
    pub cwd: PathBuf,
    /// File mode creation mask.
    pub umask: u32,
    /// Signals that are ignored, the lowest bit for signal 1 (`SigIgn` in proc_pid_status(5)).
    pub ignored: u64,
    /// By how much its caller gives way to others, at most 19 (nice(2)).
    pub nice: u8,
    /// Resource limits that differ from unlimited.
    pub limits: Vec<Limit>,
    /// Whose the job is.
    pub owner: Owner,
    /// `uname -n` of the client.
    pub hostname: OsString,
    /// Descriptors 0 to 2.
    pub stdio: Stdio,
    /// Numbers of the other descriptors that the job would inherit, [`JobSpec::INHERITED`] at
    /// most. A worker has nothing to open there: a job that uses one cannot stay.
    pub inherited: Vec<u32>,
    /// Descriptors that `--jobserver-auth` in the environment names, if it does.
    pub jobserver: Option<Jobserver>,
    /// Base names of programs that a job must not start: it is abandoned then.
    pub drivers: Vec<OsString>,
    /// Process numbers of its own; `None`: any.
    pub pids: Option<PidRange>,
}

impl JobSpec {
    /// The numbers that inherited descriptors may have. Others are not told to workers.
    pub const INHERITABLE: RangeInclusive<u32> = 3..=1023;
    /// So many of them at most.
    pub const INHERITED: usize = (*Self::INHERITABLE.end() - *Self::INHERITABLE.start() + 1) as usize;

    /// A program in `/` with nothing around it: no arguments but its own name, no
    /// environment, no limits, no input; its owner is root. For trials and tests, which say
    /// only what matters to them.
    pub fn bare(program: impl Into<PathBuf>) -> Self {
        let program = program.into();
        Self {
            id: JobId {
                build: BuildId(1),
                number: 1,
            },
            argv: vec![program.clone().into()],
            program,
            env: Vec::new(),
            cwd: "/".into(),
            umask: 0o22,
            ignored: 0,
            nice: 0,
            limits: Vec::new(),
            owner: Owner {
                uid: 0,
                gid: 0,
                groups: Vec::new(),
            },
            hostname: "client".into(),
            stdio: Stdio::without_input(),
            inherited: Vec::new(),
            jobserver: None,
            drivers: Vec::new(),
            pids: None,
        }
    }
}

/// Process numbers that one job has for itself: its first process gets the first of them, and the
/// kernel gives the following ones in order. A job that starts more than `count` processes and
/// threads goes on past the end, into numbers that another job may have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PidRange {
    /// Number of the first process, at least 2.
    pub first: u32,
    /// How many numbers there are, at least 1. The last one is below [`PidRange::LIMIT`].
    pub count: u32,
}

impl PidRange {
    /// No process number of Linux is as large (`PID_MAX_LIMIT` of 64-bit machines, proc(5)).
    pub const LIMIT: u32 = 1 << 22;

    /// The first number past the range.
    pub fn end(self) -> u32 {
        self.first.saturating_add(self.count)
    }
}

impl Stdio {
    /// No input, and two outputs that are no terminals.
    pub fn without_input() -> Self {
        Self {
            stdin: Stdin::Null,
            stdout: true,
            stderr: true,
            merged: false,
            terminal: [false; 3],
            size: None,
        }
    }

    /// Whether there is something to read.
    pub fn has_input(&self) -> bool {
        matches!(self.stdin, Stdin::Pipe | Stdin::Shared | Stdin::File)
    }
}

/// User, group and supplementary groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// One `setrlimit(2)`; `u64::MAX` is unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// `RLIMIT_*`.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// What descriptors 0 to 2 of the job are on the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stdio {
    /// Descriptor 0.
    pub stdin: Stdin,
    /// Descriptor 1 is open.
    pub stdout: bool,
    /// Descriptor 2 is open.
    pub stderr: bool,
    /// Descriptors 1 and 2 have one open file: the job gets one pipe for both.
    pub merged: bool,
    /// Which of the descriptors are the terminal; those become one pty.
    pub terminal: [bool; 3],
    /// Size of that terminal.
    pub size: Option<TerminalSize>,
}

/// Descriptor 0 of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stdin {
    /// Closed.
    Closed,
    /// Reads end of file at once (`/dev/null`).
    Null,
    /// Something to read: asked for when the job first wants it.
    Pipe,
    /// The same, of which others read what the job leaves: no more of it is asked for until the job
    /// has read all that it got.
    Shared,
    /// A regular file. The job reads it as a pipe, and one that would seek in it is for the client.
    File,
}

/// Rows and columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub cols: u16,
}

/// The pipe of GNU make's job server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Jobserver {
    /// Descriptor that tokens are read from.
    pub read: u32,
    /// Descriptor that tokens are returned to.
    pub write: u32,
}

/// How a job ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobEnd {
    /// It exited with this status.
    Exited(u8),
    /// This signal ended it.
    Signaled(u8),
    /// The worker gave it up; nothing of it counts.
    Abandoned(Abandon),
}

/// Why a worker gave a job up, or would not take it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Abandon {
    /// It started a driver, whose place is the client.
    #[error("it started {}", .0.display())]
    Driver(PathBuf),
    /// It needs a file that the client does not serve.
    #[error("{} is not served", .0.display())]
    Denied(PathBuf),
    /// The client could not be asked, or its answer could not be used.
    #[error("file server: {0}")]
    Files(String),
    /// Bytes, inodes or processes ran out.
    #[error("the worker is full: {0}")]
    Full(String),
    /// The worker's kernel or set-up refused.
    #[error("the worker could not start it: {0}")]
    Slot(String),
    /// It needs what a view cannot give.
    #[error("{0} is not possible in a view")]
    Unsupported(String),
    /// It needs something that only the client's own machine has or does.
    #[error("it needs {0}")]
    Machine(String),
    /// It looked for this, which is not in its slot and is on the client's own machine.
    #[error("it needs {0}")]
    Needs(Resource),
    /// The system refuses to start it, as it does on the client too, where the command stands and
    /// gets the error itself.
    #[error("it cannot be started: {0}")]
    Start(String),
    /// What it was told does not hold any more: it is to run again.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The client asked for it.
    #[error("cancelled")]
    Cancelled,
}

/// Something that a job was told and that does not hold any more when it is to be
/// committed: the job does not count, and runs again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: the job saw {seen}, at its commit there was {found}", .path.display())]
pub struct Conflict {
    /// On the client.
    pub path: PathBuf,
    /// What the job was told, in words.
    pub seen: String,
    /// What is there, in words.
    pub found: String,
    /// The job only waited for it, and does not change it.
    pub awaited: bool,
}

impl Conflict {
    /// It was told that `seen` is at `path`, and there is `found`.
    pub fn new(path: &Path, seen: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            seen: seen.into(),
            found: found.into(),
            awaited: false,
        }
    }

    /// It waited for something to be at `path`, or to be gone if it was there, and so it is.
    pub fn awaited(path: &Path, was_there: bool) -> Self {
        let (seen, found) = match was_there {
            false => ("nothing", "what it waits for"),
            true => ("something", "nothing, for which it waits"),
        };
        Self {
            awaited: true,
            ..Self::new(path, seen, found)
        }
    }
}

/// Everything that is known when a job has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobResult {
    /// How it ended.
    pub end: JobEnd,
    /// What it changed. Directories that it made stand before what is in them, removed ones
    /// behind.
    pub changes: Vec<Change>,
    /// What has to hold for that.
    pub premises: Premises,
    /// What it used, in order of first use.
    pub trace: Vec<TraceItem>,
    /// What was written to stdout and stderr since the last streamed piece, in order:
    /// descriptor (1 or 2) and bytes.
    pub output: Vec<(u8, Vec<u8>)>,
    /// Bytes of its standard input that it read.
    pub read_input: u64,
    /// What it cost.
    pub usage: Usage,
    /// The worker's clock as it sent this.
    pub worker_now: FileTime,
}

/// Costs of a job on the worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// From start to end, microseconds.
    pub wall_us: u64,
    /// User and system time of all its processes, microseconds.
    pub cpu_us: u64,
    /// Faults that came through the guard.
    pub guard_faults: u64,
    /// Questions to the client while it ran, each for a directory or a file.
    pub fetches: u64,
    /// Directories and files that were brought before it began.
    pub prefetched: u64,
    /// Bytes of content that other workers gave since the session's last result.
    pub from_peers: u64,
    /// Where the time went.
    pub phases: Phases,
}

/// Parts of a job's time on the worker, microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Phases {
    /// Taking in news, and bringing what it is expected to use.
    pub bring_us: u64,
    /// Waiting for the slot and making it.
    pub start_us: u64,
    /// From its first process to the end of its last.
    pub run_us: u64,
    /// Looking at what it left.
    pub harvest_us: u64,
}

/// One use of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceItem {
    /// As the job spelled it, made absolute.
    pub path: PathBuf,
    /// What it did with it.
    pub used: Use,
}

/// How a job used a path, and what it was shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// It opened the file for reading, or executed it. The content of the client's, as the job
    /// saw it; `None` of a file of the job's own.
    Read(Option<BlobHash>),
    /// It looked at attributes or the link's target, went through it, or found it where it was
    /// to be made.
    Stat,
    /// It looked for it in vain, also to remove or change it.
    Missing,
    /// It opened the directory for its names.
    Listed,
    /// It created, changed, renamed or removed it.
    Write,
}

impl Use {
    /// The client's content that was read.
    pub fn content(&self) -> Option<BlobHash> {
        match self {
            Self::Read(content) => *content,
            Self::Stat | Self::Missing | Self::Listed | Self::Write => None,
        }
    }
}
