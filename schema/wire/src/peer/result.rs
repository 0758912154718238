//! How a job ended, on its way back to the client. Knows nothing of commits.

use super::{read_change, read_premises, read_resource, write_change, write_premises, write_resource};
use crate::peer_capnp::{abandon, job_result, output, trace_item};
use crate::{WireError, checked};
use termite_types::{Abandon, Conflict, JobEnd, JobResult, Phases, Premises, TraceItem, Usage, Use};

type Result<T> = std::result::Result<T, WireError>;

/// Reads everything that is known of an ended job.
pub fn read_job_result(from: job_result::Reader<'_>) -> Result<JobResult> {
    let end = match from.get_end().which()? {
        job_result::end::Exited(status) => JobEnd::Exited(status),
        job_result::end::Signaled(signal) => JobEnd::Signaled(checked::signal(signal)?),
        job_result::end::Abandoned(why) => JobEnd::Abandoned(read_abandon(why?)?),
    };
    let now = from.get_worker_now()?;
    Ok(JobResult {
        end,
        changes: from.get_changes()?.iter().map(read_change).collect::<Result<_>>()?,
        premises: read_premises(from.get_premises()?)?,
        trace: from.get_trace()?.iter().map(read_trace_item).collect::<Result<_>>()?,
        output: from.get_output()?.iter().map(read_output).collect::<Result<_>>()?,
        read_input: from.get_read_input(),
        usage: Usage {
            wall_us: from.get_wall_us(),
            cpu_us: from.get_cpu_us(),
            guard_faults: from.get_guard_faults(),
            fetches: from.get_fetches(),
            prefetched: from.get_brought(),
            from_peers: from.get_from_peers(),
            phases: Phases {
                bring_us: from.get_bring_us(),
                start_us: from.get_start_us(),
                run_us: from.get_run_us(),
                harvest_us: from.get_harvest_us(),
            },
        },
        worker_now: checked::time("worker's clock", now.get_sec(), now.get_nsec())?,
    })
}

/// Writes everything that is known of an ended job.
pub fn write_job_result(result: &JobResult, mut to: job_result::Builder<'_>) {
    let mut end = to.reborrow().init_end();
    match &result.end {
        JobEnd::Exited(status) => end.set_exited(*status),
        JobEnd::Signaled(signal) => end.set_signaled(*signal),
        JobEnd::Abandoned(why) => write_abandon(why, end.init_abandoned()),
    }
    let mut changes = to.reborrow().init_changes(checked::count(&result.changes));
    for (at, change) in (0..).zip(&result.changes) {
        write_change(change, changes.reborrow().get(at));
    }
    if result.premises != Premises::default() {
        write_premises(&result.premises, to.reborrow().init_premises());
    }
    let mut trace = to.reborrow().init_trace(checked::count(&result.trace));
    for (at, item) in (0..).zip(&result.trace) {
        let mut to = trace.reborrow().get(at);
        to.set_path(checked::bytes(&item.path));
        match &item.used {
            Use::Read(content) => to.set_read(content.as_ref().map_or(&[], |hash| &hash.0[..])),
            Use::Stat => to.set_stat(()),
            Use::Missing => to.set_missing(()),
            Use::Listed => to.set_listed(()),
            Use::Write => to.set_write(()),
        }
    }
    let mut output = to.reborrow().init_output(checked::count(&result.output));
    for (at, (fd, bytes)) in (0..).zip(&result.output) {
        let mut to = output.reborrow().get(at);
        to.set_fd(*fd);
        to.set_bytes(bytes);
    }
    to.set_read_input(result.read_input);
    to.set_wall_us(result.usage.wall_us);
    to.set_cpu_us(result.usage.cpu_us);
    to.set_guard_faults(result.usage.guard_faults);
    to.set_fetches(result.usage.fetches);
    to.set_brought(result.usage.prefetched);
    to.set_from_peers(result.usage.from_peers);
    let phases = &result.usage.phases;
    to.set_bring_us(phases.bring_us);
    to.set_start_us(phases.start_us);
    to.set_run_us(phases.run_us);
    to.set_harvest_us(phases.harvest_us);
    let mut now = to.init_worker_now();
    now.set_sec(result.worker_now.sec);
    now.set_nsec(result.worker_now.nsec);
}

fn read_output(from: output::Reader<'_>) -> Result<(u8, Vec<u8>)> {
    Ok((
        checked::within("output descriptor", from.get_fd(), 1, 2)?,
        from.get_bytes()?.to_vec(),
    ))
}

fn read_trace_item(from: trace_item::Reader<'_>) -> Result<TraceItem> {
    Ok(TraceItem {
        path: checked::absolute("path of a trace", from.get_path()?)?,
        used: match from.which()? {
            trace_item::Read(hash) => Use::Read(checked::hash_if_known("hash of a trace", hash?)?),
            trace_item::Stat(()) => Use::Stat,
            trace_item::Missing(()) => Use::Missing,
            trace_item::Listed(()) => Use::Listed,
            trace_item::Write(()) => Use::Write,
        },
    })
}

fn read_abandon(from: abandon::Reader<'_>) -> Result<Abandon> {
    let text = |text: capnp::Result<capnp::text::Reader<'_>>| checked::text("reason", text?);
    Ok(match from.which()? {
        abandon::Driver(path) => Abandon::Driver(checked::any_path("driver", path?)?),
        abandon::Denied(path) => Abandon::Denied(checked::any_path("denied path", path?)?),
        abandon::Files(why) => Abandon::Files(text(why)?),
        abandon::Full(why) => Abandon::Full(text(why)?),
        abandon::Slot(why) => Abandon::Slot(text(why)?),
        abandon::Unsupported(what) => Abandon::Unsupported(text(what)?),
        abandon::Start(why) => Abandon::Start(text(why)?),
        abandon::Machine(what) => Abandon::Machine(text(what)?),
        abandon::Needs(resource) => Abandon::Needs(read_resource(resource?)?),
        abandon::Cancelled(()) => Abandon::Cancelled,
        abandon::Conflict(conflict) => Abandon::Conflict(Conflict {
            path: checked::plain_path("path of a conflict", conflict.get_path()?)?,
            seen: text(conflict.get_seen())?,
            found: text(conflict.get_found())?,
            awaited: conflict.get_awaited(),
        }),
    })
}

/// Writes why a job was given up.
fn write_abandon(why: &Abandon, mut to: abandon::Builder<'_>) {
    match why {
        Abandon::Driver(program) => to.set_driver(checked::bytes(program)),
        Abandon::Denied(file) => to.set_denied(checked::bytes(file)),
        Abandon::Files(why) => to.set_files(&why[..]),
        Abandon::Full(why) => to.set_full(&why[..]),
        Abandon::Slot(why) => to.set_slot(&why[..]),
        Abandon::Unsupported(what) => to.set_unsupported(&what[..]),
        Abandon::Start(why) => to.set_start(&why[..]),
        Abandon::Machine(what) => to.set_machine(&what[..]),
        Abandon::Needs(resource) => write_resource(resource, to.init_needs()),
        Abandon::Cancelled => to.set_cancelled(()),
        Abandon::Conflict(Conflict {
            path,
            seen,
            found,
            awaited,
        }) => {
            let mut to = to.init_conflict();
            to.set_path(checked::bytes(path));
            to.set_seen(&seen[..]);
            to.set_found(&found[..]);
            to.set_awaited(*awaited);
        }
    }
}
