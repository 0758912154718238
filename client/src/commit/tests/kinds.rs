//! Every kind of change that makes or removes a name, and what was there before it.

use super::{Bench, OLD, hash};
use crate::commit::{ClockShift, CommitError};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use termite_types::{Alter, Change, ChangeKind, FileTime, SetTime};

#[test]
fn a_tree_of_everything_is_made() {
    let mut bench = Bench::new();
    let big: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 1000) as u8).collect();
    let changes = vec![
        bench.dir("d", 0o2750),
        bench.dir("d/e", 0o555),
        bench.file("d/e/small", b"small"),
        bench.remote("d/big", &big),
        bench.symlink("d/link", "e/small"),
        bench.link("d/hard", "d/big"),
        bench.file("empty", b""),
    ];
    let committed = bench.commit(changes).unwrap();
    assert_eq!(bench.read("d/e/small"), b"small");
    assert_eq!(bench.read("d/big"), big);
    assert_eq!(fs::read_link(bench.path("d/link")).unwrap(), Path::new("e/small"));
    assert_eq!(fs::metadata(bench.path("d/hard")).unwrap().nlink(), 2);
    assert_eq!((bench.mode("d"), bench.mode("d/e")), (0o2750, 0o555));
    assert_eq!(bench.mode("d/big"), 0o640);
    for name in ["d", "d/e", "d/e/small", "d/big", "d/link", "empty"] {
        assert_eq!(bench.mtime(name), OLD, "{name}");
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
    bench.commit(vec![bench.file("file", b"new")]).unwrap();
    assert_eq!(bench.read("file"), b"new");
    let mut content = String::new();
    std::io::Read::read_to_string(&mut open, &mut content).unwrap();
    assert_eq!(content, "old", "who has it open keeps what was there");
}

#[test]
fn kinds_change_into_each_other() {
    let bench = Bench::new();
    for name in ["dir-file", "dir-link", "dir-dir"] {
        fs::create_dir_all(bench.path(name).join("below")).unwrap();
        fs::write(bench.path(name).join("below/file"), "x").unwrap();
    }
    bench.write("file-dir", b"x");
    symlink("nowhere", bench.path("link-dir")).unwrap();
    symlink("file-dir", bench.path("link-file")).unwrap();
    bench.write("file-link", b"x");
    let emptied = |name: &str| {
        let below = format!("{name}/below");
        [
            bench.remove(&format!("{below}/file")),
            bench.remove_dir(&below),
            bench.remove_dir(name),
        ]
    };
    let mut changes = Vec::new();
    changes.extend(emptied("dir-file"));
    changes.push(bench.file("dir-file", b"1"));
    changes.extend(emptied("dir-link"));
    changes.push(bench.symlink("dir-link", "to"));
    changes.extend(emptied("dir-dir"));
    changes.push(bench.dir("dir-dir", 0o711));
    changes.push(bench.dir("dir-dir/below", 0o711));
    changes.push(bench.file("dir-dir/below/file", b"5"));
    changes.push(bench.remove("file-dir"));
    changes.push(bench.dir("file-dir", 0o700));
    changes.push(bench.file("file-dir/x", b"2"));
    changes.push(bench.remove("link-dir"));
    changes.push(bench.dir("link-dir", 0o700));
    changes.push(bench.file("link-file", b"3"));
    changes.push(bench.symlink("file-link", "to"));
    let committed = bench.commit(changes).unwrap();
    assert_eq!(bench.read("dir-file"), b"1");
    assert!(bench.stat("dir-link").is_symlink());
    assert_eq!(bench.read("dir-dir/below/file"), b"5");
    assert_eq!((bench.mode("dir-dir"), bench.mode("dir-dir/below")), (0o711, 0o711));
    assert_eq!(bench.read("file-dir/x"), b"2");
    assert!(bench.stat("link-dir").is_dir());
    assert!(bench.stat("link-file").is_file());
    assert!(bench.stat("file-link").is_symlink());
    // Each path once, as it stands.
    let mut paths: Vec<_> = committed.paths.iter().map(|done| &done.path).collect();
    paths.sort();
    let count = paths.len();
    paths.dedup();
    assert_eq!(paths.len(), count);
    for done in &committed.paths {
        let stamp = crate::tree::Stamp::at_path(&done.path);
        assert_eq!(done.stamp, stamp, "{}", done.path.display());
    }
    let emptied = committed
        .paths
        .iter()
        .find(|done| done.path.ends_with("dir-file/below"));
    assert_eq!(emptied.unwrap().stamp, None);
}

#[test]
fn a_removal_takes_what_it_names_and_nothing_else() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("d/e")).unwrap();
    bench.write("d/e/x", b"");
    bench.write("outside", b"kept");
    symlink(&bench.top, bench.path("d/e/up")).unwrap();
    let all = || {
        vec![
            bench.remove("d/e/x"),
            bench.remove("d/e/up"),
            bench.remove_dir("d/e"),
            bench.remove_dir("d"),
        ]
    };
    bench.write("d/e/of another", b"");
    let conflict = bench.conflict(all(), vec![]);
    assert_eq!(conflict.path, bench.path("d/e"));
    assert_eq!(
        (&*conflict.seen, &*conflict.found),
        ("nothing else in it", "also of another")
    );
    fs::remove_file(bench.path("d/e/of another")).unwrap();
    bench.commit(all()).unwrap();
    assert!(!bench.path("d").exists());
    assert_eq!(bench.read("outside"), b"kept");
}

#[test]
fn a_removal_of_what_is_gone_or_of_another_kind_is_a_conflict() {
    let bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    bench.write("f", b"");
    let found = |change| {
        let conflict = bench.conflict(vec![bench.file("new", b""), change], vec![]);
        (conflict.seen, conflict.found)
    };
    let leaf = "something that is no directory".to_string();
    assert_eq!(found(bench.remove("none")), (leaf.clone(), "nothing".into()));
    assert_eq!(found(bench.remove("d")), (leaf.clone(), "a directory".into()));
    assert_eq!(found(bench.remove("none/below")), (leaf, "nothing".into()));
    let dir = "a directory".to_string();
    assert_eq!(found(bench.remove_dir("none")), (dir.clone(), "nothing".into()));
    assert_eq!(found(bench.remove_dir("f")), (dir, "a file".into()));
}

#[test]
fn nothing_is_put_over_a_directory_that_is_not_removed() {
    let bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    bench.write("f", b"");
    for change in [
        bench.file("d", b""),
        bench.log("d", b""),
        bench.symlink("d", "to"),
        bench.name("d", "f"),
    ] {
        assert_eq!(bench.conflict(vec![change], vec![]).found, "a directory");
    }
    let conflict = bench.conflict(vec![bench.file("new", b""), bench.link("d", "new")], vec![]);
    assert_eq!(conflict.found, "a directory");
}

#[test]
fn a_directory_that_was_there_gets_a_set_time_or_a_later_one() {
    let bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    let commit = |time: FileTime, explicit: bool| {
        let alter = Alter {
            mtime: Some(SetTime { time, explicit }),
            ..Alter::default()
        };
        let committed = bench.commit(vec![bench.alter("d", alter)]).unwrap();
        (bench.mtime("d"), committed.paths[0].touched)
    };
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
fn attributes_of_directories_come_last() {
    let bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    bench.write("d/old", b"");
    let alter = Alter {
        mode: Some(0o555),
        mtime: Some(SetTime {
            time: OLD,
            explicit: true,
        }),
        ..Alter::default()
    };
    let changes = vec![
        bench.alter("d", alter),
        bench.remove("d/old"),
        bench.file("d/new", b""),
        bench.dir("d/made", 0o555),
        bench.file("d/made/x", b""),
    ];
    let committed = bench.commit(changes).unwrap();
    assert_eq!((bench.mode("d"), bench.mtime("d")), (0o555, OLD));
    assert_eq!((bench.mode("d/made"), bench.mtime("d/made")), (0o555, OLD));
    assert!(bench.path("d/made/x").exists());
    assert_eq!(committed.paths[0].stamp, crate::tree::Stamp::at_path(&bench.path("d")));
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
    let kept = bench.mtime("was-there");
    bench.write("touched", b"x");
    let touch = |name: &str, sec: i64, explicit: bool| {
        let time = FileTime { sec, nsec: 0 };
        let alter = Alter {
            mtime: Some(SetTime { time, explicit }),
            ..Alter::default()
        };
        bench.alter(name, alter)
    };
    bench.write("touched-d", b"x");
    let changes = vec![
        at(bench.file("first", b""), now - 3700, false),
        at(bench.file("second", b""), now - 3699, false),
        at(bench.file("set", b""), now - 9999, true),
        at(bench.file("ahead", b""), now + 50, false),
        at(bench.file("set-ahead", b""), now + 5000, true),
        bench.chmod("was-there", 0o600),
        touch("touched", now - 3700, false),
        touch("touched-d", now - 7777, true),
    ];
    bench.commit(changes).unwrap();
    let found = |name: &str| bench.mtime(name).sec;
    assert!((found("first") - (now - 100)).abs() <= 2);
    assert!((found("touched") - (now - 100)).abs() <= 2);
    assert_eq!(found("touched-d"), now - 7777);
    assert!(bench.mtime("first") < bench.mtime("second"));
    assert_eq!(found("set"), now - 9999);
    assert!(found("ahead") <= now + 30);
    assert_eq!(found("set-ahead"), now + 5000);
    assert_eq!(bench.mtime("was-there"), kept);
    assert_eq!(bench.mode("was-there"), 0o600);
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
        let change = bench.remote("missing", b"never sent");
        bench.worker.0.clear();
        change
    };
    let wrong = bench.remote("wrong", b"right");
    bench.worker.0.insert(hash(b"right"), b"wrong".to_vec());
    let short = bench.remote("short", b"all of it");
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

#[test]
fn long_runs_of_zeros_are_holes() {
    let mut bench = Bench::new();
    for (name, middle) in [("some", &b"abc"[..]), ("none", b"")] {
        let bytes = [&vec![0; 3 << 20], middle, &vec![0; (2 << 20) + 5]].concat();
        let sparse = bench.remote(name, &bytes);
        bench.commit(vec![sparse]).unwrap();
        assert!(bench.read(name) == bytes, "{name}");
        let blocks = bench.stat(name).blocks();
        assert!(blocks * 512 < 1 << 20, "{name}: {blocks} blocks");
    }
}
