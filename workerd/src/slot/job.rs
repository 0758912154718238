//! The job's first process, from its birth to its `execve`: session, descriptors, limits,
//! the guard. Until that `execve` it has init's memory, in which it only borrows. The guard
//! lets its own calls pass: workerd has made ready what they look at.
//!
//! Knows nothing of how its file system came about.

use super::error::{During, Refusal};
use super::filter::{self, FilterOptions};
use super::inputs::{SlotHandles, SlotInputs};
use super::ipc::{self, Report, fail};
use super::plan::{EncodedSlotPlan, FdKind};
use super::{Step, sys};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What a shell gives for a command that could not be executed; the errno that
/// travels beside it is what counts.
const NOT_EXECUTED: i32 = 127;
/// A limit of processes that still lets a shell start a compiler.
const LEAST_PROCESSES: u64 = 64;

/// Becomes the job.
pub(super) fn run(inputs: &SlotInputs, control: BorrowedFd<'_>, handles: &SlotHandles) -> ! {
    let arranged = match arrange(inputs, control, handles) {
        Ok(arranged) => arranged,
        Err(refusal) => fail(control, refusal),
    };
    let Arranged { control, gate, on_show } = arranged;
    if let Err(refusal) = under_guard(&inputs.plan, control.as_fd(), on_show) {
        fail(control.as_fd(), refusal);
    }
    if !ipc::pass_gate(gate.as_fd()).unwrap_or(false) {
        sys::exit(NOT_EXECUTED);
    }
    let EncodedSlotPlan { cwd, cookie, .. } = &inputs.plan;
    let report = match sys::enter_past_guard(cwd, *cookie) {
        Err(errno) => Report::CwdFailed(errno.raw_os_error()),
        Ok(()) => Report::ExecFailed(execute(&inputs.plan).raw_os_error()),
    };
    // A workerd that is gone needs no report.
    let _ = sys::send_past_guard(control.as_fd(), &report.encode(), &[], *cookie);
    sys::exit(NOT_EXECUTED)
}

/// Becomes the job's program, which gets its turns at the processor like any other. Returns
/// only if it cannot.
fn execute(plan: &EncodedSlotPlan) -> Errno {
    let EncodedSlotPlan {
        program,
        argv,
        env,
        cookie,
        ..
    } = plan;
    // A host that refuses this has refused the short slices as well.
    let _ = termite_sched::reset_slice();
    sys::execute_past_guard(program, argv, env, *cookie)
}

/// What stays open until `execve`, above the job's numbers.
struct Arranged {
    control: OwnedFd,
    gate: OwnedFd,
    /// Root, init, and workerd's end of a terminal.
    on_show: Vec<OwnedFd>,
}

/// Session, descriptors, mask and limits. What is needed yet gets out of the way of the
/// job's numbers.
fn arrange(inputs: &SlotInputs, control: BorrowedFd<'_>, handles: &SlotHandles) -> Result<Arranged, Refusal> {
    let (master, slave) = handles.terminal.as_ref().map(|(master, slave)| (master, slave)).unzip();
    sys::default_child_signal();
    rustix::process::setsid().during(Step::Stdio)?;
    if let Some(slave) = slave {
        rustix::process::ioctl_tiocsctty(slave).during(Step::Terminal)?;
    }
    let plan = &inputs.plan;
    let jobserver = plan.jobserver.map_or(2, |(read, write)| read.max(write));
    let highest = plan.inherited.iter().copied().fold(jobserver.max(2), u32::max);
    let above = i32::try_from(highest).map_err(|_| Refusal {
        step: Step::Stdio,
        errno: libc::EBADF,
    })? + 1;
    let lift = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, above).during(Step::Stdio);

    let on_show = [Some(&handles.root), Some(&handles.init), master];
    let arranged = Arranged {
        control: lift(control)?,
        gate: lift(inputs.gate.as_fd())?,
        on_show: on_show
            .into_iter()
            .flatten()
            .map(|fd| lift(fd.as_fd()))
            .collect::<Result<_, _>>()?,
    };
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).during(Step::Stdio)?;
    let mut places = Vec::new();
    for (number, (kind, open)) in plan.stdio.iter().zip(&inputs.stdio).enumerate() {
        let from = match kind {
            FdKind::Closed => None,
            FdKind::Null => Some(&null),
            FdKind::Open => open.as_ref(),
            FdKind::Terminal => slave,
        };
        places.push((number as u32, from.map(|fd| lift(fd.as_fd())).transpose()?));
    }
    if let (Some((read, write)), Some((read_end, write_end))) = (plan.jobserver, &inputs.jobserver) {
        places.push((read, Some(lift(read_end.as_fd())?)));
        places.push((write, Some(lift(write_end.as_fd())?)));
    }
    let placeholder = inputs.placeholder.as_ref().map(|fd| lift(fd.as_fd())).transpose()?;
    sys::close_at_exec_from(3).during(Step::Stdio)?;
    // Everything that has to survive stands above the job's numbers by here.
    if let Some(placeholder) = placeholder {
        let mut numbers = plan.inherited.iter();
        numbers
            .try_for_each(|number| sys::put_at(&placeholder, *number))
            .during(Step::Stdio)?;
    }
    for (number, from) in places {
        match from {
            Some(fd) => sys::put_at(&fd, number).during(Step::Stdio)?,
            None => sys::close_number(number),
        }
    }
    set_limits(plan)?;
    Ok(arranged)
}

/// Mask, ignored signals, nice value and limits.
fn set_limits(plan: &EncodedSlotPlan) -> Result<(), Refusal> {
    rustix::process::umask(Mode::from_raw_mode(plan.umask & 0o777));
    sys::ignore_signals(plan.ignored);
    sys::give_way(plan.nice).during(Step::Limits)?;
    for limit in &plan.limits {
        let least = if limit.resource == libc::RLIMIT_NPROC {
            LEAST_PROCESSES
        } else {
            0
        };
        sys::lower_limit(limit.resource, limit.soft.max(least), limit.hard.max(least)).during(Step::Limits)?;
    }
    Ok(())
}

/// Installs the filter and hands its listener, with all else that workerd needs, over.
fn under_guard(plan: &EncodedSlotPlan, control: BorrowedFd<'_>, on_show: Vec<OwnedFd>) -> Result<(), Refusal> {
    let options = FilterOptions {
        cookie: plan.cookie,
        input_on_demand: plan.input_on_demand,
        input_seeks: plan.input_seeks,
        shim: plan.shim.is_some(),
        stops: !plan.served,
    };
    let program = filter::program(options);
    let listener = if options.stops {
        Some(sys::install_filter(&program).during(Step::Guard)?)
    } else {
        sys::install_plain_filter(&program).during(Step::Refusals)?;
        None
    };
    let mut fds: Vec<_> = on_show.iter().map(AsFd::as_fd).collect();
    // The terminal's end comes last.
    listener.iter().for_each(|listener| fds.insert(2, listener.as_fd()));
    sys::send_past_guard(control, &Report::Ready.encode(), &fds, plan.cookie).during(Step::Announce)
}
