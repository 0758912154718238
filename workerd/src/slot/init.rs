//! The init of a slot, pid 1 of its pid namespace: makes the slot's namespaces and file
//! system, gives up its powers, forks the job and reaps until nothing is left.
//!
//! Knows nothing of what the job runs, and has no open file of workerd's but its
//! channel. Its end kills whatever is left of the slot.

use super::context::SpawnerContext;
use super::error::{During, Refusal};
use super::inputs::{self, SlotHandles, SlotInputs};
use super::ipc::{self, Report, fail};
use super::{SlotStatus, Step, job, layers, network, pids, sys};
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;
use rustix::process::{Gid, Pid, PidfdFlags, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// How long what a job left running may go on after the job's own end, as what a shell does not
/// wait for (`tee >(sort)`) does for a moment.
const GRACE: Duration = Duration::from_secs(1);

/// Runs init from the message's descriptors.
pub(super) fn run(fds: Vec<OwnedFd>, context: &SpawnerContext) -> ! {
    sys::default_child_signal();
    rustix::process::umask(Mode::empty());
    let mut fds = fds.into_iter();
    let mut next = || fds.next();
    let (Some(memory), Some(control), Some(gate), Some(network)) = (next(), next(), next(), next()) else {
        sys::exit(2)
    };
    // The job is forked last: whatever init itself fails at is told here.
    let inputs = match inputs::read(&memory, [gate, network], fds, context) {
        Ok(inputs) => inputs,
        Err(refusal) => fail(control.as_fd(), refusal),
    };
    let handles = match prepare(&inputs, control.as_fd()) {
        Ok(handles) => handles,
        Err(refusal) => fail(control.as_fd(), refusal),
    };
    // Until its program is executed nobody here hears of children or messages; who kills this
    // process, or lets go of the gate, ends both.
    let mut become_job = || -> () { job::run(&inputs, control.as_fd(), &handles) };
    let job = match sys::borrow_memory(&mut become_job).during(Step::Fork) {
        Ok(job) => job,
        Err(refusal) => fail(control.as_fd(), refusal),
    };
    drop((memory, inputs, handles));
    let status = reap_until_empty(job, control.as_fd());
    // Whoever hears the last message may rely on that nothing writes any more.
    sys::reap_killed();
    let status = match status {
        SlotStatus::Exited(_) | SlotStatus::Signaled(_) if leaves_objects() => SlotStatus::LeftObjects,
        status => status,
    };
    let report = Report::Ended {
        status,
        cpu_us: sys::cpu_of_children(),
    };
    // A workerd that is gone needs no report.
    let _ = ipc::send(control.as_fd(), &report.encode(), &[]);
    sys::exit(0)
}

/// Makes all that the job finds when it begins, and gives up the powers that this takes.
fn prepare(inputs: &SlotInputs, control: BorrowedFd<'_>) -> Result<SlotHandles, Refusal> {
    let plan = &inputs.plan;
    if let Some(first) = plan.first_pid {
        // The job is the next process that is made in this pid namespace. Where this is refused, and the
        // client was told so by `pid_limit`, it has another number.
        let _ = pids::set_next(first);
    }
    sys::new_namespaces(UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS).during(Step::Namespaces)?;
    network::enter(inputs.network.as_fd()).during(Step::Network)?;
    layers::build(plan, &inputs.context, inputs.served.as_ref())?;
    rustix::system::sethostname(plan.hostname.as_bytes()).during(Step::Hostname)?;
    let terminal = if plan.stdio.contains(&super::plan::FdKind::Terminal) {
        let owner = Some((plan.owner.uid, plan.owner.gid)).filter(|_| inputs.context.root_user);
        Some(sys::open_terminal(plan.size, owner).during(Step::Terminal)?)
    } else {
        None
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty()).during(Step::Pivot)?;
    let init = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).during(Step::Announce)?;
    become_owner(inputs, control)?;
    // Gaining an identity clears this, so it comes last; the channel tells whether
    // workerd was gone before.
    sys::die_with_parent().during(Step::Identity)?;
    sys::still_there(control).during(Step::Identity)?;
    sys::hide_from_job().during(Step::Identity)?;
    sys::hold_child_signals().during(Step::Fork)?;
    Ok(SlotHandles { root, init, terminal })
}

/// Enters a user namespace of the slot's own as the job's owner, with no capability;
/// a root owner keeps those over files and ids.
fn become_owner(inputs: &SlotInputs, control: BorrowedFd<'_>) -> Result<(), Refusal> {
    let owner = &inputs.plan.owner;
    sys::new_namespaces(UnshareFlags::NEWUSER).during(Step::UserNamespace)?;
    ipc::send(control, &Report::MapMe.encode(), &[]).during(Step::UserNamespace)?;
    let answer = ipc::receive(control, true).during(Step::UserNamespace)?;
    match answer
        .and_then(|message| message.bytes.try_into().ok())
        .map(i32::from_le_bytes)
    {
        Some(0) => {}
        Some(errno) => {
            return Err(Refusal {
                step: Step::UserNamespace,
                errno,
            });
        }
        None => {
            return Err(Refusal {
                step: Step::UserNamespace,
                errno: libc::EPIPE,
            });
        }
    }

    let kept = if owner.uid == 0 {
        CapabilitySet::CHOWN
            | CapabilitySet::DAC_OVERRIDE
            | CapabilitySet::FOWNER
            | CapabilitySet::FSETID
            | CapabilitySet::SETUID
            | CapabilitySet::SETGID
            | CapabilitySet::MKNOD
    } else {
        CapabilitySet::empty()
    };
    // Without a user's privileges and with no_new_privs nothing can be regained by an
    // execve; for a root owner the bounding set says so once more.
    if owner.uid == 0 {
        sys::bound_capabilities(kept).during(Step::Identity)?;
    }
    if inputs.context.root_user {
        let groups: Vec<Gid> = owner.groups.iter().map(|&group| Gid::from_raw(group)).collect();
        rustix::thread::set_thread_groups(&groups).during(Step::Identity)?;
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        rustix::thread::set_thread_res_gid(gid, gid, gid).during(Step::Identity)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).during(Step::Identity)?;
    }
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).during(Step::Identity)?;
    rustix::thread::set_no_new_privs(true).during(Step::Identity)
}

/// Whether there is something by which processes find each other, and which stays until somebody
/// removes it (shm_overview(7), sysvipc(7)).
fn leaves_objects() -> bool {
    sys::has_sysv_objects() || has_names(c"/dev/shm").unwrap_or(false)
}

fn has_names(dir: &CStr) -> Result<bool, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(dir, flags, Mode::empty())?;
    let mut room = [MaybeUninit::uninit(); 512];
    let mut names = RawDir::new(dir, &mut room);
    while let Some(entry) = names.next() {
        if ![c".", c".."].contains(&entry?.file_name()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reaps everything, passes signals on to the job's process group, and ends when the
/// job and all others have ended, or the grace after the job's end is over, or workerd
/// has let go of the slot.
fn reap_until_empty(job: Pid, control: BorrowedFd<'_>) -> SlotStatus {
    let mut status = SlotStatus::InitDied;
    let mut deadline = None;
    // What does not heed a signal is not what was to go on.
    let mut was_signalled = false;
    loop {
        loop {
            match sys::reap_any() {
                Ok(Some((pid, ended))) if pid == job => {
                    status = ended;
                    deadline = Some(Instant::now() + GRACE);
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return status,
            }
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return if was_signalled { status } else { SlotStatus::LeftRunning };
        }
        match sys::await_child_or_message(control, left) {
            Ok(true) => match ipc::receive(control, false) {
                Ok(Some(message)) => message.bytes.first().into_iter().for_each(|&signal| {
                    was_signalled = true;
                    sys::signal_group(job, signal);
                }),
                Err(rustix::io::Errno::AGAIN) => {}
                Ok(None) | Err(_) => return status,
            },
            Ok(false) => {}
            Err(_) => return status,
        }
    }
}
