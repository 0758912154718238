//! The spawner: a small single-threaded process, forked before workerd has threads or
//! secrets, that forks a slot's first process whenever it is asked to. Here are both
//! ends of its socket.
//!
//! Its root directory is the store's own tmpfs, so that a slot inherits nothing of the
//! host's tree. Knows nothing of how a slot is made.

use super::plan::{Errand, FdKind, Places};
use super::post::{self, Letter, Report};
use super::{JobFd, Slot, SlotEnd, SlotError, SlotPlan, SlotStatus, Started, Step, filter, init, sys};
use crate::start::Store;
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use termite_types::Owner;

/// What the spawner is asked for: the first byte of a letter.
const SLOT: u8 = b's';
pub(super) const SELF_TEST: u8 = b't';
pub(super) const GUARD_PROBE: u8 = b'g';
pub(super) const NETWORK: u8 = b'n';
pub(super) const PID_PROBE: u8 = b'p';

/// workerd's end. May be used from several threads at once.
#[derive(Debug)]
pub struct Spawner {
    socket: OwnedFd,
    store: PathBuf,
    /// workerd's `/proc`.
    proc: PathBuf,
    root_user: bool,
}

/// What the spawner's process knows about the store. Copied into each slot.
#[derive(Clone, Debug)]
pub(crate) struct Grounds {
    /// Real root: devices and trusted attributes are allowed.
    pub root_user: bool,
}

/// The store as the spawner's processes see it.
pub(crate) const STORE: &str = "/store";
/// workerd's own `/proc` as they see it.
pub(crate) const PROC: &str = "/proc";
/// The `/dev` of all slots as they see it.
pub(crate) const DEV: &str = "/dev";

/// Two ends of a channel for letters.
pub(crate) fn channel() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

impl Spawner {
    /// `store` is how workerd sees what the spawner sees at [`STORE`].
    pub(crate) fn new(socket: OwnedFd, store: &Store) -> Self {
        Self {
            socket,
            store: store.root.clone(),
            proc: store.proc.clone(),
            root_user: store.root_user,
        }
    }

    /// Makes a slot, until its job stands right before its first path call. Blocks for
    /// some milliseconds.
    pub fn start(&self, plan: SlotPlan) -> Result<Started, SlotError> {
        let errand = self.errand(&plan)?;
        let memory = in_memory(&errand.encode()).map_err(SlotError::Talk)?;
        let (control, their_control) = channel().map_err(SlotError::Talk)?;
        let (gate, their_gate) = channel().map_err(SlotError::Talk)?;
        sockopt::set_socket_passcred(&control, true).map_err(SlotError::Talk)?;

        let mut fds = vec![
            memory.as_fd(),
            their_control.as_fd(),
            their_gate.as_fd(),
            plan.network.as_fd(),
        ];
        fds.extend(plan.stdio.iter().filter_map(|fd| match fd {
            JobFd::Open(fd) => Some(fd.as_fd()),
            JobFd::Closed | JobFd::Null | JobFd::Terminal => None,
        }));
        fds.extend(plan.placeholder.as_ref().map(AsFd::as_fd));
        if let Some((read, write)) = &plan.jobserver {
            fds.extend([read.as_fd(), write.as_fd()]);
        }
        fds.extend(plan.served.as_ref().map(AsFd::as_fd));
        self.ask(SLOT, &fds)?;
        let upper_path = plan.dir.join("upper");
        let is_guarded = plan.served.is_none();
        let owner = plan.spec.owner.clone();
        drop((their_control, their_gate, plan));
        self.map_user(&control, &owner)?;
        self.await_ready(control, gate, &upper_path, is_guarded)
    }

    pub(super) fn ask(&self, what: u8, fds: &[BorrowedFd<'_>]) -> Result<(), SlotError> {
        post::send(self.socket.as_fd(), &[what], fds).map_err(|errno| match errno {
            Errno::PIPE | Errno::CONNRESET | Errno::CONNREFUSED => SlotError::SpawnerGone,
            errno => SlotError::Talk(errno),
        })
    }

    /// Asks for what a process of its own answers with one letter. Blocks.
    pub(super) fn question(&self, what: u8) -> Result<Letter, SlotError> {
        let (control, theirs) = channel().map_err(SlotError::Talk)?;
        self.ask(what, &[theirs.as_fd()])?;
        drop(theirs);
        next_letter(&control)
    }

    /// A path of the store as the spawner's processes see it.
    pub(super) fn seen_by_spawner(&self, path: &Path) -> Result<PathBuf, SlotError> {
        let inside = path
            .strip_prefix(&self.store)
            .map_err(|_| SlotError::OutsideStore(path.to_owned()))?;
        Ok(Path::new(STORE).join(inside))
    }

    fn errand(&self, plan: &SlotPlan) -> Result<Errand, SlotError> {
        if plan.cookie as u32 == 0 || plan.cookie >> 32 == 0 {
            return Err(SlotError::Plan("half of the cookie is zero"));
        }
        if plan.jobserver.is_some() != plan.spec.jobserver.is_some() {
            return Err(SlotError::Plan("a jobserver needs both its pipe and its numbers"));
        }
        if plan.placeholder.is_none() != plan.spec.inherited.is_empty() {
            return Err(SlotError::Plan(
                "inherited descriptors need both a placeholder and numbers",
            ));
        }
        let places = Places {
            lower: self.seen_by_spawner(&plan.lower)?,
            dir: self.seen_by_spawner(&plan.dir)?,
            shared: self.seen_by_spawner(&plan.shared)?,
            shim: plan
                .shim
                .as_deref()
                .map(|shim| self.seen_by_spawner(shim))
                .transpose()?,
        };
        let stdio = [0, 1, 2].map(|at| match plan.stdio[at] {
            JobFd::Closed => FdKind::Closed,
            JobFd::Open(_) => FdKind::Open,
            JobFd::Null => FdKind::Null,
            JobFd::Terminal => FdKind::Terminal,
        });
        Errand::new(places, &plan.spec, stdio, plan.cookie, plan.served.is_some())
            .map_err(|_| SlotError::Plan("a string of the job holds a NUL"))
    }

    /// Writes the map of init's user namespace once there is one: everything onto itself
    /// for real root, else the client's one user and group onto workerd's.
    fn map_user(&self, control: &OwnedFd, owner: &Owner) -> Result<(), SlotError> {
        let init = hear(control, Report::MapMe)?.sender.ok_or(SlotError::Nonsense)?;
        let line = |id: u32| match self.root_user {
            true => "0 0 4294967295\n".to_owned(),
            false => format!("{id} 0 1\n"),
        };
        let place = self.proc.join(init.to_string());
        let mapped = std::fs::write(place.join("uid_map"), line(owner.uid))
            .and_then(|()| std::fs::write(place.join("gid_map"), line(owner.gid)));
        let errno = mapped
            .err()
            .map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
        // What became of an init that is gone is heard next.
        let _ = post::send(control.as_fd(), &errno.to_le_bytes(), &[]);
        Ok(())
    }

    fn await_ready(
        &self,
        control: OwnedFd,
        gate: OwnedFd,
        upper: &Path,
        is_guarded: bool,
    ) -> Result<Started, SlotError> {
        let letter = hear(&control, Report::Ready)?;
        let mut fds = letter.fds.into_iter();
        let (Some(root), Some(init)) = (fds.next(), fds.next()) else {
            return Err(SlotError::Nonsense);
        };
        let listener = match is_guarded {
            true => Some(fds.next().ok_or(SlotError::Nonsense)?),
            false => None,
        };
        let terminal = fds.next();
        if let Some(listener) = &listener {
            // Without it, it is only slower.
            let _ = sys::wake_listener_in_step(listener);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let upper = rustix::fs::open(upper, flags, Mode::empty()).map_err(SlotError::Talk)?;
        let end = SlotEnd {
            status: SlotStatus::InitDied,
            cpu_us: 0,
            exec_errno: None,
            cwd_errno: None,
        };
        let slot = Slot {
            control,
            gate: Some(gate),
            init,
            is_silent: false,
            pid: letter.sender.ok_or(SlotError::Nonsense)?,
            end,
        };
        Ok(Started {
            slot,
            listener,
            root,
            upper,
            terminal,
        })
    }
}

/// The next letter of a process that owes one.
pub(super) fn next_letter(control: &OwnedFd) -> Result<Letter, SlotError> {
    post::receive(control.as_fd(), true)
        .map_err(SlotError::Talk)?
        .ok_or(SlotError::Died)
}

/// The next letter, if it is what it has to be.
fn hear(control: &OwnedFd, awaited: Report) -> Result<Letter, SlotError> {
    let letter = next_letter(control)?;
    match Report::decode(&letter.bytes) {
        Some(report) if report == awaited => Ok(letter),
        Some(Report::Failed(step, errno)) => Err(SlotError::Setup { step, errno }),
        Some(Report::Ended { .. }) => Err(SlotError::Died),
        _ => Err(SlotError::Nonsense),
    }
}

/// The bytes in a memory file, to be read from its start.
pub(super) fn in_memory(bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let memory = rustix::fs::memfd_create("plan", MemfdFlags::CLOEXEC)?;
    let mut at = 0;
    while at < bytes.len() {
        at += rustix::io::retry_on_intr(|| rustix::io::pwrite(&memory, &bytes[at..], at as u64))?;
    }
    Ok(memory)
}

/// The spawner's process: answers until workerd closes its end. The caller is a
/// freshly forked process with one thread, whose root directory is the store's tmpfs.
pub(crate) fn serve(socket: OwnedFd, grounds: &Grounds) -> ! {
    sys::reap_children_unseen();
    filter::prepare();
    loop {
        let letter = match post::receive(socket.as_fd(), true) {
            Ok(Some(letter)) => letter,
            Ok(None) | Err(_) => sys::exit(0),
        };
        // Without a process there is nobody to take the letter's descriptors: they are
        // closed here, and who asked sees the end of its channel.
        let fork = match letter.bytes.first() {
            Some(&(SLOT | PID_PROBE)) => sys::fork_into_pid_namespace,
            _ => sys::fork,
        };
        match fork() {
            Ok(Some(_)) => {}
            Ok(None) => {
                drop(socket);
                match letter.bytes.first() {
                    Some(&SLOT) => init::run(letter.fds, grounds),
                    Some(&SELF_TEST) => super::selftest::run(letter.fds, grounds),
                    Some(&GUARD_PROBE) => super::probe::run(letter.fds),
                    Some(&NETWORK) => super::network::run(letter.fds),
                    Some(&PID_PROBE) => super::pids::run(letter.fds),
                    _ => sys::exit(2),
                }
            }
            Err(errno) => {
                if let Some(control) = letter.fds.get(1) {
                    let report = Report::Failed(Step::Fork, errno.raw_os_error());
                    // Who asked may be gone; there is nobody else to tell.
                    let _ = post::send(control.as_fd(), &report.encode(), &[]);
                }
            }
        }
    }
}
