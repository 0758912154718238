//! Standard input on demand where no call is stopped: whether a process of the job waits
//! for it in the kernel is looked up in `/proc`, again and again until one does.
//!
//! Knows waiting processes by `/proc/PID/syscall` and the table of calls. A process that
//! asks without waiting (`O_NONBLOCK`, a `poll` of no time) finds nothing until another
//! one waits.

use crate::guard::{Events, memory_of};
use crate::slot::calls::{self, Arch, Effect};
use crate::view::View;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks: short for a job that reads at once, at most 1 % of a processor
/// for one that never does.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);
/// More descriptors than that are not looked through.
const MAX_POLLED: u64 = 1024;
/// `epoll_wait`, `epoll_pwait`, `epoll_pwait2`.
const EPOLL_WAITS_64: [u32; 3] = [232, 281, 441];
const EPOLL_WAITS_32: [u32; 3] = [256, 319, 441];

/// What a job is watched by.
struct Watch {
    /// Shows the job's processes by workerd's numbers.
    proc: OwnedFd,
    /// Device and inode number of the job's root directory: whoever has it is of the job.
    root: (u64, u64),
    /// What descriptor 0 was when the job began.
    input: Vec<u8>,
}

/// A call that a process stands in.
struct Waiting {
    arch: Arch,
    number: u32,
    args: [u64; 6],
}

/// Tells `events` once when a process of the job waits for its standard input. `first` is
/// the job's first process, which has not begun yet; the view ends with it.
pub fn watch_input(first: u32, view: &Arc<View>, proc: OwnedFd, events: Arc<dyn Events>) -> io::Result<()> {
    let stat = rustix::fs::fstat(view.root())?;
    let alive = Arc::downgrade(view);
    let input = link(&proc, first, 0).ok_or(io::ErrorKind::NotFound)?;
    let watch = Watch {
        proc,
        root: (stat.st_dev, stat.st_ino),
        input,
    };
    std::thread::Builder::new().name("input".into()).spawn(move || {
        let mut pause = FIRST_PAUSE;
        while alive.upgrade().is_some() {
            if watch.is_wanted() {
                return events.want_input();
            }
            std::thread::sleep(pause);
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    })?;
    Ok(())
}

impl Watch {
    fn is_wanted(&self) -> bool {
        let processes = numbers(&self.proc, ".");
        processes
            .into_iter()
            .filter(|process| self.is_of_job(*process))
            .any(|process| {
                let threads = numbers(&self.proc, &format!("{process}/task"));
                threads.into_iter().any(|thread| self.waits(thread))
            })
    }

    fn is_of_job(&self, process: u32) -> bool {
        let root = rustix::fs::statat(&self.proc, format!("{process}/root"), AtFlags::empty());
        root.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.root)
    }

    fn waits(&self, thread: u32) -> bool {
        let Some(waiting) = self.call_of(thread) else {
            return false;
        };
        let awaited = waiting.awaited(&self.proc, thread);
        awaited
            .into_iter()
            .any(|fd| link(&self.proc, thread, fd).as_ref() == Some(&self.input))
    }

    /// The call that a thread waits in. `None`: it runs, or is gone.
    fn call_of(&self, thread: u32) -> Option<Waiting> {
        // proc(5): "number, arguments, stack pointer, program counter", or "running".
        let text = read(&self.proc, &format!("{thread}/syscall"))?;
        let text = std::str::from_utf8(&text).ok()?;
        let mut words = text.split_ascii_whitespace();
        let number = words.next()?.parse().ok()?;
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
        }
        let arch = self.arch_of(thread)?;
        Some(Waiting { arch, number, args })
    }

    /// The first entry of the auxiliary vector is a small number and its value: 8 bytes
    /// each for a 64-bit program, 4 bytes each for a 32-bit one.
    fn arch_of(&self, thread: u32) -> Option<Arch> {
        let vector = read(&self.proc, &format!("{thread}/auxv"))?;
        let first = u64::from_le_bytes(*vector.first_chunk()?);
        Some(if first > u64::from(u32::MAX) {
            Arch::I386
        } else {
            Arch::X86_64
        })
    }
}

impl Waiting {
    /// The descriptors that the call waits for to have something to read.
    fn awaited(&self, proc: &OwnedFd, thread: u32) -> Vec<u32> {
        let epolls = match self.arch {
            Arch::X86_64 => EPOLL_WAITS_64,
            Arch::I386 => EPOLL_WAITS_32,
        };
        if epolls.contains(&self.number) {
            return in_epoll(proc, thread, self.args[0]);
        }
        match calls::lookup(self.arch, self.number).map(|call| call.effect) {
            Some(Effect::Input(at)) => vec![self.args[usize::from(at)] as u32],
            Some(Effect::Poll(at, count)) => self.polled(thread, at, count),
            Some(Effect::Select { count, read, block }) => {
                let (count, set) = if block {
                    self.old_select(thread).unwrap_or_default()
                } else {
                    (self.args[usize::from(count)], self.args[usize::from(read)])
                };
                selected(thread, count, set)
            }
            _ => Vec::new(),
        }
    }

    fn polled(&self, thread: u32, at: u8, count: u8) -> Vec<u32> {
        // struct pollfd: descriptor (4 bytes), events, events that came.
        let len = self.args[usize::from(count)].min(MAX_POLLED) as usize * 8;
        let polled = memory_of(thread, self.args[usize::from(at)], len).unwrap_or_default();
        let reads = |one: &[u8]| one[4] & libc::POLLIN as u8 != 0;
        polled
            .chunks_exact(8)
            .filter(|one| reads(one))
            .map(|one| u32::from_le_bytes([one[0], one[1], one[2], one[3]]))
            .collect()
    }

    /// The i386 `select` of old: a block of the number of descriptors and the pointer.
    fn old_select(&self, thread: u32) -> Option<(u64, u64)> {
        let block = memory_of(thread, self.args[0], 8).ok()?;
        let word = |at: usize| Some(u64::from(u32::from_le_bytes(block.get(at..at + 4)?.try_into().ok()?)));
        Some((word(0)?, word(4)?))
    }
}

fn selected(thread: u32, count: u64, set: u64) -> Vec<u32> {
    let count = count.min(MAX_POLLED) as usize;
    if set == 0 {
        return Vec::new();
    }
    let set = memory_of(thread, set, count.div_ceil(8)).unwrap_or_default();
    let is_in = |fd: &usize| set.get(fd / 8).is_some_and(|byte| byte >> (fd % 8) & 1 != 0);
    (0..count).filter(is_in).map(|fd| fd as u32).collect()
}

/// proc(5): a line "tfd: NUMBER events: ..." for each descriptor in an epoll set.
fn in_epoll(proc: &OwnedFd, thread: u32, epoll: u64) -> Vec<u32> {
    let text = read(proc, &format!("{thread}/fdinfo/{epoll}")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let targets = text.lines().filter_map(|line| line.strip_prefix("tfd:"));
    targets
        .filter_map(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
        .collect()
}

/// What a descriptor of a task is.
fn link(proc: &OwnedFd, task: u32, fd: u32) -> Option<Vec<u8>> {
    let link = rustix::fs::readlinkat(proc, format!("{task}/fd/{fd}"), Vec::new());
    Some(link.ok()?.into_bytes())
}

/// A whole file of `/proc`; `None`: its process is gone.
fn read(proc: &OwnedFd, path: &str) -> Option<Vec<u8>> {
    let file = rustix::fs::openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut std::fs::File::from(file), &mut bytes).ok()?;
    Some(bytes)
}

/// The names that are numbers in a directory of `/proc`.
fn numbers(proc: &OwnedFd, path: &str) -> Vec<u32> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(dir) = rustix::fs::openat(proc, path, flags, Mode::empty()) else {
        return Vec::new();
    };
    let Ok(entries) = rustix::fs::Dir::read_from(dir.as_fd()) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok())
        .collect()
}
