//! Files with several names. In a view each name of a file of the client's is a file of its
//! own, so that programs which ask for that are told something else there than here, and a
//! rename of one to another does what it would not do here. Only looks.

use super::CommitError;
use super::plan::Plan;
use super::present::Present;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use termite_types::{TraceItem, Use};

/// Programs that copy or archive a file with several names once, by their manuals, count its
/// size once, or do something else where two names are one file.
const LINKING: [&str; 20] = [
    "[",
    "bsdcpio",
    "bsdtar",
    "cp",
    "cpio",
    "du",
    "genisoimage",
    "install",
    "ln",
    "mke2fs",
    "mkfs.ext4",
    "mkisofs",
    "mksquashfs",
    "mv",
    "pax",
    "rsync",
    "star",
    "tar",
    "test",
    "xorriso",
];

/// Programs that may put a new file in the place of one that has another name, where they would
/// write into one that has none (`cp -a`).
const REPLACING: [&str; 1] = ["cp"];

/// Programs that print or compare how many names a file has.
const COUNTING: [&str; 3] = ["find", "ls", "stat"];

/// Programs that leave a file alone which has several names, by their manuals.
const SPARING: [&str; 5] = ["bzip2", "compress", "gzip", "lzma", "xz"];

/// Whether a job ran a program to which the names of files with several matter: it is for a commit to
/// look at them, also where it changes nothing.
pub(crate) fn looks_at_links(trace: &[TraceItem]) -> bool {
    [&LINKING[..], &COUNTING, &SPARING]
        .iter()
        .any(|programs| executed(trace, programs).is_some())
}

/// Refuses what a job left that ran such a program and looked at files to which that matters:
/// those below its working directory, or in directories that it listed. Others are for the most
/// part programs and libraries, whose names are nothing to it.
pub(super) fn check_links(trace: &[TraceItem], cwd: &Path) -> Result<(), CommitError> {
    if let Some(program) = executed(trace, &LINKING) {
        let mut first_names = HashMap::new();
        for (path, file) in linked_files(trace, cwd, |used| matches!(used, Use::Read(_) | Use::Stat)) {
            let first = first_names
                .entry((file.dev(), file.ino()))
                .or_insert_with(|| path.clone());
            if *first != path {
                let why = format!(
                    "it is the same file as {}, but not where {program} ran",
                    first.display()
                );
                return Err(CommitError::refused(&path, why));
            }
        }
    }
    let counting = executed(trace, &COUNTING);
    let sparing = executed(trace, &SPARING);
    let like = |used: &Use| match used {
        Use::Stat => counting.is_some() || sparing.is_some(),
        Use::Read(_) => sparing.is_some(),
        _ => false,
    };
    if let Some(program) = sparing.or(counting)
        && let Some((path, file)) = linked_files(trace, cwd, like).next()
    {
        return Err(counted(&path, file.nlink(), program));
    }
    Ok(())
}

/// Refuses to write into a file with several names for a job that ran a program which may look
/// at that first.
pub(super) fn check_written(trace: &[TraceItem], plan: &Plan<'_>, present: &mut Present) -> Result<(), CommitError> {
    let written = plan.alters().filter(|(_, _, alter)| alter.content.is_some());
    for (_, path, _) in written {
        if let Some(file) = present.at(path)?.filter(|file| file.links > 1)
            && let Some(program) = executed(trace, &REPLACING)
        {
            return Err(counted(path, file.links, program));
        }
    }
    Ok(())
}

fn counted(path: &Path, names: u64, program: &str) -> CommitError {
    CommitError::refused(path, format!("it has {names} names, but only one where {program} ran"))
}

/// Refuses to take away one name of a file and to put something else at another, or to leave another
/// that was used: the job may have renamed the one to the other, which does nothing (rename(2)). For
/// jobs whose calls were not seen; of the others [`termite_types::Seen::OtherFile`] tells it.
pub(super) fn check_renamed_over(
    trace: &[TraceItem],
    plan: &Plan<'_>,
    present: &mut Present,
) -> Result<(), CommitError> {
    let mut linked =
        |path: &Path| -> Result<_, CommitError> { Ok(present.linked_at(path)?.map(|stamp| (stamp.dev, stamp.ino))) };
    let mut removed = HashMap::new();
    for path in plan.removes.keys().filter(|path| plan.put(path).is_none()) {
        removed.extend(linked(path)?.map(|file| (file, *path)));
    }
    if removed.is_empty() {
        return Ok(());
    }
    let refused = |path: &Path, other: &Path| {
        let why = format!(
            "it is the same file as {}, which the job removed or moved",
            other.display()
        );
        Err(CommitError::refused(path, why))
    };
    for path in plan.puts.keys() {
        if let Some(other) = linked(path)?.and_then(|file| removed.get(&file)) {
            return refused(path, other);
        }
    }
    for (path, file) in trace.iter().filter_map(|item| linked_file(&item.path)) {
        let other = removed.get(&(file.dev(), file.ino()));
        if let Some(other) = other.filter(|_| !plan.is_removed(&path)) {
            return refused(&path, other);
        }
    }
    Ok(())
}

/// The one of these programs that the job executed.
fn executed(trace: &[TraceItem], programs: &[&'static str]) -> Option<&'static str> {
    let read = trace.iter().filter(|item| matches!(item.used, Use::Read(_)));
    let mut names = read.filter_map(|item| item.path.file_name());
    names.find_map(|name| programs.iter().copied().find(|program| name == OsStr::new(program)))
}

/// The files with several names that a job used like this, by their canonical paths.
fn linked_files(
    trace: &[TraceItem],
    cwd: &Path,
    like: impl Fn(&Use) -> bool,
) -> impl Iterator<Item = (PathBuf, Metadata)> {
    let listed = trace.iter().filter(|item| item.used == Use::Listed);
    let listed: HashSet<_> = listed.map(|item| item.path.as_path()).collect();
    let is_meant = |path: &Path| path.starts_with(cwd) || path.parent().is_some_and(|dir| listed.contains(dir));
    let used = trace.iter().filter(|item| like(&item.used) && is_meant(&item.path));
    let paths: HashSet<_> = used.map(|item| item.path.as_path()).collect();
    paths.into_iter().filter_map(linked_file)
}

/// The file with several names that a spelling leads to, by its canonical path.
pub(super) fn linked_file(spelled: &Path) -> Option<(PathBuf, Metadata)> {
    let file = spelled.metadata().ok();
    let file = file.filter(|file| file.is_file() && file.nlink() > 1)?;
    Some((spelled.canonicalize().ok()?, file))
}
