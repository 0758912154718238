//! The outer process of a slot: stands in the spawner's namespaces, forks the slot's
//! init into a pid namespace of its own, writes the map of its user namespace, and
//! reports when it has ended. Knows nothing of the job.

use super::error::{During, Refusal};
use super::plan::{Errand, FdKind};
use super::post::{self, Report};
use super::spawner::{Grounds, PROC, channel};
use super::{SlotStatus, Step, init, sys};
use rustix::io::Errno;
use rustix::process::Pid;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Everything that a slot's processes were given.
pub(super) struct Brief {
    pub errand: Errand,
    pub grounds: Grounds,
    /// To workerd.
    pub control: OwnedFd,
    /// Opened by workerd when the job may run.
    pub gate: OwnedFd,
    /// The network that the slot is connected to.
    pub network: OwnedFd,
    /// The open ones of the job's descriptors 0 to 2, by number.
    pub stdio: [Option<OwnedFd>; 3],
    /// Read and write end.
    pub jobserver: Option<(OwnedFd, OwnedFd)>,
    /// The lower layer, where it is a file system of the slot's own.
    pub served: Option<OwnedFd>,
}

/// What init tells the outer process; the reply to the first is one letter.
pub(super) const MAP_ME: &[u8] = b"m";

/// Runs the outer process from the letter's descriptors.
pub(super) fn run(fds: Vec<OwnedFd>, grounds: &Grounds) -> ! {
    sys::default_child_signal();
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut fds = fds.into_iter();
    let mut next = || fds.next();
    let (Some(memory), Some(control), Some(gate), Some(network)) = (next(), next(), next(), next()) else {
        sys::exit(2)
    };
    let reporter = match rustix::io::fcntl_dupfd_cloexec(&control, 3) {
        Ok(reporter) => reporter,
        Err(errno) => fail(
            control.as_fd(),
            Refusal {
                step: Step::Plan,
                errno: errno.raw_os_error(),
            },
        ),
    };
    let brief = match read_brief(&memory, [control, gate, network], fds, grounds) {
        Ok(brief) => brief,
        Err(refusal) => fail(reporter.as_fd(), refusal),
    };
    drop(memory);
    match watch_over(brief, reporter.as_fd()) {
        Ok(()) => sys::exit(0),
        Err(refusal) => fail(reporter.as_fd(), refusal),
    }
}

/// Tells workerd that there will be no slot, and ends.
pub(super) fn fail(control: BorrowedFd<'_>, refusal: Refusal) -> ! {
    // A workerd that is gone needs no report.
    let _ = post::send(control, &Report::Failed(refusal.step, refusal.errno).encode(), &[]);
    sys::exit(1)
}

fn read_brief(
    memory: &OwnedFd,
    [control, gate, network]: [OwnedFd; 3],
    mut fds: impl Iterator<Item = OwnedFd>,
    grounds: &Grounds,
) -> Result<Brief, Refusal> {
    let malformed = Refusal {
        step: Step::Plan,
        errno: libc::EBADMSG,
    };
    let len = rustix::fs::fstat(memory).during(Step::Plan)?.st_size as usize;
    let mut bytes = vec![0; len];
    let mut at = 0;
    while at < len {
        match rustix::io::pread(memory, &mut bytes[at..], at as u64).during(Step::Plan)? {
            0 => return Err(malformed),
            got => at += got,
        }
    }
    let errand = Errand::decode(&bytes).map_err(|_| malformed)?;
    let mut stdio = [None, None, None];
    for (slot, kind) in stdio.iter_mut().zip(errand.stdio) {
        if kind == FdKind::Open {
            *slot = Some(fds.next().ok_or(malformed)?);
        }
    }
    let jobserver = match errand.jobserver {
        Some(_) => Some(fds.next().zip(fds.next()).ok_or(malformed)?),
        None => None,
    };
    let served = match errand.served {
        true => Some(fds.next().ok_or(malformed)?),
        false => None,
    };
    Ok(Brief {
        errand,
        grounds: grounds.clone(),
        served,
        control,
        gate,
        network,
        stdio,
        jobserver,
    })
}

fn watch_over(brief: Brief, reporter: BorrowedFd<'_>) -> Result<(), Refusal> {
    sys::new_pid_namespace_for_children().during(Step::PidNamespace)?;
    let (mine, theirs) = channel().during(Step::Fork)?;
    let (owner, root_user) = (brief.errand.owner.clone(), brief.grounds.root_user);
    let Some(init) = sys::fork().during(Step::Fork)? else {
        drop(mine);
        init::run(brief, theirs)
    };
    drop((theirs, brief));

    // Two letters at most: "map me" and, when all has ended, the job's end. Whatever
    // happens to init, its end of the channel closes.
    let mut end = None;
    while let Ok(Some(letter)) = post::receive(mine.as_fd(), true) {
        if letter.bytes == MAP_ME {
            let mapped = map(init, owner.uid, owner.gid, root_user);
            let errno = mapped.err().map_or(0, |errno| errno.raw_os_error());
            post::send(mine.as_fd(), &errno.to_le_bytes(), &[]).during(Step::UserNamespace)?;
        } else {
            end = Report::decode(&letter.bytes);
        }
    }
    let cpu_us = sys::reap(init).during(Step::Announce)?;
    let report = match end {
        Some(report @ Report::Ended { .. }) => report,
        _ => Report::Ended {
            status: SlotStatus::InitDied,
            cpu_us,
        },
    };
    // A workerd that is gone needs no report.
    let _ = post::send(reporter, &report.encode(), &[]);
    Ok(())
}

/// Writes the map of init's user namespace: everything onto itself for real root,
/// else the client's one user and group onto workerd's.
fn map(init: Pid, uid: u32, gid: u32, root_user: bool) -> Result<(), Errno> {
    let line = |id: u32| {
        if root_user {
            "0 0 4294967295\n".to_owned()
        } else {
            format!("{id} 0 1\n")
        }
    };
    let write = |file: &str, text: &str| {
        std::fs::write(format!("{PROC}/{}/{file}", init.as_raw_nonzero()), text)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    };
    write("uid_map", &line(uid))?;
    write("gid_map", &line(gid))
}
