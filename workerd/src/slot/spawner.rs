//! The spawner: a small single-threaded process, forked before workerd has threads or
//! secrets, that forks a slot's first process whenever it is asked to. Here is workerd's end of
//! its socket. Knows nothing of how a slot is made.

use super::context::STORE;
use super::ipc::{self, Message, Report, SLOT, channel};
use super::plan::{EncodedSlotPlan, FdKind, Places};
use super::{JobFd, Slot, SlotEnd, SlotError, SlotPlan, SlotStatus, Started, sys};
use crate::store::Store;
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use termite_types::Owner;

/// workerd's end. May be used from several threads at once.
#[derive(Debug)]
pub struct Spawner {
    socket: OwnedFd,
    store: PathBuf,
    /// workerd's `/proc`.
    proc: PathBuf,
    root_user: bool,
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
        let encoded = self.encoded(&plan)?;
        let memory = in_memory(&encoded.encode()).map_err(SlotError::Talk)?;
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
        ipc::send(self.socket.as_fd(), &[what], fds).map_err(|errno| match errno {
            Errno::PIPE | Errno::CONNRESET | Errno::CONNREFUSED => SlotError::SpawnerGone,
            errno => SlotError::Talk(errno),
        })
    }

    /// Asks for what a process of its own answers with one message. Blocks.
    pub(super) fn question(&self, what: u8) -> Result<Message, SlotError> {
        let (control, theirs) = channel().map_err(SlotError::Talk)?;
        self.ask(what, &[theirs.as_fd()])?;
        drop(theirs);
        next_message(&control)
    }

    /// A path of the store as the spawner's processes see it.
    pub(super) fn seen_by_spawner(&self, path: &Path) -> Result<PathBuf, SlotError> {
        let inside = path
            .strip_prefix(&self.store)
            .map_err(|_| SlotError::OutsideStore(path.to_owned()))?;
        Ok(Path::new(STORE).join(inside))
    }

    /// The plan as the slot's processes get it, with paths as they see them.
    fn encoded(&self, plan: &SlotPlan) -> Result<EncodedSlotPlan, SlotError> {
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
        EncodedSlotPlan::new(places, &plan.spec, stdio, plan.cookie, plan.served.is_some())
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
        let _ = ipc::send(control.as_fd(), &errno.to_le_bytes(), &[]);
        Ok(())
    }

    /// Waits until the job stands before its first path call, and takes what its processes hand over.
    fn await_ready(
        &self,
        control: OwnedFd,
        gate: OwnedFd,
        upper: &Path,
        is_guarded: bool,
    ) -> Result<Started, SlotError> {
        let message = hear(&control, Report::Ready)?;
        let mut fds = message.fds.into_iter();
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
            pid: message.sender.ok_or(SlotError::Nonsense)?,
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

/// The next message of a process that owes one.
pub(super) fn next_message(control: &OwnedFd) -> Result<Message, SlotError> {
    ipc::receive(control.as_fd(), true)
        .map_err(SlotError::Talk)?
        .ok_or(SlotError::Died)
}

/// The next message, if it is what it has to be.
fn hear(control: &OwnedFd, awaited: Report) -> Result<Message, SlotError> {
    let message = next_message(control)?;
    match Report::decode(&message.bytes) {
        Some(report) if report == awaited => Ok(message),
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
