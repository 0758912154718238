//! Faults that tests plant into commits, to see that their oracle finds them: each makes of
//! what a job left a request that a commit with that fault would carry out. Compiled into
//! tests and with the feature `planted-faults`, never into what users run. The commit itself
//! knows nothing of it but one call.

use super::CommitRequest;
use std::cell::Cell;
use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};
use termite_types::{Alter, Attr, Base, BlobHash, Change, ChangeKind, Content, Edit, FileTime, IfPresent, Node, Seen};

/// A way to commit wrongly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// What the job read may be another content by now: updates are lost.
    ContentUnchecked,
    /// What was appended replaces the content in place of going behind it.
    AppendOverwrites,
    /// A name that was made exclusively may be there by now.
    ExclusiveUnchecked,
    /// A directory that the job removed takes along what others have made in it.
    RemovalTakesAll,
    /// A file that was changed in place becomes another one: its other names keep the old.
    InodeReplaced,
    /// A change of attributes brings back the content before the last commit.
    ContentReverted,
}

/// By their names in the environment.
const FAULTS: [(&str, Fault); 6] = [
    ("content-unchecked", Fault::ContentUnchecked),
    ("append-overwrites", Fault::AppendOverwrites),
    ("exclusive-unchecked", Fault::ExclusiveUnchecked),
    ("removal-takes-all", Fault::RemovalTakesAll),
    ("inode-replaced", Fault::InodeReplaced),
    ("content-reverted", Fault::ContentReverted),
];

/// A commit takes the present time in its place.
const TO_COME: FileTime = FileTime {
    sec: u32::MAX as i64,
    nsec: 0,
};

thread_local! {
    /// What commits of this thread do wrong: as `TERMITE_PLANTED_FAULT` says, where no test
    /// has set it.
    static PLANTED: Cell<Option<Fault>> = Cell::new(*FROM_ENVIRONMENT);
}

static FROM_ENVIRONMENT: LazyLock<Option<Fault>> = LazyLock::new(|| {
    let wanted = std::env::var("TERMITE_PLANTED_FAULT").ok()?;
    let found = FAULTS.iter().find(|(name, _)| *name == wanted);
    match found {
        Some((name, _)) => tracing::warn!("commits are wrong on purpose: {name}"),
        None => tracing::error!("TERMITE_PLANTED_FAULT={wanted} is none of {FAULTS:?}"),
    }
    found.map(|(_, fault)| *fault)
});

/// Contents of files before the last commit that changed them.
static BEFORE: LazyLock<Mutex<HashMap<PathBuf, Vec<u8>>>> = LazyLock::new(Mutex::default);

/// Plants a fault into the commits of this thread.
#[cfg(test)]
pub(super) fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// The request as a commit with the planted fault would carry it out.
pub(super) fn distort(request: &CommitRequest) -> CommitRequest {
    let mut request = request.clone();
    match PLANTED.get() {
        None => {}
        Some(Fault::ContentUnchecked) => request.forget(|seen| matches!(seen, Seen::Content(_))),
        Some(Fault::AppendOverwrites) => request.changes.iter_mut().for_each(overwrite),
        Some(Fault::ExclusiveUnchecked) => {
            request.forget(|seen| *seen == Seen::Nothing);
            for change in &mut request.changes {
                if let ChangeKind::MakeDir { plain, .. } = &mut change.kind {
                    *plain = false;
                }
            }
        }
        Some(Fault::RemovalTakesAll) => request.remove_all(),
        Some(Fault::InodeReplaced) => request.changes.iter_mut().for_each(replace),
        Some(Fault::ContentReverted) => request.changes.iter_mut().for_each(revert),
    }
    request
}

impl CommitRequest {
    fn forget(&mut self, is_forgotten: impl Fn(&Seen) -> bool) {
        self.premises.checks.retain(|check| !is_forgotten(&check.seen));
    }

    fn remove_all(&mut self) {
        let is_dir = |change: &&Change| matches!(change.kind, ChangeKind::Remove { dir: true });
        let dirs: Vec<_> = self.changes.iter().filter(is_dir).cloned().collect();
        for dir in dirs {
            self.remove_below(&dir.path);
        }
    }

    fn remove_below(&mut self, dir: &Path) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_removed = |change: &Change| change.path == path && matches!(change.kind, ChangeKind::Remove { .. });
            let dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if dir {
                self.remove_below(&path);
            }
            if !self.changes.iter().any(is_removed) {
                let kind = ChangeKind::Remove { dir };
                self.changes.insert(0, Change { path, kind });
            }
        }
    }
}

fn overwrite(change: &mut Change) {
    match &mut change.kind {
        ChangeKind::Alter(Alter {
            content: Some(edit), ..
        }) => edit.appended = false,
        ChangeKind::File { if_present, .. } if *if_present == IfPresent::Append => *if_present = IfPresent::Overwrite,
        _ => {}
    }
}

/// Makes a change in place into one that replaces the file.
fn replace(change: &mut Change) {
    let Some((stat, present)) = file(&change.path) else {
        return;
    };
    match &mut change.kind {
        ChangeKind::Alter(Alter {
            content: Some(edit),
            mode,
            ..
        }) => {
            let Content::Inline(bytes) = &edit.content else { return };
            let content = match edit.appended {
                true => [&present, &bytes[edit.base.size as usize..]].concat(),
                false => bytes.clone(),
            };
            let attr = Attr {
                mode: mode.unwrap_or(stat.mode() & 0o7777),
                uid: stat.uid(),
                gid: stat.gid(),
                mtime: TO_COME,
                node: Node::File {
                    size: content.len() as u64,
                    hash: Some(hash(&content)),
                },
            };
            change.kind = ChangeKind::File {
                attr,
                explicit_mtime: false,
                content: Content::Inline(content),
                if_present: IfPresent::Replace,
            };
        }
        ChangeKind::File { if_present, .. } if *if_present == IfPresent::Overwrite => *if_present = IfPresent::Replace,
        _ => {}
    }
}

fn revert(change: &mut Change) {
    let Some((_, present)) = file(&change.path) else { return };
    let mut before = BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match &mut change.kind {
        ChangeKind::Alter(alter) if alter.content.is_none() => {
            let Some(old) = before.get(&change.path) else { return };
            alter.content = Some(Edit {
                base: Base {
                    size: present.len() as u64,
                    hash: hash(&present),
                },
                size: old.len() as u64,
                hash: hash(old),
                content: Content::Inline(old.clone()),
                appended: false,
            });
        }
        ChangeKind::Remove { .. } | ChangeKind::SetXattrs(_) => {}
        _ => {
            before.insert(change.path.clone(), present);
        }
    }
}

fn file(path: &Path) -> Option<(Metadata, Vec<u8>)> {
    let stat = fs::symlink_metadata(path).ok().filter(Metadata::is_file)?;
    Some((stat, fs::read(path).ok()?))
}

fn hash(bytes: &[u8]) -> BlobHash {
    BlobHash(*blake3::hash(bytes).as_bytes())
}
