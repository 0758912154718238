//! Every kind of change is seen once, whoever made it and however.

use super::{Bench, ME, told};
use crate::tree::records::Outside;
use crate::tree::stamp::Stamp;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use termite_types::{Node, Snapshot, Special};

fn set_mtime_like(path: &Path, like: &fs::Metadata) {
    let file = fs::File::options().write(true).open(path).expect("opened");
    let times = fs::FileTimes::new().set_modified(like.modified().expect("a time"));
    file.set_times(times).expect("a time set");
}

#[test]
fn a_quiet_tree_has_no_news() {
    let mut bench = Bench::new();
    bench.write("a", "1");
    fs::create_dir(bench.path("d")).unwrap();
    bench.serve(&["d"]);
    assert!(bench.news().is_empty());
    let before = bench.tree.drain();
    fs::read(bench.path("a")).unwrap();
    fs::read_dir(bench.path("d")).unwrap().count();
    assert_eq!(bench.tree.drain(), before);
}

#[test]
fn writing_creating_renaming_and_removing_are_seen() {
    let mut bench = Bench::new();
    ["a", "b", "c", "d"].iter().for_each(|name| bench.write(name, name));
    bench.serve(&[]);
    bench.write("a", "more");
    assert_eq!(bench.news(), ["a"]);
    bench.write("new", "");
    assert_eq!(bench.news(), ["new"]);
    fs::rename(bench.path("b"), bench.path("a")).unwrap();
    assert_eq!(bench.news(), ["a", "-b"]);
    fs::remove_file(bench.path("c")).unwrap();
    assert_eq!(bench.news(), ["-c"]);
    fs::set_permissions(bench.path("d"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(bench.news(), ["d"]);
    symlink("d", bench.path("link")).unwrap();
    let updates = bench.updates();
    assert_eq!(
        updates[0].attr.as_ref().unwrap().node,
        Node::Symlink { target: "d".into() }
    );
    assert!(bench.news().is_empty());
}

#[test]
fn a_name_that_comes_and_goes_is_seen_by_whoever_looks_for_locks() {
    let mut bench = Bench::new();
    bench.write("a", "");
    bench.serve(&[]);
    bench.tree.take_outside();
    fs::create_dir(bench.path("lock")).unwrap();
    fs::remove_dir(bench.path("lock")).unwrap();
    assert!(bench.news().is_empty());
    let came_and_went = Outside {
        path: bench.path("lock"),
        parted: None,
    };
    assert_eq!(bench.tree.take_outside(), [came_and_went]);
}

#[test]
fn a_name_that_a_file_loses_is_told_with_that_file() {
    let mut bench = Bench::new();
    bench.write("a", "");
    bench.serve(&[]);
    bench.tree.take_outside();
    let was = Stamp::at_path(&bench.path("a")).unwrap();
    bench.write("b", "");
    fs::rename(bench.path("b"), bench.path("a")).unwrap();
    bench.news();
    let mut parted = bench.tree.take_outside();
    parted.retain(|change| change.path == bench.path("a"));
    assert_eq!(parted[0].parted, Some(was.named(&bench.path("a"))));
}

#[test]
fn a_write_through_an_open_descriptor_is_seen_before_it_is_closed() {
    use std::io::Write;
    let mut bench = Bench::new();
    bench.write("log", "");
    bench.serve(&[]);
    let mut file = fs::File::options().append(true).open(bench.path("log")).unwrap();
    file.write_all(b"line\n").unwrap();
    assert_eq!(bench.news(), ["log"]);
}

#[test]
fn the_same_size_and_mtime_do_not_hide_another_content() {
    let mut bench = Bench::new();
    bench.write("a", "old");
    bench.serve(&[]);
    bench.tree.open_file(ME, &bench.path("a")).unwrap();
    let before = fs::metadata(bench.path("a")).unwrap();
    bench.write("a", "new");
    set_mtime_like(&bench.path("a"), &before);
    let after = fs::metadata(bench.path("a")).unwrap();
    assert_eq!(
        (before.mtime(), before.mtime_nsec(), before.len()),
        (after.mtime(), after.mtime_nsec(), after.len())
    );
    let updates = bench.updates();
    let [news] = told(&updates).collect::<Vec<_>>()[..] else {
        panic!("{updates:?}")
    };
    assert!(matches!(
        news.attr.as_ref().unwrap().node,
        Node::File { hash: None, .. }
    ));
    assert_eq!(bench.tree.open_file(ME, &bench.path("a")).unwrap().head, b"new");
}

#[test]
fn a_write_through_a_link_in_another_directory_is_seen() {
    let mut bench = Bench::new();
    bench.write("a", "old");
    fs::create_dir(bench.path("elsewhere")).unwrap();
    fs::hard_link(bench.path("a"), bench.path("elsewhere/b")).unwrap();
    bench.serve(&[]);
    bench.write("elsewhere/b", "new");
    assert_eq!(bench.news(), ["a"]);
}

#[test]
fn a_link_made_in_a_served_directory_makes_its_other_name_watched_by_stat() {
    let mut bench = Bench::new();
    bench.write("a", "old");
    fs::create_dir(bench.path("d")).unwrap();
    bench.serve(&["d"]);
    fs::hard_link(bench.path("a"), bench.path("d/b")).unwrap();
    assert_eq!(bench.news(), ["a", "d/b"]);
    fs::rename(bench.path("d/b"), bench.top.with_extension("b")).unwrap();
    assert_eq!(bench.news(), ["a", "-d/b"]);
    fs::write(bench.top.with_extension("b"), "new").unwrap();
    assert_eq!(bench.news(), ["a"]);
    fs::remove_file(bench.top.with_extension("b")).unwrap();
}

#[test]
fn directories_made_and_removed_are_seen_with_all_below() {
    let mut bench = Bench::new();
    fs::create_dir_all(bench.path("p/q/r")).unwrap();
    bench.write("p/q/r/file", "");
    bench.serve(&["p", "p/q", "p/q/r"]);
    fs::remove_dir_all(bench.path("p/q")).unwrap();
    assert_eq!(bench.news(), ["-p/q"]);
    fs::create_dir_all(bench.path("p/q/r")).unwrap();
    assert_eq!(bench.news(), ["p/q"]);
    bench.write("p/q/r/file", "not served any more");
    assert!(bench.news().is_empty());
}

#[test]
fn a_directory_replaced_between_two_drains_is_listed_anew_with_all_below() {
    let mut bench = Bench::new();
    for dir in ["a/sub", "b/sub"] {
        fs::create_dir_all(bench.path(dir)).unwrap();
    }
    bench.write("a/sub/x", "");
    bench.serve(&["a", "a/sub", "b"]);
    fs::rename(bench.path("a"), bench.path("c")).unwrap();
    fs::rename(bench.path("b"), bench.path("a")).unwrap();
    assert_eq!(bench.news(), ["a", "a/sub", "-b", "c"]);
    bench.write("a/sub/y", "");
    assert!(bench.news().is_empty(), "a/sub was not asked for again");
    bench.serve(&["a", "a/sub"]);
    bench.write("a/sub/z", "");
    assert_eq!(bench.news(), ["a/sub/z"]);
}

#[test]
fn the_same_directory_made_anew_at_once_is_seen() {
    let mut bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    bench.write("d/old", "");
    bench.serve(&["d"]);
    fs::remove_dir_all(bench.path("d")).unwrap();
    fs::create_dir(bench.path("d")).unwrap();
    assert_eq!(bench.news().first().map(String::as_str), Some("d"));
    bench.serve(&["d"]);
    bench.write("d/new", "");
    assert_eq!(bench.news(), ["d/new"]);
}

#[test]
fn a_directory_that_becomes_a_symlink_hides_what_was_below() {
    let mut bench = Bench::new();
    fs::create_dir_all(bench.path("real/sub")).unwrap();
    fs::create_dir_all(bench.path("d/sub")).unwrap();
    bench.serve(&["d", "d/sub"]);
    fs::remove_dir_all(bench.path("d")).unwrap();
    symlink("real", bench.path("d")).unwrap();
    assert_eq!(bench.news(), ["d"]);
}

#[test]
fn attributes_of_a_directory_count() {
    let mut bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    bench.serve(&["d"]);
    fs::set_permissions(bench.path("d"), fs::Permissions::from_mode(0o711)).unwrap();
    assert_eq!(bench.news(), ["d"]);
    fs::set_permissions(&bench.top, fs::Permissions::from_mode(0o711)).unwrap();
    assert_eq!(bench.news(), [""]);
}

#[test]
fn a_name_that_was_told_ahead_of_its_event_is_news_when_it_goes() {
    let mut bench = Bench::new();
    bench.write("a", "");
    bench.serve(&[]);
    fs::remove_file(bench.path("a")).unwrap();
    bench.tree.drain();
    bench.write("a", "");
    assert_eq!(bench.late_news(), ["a"]);
    fs::remove_file(bench.path("a")).unwrap();
    assert_eq!(bench.news(), ["-a"]);
    assert!(bench.news().is_empty());
}

#[test]
fn attributes_of_a_directory_that_were_told_ahead_of_their_event_are_news_when_they_go() {
    let mut bench = Bench::new();
    let dir = bench.path("d");
    fs::create_dir(&dir).unwrap();
    let chmod = |mode| fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
    chmod(0o755);
    bench.serve(&["d"]);
    // With a name in it.
    bench.write("d/x", "");
    bench.tree.drain();
    chmod(0o711);
    assert_eq!(bench.late_news(), ["d/x"]);
    chmod(0o755);
    assert_eq!(bench.news(), ["d"]);
    // With a listing.
    chmod(0o711);
    bench.tree.read_dir(ME, &dir).unwrap();
    chmod(0o755);
    assert_eq!(bench.news(), ["d"]);
    assert!(bench.news().is_empty());
}

#[test]
fn how_a_file_was_when_it_was_opened_is_on_record() {
    let mut bench = Bench::new();
    bench.write("a", "");
    bench.serve(&[]);
    bench.write("a", "more");
    bench.tree.open_file(ME, &bench.path("a")).unwrap();
    assert_eq!(bench.late_news(), ["a"]);
}

#[test]
fn unserved_directories_are_nobodys_news() {
    let mut bench = Bench::new();
    fs::create_dir_all(bench.path("d/e")).unwrap();
    bench.serve(&[]);
    bench.tree.read_dir(super::OTHER, &bench.path("d")).unwrap();
    bench.write("d/x", "");
    assert!(bench.news().is_empty());
    bench.serve(&["d"]);
    bench.write("d/x", "more");
    assert_eq!(bench.news(), ["d/x"]);
}

#[test]
fn what_one_worker_is_served_later_is_still_news_to_the_first() {
    let mut bench = Bench::new();
    bench.write("a", "1");
    bench.serve(&[]);
    bench.write("a", "22");
    bench.tree.read_dir(super::OTHER, &bench.top).unwrap();
    assert_eq!(bench.news(), ["a"]);
}

#[test]
fn files_in_the_making_do_not_appear_and_fifos_do() {
    let mut bench = Bench::new();
    bench.serve(&[]);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bench.path("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    bench.write(".termite-commit-0123456789abcdef01234567", "");
    bench.write(".termite-localrc", "");
    assert_eq!(bench.news(), [".termite-localrc", "fifo"]);
    let mut entries = bench.tree.read_dir(ME, &bench.top).unwrap().entries;
    entries.retain(|entry| entry.attr.node == Node::Special(Special::Fifo));
    assert_eq!(entries.len(), 1);
}

/// More events than the kernel keeps.
#[test]
fn an_overflowing_queue_loses_nothing() {
    let mut bench = Bench::new();
    for dir in ["d/e", "gone/below"] {
        fs::create_dir_all(bench.path(dir)).unwrap();
    }
    bench.write("old", "");
    bench.write("d/removed", "");
    bench.serve(&["d", "d/e", "gone"]);
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    for _ in 0..=limit / 2 {
        // Two names in turn, so that no event equals the one before it.
        bench.write("x", "");
        bench.write("y", "");
    }
    bench.write("old", "more");
    bench.write("d/e/made", "");
    fs::remove_file(bench.path("d/removed")).unwrap();
    fs::remove_dir_all(bench.path("gone")).unwrap();
    assert_eq!(bench.news(), ["d/e/made", "-d/removed", "-gone", "old", "x", "y"]);
    bench.write("d/e/made", "more");
    assert_eq!(bench.news(), ["d/e/made"]);
}

#[test]
fn a_directory_made_anew_while_events_were_lost_is_watched_again() {
    let mut bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    bench.serve(&["d"]);
    fs::remove_dir(bench.path("d")).unwrap();
    fs::create_dir(bench.path("d")).unwrap();
    bench.tree.watcher.read().unwrap();
    bench.tree.drain_into(&mut bench.tree.records.lock(), true);
    bench.news();
    bench.serve(&["d"]);
    bench.write("d/x", "");
    assert_eq!(bench.news(), ["d/x"]);
}

#[test]
fn what_does_not_notify_is_checked_by_stat() {
    let mut bench = Bench::new();
    bench.tree.options.silent = true;
    fs::create_dir_all(bench.path("d/e")).unwrap();
    bench.write("d/a", "");
    bench.serve(&["d", "d/e"]);
    assert!(bench.news().is_empty());
    bench.write("d/a", "more");
    bench.write("d/e/new", "");
    assert_eq!(bench.news(), ["d/a", "d/e/new"]);
    fs::remove_dir_all(bench.path("d/e")).unwrap();
    assert_eq!(bench.news(), ["-d/e"]);
}

#[test]
fn another_epoch_has_no_updates() {
    let bench = Bench::new();
    bench.serve(&[]);
    bench.write("a", "");
    bench.tree.drain();
    let (first, _) = bench.tree.updates_for(ME, Snapshot::default());
    let (snapshot, updates) = bench.tree.updates_for(
        ME,
        Snapshot {
            epoch: first.epoch + 2,
            count: 0,
        },
    );
    assert_eq!((snapshot.epoch, updates.len()), (first.epoch, 0));
    bench.tree.forget(ME);
    let (later, updates) = bench.tree.updates_for(ME, first);
    assert_ne!(
        later.epoch, first.epoch,
        "a worker that comes back must drop what it holds"
    );
    assert!(updates.is_empty());
}
