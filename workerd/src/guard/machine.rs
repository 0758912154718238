//! What a call needs that only the client's own machine has or does, so that its job has no
//! place in a slot. Knows the layouts of the calls; what files are about, the view tells.

use super::request::Request;
use super::sys::{read_memory, read_string};
use crate::slot::calls::Effect;
use crate::view::read_below;
use rustix::fd::AsFd;
use rustix::fs::AtFlags;
use std::path::Path;
use termite_types::PidRange;

/// Bytes of an access list that says no more than a mode does: a header of 4 and 3 entries of
/// 8 (linux/posix_acl_xattr.h). `cp -p` sets it on every file.
const MODE_ALONE: usize = 28;

/// What a stopped call of a job needs, in words that follow "it needs"; `proc` shows its task.
/// `is_root`: the job is the client's root.
pub(super) fn needed_by(request: &Request, is_root: bool, proc: impl AsFd) -> Option<String> {
    let args = &request.args;
    match request.call.name {
        "setxattr" | "lsetxattr" | "fsetxattr" => foreign_xattr(request, args[1], args[3] as usize),
        "setxattrat" => {
            // struct xattr_args of linux/xattr.h: a pointer of 8 bytes, the size, flags.
            let given = read_memory(request.task, args[4], 16).ok()?;
            foreign_xattr(request, args[3], word(&given, 8)? as usize)
        }
        "mknod" if is_root => device(args[1]),
        "mknodat" if is_root => device(args[2]),
        "capset" if is_root => capabilities(request, proc),
        name if matches!(request.call.effect, Effect::Refused(_)) => Some(format!("{name}(2)")),
        _ => None,
    }
}

/// The process that a call asks for, by its number or below `/proc`, if it is none of the job's and
/// was none, by the numbers that those have. It may live on the client. `root`: the job's.
pub(super) fn process_of_client(request: &Request, own: PidRange, root: impl AsFd) -> Option<String> {
    let by_path = |path: &[u8]| {
        let name = path.strip_prefix(b"/proc/")?.split(|byte| *byte == b'/').next()?;
        std::str::from_utf8(name).ok()?.parse::<u32>().ok()
    };
    let number = match request.call.effect {
        // A group is named by its first process; 0 and -1 are about the caller's, and all.
        Effect::Process => match (request.args[0] as i32).unsigned_abs() {
            0 | 1 => None,
            number => Some(number),
        },
        _ => request.paths.iter().find_map(|named| by_path(&named.path)),
    }?;
    // The first one is the slot's own, and the client's.
    let is_own = || (own.first..own.end()).contains(&number);
    // A job of very many processes has others too.
    let is_there = || rustix::fs::statat(root, format!("proc/{number}"), AtFlags::empty()).is_ok();
    (number > 1 && !is_own() && !is_there()).then(|| format!("process {number}"))
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

/// The kernel makes no device for a slot (`mknod(2)`), but for 0:0, a mark of overlayfs.
fn device(mode: u64) -> Option<String> {
    let kind = mode as u32 & libc::S_IFMT;
    [libc::S_IFCHR, libc::S_IFBLK]
        .contains(&kind)
        .then(|| "a device that it makes".to_owned())
}

/// `capset(2)` with more than the task has: the client's root has them all.
fn capabilities(request: &Request, proc: impl AsFd) -> Option<String> {
    // struct __user_cap_data_struct of linux/capability.h, twice: effective, permitted and
    // inheritable, first their lower halves.
    let given = read_memory(request.task, request.args[1], 24).ok()?;
    let set = |at: usize| Some(u64::from(word(&given, at)?) | u64::from(word(&given, at + 12)?) << 32);
    let asked = set(0)? | set(4)?;
    let status = read_below(proc, Path::new(&format!("{}/status", request.task))).ok()?;
    let status = String::from_utf8_lossy(&status);
    let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:"))?;
    let permitted = u64::from_str_radix(permitted.trim(), 16).ok()?;
    (asked & !permitted != 0).then(|| "capabilities of the machine's root".to_owned())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
