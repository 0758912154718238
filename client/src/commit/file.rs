//! Putting a staged content in its place: renamed over the target, written into a file
//! that has other names, or appended to one that grew meanwhile. Knows one file at a
//! time.

use super::CommitError;
use super::apply::{Apply, at, place as open_place, replace};
use super::stage::{Temporary, copy, stage_file, unnoticed};
use crate::tree::{Kind, Stamp};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use termite_types::{Attr, Base, BlobHash, Change, ChangeKind, FileTime};

/// A file's place and what it is to become.
struct Target<'a> {
    path: &'a Path,
    dir: OwnedFd,
    name: &'a OsStr,
    attr: &'a Attr,
    time: FileTime,
}

/// Puts a file in its place. Returns its hash, if it is all the job's.
pub fn place(apply: &Apply<'_>, change: &Change, mut temporary: Temporary) -> Result<Option<BlobHash>, CommitError> {
    let ChangeKind::File {
        attr,
        explicit_mtime,
        base,
        content,
    } = &change.kind
    else {
        return Ok(None);
    };
    let Some((dir, name)) = open_place(&change.path)? else {
        return Ok(None);
    };
    let time = apply.time(attr.mtime, *explicit_mtime);
    let target = Target {
        path: &change.path,
        dir,
        name,
        attr,
        time,
    };
    let present = at(&target.dir, name, target.path)?.filter(|stamp| stamp.kind == Kind::File);
    if let (Some(base), Some(stamp)) = (base, &present) {
        let can_append = base.is_prefix && base.size == temporary.from;
        if let Some(hash) = if can_append {
            append(apply, &target, base, stamp, &temporary)?
        } else {
            None
        } {
            return Ok(hash.whole);
        }
    }
    if temporary.from > 0 {
        // What it was to be appended to is no longer there.
        temporary = stage_file(&change.path, apply.plan, attr, content, apply.contents, 0)?;
    }
    let hash = temporary.hash;
    let is_foreign = |stamp: &Stamp| !apply.is_root && stamp.uid != apply.user;
    match present {
        Some(stamp) if base.is_some() && (stamp.links > 1 || is_foreign(&stamp)) => {
            in_place(apply, &target, &stamp, &temporary)?;
        }
        present => {
            let changed_in_place = present.is_some() && base.is_some();
            rename_over(apply, &target, &temporary, changed_in_place)?;
            temporary.moved();
        }
    }
    Ok(Some(hash))
}

/// `changed_in_place`: for the job the name stayed what it was, and so its directory.
fn rename_over(
    apply: &Apply<'_>,
    target: &Target<'_>,
    temporary: &Temporary,
    changed_in_place: bool,
) -> Result<(), CommitError> {
    let (dir, name) = temporary
        .place()
        .map_err(CommitError::at("find the file beside", target.path))?;
    let rename = || replace(&dir, name, &target.dir, target.name);
    apply
        .dress(&dir, name, target.attr, Some(target.time))
        .and_then(|()| {
            if changed_in_place {
                unnoticed(&target.dir, rename)
            } else {
                rename()
            }
        })
        .map_err(CommitError::at("place", target.path))
}

/// Its other names keep naming the same file.
fn in_place(apply: &Apply<'_>, target: &Target<'_>, present: &Stamp, temporary: &Temporary) -> Result<(), CommitError> {
    let doing = "write into";
    let mut file = target.open(OFlags::WRONLY)?;
    let mut content = temporary.open().map_err(CommitError::at(doing, target.path))?;
    copy(&mut content, &mut file)
        .and_then(|length| file.set_len(length))
        .map_err(CommitError::at(doing, target.path))?;
    drop(file);
    target.dress_if_own(apply, present, Some(target.time))
}

/// `whole`: the hash, if nobody else had appended.
struct Appended {
    whole: Option<BlobHash>,
}

/// Appends if the target still begins with what the job saw; `None`: it does not.
fn append(
    apply: &Apply<'_>,
    target: &Target<'_>,
    base: &Base,
    present: &Stamp,
    temporary: &Temporary,
) -> Result<Option<Appended>, CommitError> {
    if present.size < base.size {
        return Ok(None);
    }
    let mut file = target.open(OFlags::RDWR | OFlags::APPEND)?;
    let mut hasher = blake3::Hasher::new();
    let doing = "append to";
    hash_into(&mut hasher, (&mut file).take(base.size)).map_err(CommitError::at(doing, target.path))?;
    if BlobHash(*hasher.finalize().as_bytes()) != base.hash {
        return Ok(None);
    }
    let mut tail = temporary.open().map_err(CommitError::at(doing, target.path))?;
    hash_into(&mut hasher, &mut tail).map_err(CommitError::at(doing, target.path))?;
    let found = BlobHash(*hasher.finalize().as_bytes());
    if found != temporary.hash {
        let why = format!("hash {found} in the place of {}", temporary.hash);
        return Err(CommitError::Content {
            path: target.path.to_owned(),
            why,
        });
    }
    let before = file.metadata().map_err(CommitError::at(doing, target.path))?.len();
    let appended = tail
        .rewind()
        .and_then(|()| copy(&mut tail, &mut file))
        .and_then(|_| file.flush());
    if let Err(error) = appended {
        if let Err(worse) = file.set_len(before) {
            tracing::warn!(
                "{} keeps a part of what was to be appended: {worse}",
                target.path.display()
            );
        }
        return Err(CommitError::at(doing, target.path)(error));
    }
    drop(file);
    let is_whole = before == base.size;
    target.dress_if_own(apply, present, is_whole.then_some(target.time))?;
    Ok(Some(Appended {
        whole: is_whole.then_some(temporary.hash),
    }))
}

fn hash_into(hasher: &mut blake3::Hasher, reader: impl Read) -> std::io::Result<()> {
    hasher.update_reader(reader).map(|_| ())
}

impl Target<'_> {
    fn open(&self, flags: OFlags) -> Result<File, CommitError> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&self.dir, self.name, flags, Mode::empty());
        let file = match open() {
            // Its mode keeps its owner out; the job may have changed it, or only its time.
            // Whoever opens it sets the mode afterwards.
            Err(Errno::ACCESS) => {
                let mode = Mode::from_raw_mode(self.attr.mode) | Mode::RUSR | Mode::WUSR;
                rustix::fs::chmodat(&self.dir, self.name, mode, AtFlags::empty()).and_then(|()| open())
            }
            done => done,
        };
        file.map(File::from).map_err(CommitError::at("open", self.path))
    }

    /// A file of somebody else keeps its attributes; the kernel has set its time.
    fn dress_if_own(&self, apply: &Apply<'_>, present: &Stamp, time: Option<FileTime>) -> Result<(), CommitError> {
        if !apply.is_root && present.uid != apply.user {
            return Ok(());
        }
        apply
            .dress(&self.dir, self.name, self.attr, time)
            .map_err(CommitError::at("set the attributes of", self.path))
    }
}
