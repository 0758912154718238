//! How busy the processes of a slot are, by its own proc. Knows no job.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Dir, Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use termite_core::activity::Activity;

/// Of all processes that the slot with this root directory has at the moment.
pub fn activity(root: impl AsFd) -> Result<Activity, Errno> {
    let proc = openat(root, "proc", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut sum = Activity::default();
    for entry in Dir::read_from(&proc)? {
        let entry = entry?;
        if entry.file_name().to_bytes().iter().all(u8::is_ascii_digit) {
            let stat = read(&proc, &format!("{}/stat", entry.file_name().to_string_lossy()));
            sum = sum.and(Activity::of_stat(&stat.unwrap_or_default()));
        }
    }
    Ok(sum)
}

/// Nothing once the process has ended.
fn read(proc: &OwnedFd, path: &str) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(proc, path, flags, Mode::empty()).ok()?;
    let mut bytes = Vec::new();
    File::from(file).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
