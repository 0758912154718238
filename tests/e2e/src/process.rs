//! Runs a program to its end or to a deadline, and finds the processes that a test
//! has left behind. Knows nothing of termite.

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that is not known to be long.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// How long output may stay open after the program has ended.
const GRACE: Duration = Duration::from_secs(10);

/// A command that will run in a process group of its own.
#[derive(Debug)]
pub struct Program {
    command: Command,
    input: Option<Vec<u8>>,
    limit: Duration,
}

/// A program that was started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    shown: String,
    since: Instant,
    limit: Duration,
    output: [Receiver<Vec<u8>>; 2],
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Outcome {
    /// The command, for messages.
    pub shown: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// Bytes of its standard output.
    pub stdout: Vec<u8>,
    /// Bytes of its standard error.
    pub stderr: Vec<u8>,
    /// From its start to its end.
    pub took: Duration,
}

impl Program {
    /// Takes a command; its standard input is empty unless [`Program::input`] is called.
    pub fn new(command: Command) -> Self {
        Self {
            command,
            input: None,
            limit: PATIENCE,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives it these bytes as standard input, through a pipe.
    pub fn input(mut self, bytes: &[u8]) -> Self {
        self.input = Some(bytes.to_vec());
        self
    }

    /// Lets it run that long at most.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Result<Running> {
        let shown = format!("{:?}", self.command)
            .chars()
            .rev()
            .take(300)
            .collect::<String>()
            .chars()
            .rev()
            .collect();
        let stdin = if self.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        self.command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = self.command.spawn().with_context(|| format!("starting {shown}"))?;
        if let (Some(bytes), Some(mut pipe)) = (self.input, child.stdin.take()) {
            // A program that does not read all of it is no fault: EPIPE ends the thread.
            thread::spawn(move || pipe.write_all(&bytes));
        }
        let output = [collect(child.stdout.take()), collect(child.stderr.take())];
        Ok(Running {
            child,
            shown,
            since: Instant::now(),
            limit: self.limit,
            output,
        })
    }

    /// Starts it and waits for its end.
    pub fn run(self) -> Result<Outcome> {
        self.start()?.wait()
    }
}

/// Reads a stream to its end, elsewhere.
fn collect(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error is still worth showing.
            let _ = stream.read_to_end(&mut bytes);
        }
        let _ = send.send(bytes);
    });
    receive
}

impl Running {
    /// Its process id, which is that of its group too.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal to its whole group, as a terminal does.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process_group(self.pid(), signal)?)
    }

    /// Waits for its end. Past its limit it is killed with its group, which is an error,
    /// and so is output that stays open after its end.
    pub fn wait(mut self) -> Result<Outcome> {
        let pidfd = pidfd_open(self.pid(), PidfdFlags::empty())?;
        let mut ended = false;
        while !ended && self.since.elapsed() < self.limit {
            let left = self.limit.saturating_sub(self.since.elapsed());
            let timeout = Timespec::try_from(left)?;
            match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
                Ok(count) => ended = count > 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let took = self.since.elapsed();
        if !ended {
            self.signal(Signal::KILL)?;
        }
        let status = self.child.wait()?;
        let [stdout, stderr] = self.output.map(|stream| stream.recv_timeout(GRACE));
        let held = stdout.is_err() || stderr.is_err();
        let (stdout, stderr) = (stdout.unwrap_or_default(), stderr.unwrap_or_default());
        let outcome = Outcome {
            shown: self.shown,
            status,
            stdout,
            stderr,
            took,
        };
        if !ended {
            bail!("not finished after {:?}: {}", self.limit, outcome.describe());
        }
        if held {
            bail!(
                "something still holds the output of a program that has ended: {}",
                outcome.describe()
            );
        }
        Ok(outcome)
    }
}

impl Outcome {
    /// Itself, if it exited with 0; else an error that shows everything.
    pub fn success(self) -> Result<Self> {
        if self.status.success() {
            Ok(self)
        } else {
            bail!("{}", self.describe())
        }
    }

    /// Exit status as a shell would have it in `$?`.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Everything about it, output cut to its end.
    pub fn describe(&self) -> String {
        let tail = |text: String| {
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(40)..].join("\n")
        };
        let (out, err) = (tail(self.out()), tail(self.err()));
        format!(
            "{}: {} after {:.1?}\n--- stdout\n{out}\n--- stderr\n{err}",
            self.shown, self.status, self.took
        )
    }
}

/// Waits until `done` says so, looking every few milliseconds; an error past `limit`.
pub fn wait_until(what: impl Debug, limit: Duration, mut done: impl FnMut() -> bool) -> Result<()> {
    let since = Instant::now();
    while !done() {
        if since.elapsed() > limit {
            bail!("waited {limit:?} for {what:?}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Command lines of all living processes whose environment holds `mark`, by process id.
pub fn marked(mark: &str) -> Vec<(Pid, String)> {
    let alive = |pid: &str| {
        let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let found = environ.windows(mark.len()).any(|window| window == mark.as_bytes());
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        found.then(|| String::from_utf8_lossy(&line).replace('\0', " "))
    };
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let found = pids.filter_map(|pid| Some((Pid::from_raw(pid.parse().ok()?)?, alive(&pid)?)));
    found
        .filter(|(pid, _)| pid.as_raw_nonzero().get() != std::process::id() as i32)
        .collect()
}
