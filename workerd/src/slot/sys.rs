//! The unsafe corner of slots: forks, signals, seccomp and the few calls that rustix
//! does not have. All of it runs in processes with one thread. Knows no policy.

#![allow(unsafe_code)]

use super::SlotStatus;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions};
use rustix::thread::{CapabilitySet, UnshareFlags};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;
use termite_types::TerminalSize;

/// The errno of a libc call that returned -1.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result >= 0 {
        return Ok(result);
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// Forks. `None` in the child, which has only the calling thread.
pub(crate) fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: the callers have one thread, so no lock is held by a thread that the
    // child lacks.
    let pid = check(unsafe { libc::fork() }.into())?;
    Ok(Pid::from_raw(pid as i32))
}

/// Forks; the child is pid 1 of a new pid namespace.
pub(super) fn fork_into_pid_namespace() -> Result<Option<Pid>, Errno> {
    let flags = libc::CLONE_NEWPID | libc::SIGCHLD;
    // SAFETY: without a stack and CLONE_VM this is `fork`, and the caller has one thread.
    // Of what the C library's own `fork` does beside it, only the thread's cached number
    // is missed, which nothing here asks for.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })?;
    Ok(Pid::from_raw(pid as i32))
}

/// Runs `child` in a new process that has this one's memory until it executes a program or
/// ends, while this one waits. What it does to descriptors is its own matter, what it
/// leaves in memory is not: it may borrow, not take. Far quicker than a fork.
pub(super) fn borrow_memory(mut child: &mut dyn FnMut()) -> Result<Pid, Errno> {
    const STACK: usize = 256 << 10;
    extern "C" fn begin(child: *mut libc::c_void) -> libc::c_int {
        // SAFETY: what `borrow_memory` gave, whose caller waits meanwhile.
        let child = unsafe { &mut *child.cast::<&mut dyn FnMut()>() };
        child();
        exit(0)
    }
    // Words of 16 bytes, as a stack is aligned.
    let mut stack: Vec<u128> = Vec::with_capacity(STACK / 16);
    let top = stack.as_mut_ptr_range().start.wrapping_add(STACK / 16);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the caller has one thread, which waits for the child to execute a program or
    // to end (CLONE_VFORK); until then nothing here moves, and the stack is the child's.
    let pid = check(unsafe { libc::clone(begin, top.cast(), flags, (&raw mut child).cast()) }.into())?;
    Pid::from_raw(pid as i32).ok_or(Errno::IO)
}

/// Ends the process at once, with no exit handlers: those belong to the process that
/// was forked.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: takes no pointers and does not return.
    unsafe { libc::_exit(status) }
}

/// All signals as a new program expects them: default and unblocked.
pub(crate) fn default_signals() {
    for signal in 1..=64 {
        set_disposition(signal, libc::SIG_DFL);
    }
    set_mask(&empty_mask());
}

/// Takes back what the spawner and init do to signals: all else is default there since
/// [`default_signals`].
pub(super) fn default_child_signal() {
    set_disposition(libc::SIGCHLD, libc::SIG_DFL);
    set_mask(&empty_mask());
}

/// Ignores these signals, the lowest bit being signal 1.
pub(super) fn ignore_signals(mask: u64) {
    for at in (0..64).filter(|at| mask >> at & 1 != 0) {
        set_disposition(at + 1, libc::SIG_IGN);
    }
}

/// Gives way to others by as much, if it does not do so already: nobody may do so by less.
pub(super) fn give_way(nice: u8) -> Result<(), Errno> {
    let own = rustix::process::getpriority_process(None)?;
    match i32::from(nice) > own {
        true => rustix::process::setpriority_process(None, nice.min(19).into()),
        false => Ok(()),
    }
}

/// The kernel reaps this process's children, and those that their parents left to it.
pub(super) fn reap_children_unseen() {
    set_disposition(libc::SIGCHLD, libc::SIG_IGN);
    // Without it, what outlives its parent goes to workerd: only zombies more.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

pub(crate) fn set_disposition(signal: i32, handler: libc::sighandler_t) {
    // SAFETY: `action` is a plain structure, valid when zero; the handler is SIG_DFL,
    // SIG_IGN or a function of this crate that only makes async-signal-safe calls. Numbers
    // that cannot be set (KILL, STOP, libc's own) give EINVAL, which changes nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}

fn empty_mask() -> libc::sigset_t {
    mask_of(&[])
}

/// A set of signals.
pub(crate) fn mask_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the set; sigaddset changes that set alone.
    unsafe {
        let mut mask = std::mem::zeroed();
        libc::sigemptyset(&mut mask);
        for &signal in signals {
            libc::sigaddset(&mut mask, signal);
        }
        mask
    }
}

/// Blocks exactly these signals.
pub(crate) fn set_mask(mask: &libc::sigset_t) {
    // SAFETY: `mask` is a valid set and the old one is not asked for. With a valid
    // `how` this cannot fail.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) };
}

/// `unshare` of namespaces.
pub(crate) fn new_namespaces(which: UnshareFlags) -> Result<(), Errno> {
    debug_assert!(!which.contains(UnshareFlags::FILES));
    // SAFETY: unsafe only for CLONE_FILES, which no caller asks for.
    unsafe { rustix::thread::unshare_unsafe(which) }
}

/// Brings `lo` of a new network namespace up.
pub(super) fn loopback_up() -> Result<(), Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: `request` is a plain structure, valid when zero, that lives over the call;
    // SIOCSIFFLAGS reads it.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request).into()).map(drop)
    }
}

/// A new terminal of the slot's own `devpts`: workerd's end and the job's. `owner` gets it.
/// It passes output on as it is: the client's terminal does with it what it is set to do.
pub(super) fn open_terminal(
    size: Option<TerminalSize>,
    owner: Option<(u32, u32)>,
) -> Result<(OwnedFd, OwnedFd), Errno> {
    use rustix::fs::{Gid, Mode, OFlags, Uid};
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty())?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    if let Some((uid, gid)) = owner {
        rustix::fs::fchown(&slave, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    let mut modes = rustix::termios::tcgetattr(&slave)?;
    modes.output_modes.remove(rustix::termios::OutputModes::OPOST);
    rustix::termios::tcsetattr(&slave, rustix::termios::OptionalActions::Now, &modes)?;
    if let Some(size) = size {
        let size = rustix::termios::Winsize {
            ws_row: size.rows,
            ws_col: size.cols,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&master, size)?;
    }
    Ok((master, slave))
}

/// This process is killed when its parent ends.
pub(crate) fn die_with_parent() -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
}

/// `EPIPE` when nobody holds the other end of a channel any more.
pub(crate) fn still_there(channel: BorrowedFd<'_>) -> Result<(), Errno> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::from_borrowed_fd(channel, PollFlags::empty())];
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })))?;
    if fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
        Err(Errno::PIPE)
    } else {
        Ok(())
    }
}

/// Waits for the end of a process. Without `wait`, `EAGAIN` says that it has not come.
pub(super) fn await_exit(process: &OwnedFd, wait: bool) -> Result<(), Errno> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let time = (!wait).then_some(&at_once);
    match rustix::io::retry_on_intr(|| poll(&mut fds, time))? {
        0 => Err(Errno::AGAIN),
        _ => Ok(()),
    }
}

/// Processes of the same user cannot trace this one nor look into its `/proc`.
pub(super) fn hide_from_job() -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

extern "C" fn ignore_signal(_: libc::c_int) {}

/// SIGCHLD interrupts [`await_child_or_message`], and nothing else.
pub(super) fn hold_child_signals() -> Result<(), Errno> {
    set_mask(&mask_of(&[libc::SIGCHLD]));
    set_disposition(libc::SIGCHLD, ignore_signal as *const () as libc::sighandler_t);
    Ok(())
}

/// Waits until a child has ended (false), the channel can be read (true), or the time
/// is over (false).
pub(super) fn await_child_or_message(channel: BorrowedFd<'_>, time: Option<Duration>) -> Result<bool, Errno> {
    let mut fd = libc::pollfd {
        fd: channel.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let time = time.map(|time| libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: time.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: one pollfd, a time or null, and a set, all of which outlive the call.
    match check(unsafe { libc::ppoll(&mut fd, 1, time, &empty_mask()) }.into()) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Reaps one child that has ended. `None`: none has. `ECHILD`: there are none.
pub(super) fn reap_any() -> Result<Option<(Pid, SlotStatus)>, Errno> {
    let reaped = rustix::io::retry_on_intr(|| rustix::process::wait(WaitOptions::NOHANG))?;
    Ok(reaped.map(|(pid, status)| {
        let status = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => SlotStatus::Exited(code as u8),
            (None, Some(signal)) => SlotStatus::Signaled(signal as u8),
            (None, None) => SlotStatus::InitDied,
        };
        (pid, status)
    }))
}

/// Whether the ipc namespace of this process has queues, shared memory or semaphores of System V.
pub(super) fn has_sysv_objects() -> bool {
    // msgctl(2), shmctl(2) and semctl(2): the structures that these fill are shorter than the array,
    // and tell how many objects there are in `msgpool`, `used_ids` and `semusz`.
    const MSG_INFO: libc::c_int = 12;
    const SHM_INFO: libc::c_int = 14;
    const SEM_INFO: libc::c_int = 19;
    let mut told = [0; 32];
    let told: *mut libc::c_int = told.as_mut_ptr();
    // SAFETY: the array outlives the calls, and its places are numbers before and after them.
    let [queues, memory, semaphores] = unsafe {
        [
            (libc::syscall(libc::SYS_msgctl, 0, MSG_INFO, told), *told),
            (libc::syscall(libc::SYS_shmctl, 0, SHM_INFO, told), *told),
            (libc::syscall(libc::SYS_semctl, 0, 0, SEM_INFO, told), *told.add(7)),
        ]
    };
    let has_any = |(answer, count)| answer >= 0 && count > 0;
    has_any(queues) || has_any(memory) || has_any(semaphores)
}

/// Kills and reaps everything that is left in this process' pid namespace, whose pid 1 it is.
pub(super) fn reap_killed() {
    // SAFETY: takes no pointers. Failing means that nothing is left.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    while rustix::io::retry_on_intr(|| rustix::process::wait(WaitOptions::empty())).is_ok() {}
}

/// Processor time of all reaped children and theirs, microseconds.
pub(super) fn cpu_of_children() -> u64 {
    // SAFETY: `usage` is a plain structure, valid when zero, that lives over the call,
    // which cannot fail for RUSAGE_CHILDREN.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    [usage.ru_utime, usage.ru_stime]
        .iter()
        .map(|time| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64)
        .sum()
}

/// Sends a signal to a process group; a group that is gone, or a number that is no
/// signal, is left at that.
pub(super) fn signal_group(leader: Pid, signal: u8) {
    // SAFETY: takes no pointers.
    unsafe { libc::kill(-leader.as_raw_nonzero().get(), signal.into()) };
}

/// Takes every capability but these out of the bounding set.
pub(super) fn bound_capabilities(kept: CapabilitySet) -> Result<(), Errno> {
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if kept.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Marks every descriptor from this number on as closed at `execve`.
pub(super) fn close_at_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: closes nothing; it sets a flag.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Makes `number` a copy that stays open over `execve`.
pub(super) fn put_at(fd: &OwnedFd, number: u32) -> Result<(), Errno> {
    // SAFETY: the job is about to replace this process; what stood at `number` is
    // not used any more by anything that owns it.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number as i32) }.into()).map(drop)
}

/// Closes a number that may be open or not.
pub(super) fn close_number(number: u32) {
    // SAFETY: as in `put_at`. Failing means that it was closed.
    unsafe { libc::close(number as i32) };
}

/// Sets a limit, not above the hard limit that this process has.
pub(super) fn lower_limit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let mut now = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `now` outlives the call; a resource unknown here gives EINVAL.
    let known = check(unsafe { libc::prlimit64(0, resource, std::ptr::null(), &mut now) }.into());
    if known == Err(Errno::INVAL) {
        return Ok(());
    }
    known?;
    let hard = hard.min(now.rlim_max);
    let limit = libc::rlimit64 {
        rlim_cur: soft.min(hard),
        rlim_max: hard,
    };
    // SAFETY: `limit` outlives the call.
    match check(unsafe { libc::prlimit64(0, resource, &limit, std::ptr::null_mut()) }.into()) {
        Ok(_) | Err(Errno::PERM) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Installs a seccomp filter with a listener. Needs `no_new_privs`.
pub(super) fn install_filter(program: &[libc::sock_filter]) -> Result<OwnedFd, Errno> {
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let fd = set_filter(program, flags)?;
    // SAFETY: a descriptor that this call has just made.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sends a message as [`super::ipc::send`] does, by a call that passes the filter: nobody
/// answers this process before its listener has arrived.
pub(super) fn send_past_guard(
    to: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    cookie: u64,
) -> Result<(), Errno> {
    let raw: Vec<u8> = fds.iter().flat_map(|fd| fd.as_raw_fd().to_ne_bytes()).collect();
    let len = u32::try_from(raw.len()).map_err(|_| Errno::TOOMANYREFS)?;
    let mut bytes = bytes.to_vec();
    let mut piece = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: a plain structure, valid when zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut piece, 1);
    // SAFETY: arithmetic only.
    let space = unsafe { libc::CMSG_SPACE(len) } as usize;
    // Words, since a `cmsghdr` has their alignment.
    let mut control = vec![0u64; space.div_ceil(8)];
    if !fds.is_empty() {
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), space);
        // SAFETY: `control` is aligned and as long as one header with `len` bytes needs.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(len) as usize;
            std::ptr::copy_nonoverlapping(raw.as_ptr(), libc::CMSG_DATA(header), raw.len());
        }
    }
    loop {
        let (socket, flags) = (to.as_raw_fd(), libc::MSG_NOSIGNAL);
        // SAFETY: `message` and all that it points to outlive the call; the three last
        // arguments are none of `sendmsg`'s.
        let sent = unsafe { libc::syscall(libc::SYS_sendmsg, socket, &raw const message, flags, 0, 0, cookie) };
        match check(sent) {
            Err(Errno::INTR) => {}
            sent => return sent.map(drop),
        }
    }
}

/// Installs a seccomp filter that stops nothing. Needs `no_new_privs`.
pub(super) fn install_plain_filter(program: &[libc::sock_filter]) -> Result<(), Errno> {
    set_filter(program, 0).map(drop)
}

fn set_filter(program: &[libc::sock_filter], flags: libc::c_ulong) -> Result<libc::c_long, Errno> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies the program, which outlives the call and is not written.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &program) })
}

/// Lets the kernel wake the listener's reader and the job on one processor: 10 us in
/// the place of 60 for a round trip. Linux 6.6; a kernel that lacks it says EINVAL.
pub(super) fn wake_listener_in_step(listener: &OwnedFd) -> Result<(), Errno> {
    // _IOW('!', 4, __u64) and SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP of linux/seccomp.h.
    const SET_FLAGS: libc::c_ulong = 0x4008_2104;
    const SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: the argument is a number; a kernel that lacks the call answers EINVAL.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) }.into()).map(drop)
}

/// `chdir` by a call that passes the filter.
pub(super) fn enter_past_guard(dir: &CStr, cookie: u64) -> Result<(), Errno> {
    // SAFETY: a string that outlives the call; the last arguments are none of `chdir`'s.
    check(unsafe { libc::syscall(libc::SYS_chdir, dir.as_ptr(), 0, 0, 0, 0, cookie) }).map(drop)
}

/// `execve` by a call that passes the filter; it returns only to say why not.
pub(super) fn execute_past_guard(program: &CStr, argv: &[CString], env: &[CString], cookie: u64) -> Errno {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter()
            .map(|text| text.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    let (program, argv, env) = (program.as_ptr(), argv.as_ptr(), env.as_ptr());
    // SAFETY: both arrays end in null, and they and their strings outlive the call; the last
    // arguments are none of `execve`'s.
    let result = unsafe { libc::syscall(libc::SYS_execve, program, argv, env, 0, 0, cookie) };
    check(result).err().unwrap_or(Errno::IO)
}

/// Sends a signal to one process; one that is gone is left at that.
pub(crate) fn signal_one(process: Pid, signal: i32) {
    // SAFETY: takes no pointers.
    unsafe { libc::kill(process.as_raw_nonzero().get(), signal) };
}

/// Waits for the next of these signals, which are blocked.
pub(crate) fn next_signal(of: &libc::sigset_t) -> i32 {
    loop {
        // SAFETY: a valid set; no further information is asked for.
        let signal = unsafe { libc::sigwaitinfo(of, std::ptr::null_mut()) };
        if signal > 0 {
            return signal;
        }
    }
}

/// Closes every descriptor above 2 but this one.
pub(crate) fn keep_only(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    use std::os::fd::IntoRawFd;
    let number = fd.into_raw_fd() as u32;
    let close = |from: u32, to: u32| {
        if from > to {
            return Ok(());
        }
        // SAFETY: the caller keeps using only `fd`; whatever owns another number is
        // never dropped, because this process ends by `exit`.
        check(unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) }).map(drop)
    };
    close(3, number - 1)?;
    close(number + 1, u32::MAX)?;
    // SAFETY: it was given up above and is still open.
    Ok(unsafe { OwnedFd::from_raw_fd(number as i32) })
}

/// The machine's memory in bytes.
pub(crate) fn memory_bytes() -> u64 {
    // SAFETY: a plain structure, valid when zero, that lives over the call, which cannot
    // fail with a valid pointer.
    let system = unsafe {
        let mut system: libc::sysinfo = std::mem::zeroed();
        libc::sysinfo(&mut system);
        system
    };
    system.totalram * u64::from(system.mem_unit)
}
