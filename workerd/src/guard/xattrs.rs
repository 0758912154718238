//! Extended attributes that a slot cannot set: those of the machine, and access lists, whose
//! users and groups it may not know (`xattr(7)`, `acl(5)`). Knows the layouts of the calls.

use super::request::Request;
use super::sys::{read_memory, read_string};

/// Bytes of an access list that says no more than a mode does: a header of 4 and 3 entries of
/// 8 (linux/posix_acl_xattr.h). `cp -p` sets it on every file.
const MODE_ALONE: usize = 28;

/// The name of the attribute that a call sets, if it is such a one.
pub(super) fn foreign_xattr(request: &Request) -> Option<String> {
    let args = &request.args;
    let (name, size) = match request.call.name {
        "setxattr" | "lsetxattr" | "fsetxattr" => (args[1], args[3] as usize),
        "setxattrat" => {
            // struct xattr_args of linux/xattr.h: a pointer of 8 bytes, the size, flags.
            let given = read_memory(request.task, args[4], 16).ok()?;
            (args[3], u32::from_le_bytes(given.get(8..12)?.try_into().ok()?) as usize)
        }
        _ => return None,
    };
    let name = String::from_utf8_lossy(&read_string(request.task, name)?).into_owned();
    let is_foreign = match name.as_str() {
        "system.posix_acl_access" => size > MODE_ALONE,
        "system.posix_acl_default" => true,
        name => name.starts_with("security.") || name.starts_with("trusted."),
    };
    is_foreign.then_some(name)
}
