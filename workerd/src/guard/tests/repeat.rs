//! A client's commit in its plainest form, and how a tree looks, for comparing.

use super::bench::Ran;
use std::collections::BTreeMap;
use std::fs::{self, FileTimes, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};
use termite_types::{Attr, ChangeKind, FileTime, Node};

/// Repeats what a job changed on this machine's files.
pub(super) fn repeat(ran: &Ran) {
    let changes = &ran.harvest.changes;
    for change in changes {
        if let ChangeKind::Alter(alter) = &change.kind {
            if alter.content.is_some() {
                write_into(&change.path, &ran.content(&change.path));
            }
            if let Some(mode) = alter.mode {
                fs::set_permissions(&change.path, Permissions::from_mode(mode)).unwrap();
            }
            if let Some(set) = alter.mtime {
                set_time(&change.path, set.time);
            }
        }
    }
    let aside = tempfile::tempdir_in(ran_root(ran)).unwrap();
    let mut pinned = BTreeMap::new();
    for change in changes {
        if let ChangeKind::Name { from, .. } = &change.kind {
            let number = pinned.len();
            pinned.entry(from).or_insert_with(|| {
                let pin = aside.path().join(number.to_string());
                fs::hard_link(from, &pin).unwrap();
                pin
            });
        }
    }
    for change in changes {
        match change.kind {
            ChangeKind::Remove { dir: true } => fs::remove_dir(&change.path).unwrap(),
            ChangeKind::Remove { dir: false } => fs::remove_file(&change.path).unwrap(),
            _ => {}
        }
    }
    for change in changes {
        let path = &change.path;
        match &change.kind {
            ChangeKind::Remove { .. } | ChangeKind::Alter(_) | ChangeKind::SetXattrs(_) => {}
            ChangeKind::MakeDir { attr, .. } => {
                fs::create_dir(path).unwrap();
                apply_attrs(path, attr);
            }
            ChangeKind::Symlink { attr } => {
                let Node::Symlink { target } = &attr.node else {
                    panic!("{attr:?}")
                };
                remove(path);
                symlink(target, path).unwrap();
            }
            ChangeKind::File { attr, .. } => {
                remove(path);
                fs::write(path, ran.content(path)).unwrap();
                apply_attrs(path, attr);
                set_time(path, attr.mtime);
            }
            ChangeKind::Link { to } => {
                remove(path);
                fs::hard_link(to, path).unwrap();
            }
            ChangeKind::Name { from, .. } => {
                remove(path);
                fs::hard_link(&pinned[from], path).unwrap();
            }
        }
    }
}

/// A directory of the client's file system for what is put aside.
fn ran_root(ran: &Ran) -> &Path {
    let first = ran.harvest.changes.first();
    first.map_or(Path::new("/tmp"), |change| {
        let above = change.path.ancestors().skip(1).filter(|dir| dir.is_dir());
        let steady = |dir: &&Path| !ran.harvest.changes.iter().any(|change| dir.starts_with(&change.path));
        above.into_iter().find(steady).unwrap_or(Path::new("/tmp"))
    })
}

fn write_into(path: &Path, content: &[u8]) {
    let mode = fs::metadata(path).unwrap().permissions();
    fs::set_permissions(path, Permissions::from_mode(mode.mode() | 0o600)).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, mode).unwrap();
}

fn set_time(path: &Path, mtime: FileTime) {
    let times = FileTimes::new().set_modified(time(mtime));
    fs::File::open(path).unwrap().set_times(times).unwrap();
}

/// Names, kinds, modes, contents and link counts below a directory. What a view cannot
/// deliver is left out.
pub(super) fn snapshot(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    look(dir, dir, &mut found);
    found
}

fn look(root: &Path, dir: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let mode = meta.mode() & 0o7777;
        if meta.is_dir() {
            found.insert(name, format!("dir {mode:o}"));
            look(root, &path, found);
        } else if meta.is_symlink() {
            found.insert(name, format!("link {}", fs::read_link(&path).unwrap().display()));
        } else if meta.file_type().is_fifo() {
            continue;
        } else {
            let content = blake3::hash(&fs::read(&path).unwrap());
            found.insert(name, format!("file {mode:o} {} {} {content}", meta.nlink(), meta.len()));
        }
    }
}

fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

fn apply_attrs(path: &Path, attr: &Attr) {
    fs::set_permissions(path, Permissions::from_mode(attr.mode)).unwrap();
}

fn time(time: FileTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(time.sec as u64, time.nsec)
}
