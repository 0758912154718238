//! What a job is told whose files are served by FUSE.

use super::Pair;
use super::changes::tell;
use crate::view::acts::Before;
use crate::view::error::FaultError;
use crate::view::{Lower, SharedMap};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use termite_types::Abandon;

#[test]
fn who_goes_by_a_symlink_that_is_gone_is_not_told_where_it_led() {
    let pair = Pair::new();
    let link = pair.here("l");
    symlink("l", &link).unwrap();
    let proc = File::open("/proc").unwrap().into();
    let lower = Lower::new(pair.mirror.clone(), proc, SharedMap::of_no_slot()).unwrap();
    let found = lower.lookup(lower.root(), OsStr::new("l")).unwrap().unwrap();
    let ino = found.stat.stx_ino;
    assert_eq!(lower.target(ino).unwrap(), b"l");
    fs::remove_file(&link).unwrap();
    fs::write(&link, "").unwrap();
    tell(&pair, &mut vec![PathBuf::from("l")]);
    let target = lower.target(ino);
    assert!(
        matches!(target, Err(FaultError::Abandon(Abandon::Conflict(_)))),
        "{target:?}"
    );
}

#[test]
fn what_a_file_was_is_what_the_job_was_told() {
    let pair = Pair::new();
    let file = pair.here("f");
    let put = |text: &str, mode| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
    };
    put("old", 0o600);
    let proc = File::open("/proc").unwrap().into();
    let lower = Lower::new(pair.mirror.clone(), proc, SharedMap::of_no_slot()).unwrap();
    let found = lower.lookup(lower.root(), OsStr::new("f")).unwrap().unwrap();
    // Its content has not been brought, so that the file in the mirror becomes the new one.
    put("new", 0o644);
    tell(&pair, &mut vec![PathBuf::from("f")]);
    lower.open(found.stat.stx_ino).unwrap();
    let Before::File(before) = lower.acts(Path::new("/f")).before else {
        panic!("it was a file");
    };
    assert_eq!(before.attr.mode, 0o600);
    // An overlay that copies it up does so by what it was told at first.
    let copied = lower.list_attributes(found.stat.stx_ino);
    assert!(
        matches!(copied, Err(FaultError::Abandon(Abandon::Conflict(_)))),
        "{copied:?}"
    );
}
