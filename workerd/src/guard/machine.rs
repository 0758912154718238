//! What a call needs that only the client's own machine has or does, so that its job has no
//! place in a slot. Knows the layouts of the calls; what files are about, the view tells.

use super::request::Request;
use super::sys::{read_memory, read_string};
use crate::slot::calls::Effect;
use crate::view::{Origin, read_below};
use rustix::fd::AsFd;
use rustix::fs::AtFlags;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};
use std::path::Path;
use termite_core::sockets;
use termite_types::{PidRange, Resource};

/// Bytes of an access list that says no more than a mode does: a header of 4 and 3 entries of
/// 8 (linux/posix_acl_xattr.h). `cp -p` sets it on every file.
const MODE_ALONE: usize = 28;

/// What a stopped call of a job needs, in words that follow "it needs"; `proc` shows its task, and
/// the proc below `root`, the job's, its processes by their own numbers. `is_root`: the job is the
/// client's root.
pub(super) fn needed_by(request: &Request, is_root: bool, root: impl AsFd, proc: impl AsFd) -> Option<String> {
    let args = &request.args;
    match request.call.name {
        "kill" if args[1] as i32 != 0 && reaches_parent(request.task, args[0] as i32, root, &proc) => {
            Some("to signal the process that started it".to_owned())
        }
        "setxattr" | "lsetxattr" | "fsetxattr" => foreign_xattr(request, args[1], args[3] as usize),
        "setxattrat" => {
            // struct xattr_args of linux/xattr.h: a pointer of 8 bytes, the size, flags.
            let given = read_memory(request.task, args[4], 16).ok()?;
            foreign_xattr(request, args[3], word(&given, 8)? as usize)
        }
        "capset" if is_root => capabilities(request, proc),
        name if matches!(request.call.effect, Effect::Refused(_) | Effect::OfMachine) => Some(format!("{name}(2)")),
        _ => None,
    }
}

/// Whether a signal to this target (kill(2)) is for the parent of the job's first process, or for the
/// process group that both are in.
fn reaches_parent(task: u32, target: i32, root: impl AsFd, proc: impl AsFd) -> bool {
    /// The slot's own first process, which is in the parent's place.
    const PARENT: i32 = 1;
    // Of the numbers in several namespaces the last one is the job's (proc_pid_status(5)).
    let own = |name| -> Option<i32> {
        let numbers = status_line(task, &proc, name)?;
        numbers.split_ascii_whitespace().last()?.parse().ok()
    };
    // The first process leads a session, in whose group the job begins.
    let is_first_group = |group: i32| {
        let status = format!("proc/{group}/status");
        let parent = line_of(Path::new(&status), &root, "PPid:");
        own("NSsid:") == Some(group) && parent.is_some_and(|parent| parent.parse() == Ok(PARENT))
    };
    match target {
        PARENT => true,
        0 => own("NSpgid:").is_some_and(is_first_group),
        target => target < -1 && own("NSpgid:") == target.checked_neg() && is_first_group(-target),
    }
}

/// Whether a call does something with this open file that only its number shows: it takes a lock
/// on it, sends to it, or begins a path there.
pub(super) fn uses(request: &Request, file: (u64, u64), proc: impl AsFd) -> bool {
    let is_first =
        request.takes_lock() || matches!(request.call.effect, Effect::Socket { .. } | Effect::Message { .. });
    let first = is_first.then_some(request.args[0] as i32);
    let begins = request.paths.iter().filter_map(|named| match named.used().origin {
        Origin::Descriptor(number) => Some(number),
        Origin::Cwd => None,
    });
    first.into_iter().chain(begins).any(|number| {
        let stat = rustix::fs::statat(&proc, format!("{}/fd/{number}", request.task), AtFlags::empty());
        stat.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == file)
    })
}

/// What a call looks for that its slot has not, and that the client's machine may have. `own`: the
/// numbers of the job's processes, where they are known; `root`: the job's.
pub(super) fn looked_for(
    request: &Request,
    own: Option<PidRange>,
    root: impl AsFd,
    proc: impl AsFd,
) -> Option<Resource> {
    if let Some(peer) = &request.peer {
        return is_for_client(request, peer, proc).then(|| peer.clone());
    }
    let own = own?;
    let is_strange = |number: u32| {
        let is_own = || (own.first..own.end()).contains(&number);
        // A job of very many processes has others too.
        let is_there = || rustix::fs::statat(&root, format!("proc/{number}"), AtFlags::empty()).is_ok();
        // The first one is the slot's own, and the client's.
        number > 1 && !is_own() && !is_there()
    };
    if request.call.effect == Effect::Process {
        let number = request.args[0] as i32;
        return is_strange(number.unsigned_abs()).then_some(Resource::Target(number));
    }
    let below_proc = |path: &[u8]| {
        let name = path.strip_prefix(b"/proc/")?.split(|byte| *byte == b'/').next()?;
        std::str::from_utf8(name).ok()?.parse().ok()
    };
    let number = request.paths.iter().find_map(|named| below_proc(&named.path))?;
    is_strange(number).then_some(Resource::Process(number))
}

/// Whether something else than the slot's network has to be asked for a socket at the other end.
/// Where a datagram socket is connected to, nothing is sent (udp(7)); but a name server is asked.
fn is_for_client(request: &Request, peer: &Resource, proc: impl AsFd) -> bool {
    const NAME_SERVER: u16 = 53;
    let table = |name: &str| {
        let path = format!("{}/net/{name}", request.task);
        String::from_utf8_lossy(&read_below(&proc, Path::new(&path)).unwrap_or_default()).into_owned()
    };
    match peer {
        Resource::Service(address) => {
            let is_stream = socket_type(request, &proc) == Some(libc::SOCK_STREAM);
            let is_here = |table: &str| sockets::listening(table).any(|bound| bound.port() == address.port());
            (is_stream || address.port() == NAME_SERVER) && !is_here(&table("tcp")) && !is_here(&table("tcp6"))
        }
        Resource::AbstractSocket(name) => {
            let at = format!(" @{}", String::from_utf8_lossy(name));
            !table("unix").lines().any(|line| line.ends_with(&at))
        }
        Resource::Process(_)
        | Resource::Target(_)
        | Resource::Socket(_)
        | Resource::Name(_)
        | Resource::Object(..)
        | Resource::NameServices
        | Resource::Writable(_) => false,
    }
}

/// The type of the socket at a call's first argument.
fn socket_type(request: &Request, proc: impl AsFd) -> Option<i32> {
    let process = Pid::from_raw(process_of(request.task, proc)?)?;
    let process = rustix::process::pidfd_open(process, PidfdFlags::empty()).ok()?;
    let flags = PidfdGetfdFlags::empty();
    let socket = rustix::process::pidfd_getfd(&process, request.args[0] as i32, flags).ok()?;
    let kind = rustix::net::sockopt::socket_type(&socket).ok()?;
    Some(kind.as_raw() as i32)
}

/// The process that a thread is of.
fn process_of(task: u32, proc: impl AsFd) -> Option<i32> {
    status_line(task, proc, "Tgid:")?.parse().ok()
}

/// What a line of a task's status says (proc_pid_status(5)).
fn status_line(task: u32, proc: impl AsFd, name: &str) -> Option<String> {
    line_of(Path::new(&format!("{task}/status")), proc, name)
}

/// What a line of such a file below a directory says.
fn line_of(status: &Path, dir: impl AsFd, name: &str) -> Option<String> {
    let status = read_below(dir, status).ok()?;
    let status = String::from_utf8_lossy(&status);
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().to_owned())
}

/// Extended attributes of the machine, and access lists, whose users and groups a slot may not
/// know (`xattr(7)`, `acl(5)`).
fn foreign_xattr(request: &Request, name: u64, size: usize) -> Option<String> {
    let name = String::from_utf8_lossy(&read_string(request.task, name)?).into_owned();
    let is_foreign = match name.as_str() {
        "system.posix_acl_access" => size > MODE_ALONE,
        "system.posix_acl_default" => true,
        name => name.starts_with("security.") || name.starts_with("trusted."),
    };
    is_foreign.then(|| format!("the extended attribute {name}"))
}

/// `capset(2)` with more than the task has: the client's root has them all.
fn capabilities(request: &Request, proc: impl AsFd) -> Option<String> {
    // struct __user_cap_data_struct of linux/capability.h, twice: effective, permitted and
    // inheritable, first their lower halves.
    let given = read_memory(request.task, request.args[1], 24).ok()?;
    let set = |at: usize| Some(u64::from(word(&given, at)?) | u64::from(word(&given, at + 12)?) << 32);
    let asked = set(0)? | set(4)?;
    let permitted = status_line(request.task, proc, "CapPrm:")?;
    let permitted = u64::from_str_radix(&permitted, 16).ok()?;
    (asked & !permitted != 0).then(|| "capabilities of the machine's root".to_owned())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
