//! A job on its way to a worker. Knows nothing of how it ends.

use super::{read_job_id, write_job_id};
use crate::peer_capnp::{Stdin as WireStdin, job, limit, pid_range, stdio};
use crate::{Fault, WireError, checked};
use capnp::struct_list;
use std::os::unix::ffi::OsStrExt;
use termite_types::{JobSpec, Jobserver, Limit, Owner, PidRange, Stdin, Stdio, TerminalSize};

type Result<T> = std::result::Result<T, WireError>;

/// `RLIM_NLIMITS` of Linux.
pub(crate) const LIMITS: u32 = 16;

/// Reads a job.
pub fn read_job(from: job::Reader<'_>) -> Result<JobSpec> {
    let jobserver = if from.has_jobserver() {
        let pipe = from.get_jobserver()?;
        Some(Jobserver {
            read: pipe.get_read(),
            write: pipe.get_write(),
        })
    } else {
        None
    };
    let pids = match from.has_pids() {
        true => Some(read_pids(from.get_pids()?)?),
        false => None,
    };
    let drivers = from
        .get_drivers()?
        .iter()
        .map(|driver| checked::name("driver", driver?));
    Ok(JobSpec {
        id: read_job_id(from.get_id()?),
        program: checked::any_path("program", from.get_program()?)?,
        argv: checked::strings("argument", from.get_argv()?)?,
        env: checked::strings("environment", from.get_env()?)?,
        cwd: checked::absolute("working directory", from.get_cwd()?)?,
        umask: checked::within("umask", from.get_umask(), 0, 0o777)?,
        ignored: from.get_ignored(),
        nice: from.get_nice(),
        limits: read_limits(from.get_limits()?)?,
        owner: Owner {
            uid: from.get_uid(),
            gid: from.get_gid(),
            groups: from.get_groups()?.iter().collect(),
        },
        hostname: checked::no_nul("host name", from.get_hostname()?)?,
        stdio: read_stdio(from.get_stdio()?)?,
        inherited: checked::inherited(from.get_inherited()?)?,
        jobserver,
        drivers: drivers.collect::<Result<_>>()?,
        pids,
    })
}

/// Writes a job.
pub fn write_job(job: &JobSpec, mut to: job::Builder<'_>) {
    write_job_id(job.id, to.reborrow().init_id());
    to.set_program(checked::bytes(&job.program));
    checked::write_strings(&job.argv, to.reborrow().init_argv(checked::count(&job.argv)));
    checked::write_strings(&job.env, to.reborrow().init_env(checked::count(&job.env)));
    to.set_cwd(checked::bytes(&job.cwd));
    to.set_umask(job.umask);
    to.set_ignored(job.ignored);
    to.set_nice(job.nice);
    write_limits(&job.limits, to.reborrow().init_limits(checked::count(&job.limits)));
    to.set_uid(job.owner.uid);
    to.set_gid(job.owner.gid);
    let groups = &job.owner.groups;
    checked::write_numbers(groups, to.reborrow().init_groups(checked::count(groups)));
    to.set_hostname(job.hostname.as_bytes());
    write_stdio(&job.stdio, to.reborrow().init_stdio());
    checked::write_numbers(
        &job.inherited,
        to.reborrow().init_inherited(checked::count(&job.inherited)),
    );
    if let Some(pipe) = job.jobserver {
        let mut to = to.reborrow().init_jobserver();
        to.set_read(pipe.read);
        to.set_write(pipe.write);
    }
    if let Some(pids) = job.pids {
        let mut to = to.reborrow().init_pids();
        to.set_first(pids.first);
        to.set_count(pids.count);
    }
    checked::write_strings(&job.drivers, to.init_drivers(checked::count(&job.drivers)));
}

/// Number 1 is that of the slot's init.
fn read_pids(from: pid_range::Reader<'_>) -> Result<PidRange> {
    let first = checked::within("first process number", from.get_first(), 2, PidRange::LIMIT - 1)?;
    let count = from.get_count();
    Ok(PidRange {
        first,
        count: checked::within("number of process numbers", count, 1, PidRange::LIMIT - first)?,
    })
}

fn read_limits(from: struct_list::Reader<'_, limit::Owned>) -> Result<Vec<Limit>> {
    checked::require(from.len() <= LIMITS, "limits", Fault::TooMany(from.len()))?;
    let limits = from.iter().map(|limit| {
        let resource = checked::within("limit", limit.get_resource(), 0, LIMITS - 1)?;
        Ok(Limit {
            resource,
            soft: limit.get_soft(),
            hard: limit.get_hard(),
        })
    });
    limits.collect()
}

fn write_limits(limits: &[Limit], mut to: struct_list::Builder<'_, limit::Owned>) {
    for (at, limit) in (0..).zip(limits) {
        let mut to = to.reborrow().get(at);
        to.set_resource(limit.resource);
        to.set_soft(limit.soft);
        to.set_hard(limit.hard);
    }
}

fn read_stdio(from: stdio::Reader<'_>) -> Result<Stdio> {
    Ok(Stdio {
        stdin: match from.get_stdin()? {
            WireStdin::Closed => Stdin::Closed,
            WireStdin::Null => Stdin::Null,
            WireStdin::Pipe => Stdin::Pipe,
            WireStdin::Shared => Stdin::Shared,
            WireStdin::File => Stdin::File,
        },
        stdout: from.get_stdout(),
        stderr: from.get_stderr(),
        merged: from.get_merged(),
        terminal: [from.get_terminal0(), from.get_terminal1(), from.get_terminal2()],
        size: terminal_size(from.get_rows(), from.get_cols()),
    })
}

fn write_stdio(stdio: &Stdio, mut to: stdio::Builder<'_>) {
    to.set_stdin(match stdio.stdin {
        Stdin::Closed => WireStdin::Closed,
        Stdin::Null => WireStdin::Null,
        Stdin::Pipe => WireStdin::Pipe,
        Stdin::Shared => WireStdin::Shared,
        Stdin::File => WireStdin::File,
    });
    to.set_stdout(stdio.stdout);
    to.set_stderr(stdio.stderr);
    to.set_merged(stdio.merged);
    let [stdin, stdout, stderr] = stdio.terminal;
    to.set_terminal0(stdin);
    to.set_terminal1(stdout);
    to.set_terminal2(stderr);
    if let Some(size) = stdio.size {
        to.set_rows(size.rows);
        to.set_cols(size.cols);
    }
}

/// A terminal without rows has no size that anybody could use.
pub(crate) fn terminal_size(rows: u16, cols: u16) -> Option<TerminalSize> {
    (rows > 0).then_some(TerminalSize { rows, cols })
}
