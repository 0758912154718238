//! Every kind of change, and what was there before it.

use super::{Bench, OLD, base, hash};
use crate::commit::{ClockShift, CommitError};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use termite_types::{Change, ChangeKind, FileTime};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn mtime(path: &Path) -> FileTime {
    let stat = fs::symlink_metadata(path).unwrap();
    FileTime {
        sec: stat.mtime(),
        nsec: stat.mtime_nsec() as u32,
    }
}

#[test]
fn a_tree_of_everything_is_made() {
    let mut bench = Bench::new();
    let big: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 1000) as u8).collect();
    let changes = vec![
        bench.dir("d", 0o2750),
        bench.dir("d/e", 0o555),
        bench.file("d/e/small", b"small"),
        bench.remote("d/big", &big, None),
        bench.symlink("d/link", "e/small"),
        bench.link("d/hard", "d/big"),
        bench.file("empty", b""),
    ];
    let committed = bench.commit(changes).unwrap();
    assert_eq!(bench.read("d/e/small"), b"small");
    assert_eq!(bench.read("d/big"), big);
    assert_eq!(fs::read_link(bench.path("d/link")).unwrap(), Path::new("e/small"));
    assert_eq!(fs::metadata(bench.path("d/hard")).unwrap().nlink(), 2);
    assert_eq!((mode(&bench.path("d")), mode(&bench.path("d/e"))), (0o2750, 0o555));
    assert_eq!(mode(&bench.path("d/big")), 0o640);
    for name in ["d", "d/e", "d/e/small", "d/big", "d/link", "empty"] {
        assert_eq!(mtime(&bench.path(name)), OLD, "{name}");
    }
    let hard = committed.paths.iter().find(|done| done.path.ends_with("hard")).unwrap();
    assert_eq!(hard.hash, Some(hash(&big)));
    assert_eq!(hard.stamp.unwrap().links, 2);
}

#[test]
fn what_is_there_is_replaced_by_rename() {
    let bench = Bench::new();
    bench.write("file", b"old");
    let mut open = fs::File::open(bench.path("file")).unwrap();
    bench
        .commit(vec![bench.changed("file", b"new", base(b"old", false))])
        .unwrap();
    assert_eq!(bench.read("file"), b"new");
    let mut content = String::new();
    std::io::Read::read_to_string(&mut open, &mut content).unwrap();
    assert_eq!(content, "old", "who has it open keeps what was there");
}

#[test]
fn kinds_change_into_each_other() {
    let bench = Bench::new();
    let make = |name: &str| {
        fs::create_dir_all(bench.path(name).join("below")).unwrap();
        fs::write(bench.path(name).join("below/file"), "x").unwrap();
    };
    make("dir-file");
    make("dir-link");
    bench.write("file-dir", b"x");
    symlink("nowhere", bench.path("link-dir")).unwrap();
    symlink("file-dir", bench.path("link-file")).unwrap();
    bench.write("file-link", b"x");
    // Once with and once without a removal before it.
    make("removed-file");
    let changes = vec![
        bench.file("dir-file", b"1"),
        bench.symlink("dir-link", "to"),
        bench.dir("file-dir", 0o700),
        bench.file("file-dir/x", b"2"),
        bench.dir("link-dir", 0o700),
        bench.file("link-file", b"3"),
        bench.symlink("file-link", "to"),
        bench.remove("removed-file"),
        bench.file("removed-file", b"4"),
    ];
    bench.commit(changes).unwrap();
    assert_eq!(bench.read("dir-file"), b"1");
    assert!(fs::symlink_metadata(bench.path("dir-link")).unwrap().is_symlink());
    assert_eq!(bench.read("file-dir/x"), b"2");
    assert!(fs::symlink_metadata(bench.path("link-dir")).unwrap().is_dir());
    assert!(fs::symlink_metadata(bench.path("link-file")).unwrap().is_file());
    assert!(fs::symlink_metadata(bench.path("file-link")).unwrap().is_symlink());
    assert_eq!(bench.read("removed-file"), b"4");
}

#[test]
fn removals_are_recursive_and_need_not_meet_anything() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("d/e/f")).unwrap();
    bench.write("d/e/f/x", b"");
    bench.write("outside", b"kept");
    symlink(&bench.top, bench.path("d/e/up")).unwrap();
    bench
        .commit(vec![
            bench.remove("d"),
            bench.remove("none"),
            bench.remove("none/below"),
        ])
        .unwrap();
    assert!(!bench.path("d").exists());
    assert_eq!(bench.read("outside"), b"kept");
}

#[test]
fn a_directory_made_anew_keeps_nothing_of_the_old() {
    let bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    bench.write("d/old", b"");
    bench
        .commit(vec![bench.remove("d"), bench.dir("d", 0o755), bench.file("d/new", b"")])
        .unwrap();
    assert_eq!(bench.tree().len(), 2);
    assert!(bench.path("d/new").exists());
}

#[test]
fn names_that_are_not_mentioned_stay() {
    let bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    bench.write("d/old", b"kept");
    let committed = bench
        .commit(vec![bench.dir("d", 0o711), bench.file("d/new", b"")])
        .unwrap();
    assert_eq!(bench.read("d/old"), b"kept");
    assert_eq!(mode(&bench.path("d")), 0o711);
    assert!(committed.paths[0].touched);
    let committed = bench
        .commit(vec![bench.dir("d", 0o711), bench.file("d/new", b"")])
        .unwrap();
    assert!(!committed.paths[0].touched);
}

#[test]
fn a_directory_that_was_there_gets_a_set_time_or_a_later_one() {
    let bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    let commit = |time: FileTime, explicit: bool| {
        let mut change = bench.dir("d", 0o755);
        if let ChangeKind::Dir { attr, explicit_mtime } = &mut change.kind {
            (attr.mtime, *explicit_mtime) = (time, explicit);
        }
        let committed = bench.commit(vec![change]).unwrap();
        (mtime(&bench.path("d")), committed.paths[0].touched)
    };
    fs::set_permissions(bench.path("d"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(commit(OLD, true), (OLD, true));
    assert_eq!(commit(OLD, true), (OLD, false));
    let later = FileTime {
        sec: OLD.sec + 9,
        nsec: 0,
    };
    assert_eq!(commit(later, false), (later, true));
    assert_eq!(commit(OLD, false), (later, false));
}

#[test]
fn a_file_with_other_names_that_the_job_wrote_to_is_written_in_place() {
    let bench = Bench::new();
    bench.write("a", b"a longer content");
    fs::hard_link(bench.path("a"), bench.path("b")).unwrap();
    bench
        .commit(vec![bench.changed("a", b"short", base(b"a longer content", false))])
        .unwrap();
    assert_eq!(
        (bench.read("a"), bench.read("b")),
        (b"short".to_vec(), b"short".to_vec())
    );
    assert_eq!((mode(&bench.path("b")), mtime(&bench.path("b"))), (0o640, OLD));
    // One that it removed and made anew is another file, as it would be here.
    bench.commit(vec![bench.file("a", b"another")]).unwrap();
    assert_eq!(
        (bench.read("a"), bench.read("b")),
        (b"another".to_vec(), b"short".to_vec())
    );
}

#[test]
fn a_link_over_another_name_of_the_same_file_leaves_both() {
    let bench = Bench::new();
    bench.write("a", b"x");
    fs::hard_link(bench.path("a"), bench.path("b")).unwrap();
    bench.commit(vec![bench.link("b", "a")]).unwrap();
    assert_eq!(bench.read("b"), b"x");
    assert_eq!(bench.tree().len(), 2);
}

#[test]
fn explicit_times_stay_and_others_follow_the_clock() {
    let mut bench = Bench::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    // The worker's clock is an hour late.
    bench.clock = ClockShift::between(
        FileTime {
            sec: now - 3600,
            nsec: 0,
        },
        false,
    );
    let at = |mut change: Change, sec: i64, explicit: bool| {
        if let ChangeKind::File {
            attr, explicit_mtime, ..
        } = &mut change.kind
        {
            attr.mtime = FileTime { sec, nsec: 0 };
            *explicit_mtime = explicit;
        }
        change
    };
    bench.write("was-there", b"x");
    let kept = mtime(&bench.path("was-there"));
    let mut chmod = bench.changed("was-there", b"x", base(b"x", true));
    if let ChangeKind::File { attr, .. } = &mut chmod.kind {
        attr.mtime = kept;
    }
    let changes = vec![
        at(bench.file("first", b""), now - 3700, false),
        at(bench.file("second", b""), now - 3699, false),
        at(bench.file("set", b""), now - 9999, true),
        at(bench.file("ahead", b""), now + 50, false),
        at(bench.file("set-ahead", b""), now + 5000, true),
        chmod,
    ];
    bench.commit(changes).unwrap();
    let found = |name: &str| mtime(&bench.path(name)).sec;
    assert!((found("first") - (now - 100)).abs() <= 2);
    assert!(mtime(&bench.path("first")) < mtime(&bench.path("second")));
    assert_eq!(found("set"), now - 9999);
    assert!(found("ahead") <= now + 30);
    assert_eq!(found("set-ahead"), now + 5000);
    assert_eq!(mtime(&bench.path("was-there")), kept);
    assert_eq!(mode(&bench.path("was-there")), 0o640);
}

#[test]
fn owners_are_given_where_this_user_may() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    let mut change = bench.file("f", b"x");
    if let ChangeKind::File { attr, .. } = &mut change.kind {
        (attr.uid, attr.gid, attr.mode) = (1234, 2345, 0o4755);
    }
    bench.commit(vec![change]).unwrap();
    let stat = fs::metadata(bench.path("f")).unwrap();
    assert_eq!(
        (stat.uid(), stat.gid(), stat.permissions().mode() & 0o7777),
        (1234, 2345, 0o4755)
    );
}

#[test]
fn a_content_that_is_not_what_it_should_be_changes_nothing() {
    let mut bench = Bench::new();
    bench.write("old", b"old");
    let missing = {
        let change = bench.remote("missing", b"never sent", None);
        bench.worker.0.clear();
        change
    };
    let wrong = bench.remote("wrong", b"right", None);
    bench.worker.0.insert(hash(b"right"), b"wrong".to_vec());
    let short = bench.remote("short", b"all of it", None);
    bench.worker.0.insert(hash(b"all of it"), b"all".to_vec());
    let before = bench.tree();
    for bad in [missing, wrong, short] {
        let error = bench
            .commit(vec![bench.remove("old"), bench.file("new", b""), bad])
            .unwrap_err();
        assert!(matches!(error, CommitError::Content { .. }), "{error}");
        assert!(error.is_untouched());
        assert_eq!(bench.tree(), before);
    }
}
