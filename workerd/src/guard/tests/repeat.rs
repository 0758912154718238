//! A client's commit in its plainest form, and how a tree looks, for comparing.

use super::bench::Ran;
use std::collections::BTreeMap;
use std::fs::{self, FileTimes, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};
use termite_types::{Attr, ChangeKind, FileTime, Node};

/// Repeats what a job changed on this machine's files.
pub fn repeat(ran: &Ran) {
    for change in &ran.harvest.changes {
        let path = &change.path;
        match &change.kind {
            ChangeKind::Remove => remove(path),
            ChangeKind::Dir { attr, .. } => {
                if !path.is_dir() {
                    fs::create_dir(path).unwrap();
                }
                dress(path, attr);
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
                dress(path, attr);
                fs::File::open(path)
                    .unwrap()
                    .set_times(FileTimes::new().set_modified(time(attr.mtime)))
                    .unwrap();
            }
            ChangeKind::Link { to } => {
                remove(path);
                fs::hard_link(to, path).unwrap();
            }
        }
    }
}

/// Names, kinds, modes, contents and link counts below a directory. What a view cannot
/// deliver is left out.
pub fn snapshot(dir: &Path) -> BTreeMap<String, String> {
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

fn dress(path: &Path, attr: &Attr) {
    fs::set_permissions(path, Permissions::from_mode(attr.mode)).unwrap();
}

fn time(time: FileTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(time.sec as u64, time.nsec)
}
