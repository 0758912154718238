//! Files of the client's that get other names.

use super::{Bench, CommitError, hash};
use std::fs;
use std::os::unix::fs::MetadataExt;
use termite_types::{Change, ChangeKind};

fn with_hash(mut change: Change, content: &[u8]) -> Change {
    if let ChangeKind::Name { hash: known, .. } = &mut change.kind {
        *known = Some(hash(content));
    }
    change
}

#[test]
fn a_moved_file_is_the_same_file() {
    let bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    bench.write("a", b"x");
    let (inode, time) = (bench.inode("a"), bench.mtime("a"));
    let name = with_hash(bench.name("d/b", "a"), b"x");
    let committed = bench.commit(vec![bench.remove("a"), name]).unwrap();
    assert!(!bench.path("a").exists());
    assert_eq!((bench.inode("d/b"), bench.mtime("d/b")), (inode, time));
    assert_eq!(committed.paths[0].stamp, None);
    assert_eq!(committed.paths[1].hash, Some(hash(b"x")));
}

#[test]
fn a_hash_that_is_not_that_of_the_moved_file_is_not_told() {
    let bench = Bench::new();
    bench.write("a", b"changed meanwhile");
    let name = with_hash(bench.name("b", "a"), b"as the job saw it");
    let committed = bench.commit(vec![bench.remove("a"), name]).unwrap();
    assert_eq!(bench.read("b"), b"changed meanwhile");
    assert_eq!(committed.paths[1].hash, None);
}

#[test]
fn a_file_that_was_changed_and_moved_is_both() {
    let bench = Bench::new();
    bench.write("k1", b"x");
    let inode = bench.inode("k1");
    let changes = vec![
        bench.chmod("k1", 0o700),
        bench.edit("k1", b"x", b"y"),
        bench.remove("k1"),
        bench.name("k2", "k1"),
    ];
    let committed = bench.commit(changes).unwrap();
    assert_eq!(
        (bench.read("k2"), bench.mode("k2"), bench.inode("k2")),
        (b"y".to_vec(), 0o700, inode)
    );
    let paths: Vec<_> = committed
        .paths
        .iter()
        .map(|done| (done.path.clone(), done.hash))
        .collect();
    let expected = [(bench.path("k1"), None), (bench.path("k2"), Some(hash(b"y")))];
    assert_eq!(paths, expected);
}

#[test]
fn a_move_over_one_of_two_names_leaves_the_other_alone() {
    let bench = Bench::new();
    bench.write("a", b"shared");
    fs::hard_link(bench.path("a"), bench.path("b")).unwrap();
    bench.write("new", b"new");
    bench.commit(vec![bench.remove("new"), bench.name("a", "new")]).unwrap();
    assert_eq!(
        (bench.read("a"), bench.read("b")),
        (b"new".to_vec(), b"shared".to_vec())
    );
    bench.commit(vec![bench.file("b", b"made")]).unwrap();
    assert_eq!((bench.read("a"), bench.read("b")), (b"new".to_vec(), b"made".to_vec()));
    assert!(!bench.path("new").exists());
}

#[test]
fn a_move_over_another_name_of_the_same_file_is_left_to_the_client() {
    let bench = Bench::new();
    bench.write("a", b"x");
    fs::hard_link(bench.path("a"), bench.path("b")).unwrap();
    // rename(2) does nothing there, and mv(1) removes the one name: only the client can tell.
    let refused = bench.commit(vec![bench.remove("a"), bench.name("b", "a")]);
    assert!(matches!(refused, Err(CommitError::Refused { .. })), "{refused:?}");
    assert_eq!((bench.stat("b").nlink(), bench.tree().len()), (2, 2));
    fs::remove_file(bench.path("a")).unwrap();
    // And a link over another name of the same file leaves both.
    fs::hard_link(bench.path("b"), bench.path("c")).unwrap();
    bench.commit(vec![bench.name("c", "b")]).unwrap();
    bench.commit(vec![bench.name("b", "b")]).unwrap();
    assert_eq!((bench.stat("b").nlink(), bench.tree().len()), (2, 2));
}

#[test]
fn two_files_with_second_names_are_exchanged() {
    let bench = Bench::new();
    for name in ["a", "b"] {
        bench.write(name, name.as_bytes());
        fs::hard_link(bench.path(name), bench.path(&format!("{name}2"))).unwrap();
    }
    bench.commit(vec![bench.name("a", "b"), bench.name("b", "a")]).unwrap();
    let read = ["a", "b", "a2", "b2"].map(|name| bench.read(name));
    assert_eq!(read, [b"b", b"a", b"a", b"b"]);
    assert_eq!(bench.inode("a"), bench.inode("b2"));
    assert_eq!(bench.inode("b"), bench.inode("a2"));
    assert_eq!((bench.stat("a").nlink(), bench.stat("b").nlink()), (2, 2));
}

#[test]
fn two_jobs_that_give_a_file_one_more_name_each_make_three() {
    let bench = Bench::new();
    bench.write("a", b"x");
    bench.commit(vec![bench.name("b", "a")]).unwrap();
    let committed = bench.commit(vec![bench.name("c", "a"), bench.name("d", "a")]).unwrap();
    assert_eq!(bench.stat("a").nlink(), 4);
    for name in ["b", "c", "d"] {
        assert_eq!(bench.inode(name), bench.inode("a"));
    }
    assert!(committed.paths.iter().all(|done| done.stamp.unwrap().links == 4));
}

#[test]
fn a_moved_directory_takes_its_files_along() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("d1/sub")).unwrap();
    for name in ["d1/x", "d1/sub/y"] {
        bench.write(name, name.as_bytes());
    }
    std::os::unix::fs::symlink("x", bench.path("d1/l")).unwrap();
    let inodes = ["d1/x", "d1/sub/y", "d1/l"].map(|name| bench.inode(name));
    let list = |from: &str, to: &str| {
        let (from, to) = (|name: &str| format!("{from}{name}"), |name: &str| format!("{to}{name}"));
        vec![
            bench.remove(&from("/sub/y")),
            bench.remove_dir(&from("/sub")),
            bench.remove(&from("/x")),
            bench.remove(&from("/l")),
            bench.remove_dir(&from("")),
            bench.dir(&to(""), 0o755),
            bench.dir(&to("/sub"), 0o700),
            bench.name(&to("/sub/y"), &from("/sub/y")),
            bench.name(&to("/x"), &from("/x")),
            bench.name(&to("/l"), &from("/l")),
        ]
    };
    bench.commit(list("d1", "d2")).unwrap();
    assert!(!bench.path("d1").exists());
    assert_eq!(["d2/x", "d2/sub/y", "d2/l"].map(|name| bench.inode(name)), inodes);
    assert_eq!((bench.mode("d2"), bench.mode("d2/sub")), (0o755, 0o700));
    // Another job's file holds all of it.
    bench.write("d2/sub/other", b"");
    let conflict = bench.conflict(list("d2", "d3"), vec![]);
    assert_eq!(conflict.path, bench.path("d2/sub"));
    fs::remove_file(bench.path("d2/sub/other")).unwrap();
    // Below itself, by way of another name.
    fs::rename(bench.path("d2"), bench.path("d")).unwrap();
    let mut changes = list("d", "d/below");
    let made = changes
        .iter()
        .position(|change| change.path.ends_with("below"))
        .unwrap();
    changes.insert(made, bench.dir("d", 0o755));
    bench.commit(changes).unwrap();
    assert_eq!(
        ["d/below/x", "d/below/sub/y", "d/below/l"].map(|name| bench.inode(name)),
        inodes
    );
}

#[test]
fn a_source_that_is_gone_is_a_conflict() {
    let bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    for (from, found) in [("none", "nothing"), ("d", "a directory")] {
        let conflict = bench.conflict(vec![bench.name("new", from)], vec![]);
        assert_eq!(conflict.path, bench.path(from));
        assert_eq!(conflict.found, found);
    }
}

#[test]
fn a_symlink_is_moved_as_it_is() {
    let bench = Bench::new();
    std::os::unix::fs::symlink("to", bench.path("l")).unwrap();
    let inode = bench.inode("l");
    bench.commit(vec![bench.name("m", "l")]).unwrap();
    bench.commit(vec![bench.remove("l"), bench.name("n", "l")]).unwrap();
    assert_eq!((bench.inode("m"), bench.inode("n")), (inode, inode));
    assert!(bench.stat("n").is_symlink() && !bench.path("l").is_symlink());
}

#[test]
fn a_held_file_goes_back_where_a_commit_fails() {
    use crate::commit::temporary::Temporary;
    let bench = Bench::new();
    bench.write("a", b"x");
    let mut temporary = Temporary::reserve(&bench.top);
    fs::rename(bench.path("a"), bench.top.join(temporary.name())).unwrap();
    temporary.came_from(&bench.path("a"));
    drop(temporary);
    assert_eq!(bench.read("a"), b"x");
    assert_eq!(bench.tree().len(), 1);
}

/// On a second file system in a mount namespace of its own.
#[test]
fn no_file_gets_a_name_in_another_file_system() {
    let me = "commit::tests::names::no_file_gets_a_name_in_another_file_system";
    let Some(top) = super::refuse::on_a_small_disk(me) else {
        return;
    };
    let bench = Bench::new();
    // The directory of the bench is on the disk, the small file system is mounted in it.
    let mount = bench.path("mount");
    fs::create_dir(&mount).unwrap();
    let bind = rustix::mount::mount_bind(&*top, &*mount);
    bind.expect("a bind mount in an own namespace");
    bench.write("a", b"a");
    bench.write("mount/b", b"b");
    std::os::unix::fs::symlink("to", bench.path("l")).unwrap();
    let lists = [
        vec![bench.remove("a"), bench.name("mount/a", "a")],
        vec![bench.name("mount/a", "a")],
        vec![bench.remove("l"), bench.name("mount/l", "l")],
        vec![bench.file("new", b""), bench.link("mount/new", "new")],
    ];
    for list in lists {
        let refused = bench.commit(list).unwrap_err();
        assert!(matches!(refused, CommitError::Refused { .. }), "{refused}");
        assert!(bench.path("a").exists() && bench.stat("l").is_symlink() && !bench.path("new").exists());
    }
    bench
        .commit(vec![bench.remove("mount/b"), bench.name("mount/c", "mount/b")])
        .unwrap();
    assert_eq!(bench.read("mount/c"), b"b");
    rustix::mount::unmount(&*mount, rustix::mount::UnmountFlags::DETACH).unwrap();
}
