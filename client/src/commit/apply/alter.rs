//! Files of the client's that are changed in place: their inode stays, and with it their
//! other names, extended attributes and access lists. Knows one file at a time.

use super::Apply;
use super::attributes::{open_for_reading, set_mode};
use crate::commit::CommitError;
use crate::commit::name::{modified, open_parent, set_time, unnoticed};
use crate::commit::reserve::reserve;
use crate::commit::stage::{Staged, copy};
use crate::commit::temporary::Temporary;
use crate::tree::Stamp;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, UTIME_NOW};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use termite_types::{Alter, BlobHash};

/// Bytes that are compared at a time, and ranges of them that are written each by itself.
const PIECE: usize = 64 << 10;
const MOST_RUNS: usize = 256;

/// A file that is open for writing.
struct Opened {
    file: File,
    /// Its mode kept its owner out and was changed for that.
    was_forced: bool,
}

impl Apply<'_> {
    /// Changes a content in place. Returns its hash, if it is all the job's: of what is
    /// appended, if `is_whole` says that it meets what the job saw.
    pub(super) fn alter_content(
        &self,
        path: &Path,
        present: &Stamp,
        alter: &Alter,
        staged: Option<Staged>,
        is_whole: bool,
    ) -> Result<Option<BlobHash>, CommitError> {
        let (Some(edit), Some(staged)) = (&alter.content, staged) else {
            return Ok(None);
        };
        if edit.appended {
            let length = self.append(path, present, &staged.file)?;
            return Ok((is_whole && length == edit.base.size).then_some(edit.hash));
        }
        self.write_whole(path, present, &staged.file)?;
        Ok(Some(staged.hash))
    }

    /// Changes what is given of a file's attributes.
    pub(super) fn alter_attributes(&self, path: &Path, present: &Stamp, alter: &Alter) -> Result<(), CommitError> {
        let (dir, name) = open_parent(path)?;
        self.set_altered(&dir, name, present, alter)
            .map_err(CommitError::at("set the attributes of", path))
    }

    /// Owner, mode and time, as far as they are given. A file of somebody else keeps what it
    /// has; the kernel has set its time.
    fn set_altered(&self, dir: &OwnedFd, name: &OsStr, present: &Stamp, alter: &Alter) -> Result<(), Errno> {
        if !self.is_root && present.uid != self.user {
            return match (&alter.content, alter.mtime) {
                (None, Some(_)) => touch(dir, name),
                _ => Ok(()),
            };
        }
        if let Some(owner) = alter.owner {
            self.give(dir, name, owner)?;
            self.changed.set(true);
        }
        // Giving a file away takes its set-id bits.
        if alter.mode.is_some() || alter.owner.is_some() {
            set_mode(dir, name, alter.mode.unwrap_or(present.mode))?;
            self.changed.set(true);
        }
        if let Some(set) = alter.mtime {
            set_time(dir, name, self.time(set.time, set.explicit))?;
            self.changed.set(true);
        }
        Ok(())
    }

    /// Replaces a content. What is needed on the disk is reserved before anything of the old
    /// one is lost. Only bytes that differ are written, and the length is only set if it differs:
    /// a process of the client may be writing other bytes meanwhile.
    pub(super) fn write_whole(&self, path: &Path, present: &Stamp, content: &Temporary) -> Result<(), CommitError> {
        let doing = "write into";
        let (dir, name) = open_parent(path)?;
        let Some(opened) = open_for_writing(&dir, name, OFlags::empty()).map_err(CommitError::at("open", path))? else {
            return self.replace(path, present, content, false);
        };
        let written: std::io::Result<()> = (|| {
            let content = content.open()?;
            let size = content.metadata()?.len();
            reserve(&opened.file, 0, size)?;
            self.changed.set(true);
            // Who may not read it knows nothing of what is there.
            let old = open_for_reading(&dir, name).ok();
            write_differing(&content, old.as_ref(), &opened.file)?;
            // It gives the file a new time even where nothing differs, as O_TRUNC does (open(2)).
            opened.file.set_len(size)
        })();
        self.close(&dir, name, &opened, present)
            .map_err(CommitError::at(doing, path))?;
        written.map_err(CommitError::at(doing, path))
    }

    /// Appends to whatever a file holds by now. Returns how long it was; after an error it
    /// is as it was.
    pub(super) fn append(&self, path: &Path, present: &Stamp, tail: &Temporary) -> Result<u64, CommitError> {
        let doing = "append to";
        let (dir, name) = open_parent(path)?;
        let Some(mut opened) = open_for_writing(&dir, name, OFlags::APPEND).map_err(CommitError::at("open", path))?
        else {
            self.replace(path, present, tail, true)?;
            return Ok(present.size);
        };
        let appended = (|| {
            let mut tail = tail.open()?;
            let before = opened.file.metadata()?.len();
            if let Err(error) = copy(&mut tail, &mut opened.file) {
                if let Err(worse) = opened.file.set_len(before) {
                    self.changed.set(true);
                    tracing::warn!("{} keeps a part of what was to be appended: {worse}", path.display());
                }
                return Err(error);
            }
            self.changed.set(true);
            Ok(before)
        })();
        self.close(&dir, name, &opened, present)
            .map_err(CommitError::at(doing, path))?;
        appended.map_err(CommitError::at(doing, path))
    }

    /// Gives back the mode that a file had.
    fn close(&self, dir: &OwnedFd, name: &OsStr, opened: &Opened, present: &Stamp) -> Result<(), Errno> {
        if opened.was_forced {
            set_mode(dir, name, present.mode)?;
        }
        Ok(())
    }

    /// Puts a new file in the place of a running program, which cannot be written: with its
    /// attributes, as far as this user may give them.
    fn replace(&self, path: &Path, present: &Stamp, content: &Temporary, appended: bool) -> Result<(), CommitError> {
        let Some(beside) = path.parent() else { return Ok(()) };
        let (dir, name) = open_parent(path)?;
        let replaced = (|| {
            let old = open_for_reading(&dir, name)?;
            let (temporary, mut new) = Temporary::create(beside, &dir)?;
            if appended {
                copy(&mut &old, &mut new)?;
            }
            copy(&mut content.open()?, &mut new)?;
            self.keep_attributes(&old, &new, &dir, &temporary, present)?;
            // For the job the name stayed what it was, and so its directory.
            unnoticed(&dir, || rustix::fs::renameat(&dir, temporary.name(), &dir, name))?;
            temporary.moved();
            self.changed.set(true);
            Ok::<(), std::io::Error>(())
        })();
        replaced.map_err(CommitError::at("replace", path))
    }
}

/// Writes the bytes of a content that are not in a file yet.
fn write_differing(content: &File, old: Option<&File>, to: &File) -> std::io::Result<()> {
    let (mut new, mut here) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = 0;
    loop {
        let length = read_full(content, &mut new, at)?;
        if length == 0 {
            return Ok(());
        }
        let known = match old {
            Some(old) => read_full(old, &mut here[..length], at)?,
            None => 0,
        };
        for run in differing(&new[..length], &here[..known]) {
            to.write_all_at(&new[run.clone()], at + run.start as u64)?;
        }
        at += length as u64;
    }
}

/// Where two contents differ; what only the first has differs. What would be too many ranges
/// is the last one.
pub(in crate::commit) fn differing(new: &[u8], here: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for at in (0..new.len()).filter(|at| here.get(*at) != Some(&new[*at])) {
        let is_full = runs.len() == MOST_RUNS;
        match runs.last_mut() {
            Some(run) if run.end == at || is_full => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

/// As many bytes as there are, up to the buffer's length.
fn read_full(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Opens a file for writing. `None`: it is a program that runs.
fn open_for_writing(dir: &OwnedFd, name: &OsStr, flags: OFlags) -> Result<Option<Opened>, Errno> {
    let flags = flags | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(dir, name, flags, Mode::empty());
    let mut was_forced = false;
    let opened = match open() {
        // Its mode keeps its owner out, who may change that.
        Err(Errno::ACCESS) => {
            let mode = Stamp::at(dir, name)?.mode;
            let writable = Mode::from_raw_mode(mode) | Mode::RUSR | Mode::WUSR;
            rustix::fs::chmodat(dir, name, writable, AtFlags::empty())?;
            was_forced = true;
            open().inspect_err(|_| {
                // It was not its mode.
                let _ = set_mode(dir, name, mode);
            })
        }
        done => done,
    };
    match opened {
        Ok(file) => Ok(Some(Opened {
            file: File::from(file),
            was_forced,
        })),
        Err(Errno::TXTBSY) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Sets the time to the present one, which whoever may write to a file may do.
fn touch(dir: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    rustix::fs::utimensat(dir, name, &modified(0, UTIME_NOW), AtFlags::SYMLINK_NOFOLLOW)
}
