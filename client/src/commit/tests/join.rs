//! Directories that several jobs make.

use super::Bench;
use std::fs;

#[test]
fn a_directory_that_two_jobs_make_holds_the_files_of_both() {
    let bench = Bench::new();
    bench
        .commit(vec![bench.dir("d", 0o755), bench.file("d/a", b"1")])
        .unwrap();
    let conflict = bench.conflict(vec![bench.dir("d", 0o711)], vec![]);
    assert!(conflict.seen.contains("mode 711") && conflict.found.contains("mode 755"));
    let committed = bench
        .commit(vec![
            bench.dir("d", 0o755),
            bench.dir("d/e", 0o700),
            bench.file("d/b", b"2"),
        ])
        .unwrap();
    assert_eq!((bench.read("d/a"), bench.read("d/b")), (b"1".to_vec(), b"2".to_vec()));
    // Its worker made it, and is told of what else is in it.
    assert!(committed.paths[0].touched);
    assert_eq!(committed.paths[0].stamp.unwrap().ino, bench.inode("d"));
}

#[test]
fn two_jobs_that_expect_to_make_it_are_one_too_many() {
    let bench = Bench::new();
    bench.commit(vec![bench.plain_dir("d")]).unwrap();
    let again = vec![bench.plain_dir("d"), bench.file("d/x", b"")];
    let conflict = bench.conflict(again.clone(), vec![]);
    assert_eq!(
        (conflict.path, &*conflict.seen, &*conflict.found),
        (bench.path("d"), "nothing", "a directory")
    );
    bench.commit(vec![bench.dir("d", 0o755)]).unwrap();
    bench.commit(vec![bench.remove_dir("d")]).unwrap();
    bench.commit(again.clone()).unwrap();
    // One that a process of the client made may have been expected there, too.
    fs::remove_dir_all(bench.path("d")).unwrap();
    fs::create_dir(bench.path("d")).unwrap();
    bench.conflict(again.clone(), vec![]);
    // One that another job made, which did not mind that it is there, is joined.
    bench
        .commit(vec![bench.remove_dir("d"), bench.dir("d", 0o755)])
        .unwrap();
    bench.commit(again).unwrap();
}

#[test]
fn what_is_no_directory_is_not_joined() {
    let bench = Bench::new();
    bench.write("f", b"");
    std::os::unix::fs::symlink("/tmp", bench.path("l")).unwrap();
    for (name, found) in [("f", "a file"), ("l", "a symlink")] {
        let conflict = bench.conflict(vec![bench.dir(name, 0o755)], vec![]);
        assert_eq!((&*conflict.seen, &*conflict.found), ("nothing", found));
    }
}

#[test]
fn a_directory_made_anew_keeps_nothing_of_the_old() {
    let bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    bench.write("d/old", b"");
    bench.write("d/both", b"old");
    let changes = vec![
        bench.remove("d/old"),
        bench.remove("d/both"),
        bench.remove_dir("d"),
        bench.dir("d", 0o755),
        bench.file("d/both", b"new"),
    ];
    // Staged contents are not in a directory that goes.
    bench.commit(changes).unwrap();
    assert_eq!(bench.read("d/both"), b"new");
    assert!(!bench.path("d/old").exists());
}

#[test]
fn a_file_in_a_directory_that_was_there_gives_it_another_time() {
    let bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    let old = || bench.make_old("d");
    old();
    bench.commit(vec![bench.file("d/f", b"1")]).unwrap();
    assert!(bench.mtime("d") > super::OLD);
    old();
    // What is changed in place changes no name.
    bench.commit(vec![bench.edit("d/f", b"1", b"2")]).unwrap();
    bench.commit(vec![bench.append("d/f", b"2", b"23")]).unwrap();
    assert_eq!(bench.mtime("d"), super::OLD);
    bench.commit(vec![bench.remove("d/f")]).unwrap();
    assert!(bench.mtime("d") > super::OLD);
    old();
    // A second name elsewhere changes none here.
    bench.write("g", b"");
    fs::create_dir(bench.path("d/joined")).unwrap();
    bench.write("d/h", b"");
    old();
    bench.commit(vec![bench.name("g2", "d/h")]).unwrap();
    assert_eq!(bench.mtime("d"), super::OLD);
    // One that moves into a directory below, which is joined, leaves this one.
    let changes = vec![
        bench.remove("d/h"),
        bench.dir("d/joined", 0o755),
        bench.name("d/joined/h", "d/h"),
    ];
    bench.commit(changes).unwrap();
    assert!(bench.mtime("d") > super::OLD);
}
