//! Frames from a caller to the daemon. Knows each field's place in the schema.

use super::private::Coded;
use super::{CallerJob, Control, FrameError, ToDaemon};
use crate::peer::{LIMITS, terminal_size};
use crate::shim_capnp::{Stdin as WireStdin, control, job, to_daemon};
use crate::{Fault, WireError, checked};
use capnp::message::{Builder, HeapAllocator, Reader};
use capnp::serialize::OwnedSegments;
use std::ffi::OsString;
use termite_types::{BuildId, Limit, PROTOCOL, RequestId, Stdin, Stdio, TerminalSize};

type Result<T> = std::result::Result<T, WireError>;

impl Coded for ToDaemon {
    fn size_hint(&self) -> usize {
        let strings = |strings: &[OsString]| strings.iter().map(|string| string.len() + 16).sum::<usize>();
        match self {
            Self::Job(job) => strings(&job.argv) + strings(&job.env) + 1024,
            Self::Control(Control::Begin { command, .. }) => strings(command),
            Self::Control(_) | Self::Signal(_) | Self::Resize(_) => 0,
            Self::Input(bytes) => bytes.len(),
        }
    }

    fn write(&self, to: &mut Builder<HeapAllocator>) {
        let mut to = to.init_root::<to_daemon::Builder<'_>>();
        to.set_protocol(PROTOCOL);
        match self {
            Self::Job(job) => write_job(job, to.init_job()),
            Self::Control(control) => write_control(control, to.init_control()),
            Self::Signal(signal) => to.set_signal(*signal),
            Self::Input(bytes) => to.set_input(bytes),
            Self::Resize(size) => {
                let mut to = to.init_resize();
                to.set_rows(size.rows);
                to.set_cols(size.cols);
            }
        }
    }

    fn read(from: &Reader<OwnedSegments>, first: bool) -> std::result::Result<Self, FrameError> {
        let from = from.get_root::<to_daemon::Reader<'_>>().map_err(WireError::from)?;
        let theirs = from.get_protocol();
        if first && theirs != PROTOCOL {
            return Err(FrameError::Protocol { theirs, ours: PROTOCOL });
        }
        Ok(read(from)?)
    }
}

fn read(from: to_daemon::Reader<'_>) -> Result<ToDaemon> {
    Ok(match from.which()? {
        to_daemon::Job(job) => ToDaemon::Job(read_job(job?)?),
        to_daemon::Control(control) => ToDaemon::Control(read_control(control?)?),
        to_daemon::Signal(signal) => ToDaemon::Signal(checked::signal(signal)?),
        to_daemon::Input(bytes) => ToDaemon::Input(bytes?.to_vec()),
        to_daemon::Resize(size) => ToDaemon::Resize(TerminalSize {
            rows: size.get_rows(),
            cols: size.get_cols(),
        }),
    })
}

/// Reads a job that a stub asks for.
fn read_job(from: job::Reader<'_>) -> Result<CallerJob> {
    let limits = from.get_limits()?;
    checked::require(limits.len() <= LIMITS, "limits", Fault::TooMany(limits.len()))?;
    let limits = limits.iter().map(|limit| {
        let resource = checked::within("limit", limit.get_resource(), 0, LIMITS - 1)?;
        Ok(Limit {
            resource,
            soft: limit.get_soft(),
            hard: limit.get_hard(),
        })
    });
    let request = (u128::from(from.get_request_high()) << 64) | u128::from(from.get_request_low());
    Ok(CallerJob {
        request: RequestId(request),
        build: BuildId(from.get_build()),
        program: checked::any_path("program", from.get_program()?)?,
        argv: checked::strings("argument", from.get_argv()?)?,
        env: checked::strings("environment", from.get_env()?)?,
        cwd: checked::absolute("working directory", from.get_cwd()?)?,
        umask: checked::within("umask", from.get_umask(), 0, 0o777)?,
        ignored: from.get_ignored(),
        nice: from.get_nice(),
        limits: limits.collect::<Result<_>>()?,
        groups: from.get_groups()?.iter().collect(),
        stdio: Stdio {
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
        },
        inherited: checked::inherited(from.get_inherited()?)?,
        must: from.get_must(),
        is_driven: from.get_driven(),
    })
}

/// Writes a job that a stub asks for.
fn write_job(job: &CallerJob, mut to: job::Builder<'_>) {
    to.set_request_high((job.request.0 >> 64) as u64);
    to.set_request_low(job.request.0 as u64);
    to.set_build(job.build.0);
    to.set_program(checked::bytes(&job.program));
    checked::write_strings(&job.argv, to.reborrow().init_argv(checked::count(&job.argv)));
    checked::write_strings(&job.env, to.reborrow().init_env(checked::count(&job.env)));
    to.set_cwd(checked::bytes(&job.cwd));
    to.set_umask(job.umask);
    to.set_ignored(job.ignored);
    to.set_nice(job.nice);
    let mut limits = to.reborrow().init_limits(checked::count(&job.limits));
    for (at, limit) in (0..).zip(&job.limits) {
        let mut to = limits.reborrow().get(at);
        to.set_resource(limit.resource);
        to.set_soft(limit.soft);
        to.set_hard(limit.hard);
    }
    checked::write_numbers(&job.groups, to.reborrow().init_groups(checked::count(&job.groups)));
    checked::write_numbers(
        &job.inherited,
        to.reborrow().init_inherited(checked::count(&job.inherited)),
    );
    to.set_stdin(match job.stdio.stdin {
        Stdin::Closed => WireStdin::Closed,
        Stdin::Null => WireStdin::Null,
        Stdin::Pipe => WireStdin::Pipe,
        Stdin::Shared => WireStdin::Shared,
        Stdin::File => WireStdin::File,
    });
    to.set_stdout(job.stdio.stdout);
    to.set_stderr(job.stdio.stderr);
    to.set_merged(job.stdio.merged);
    let [stdin, stdout, stderr] = job.stdio.terminal;
    to.set_terminal0(stdin);
    to.set_terminal1(stdout);
    to.set_terminal2(stderr);
    if let Some(size) = job.stdio.size {
        to.set_rows(size.rows);
        to.set_cols(size.cols);
    }
    to.set_must(job.must);
    to.set_driven(job.is_driven);
}

fn read_control(from: control::Reader<'_>) -> Result<Control> {
    Ok(match from.which()? {
        control::Status(()) => Control::Status,
        control::Stop(()) => Control::Stop,
        control::Last(directory) => Control::Last(checked::absolute("directory", directory?)?),
        control::Begin(begin) => Control::Begin {
            build: BuildId(begin.get_build()),
            cwd: checked::absolute("working directory", begin.get_cwd()?)?,
            command: checked::strings("argument", begin.get_command()?)?,
            workers: begin
                .get_workers()?
                .iter()
                .map(|worker| checked::text("worker", worker?))
                .collect::<Result<_>>()?,
        },
        control::Finish(finish) => Control::Finish {
            build: BuildId(finish.get_build()),
            exit: finish.get_exit(),
        },
        control::Forget(words) => Control::Forget(checked::strings("word", words?)?),
    })
}

/// Writes a question of a user.
fn write_control(control: &Control, mut to: control::Builder<'_>) {
    match control {
        Control::Status => to.set_status(()),
        Control::Stop => to.set_stop(()),
        Control::Last(directory) => to.set_last(checked::bytes(directory)),
        Control::Begin {
            build,
            cwd,
            command,
            workers,
        } => {
            let mut to = to.init_begin();
            to.set_build(build.0);
            to.set_cwd(checked::bytes(cwd));
            checked::write_strings(command, to.reborrow().init_command(checked::count(command)));
            let mut list = to.init_workers(checked::count(workers));
            for (at, worker) in (0..).zip(workers) {
                list.set(at, &worker[..]);
            }
        }
        Control::Finish { build, exit } => {
            let mut to = to.init_finish();
            to.set_build(build.0);
            to.set_exit(*exit);
        }
        Control::Forget(words) => checked::write_strings(words, to.init_forget(checked::count(words))),
    }
}
