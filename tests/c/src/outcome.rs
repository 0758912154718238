//! One run of one command: fed, limited in time, and everything it said. Knows no mode.

use crate::program::{Input, input};
use crate::tree::without;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long one run may take, which is far more than any needs.
fn limit() -> Duration {
    Duration::from_secs(if crate::program::long() { 900 } else { 120 })
}

/// What a run showed. Its working directory appears as `$CWD`, the one above as `$UP`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Where a file given as standard input was read up to.
    consumed: Option<u64>,
}

/// Runs `command` in `cwd` with files beside `cwd` for what it prints.
pub fn run(mut command: Command, cwd: &Path, feed: Input) -> Result<Outcome> {
    let (out, err, given) = (
        cwd.with_extension("out"),
        cwd.with_extension("err"),
        cwd.with_extension("in"),
    );
    command
        .current_dir(cwd)
        .stdout(File::create(&out)?)
        .stderr(File::create(&err)?)
        .process_group(0);
    let (mut file, mut held) = (None, None);
    match feed {
        Input::Null => drop(command.stdin(Stdio::null())),
        Input::File => {
            fs::write(&given, input())?;
            let opened = File::open(&given)?;
            command.stdin(opened.try_clone()?);
            file = Some(opened);
        }
        Input::Pipe | Input::Open => {
            let (reader, writer) = pipe()?;
            command.stdin(reader);
            held = Some(writer);
        }
    }
    let child = command.spawn().with_context(|| format!("cannot start {command:?}"));
    // The command keeps a copy of the descriptors that it hands on.
    drop(command);
    let mut child = child?;
    let group = Pid::from_child(&child);
    if feed == Input::Pipe
        && let Some(mut pipe) = held.take()
    {
        // A program may end without having read everything, so a broken pipe is no failure.
        thread::spawn(move || drop(pipe.write_all(&input())));
    }
    let (ended, wait) = mpsc::channel();
    thread::spawn(move || ended.send(child.wait()));
    let status = match wait.recv_timeout(limit()) {
        Ok(status) => status?,
        Err(_) => {
            kill_process_group(group, Signal::KILL).context("cannot end what ran too long")?;
            wait.recv()??;
            bail!(
                "still running after {:?}; stdout {}, stderr {}",
                limit(),
                tail(&out),
                tail(&err)
            );
        }
    };
    drop(held);
    let consumed = file.map(|mut file| file.stream_position()).transpose()?;
    let outcome = Outcome {
        status,
        stdout: placeless(&out, cwd)?,
        stderr: placeless(&err, cwd)?,
        consumed,
    };
    for path in [out, err] {
        fs::remove_file(path)?;
    }
    Ok(outcome)
}

/// A pipe that its reader may open again by name, whoever that is.
fn pipe() -> Result<(File, File)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::fs::fchmod(&reader, rustix::fs::Mode::from_raw_mode(0o666))?;
    Ok((reader.into(), writer.into()))
}

impl Outcome {
    /// How the command ended: `status 0`, `signal 15`.
    pub fn end(&self) -> String {
        end(self.status)
    }

    /// Drops the lines that termite itself said on stderr; whether there were any.
    pub fn forget_own_words(&mut self) -> bool {
        let before = self.stderr.len();
        let lines = self.stderr.split_inclusive(|byte| *byte == b'\n');
        self.stderr = lines
            .filter(|line| !line.starts_with(b"termite: "))
            .collect::<Vec<_>>()
            .concat();
        self.stderr.len() < before
    }

    /// What it wrote to descriptors 1 and 2, for a message.
    pub fn said(&self) -> String {
        format!(
            "{}{}",
            String::from_utf8_lossy(&self.stdout),
            String::from_utf8_lossy(&self.stderr)
        )
    }

    /// What is different in `other`, a line each; empty when nothing is.
    pub fn differences(&self, other: &Outcome) -> String {
        let mut text = String::new();
        if self.status != other.status {
            let _ = writeln!(text, "ended with {}, not {}", end(other.status), end(self.status));
        }
        if self.consumed != other.consumed {
            let _ = writeln!(
                text,
                "standard input read up to {:?}, not {:?}",
                other.consumed, self.consumed
            );
        }
        for (name, want, got) in [
            ("stdout", &self.stdout, &other.stdout),
            ("stderr", &self.stderr, &other.stderr),
        ] {
            lines(&mut text, name, want, got);
        }
        text
    }
}

fn end(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => format!("status {}", status.code().unwrap_or_default()),
    }
}

/// The first lines in which two outputs differ.
fn lines(text: &mut String, name: &str, want: &[u8], got: &[u8]) {
    let split = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (want, got) = (split(want), split(got));
    let mut shown = 0;
    for at in 0..want.len().max(got.len()) {
        let (a, b) = (want.get(at), got.get(at));
        if a != b {
            shown += 1;
            if shown > 12 {
                let _ = writeln!(text, "{name}: and more");
                break;
            }
            let nothing = "(nothing)".to_owned();
            let _ = writeln!(
                text,
                "{name}:{}: {}\n  bare: {}",
                at + 1,
                b.unwrap_or(&nothing),
                a.unwrap_or(&nothing)
            );
        }
    }
}

/// What a file holds without the places that differ from run to run.
fn placeless(path: &Path, cwd: &Path) -> Result<Vec<u8>> {
    let text = without(&read(path)?, cwd, "$CWD");
    Ok(without(&text, cwd.parent().unwrap_or(cwd), "$UP"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn tail(path: &Path) -> String {
    let bytes = read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(500)..]).into_owned()
}
