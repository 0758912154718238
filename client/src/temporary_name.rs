//! The names of a commit's temporary files: who made them is seen by the name. Knows no files.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

const PREFIX: &[u8] = b".termite-commit-";

/// Whether a name is one of a commit in progress, which nobody else needs to see.
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    let digits = name.as_bytes().strip_prefix(PREFIX);
    digits.is_some_and(|digits| digits.len() == 24 && digits.iter().all(u8::is_ascii_hexdigit))
}

/// Whether a name is a temporary one of the daemon with this mark.
pub(crate) fn is_of(name: &OsStr, mark: u64) -> bool {
    let digits = name.as_bytes().strip_prefix(PREFIX);
    is_temporary(name) && digits.is_some_and(|digits| digits.starts_with(format!("{mark:016x}").as_bytes()))
}

/// Random, part of all temporary names that this process makes.
pub(crate) fn mark() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    static MARK: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    *MARK
}

/// A name that nothing has.
pub(crate) fn temporary_name() -> OsString {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    OsString::from(format!(".termite-commit-{:016x}{number:08x}", mark()))
}
