//! System calls that rustix does not offer, or not as they are needed here: execution
//! past every preloaded hook, comparison of descriptors, a process of nobody.

#![allow(unsafe_code)]

use crate::descriptor::above_stdio;
use crate::signals::Signals;
use rustix::process::{Pid, Resource, Rlimit};
use std::ffi::{CStr, CString, OsString, c_char, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// The environment as the kernel gave it, also what is no `NAME=value`.
pub(crate) fn environment() -> Vec<OsString> {
    let mut entries = Vec::new();
    // SAFETY: libc's list of NUL-terminated strings ends in a null pointer; this process
    // has one thread and changes nothing in it.
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            entries.push(OsString::from_vec(CStr::from_ptr(*at).to_bytes().to_vec()));
            at = at.add(1);
        }
    }
    entries
}

/// Pointers to the strings with a null behind them. They live as long as `strings`.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Executes, past the shim that is preloaded into this process; returns only to say why not.
pub(crate) fn execute(program: &CStr, argv: &[CString], environment: &[CString]) -> io::Error {
    let (argv, environment) = (pointers(argv), pointers(environment));
    // SAFETY: both lists end in null and, with their strings, outlive the call.
    unsafe { libc::syscall(libc::SYS_execve, program.as_ptr(), argv.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Whether the other side of a socket has not read all that it was sent (`SIOCOUTQ`, which is
/// `TIOCOUTQ` by another name).
pub(crate) fn is_unread(socket: &impl AsFd) -> bool {
    let mut bytes: c_int = 0;
    // SAFETY: the call writes one number.
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    done == 0 && bytes > 0
}

/// Whether two descriptors have one open file; by `kcmp(2)`, else by what they show.
pub(crate) fn same_open_file(a: RawFd, b: RawFd) -> bool {
    const KCMP_FILE: c_int = 0;
    let me = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: numbers only.
    let order = unsafe {
        libc::syscall(
            libc::SYS_kcmp,
            me,
            me,
            KCMP_FILE,
            a as libc::c_ulong,
            b as libc::c_ulong,
        )
    };
    if order >= 0 {
        return order == 0;
    }
    let look = |fd: RawFd| {
        let fd = borrow(fd);
        let stat = rustix::fs::fstat(fd).ok()?;
        Some((
            stat.st_dev,
            stat.st_ino,
            rustix::fs::fcntl_getfl(fd).ok()?,
            rustix::fs::tell(fd).ok(),
        ))
    };
    matches!((look(a), look(b)), (Some(a), Some(b)) if a == b)
}

/// A standard stream by number. A closed one gives EBADF, as it should.
pub(crate) fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: used for 0 to 2, which nobody here opens or closes before the end of the
    // process; `above_stdio` keeps others away from these numbers.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// The umask.
pub(crate) fn umask() -> u32 {
    let old = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(old);
    old.bits()
}

/// Forks. The child is where `None` is returned.
fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: this process has one thread, so the child may do what it likes.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Ends this process at once.
fn leave() -> ! {
    // SAFETY: ends the process, no destructor runs.
    unsafe { libc::_exit(0) }
}

/// Starts a program as a child of init: own session, root directory, no descriptor of
/// ours but `log` as 2. The error is the kernel's on forking or executing.
pub(crate) fn spawn_orphan(
    program: &CStr,
    argv: &[CString],
    environment: &[CString],
    log: BorrowedFd<'_>,
) -> io::Result<Pid> {
    let (from, to) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (from, to) = (above_stdio(from)?, above_stdio(to)?);
    let Some(child) = fork()? else {
        // SAFETY: no pointers; fails only for a leader of a group, which a child is not.
        unsafe { libc::setsid() };
        if let Ok(None) = fork() {
            let me = rustix::process::getpid().as_raw_nonzero().get();
            let told = rustix::io::write(&to, &me.to_ne_bytes());
            let error = told
                .map_err(io::Error::from)
                .and_then(|_| become_daemon(program, argv, environment, log));
            let number = error.err().and_then(|e| e.raw_os_error()).unwrap_or(libc::EINVAL);
            // Whoever started us has ended if this fails.
            let _ = rustix::io::write(&to, &number.to_ne_bytes());
        }
        leave();
    };
    drop(to);
    // Who ignores SIGCHLD has no children to wait for.
    let _ = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
    let mut said = Vec::new();
    io::Read::read_to_end(&mut std::fs::File::from(from), &mut said)?;
    let numbers: Vec<c_int> = said
        .chunks_exact(4)
        .filter_map(|n| Some(c_int::from_ne_bytes(*n.first_chunk()?)))
        .collect();
    match numbers[..] {
        [pid] => Pid::from_raw(pid).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData)),
        [_, errno] => Err(io::Error::from_raw_os_error(errno)),
        _ => Err(io::Error::other("cannot fork")),
    }
}

/// In the new process: leaves behind everything of the old one and executes.
fn become_daemon(
    program: &CStr,
    argv: &[CString],
    environment: &[CString],
    log: BorrowedFd<'_>,
) -> io::Result<std::convert::Infallible> {
    let log = rustix::io::fcntl_dupfd_cloexec(log, 3)?;
    let null = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    let null = above_stdio(null)?;
    for (from, to) in [(null.as_fd(), 0), (null.as_fd(), 1), (log.as_fd(), 2)] {
        // SAFETY: two descriptor numbers; the standard streams are given up here.
        if unsafe { libc::dup2(from.as_raw_fd(), to) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: marks descriptors for closing at exec; numbers only.
    unsafe { libc::syscall(libc::SYS_close_range, 3, c_int::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    // Who started it may give way to others; those whom it serves later may not. Who may not
    // do this goes on as it is.
    let _ = rustix::process::setpriority_process(None, 0);
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the default action; numbers that cannot be set are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    Signals::of([]).set();
    rustix::process::umask(rustix::fs::Mode::from_bits_retain(0o077));
    let files = rustix::process::getrlimit(Resource::Nofile);
    // More descriptors are welcome, not needed.
    let _ = rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: files.maximum,
            maximum: files.maximum,
        },
    );
    rustix::process::chdir(c"/")?;
    Err(execute(program, argv, environment))
}

/// Replaces descriptor 0 by a pipe that gives `taken` first and then what the old one
/// still has, copied by a process of nobody.
pub(crate) fn put_back(taken: &[u8]) -> io::Result<()> {
    let (from, to) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (from, to) = (above_stdio(from)?, above_stdio(to)?);
    let Some(child) = fork()? else {
        if let Ok(None) = fork() {
            drop(from);
            // SAFETY: closes descriptors that only the copy would keep open.
            unsafe {
                libc::close(1);
                libc::close(2);
            }
            feed(taken, &to);
        }
        leave();
    };
    // SAFETY: two descriptor numbers.
    if unsafe { libc::dup2(from.as_raw_fd(), 0) } == -1 {
        return Err(io::Error::last_os_error());
    }
    let _ = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
    Ok(())
}

/// Writes what was taken and then descriptor 0 to its end. A reader that left ends it
/// by SIGPIPE or an error.
fn feed(taken: &[u8], to: &OwnedFd) {
    let mut piece = vec![0; 1 << 16];
    let mut goes_on = write_all(to, taken);
    while goes_on {
        goes_on = match rustix::io::read(borrow(0), &mut piece[..]) {
            Ok(0) => false,
            Ok(len) => write_all(to, &piece[..len]),
            Err(rustix::io::Errno::INTR) => true,
            Err(rustix::io::Errno::AGAIN) => {
                let stdin = borrow(0);
                let mut fds = [rustix::event::PollFd::new(&stdin, rustix::event::PollFlags::IN)];
                rustix::event::poll(&mut fds, None).is_ok()
            }
            Err(_) => false,
        };
    }
}

fn write_all(to: &OwnedFd, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// The kernel's words for an error, without its number.
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
