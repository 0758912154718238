//! The journal's file: read only if it is this user's own, and replaced as a whole by a
//! rename. Knows bytes, no records.

use rustix::fs::{FileType, Mode, OFlags};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use termite_types::journal::JOURNAL_MAX;

/// All of a file that nobody else can have written.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
    let is_own = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o077 == 0;
    if !is_file || !is_own {
        return Err(io::Error::other(format!(
            "it is not a file that only this user can change (owner {}, mode {:o}); remove it",
            stat.st_uid, stat.st_mode
        )));
    }
    let mut bytes = Vec::new();
    File::from(file).take(JOURNAL_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts a file with this content in the place of whatever has the name, and returns it open
/// for appending, with its length.
pub(super) fn write_anew(path: &Path, content: &[u8]) -> io::Result<(File, u64)> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(&beside, flags, Mode::RUSR | Mode::WUSR)?);
    let placed = file.write_all(content).and_then(|()| std::fs::rename(&beside, path));
    if let Err(error) = placed {
        // It is removed when the next one is written, if it cannot be removed here.
        let _ = std::fs::remove_file(&beside);
        return Err(error);
    }
    Ok((file, content.len() as u64))
}
