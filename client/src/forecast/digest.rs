//! What of a trace decides what is forecast from it, as one number. Knows neither the disk
//! nor commands.

use super::route::looked_up;
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use termite_types::{TraceItem, Use};

/// Equal for traces of which the same is learnt, as long as the disk is the same. The names
/// of what a job makes for itself differ each time and do not count; their directories do.
pub(super) fn trace_digest(trace: &[TraceItem]) -> u128 {
    let mut made = HashSet::new();
    // At once: many short updates cost BLAKE3 more than their bytes.
    let mut content = Vec::new();
    for item in trace {
        if item.used == Use::Write {
            made.insert(item.path.as_os_str());
        }
        let is_own = item.used.content().is_none() && made.contains(item.path.as_os_str());
        let path = if is_own { item.path.parent() } else { looked_up(item) };
        content.push(match item.used {
            Use::Read(None) => b'o',
            Use::Read(Some(_)) => b'r',
            Use::Stat => b's',
            Use::Missing => b'm',
            Use::Listed => b'l',
            Use::Write => b'w',
        });
        content.extend_from_slice(path.map_or(b"", |path| path.as_os_str().as_bytes()));
        content.push(0);
    }
    super::command::number(blake3::Hasher::new().update(&content))
}
