//! The command as the driver started it: arguments, environment, directory, limits and
//! standard streams, read from this process. Knows nothing of the daemon.

use crate::environment::{self, ENV_MUST};
use crate::signals;
use crate::sys;
use rustix::fs::FileType;
use rustix::io::{Errno, FdFlags};
use rustix::process::Resource;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use termite_abi::ENV_BUILD;
use termite_types::{BuildId, JobSpec, Limit, RequestId, Stdin, Stdio, TerminalSize};
use termite_wire::frame::CallerJob;

/// The limits there are; each one's place is its number (`RLIMIT_*`).
const LIMITS: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

/// A part of this process' command that cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Untold {
    /// Where it is.
    #[error("the working directory: {}", sys::words(.0))]
    Directory(#[source] io::Error),
    /// What it may do.
    #[error("the groups: {0}")]
    Groups(#[source] Errno),
    /// No random number.
    #[error("a number for it: {0}")]
    Number(#[source] Errno),
    /// What it inherits.
    #[error("the open files: {}", sys::words(.0))]
    OpenFiles(#[source] io::Error),
}

/// The command of this process.
pub(crate) fn of_process(program: PathBuf, argv: Vec<OsString>, environment: &[OsString]) -> Result<CallerJob, Untold> {
    let cwd = std::env::current_dir().map_err(Untold::Directory)?;
    let groups = rustix::process::getgroups().map_err(Untold::Groups)?;
    Ok(CallerJob {
        request: request().map_err(Untold::Number)?,
        build: build(environment),
        program,
        argv,
        env: environment::of_job(environment),
        cwd,
        umask: sys::umask(),
        ignored: signals::ignored(),
        nice: nice(),
        limits: limits(),
        groups: groups.into_iter().map(|group| group.as_raw()).collect(),
        stdio: stdio(),
        inherited: inherited().map_err(Untold::OpenFiles)?,
        is_driven: environment::value(environment, ENV_BUILD).is_some(),
        must: environment::value(environment, ENV_MUST).is_some_and(|value| value == "1"),
    })
}

/// Random.
fn request() -> Result<RequestId, Errno> {
    let mut bytes = [0; 16];
    // Up to 256 bytes come whole and uninterrupted, getrandom(2).
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(RequestId(u128::from_ne_bytes(bytes)))
}

/// As the outermost driver named it. Where none did (a compiler wrapper in an ordinary
/// make), the commands of one process group are a build.
fn build(environment: &[OsString]) -> BuildId {
    let named = environment::value(environment, ENV_BUILD).and_then(|value| value.to_str()?.parse().ok());
    named.unwrap_or_else(|| {
        let group = rustix::process::getpgrp().as_raw_nonzero().get();
        let birth = birth_of(group).unwrap_or(0);
        let mix = (group as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ birth;
        BuildId((mix ^ (mix >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1)
    })
}

/// When a process started, in clock ticks since boot: field 22 of proc_pid_stat(5).
fn birth_of(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// By how much this process gives way to others. Less than others give way to it is nothing that
/// can be asked of a worker.
fn nice() -> u8 {
    let nice = rustix::process::getpriority_process(None).unwrap_or(0);
    nice.clamp(0, 19) as u8
}

fn limits() -> Vec<Limit> {
    let each = LIMITS.into_iter().zip(0..).map(|(resource, number)| {
        let limit = rustix::process::getrlimit(resource);
        Limit {
            resource: number,
            soft: limit.current.unwrap_or(u64::MAX),
            hard: limit.maximum.unwrap_or(u64::MAX),
        }
    });
    each.filter(|limit| limit.soft != u64::MAX || limit.hard != u64::MAX)
        .collect()
}

fn stdio() -> Stdio {
    let is_open = |fd| rustix::io::fcntl_getfd(sys::borrow(fd)).is_ok();
    let (stdout, stderr) = (is_open(1), is_open(2));
    let terminal = [0, 1, 2].map(|fd| rustix::termios::isatty(sys::borrow(fd)));
    let size = (0..)
        .zip(terminal)
        .find(|(_, is)| *is)
        .and_then(|(fd, _)| terminal_size(fd));
    Stdio {
        stdin: stdin(),
        stdout,
        stderr,
        merged: stdout && stderr && sys::same_open_file(1, 2),
        terminal,
        size,
    }
}

/// The numbers that other open files of this process have which a program executed here would
/// inherit. Those that are too high are not told.
fn inherited() -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse::<u32>().ok());
        numbers.extend(number.filter(|number| JobSpec::INHERITABLE.contains(number)));
    }
    let stays = |number: &u32| {
        let flags = rustix::io::fcntl_getfd(sys::borrow(*number as i32));
        flags.is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC))
    };
    numbers.retain(stays);
    numbers.sort_unstable();
    Ok(numbers)
}

fn stdin() -> Stdin {
    match rustix::fs::fstat(sys::borrow(0)) {
        Err(_) => Stdin::Closed,
        Ok(stat) if is_null(&stat) => Stdin::Null,
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_fifo() => Stdin::Shared,
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => Stdin::File,
        Ok(_) => Stdin::Pipe,
    }
}

/// Device 1:3 is `/dev/null`, by null(4).
fn is_null(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_char_device() && stat.st_rdev == rustix::fs::makedev(1, 3)
}

/// Size of the terminal on a standard stream; `None` also where nobody knows it.
pub(crate) fn terminal_size(fd: i32) -> Option<TerminalSize> {
    let size = rustix::termios::tcgetwinsize(sys::borrow(fd))
        .map_err(io::Error::from)
        .ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some(TerminalSize {
        rows: size.ws_row,
        cols: size.ws_col,
    })
}
