//! The job's first process, from its fork to its `execve`: session, descriptors, limits,
//! the guard. From the moment the guard is installed, every path call of this process
//! is answered by workerd, also the `chdir` and the `execve` themselves.
//!
//! Knows nothing of how its file system came about.

use super::brief::Brief;
use super::error::{During, Refusal};
use super::filter::{self, FilterOptions};
use super::init::Exhibits;
use super::plan::{Errand, FdKind};
use super::post::{self, Report, fail};
use super::{Step, sys};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, OwnedFd};

/// What a shell gives for a command that could not be executed; the errno that
/// travels beside it is what counts.
const NOT_EXECUTED: i32 = 127;
/// A limit of processes that still lets a shell start a compiler.
const LEAST_PROCESSES: u64 = 64;

/// Becomes the job.
pub(super) fn run(brief: Brief, control: OwnedFd, mut exhibits: Exhibits) -> ! {
    let terminal = exhibits.terminal.take();
    let (mut master, slave) = terminal.unzip();
    let on_show = [Some(&mut exhibits.root), Some(&mut exhibits.init), master.as_mut()];
    let (control, gate) = match arrange(&brief, &control, on_show, slave.as_ref()) {
        Ok(kept) => kept,
        Err(refusal) => fail(control.as_fd(), refusal),
    };
    drop(slave);
    if let Err(refusal) = under_guard(&brief.errand, &control, &exhibits, master) {
        fail(control.as_fd(), refusal);
    }
    drop(exhibits);
    if !post::pass_gate(gate.as_fd()).unwrap_or(false) {
        sys::exit(NOT_EXECUTED);
    }
    let report = match rustix::process::chdir(brief.errand.cwd.as_c_str()) {
        Err(errno) => Report::CwdFailed(errno.raw_os_error()),
        Ok(()) => {
            let Errand { program, argv, env, .. } = &brief.errand;
            Report::ExecFailed(sys::execute(program, argv, env).raw_os_error())
        }
    };
    // A workerd that is gone needs no report.
    let _ = sys::send_past_guard(control.as_fd(), &report.encode(), &[], brief.errand.cookie);
    sys::exit(NOT_EXECUTED)
}

/// Session, descriptors, mask and limits. Returns the channels that stay open until
/// `execve`; they and what is yet to be handed over get out of the way of the job's numbers.
fn arrange(
    brief: &Brief,
    control: &OwnedFd,
    on_show: [Option<&mut OwnedFd>; 3],
    slave: Option<&OwnedFd>,
) -> Result<(OwnedFd, OwnedFd), Refusal> {
    sys::default_child_signal();
    rustix::process::setsid().during(Step::Stdio)?;
    if let Some(slave) = slave {
        rustix::process::ioctl_tiocsctty(slave).during(Step::Terminal)?;
    }
    let errand = &brief.errand;
    let highest = errand.jobserver.map_or(2, |(read, write)| read.max(write).max(2));
    let above = i32::try_from(highest).map_err(|_| Refusal {
        step: Step::Stdio,
        errno: libc::EBADF,
    })? + 1;
    let lift = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, above).during(Step::Stdio);

    let kept = (lift(control)?, lift(&brief.gate)?);
    for fd in on_show.into_iter().flatten() {
        *fd = lift(fd)?;
    }
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).during(Step::Stdio)?;
    let mut places = Vec::new();
    for (number, (kind, open)) in errand.stdio.iter().zip(&brief.stdio).enumerate() {
        let from = match kind {
            FdKind::Closed => None,
            FdKind::Null => Some(&null),
            FdKind::Open => open.as_ref(),
            FdKind::Terminal => slave,
        };
        places.push((number as u32, from.map(lift).transpose()?));
    }
    if let (Some((read, write)), Some((read_end, write_end))) = (errand.jobserver, &brief.jobserver) {
        places.push((read, Some(lift(read_end)?)));
        places.push((write, Some(lift(write_end)?)));
    }
    sys::close_at_exec_from(3).during(Step::Stdio)?;
    // Everything that has to survive stands above the job's numbers by here.
    for (number, from) in places {
        match from {
            Some(fd) => sys::put_at(&fd, number).during(Step::Stdio)?,
            None => sys::close_number(number),
        }
    }
    rustix::process::umask(Mode::from_raw_mode(errand.umask & 0o777));
    for limit in &errand.limits {
        let least = if limit.resource == libc::RLIMIT_NPROC {
            LEAST_PROCESSES
        } else {
            0
        };
        sys::lower_limit(limit.resource, limit.soft.max(least), limit.hard.max(least)).during(Step::Limits)?;
    }
    Ok(kept)
}

/// Installs the filter and hands its listener, with all else that workerd needs, over.
fn under_guard(
    errand: &Errand,
    control: &OwnedFd,
    exhibits: &Exhibits,
    master: Option<OwnedFd>,
) -> Result<(), Refusal> {
    // workerd reads paths from this process's memory before its execve, too.
    sys::show_to_tracers().during(Step::Guard)?;
    let options = FilterOptions {
        cookie: errand.cookie,
        input_on_demand: errand.input_on_demand,
        shim: errand.shim.is_some(),
        stops: !errand.served,
    };
    let program = filter::program(options);
    let listener = if options.stops {
        Some(sys::install_filter(&program).during(Step::Guard)?)
    } else {
        sys::install_plain_filter(&program).during(Step::Refusals)?;
        None
    };
    let mut fds = vec![exhibits.root.as_fd(), exhibits.init.as_fd()];
    fds.extend(listener.as_ref().map(AsFd::as_fd));
    fds.extend(master.as_ref().map(AsFd::as_fd));
    sys::send_past_guard(control.as_fd(), &Report::Ready.encode(), &fds, errand.cookie).during(Step::Announce)
}
