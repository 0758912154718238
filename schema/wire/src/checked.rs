//! Checks of single values that came from outside: paths, names, hashes, numbers. Knows
//! what our types promise; knows nothing of messages.

use crate::{Fault, WireError};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use termite_types::{BlobHash, FileTime, JobSpec};

type Result<T> = std::result::Result<T, WireError>;

/// `Ok` where `sound` holds.
pub(crate) fn require(sound: bool, field: &'static str, fault: Fault) -> Result<()> {
    if sound {
        Ok(())
    } else {
        Err(WireError::bad(field, fault))
    }
}

/// A byte string that C can hold.
pub(crate) fn no_nul(field: &'static str, bytes: &[u8]) -> Result<OsString> {
    require(!bytes.contains(&0), field, Fault::Nul)?;
    Ok(OsString::from_vec(bytes.to_vec()))
}

/// Any path, also a relative one.
pub(crate) fn any_path(field: &'static str, bytes: &[u8]) -> Result<PathBuf> {
    require(!bytes.is_empty(), field, Fault::Empty)?;
    no_nul(field, bytes).map(PathBuf::from)
}

/// An absolute path, as somebody spelled it.
pub(crate) fn absolute(field: &'static str, bytes: &[u8]) -> Result<PathBuf> {
    let path = any_path(field, bytes)?;
    require(bytes[0] == b'/', field, Fault::Relative)?;
    Ok(path)
}

/// An absolute path in its one plain spelling: `/`, or `/` before each component, none
/// of them empty, `.` or `..`.
pub(crate) fn plain_path(field: &'static str, bytes: &[u8]) -> Result<PathBuf> {
    let path = absolute(field, bytes)?;
    if bytes.len() > 1 {
        for component in bytes[1..].split(|&byte| byte == b'/') {
            require(!component.is_empty(), field, Fault::EmptyComponent)?;
            require(!is_dots(component), field, Fault::Dots)?;
        }
    }
    Ok(path)
}

/// One component of a path.
pub(crate) fn name(field: &'static str, bytes: &[u8]) -> Result<OsString> {
    require(!bytes.is_empty(), field, Fault::Empty)?;
    require(!bytes.contains(&b'/'), field, Fault::Slash)?;
    require(!is_dots(bytes), field, Fault::Dots)?;
    no_nul(field, bytes)
}

fn is_dots(component: &[u8]) -> bool {
    matches!(component, b"." | b"..")
}

/// A hash that must be there.
pub(crate) fn hash(field: &'static str, bytes: &[u8]) -> Result<BlobHash> {
    let hash = bytes
        .try_into()
        .map_err(|_| WireError::bad(field, Fault::HashLength(bytes.len())))?;
    Ok(BlobHash(hash))
}

/// A hash, or none where no bytes are.
pub(crate) fn hash_if_known(field: &'static str, bytes: &[u8]) -> Result<Option<BlobHash>> {
    if bytes.is_empty() {
        Ok(None)
    } else {
        hash(field, bytes).map(Some)
    }
}

/// A number in `least..=most`.
pub(crate) fn within<N: Copy + PartialOrd + Into<u64>>(field: &'static str, number: N, least: N, most: N) -> Result<N> {
    require((least..=most).contains(&number), field, Fault::Range(number.into()))?;
    Ok(number)
}

/// A time whose nanoseconds are less than a second.
pub(crate) fn time(field: &'static str, sec: i64, nsec: u32) -> Result<FileTime> {
    Ok(FileTime {
        sec,
        nsec: within(field, nsec, 0, 999_999_999)?,
    })
}

/// Text for people.
pub(crate) fn text(field: &'static str, text: capnp::text::Reader<'_>) -> Result<String> {
    text.to_string().map_err(|_| WireError::bad(field, Fault::NotText))
}

/// Byte strings, each without NUL.
pub(crate) fn strings(field: &'static str, list: capnp::data_list::Reader<'_>) -> Result<Vec<OsString>> {
    list.iter().map(|bytes| no_nul(field, bytes?)).collect()
}

/// Fills a list of byte strings.
pub(crate) fn write_strings<S: AsRef<OsStr>>(strings: &[S], mut to: capnp::data_list::Builder<'_>) {
    for (at, string) in (0..).zip(strings) {
        to.set(at, string.as_ref().as_bytes());
    }
}

/// Fills a list of numbers.
pub(crate) fn write_numbers(numbers: &[u32], mut to: capnp::primitive_list::Builder<'_, u32>) {
    for (at, number) in (0..).zip(numbers) {
        to.set(at, *number);
    }
}

/// Numbers of descriptors that a job would inherit.
pub(crate) fn inherited(list: capnp::primitive_list::Reader<'_, u32>) -> Result<Vec<u32>> {
    const FIELD: &str = "inherited descriptors";
    let (least, most) = JobSpec::INHERITABLE.into_inner();
    require(
        list.len() as usize <= JobSpec::INHERITED,
        FIELD,
        Fault::TooMany(list.len()),
    )?;
    list.iter().map(|number| within(FIELD, number, least, most)).collect()
}

/// A list's length as the wire counts it.
///
/// # Panics
///
/// When the list is longer than any message can be.
pub(crate) fn count<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).expect("a list that no message can hold")
}

/// The bytes of a path.
pub(crate) fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// A signal number of Linux.
pub(crate) fn signal(signal: u8) -> Result<u8> {
    within("signal", signal, 1, 64)
}
