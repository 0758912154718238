//! Orders of commits and of what jobs saw.

use super::*;
use termite_types::{Alter, Attr, Base, BlobHash, Content, Edit, FileTime, IfPresent, Node, Use};

fn hash(byte: u8) -> BlobHash {
    BlobHash([byte; 32])
}

fn file(path: &str, content: u8) -> Change {
    let attr = Attr {
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: FileTime::default(),
        node: Node::File {
            size: 1,
            hash: Some(hash(content)),
        },
    };
    let kind = ChangeKind::File {
        attr,
        explicit_mtime: false,
        content: termite_types::Content::OnWorker,
        if_present: IfPresent::Replace,
    };
    Change {
        path: path.into(),
        kind,
    }
}

/// Commits changes of a job that used nothing.
fn commit(overlap: &mut Overlap, changes: &[Change]) {
    commit_new(overlap, changes, &[], &[]);
}

/// Commits changes of a job, some of them, by index, where nothing was.
fn commit_new(overlap: &mut Overlap, changes: &[Change], new: &[usize], trace: &[TraceItem]) {
    overlap.committed(Done {
        changes,
        created: Cow::Owned(new.iter().copied().collect()),
        ..Done::without_changes(trace, &[])
    });
}

fn removal(path: &str) -> Change {
    Change {
        path: path.into(),
        kind: ChangeKind::Remove { dir: false },
    }
}

fn item(used: Use, path: &str) -> TraceItem {
    TraceItem {
        path: path.into(),
        used,
    }
}

fn read(path: &str, content: u8) -> TraceItem {
    item(Use::Read(Some(hash(content))), path)
}

fn torn(trace: &[TraceItem]) -> bool {
    let mut overlap = Overlap::default();
    commit(&mut overlap, &[file("/a", 9), file("/b", 9)]);
    let began = overlap.begin();
    commit(&mut overlap, &[file("/a", 1), file("/b", 1), file("/new", 1)]);
    overlap.conflict(began, &[], trace, &Premises::default()).is_some()
}

#[test]
fn a_commit_seen_by_halves_is_found() {
    assert!(torn(&[read("/a", 9), read("/x/../b", 1)]));
    assert!(torn(&[item(Use::Missing, "/new"), read("/b", 1)]));
}

#[test]
fn a_commit_seen_whole_or_not_at_all_is_none() {
    assert!(!torn(&[read("/a", 9), read("/b", 9)]));
    assert!(!torn(&[read("/a", 1), read("/b", 1)]));
    assert!(!torn(&[read("/a", 1), read("/other", 2)]));
    // What the job wrote itself is no sight of others.
    let of_its_own = item(Use::Read(None), "/a");
    assert!(!torn(&[item(Use::Write, "/a"), of_its_own, read("/b", 1)]));
}

#[test]
fn under_a_lock_everything_counts_that_changed_later() {
    let mut overlap = Overlap::default();
    let began = overlap.begin();
    let locked = Premises {
        locked: true,
        ..Premises::default()
    };
    let stale = |overlap: &Overlap, trace: &[TraceItem]| overlap.conflict(began, &[], trace, &locked).is_some();
    assert!(!stale(&overlap, &[item(Use::Listed, "/d")]));
    commit(&mut overlap, &[file("/d/a", 1)]);
    assert!(stale(&overlap, &[read("/d/a", 9)]));
    assert!(stale(&overlap, &[item(Use::Listed, "/d")]));
    assert!(stale(&overlap, &[item(Use::Missing, "/d/a")]));
    assert!(!stale(&overlap, &[read("/d/a", 1)]));
    assert!(!stale(&overlap, &[read("/e", 9), item(Use::Listed, "/")]));
    overlap.changed_outside(Path::new("/e"));
    assert!(stale(&overlap, &[read("/e", 9)]));
    assert!(!stale(&overlap, &[item(Use::Stat, "/d"), item(Use::Stat, "/e")]));
    assert!(stale(&overlap, &[item(Use::Stat, "/d/a")]));
    commit(&mut overlap, &[removal("/d/a")]);
    assert!(stale(&overlap, &[item(Use::Stat, "/d/a")]));
    overlap.end(began);
    assert!(overlap.commits.is_empty() && overlap.outside.is_empty());
}

#[test]
fn a_name_that_a_changed_file_has_lost_was_not_a_file_of_its_own() {
    let name = |ino, path: &str| FileName {
        dev: 1,
        ino,
        path: path.into(),
    };
    let mut overlap = Overlap::default();
    let earlier = overlap.begin();
    let trace = [item(Use::Stat, "/d/../b")];
    let changed = [name(7, "/a")];
    assert_eq!(overlap.former_name(earlier, &trace, &changed), None);
    commit(&mut overlap, &[file("/b", 1)]);
    overlap.parted(vec![name(7, "/b"), name(8, "/c")]);
    let conflict = overlap.former_name(earlier, &trace, &changed).unwrap();
    assert_eq!(conflict.path, Path::new("/b"));
    assert_eq!(overlap.former_name(earlier, &[item(Use::Stat, "/c")], &changed), None);
    assert_eq!(overlap.former_name(earlier, &trace, &[name(8, "/x")]), None);
    let later = overlap.begin();
    assert_eq!(overlap.former_name(later, &trace, &changed), None);
    overlap.end(earlier);
    overlap.end(later);
    assert!(overlap.parted.is_empty());
}

#[test]
fn a_passing_name_of_two_jobs_is_a_lock() {
    let mut overlap = Overlap::default();
    let began = overlap.begin();
    overlap.committed(Done::without_changes(&[], &["/lock".into()]));
    assert!(overlap.shares_lock(began, &["/x".into(), "/lock".into()]));
    assert!(!overlap.shares_lock(began, &["/tmp/ccq".into()]));
    assert!(!overlap.shares_lock(Moment(overlap.clock), &["/lock".into()]));
    commit(&mut overlap, &[file("/left", 1)]);
    assert!(overlap.shares_lock(began, &["/left".into()]), "a commit changed it");
    overlap.changed_outside(Path::new("/held"));
    assert!(
        overlap.shares_lock(began, &["/held".into()]),
        "a process of the client did"
    );
}

#[test]
fn what_is_looked_for_in_vain_and_made_counts_against_what_is_found() {
    let seen = |trace: &[TraceItem]| {
        let mut overlap = Overlap::default();
        let began = overlap.begin();
        commit_new(&mut overlap, &[file("/d/x", 1)], &[0], &[]);
        commit_new(&mut overlap, &[file("/d/y", 1), file("/d/z", 1)], &[0], &[]);
        overlap.conflict(began, &[], trace, &Premises::default()).is_some()
    };
    assert!(seen(&[item(Use::Missing, "/d/x"), item(Use::Stat, "/d/y")]));
    assert!(seen(&[item(Use::Missing, "/d/x"), item(Use::Listed, "/d")]));
    assert!(!seen(&[item(Use::Stat, "/d/x"), item(Use::Missing, "/d/y")]));
    assert!(
        !seen(&[item(Use::Missing, "/d/x"), item(Use::Stat, "/d/z")]),
        "it may have been there"
    );
    assert!(!seen(&[item(Use::Missing, "/d/x"), item(Use::Listed, "/e")]));
}

#[test]
fn a_content_that_was_appended_to_is_known_where_nobody_else_did() {
    let mut overlap = Overlap::default();
    let began = overlap.begin();
    let appended = |path: &str| {
        let edit = Edit {
            base: termite_types::Base { size: 1, hash: hash(8) },
            size: 2,
            hash: hash(9),
            content: termite_types::Content::OnWorker,
            appended: true,
        };
        let alter = termite_types::Alter {
            content: Some(edit),
            ..Default::default()
        };
        Change {
            path: path.into(),
            kind: ChangeKind::Alter(alter),
        }
    };
    overlap.committed(Done {
        changes: &[appended("/v"), appended("/w")],
        whole: Cow::Owned(HashSet::from([0, 1])),
        ..Done::without_changes(&[], &[])
    });
    let conflict = |trace: &[TraceItem]| overlap.conflict(began, &[], trace, &Premises::default()).is_some();
    assert!(conflict(&[read("/v", 8), read("/w", 9)]));
    assert!(!conflict(&[read("/v", 9), read("/w", 9)]));
}

#[test]
fn of_two_jobs_that_did_not_see_each_other_the_second_runs_again() {
    let first = [
        item(Use::Write, "/d/1"),
        item(Use::Missing, "/d/2"),
        item(Use::Listed, "/d"),
    ];
    let second = [item(Use::Write, "/d/2"), item(Use::Missing, "/d/1")];
    let lists = [item(Use::Write, "/d/2"), item(Use::Listed, "/d")];
    let listed = [item(Use::Listed, "/d"), item(Use::Write, "/d/2")];
    let conflict = |of_first: &[TraceItem], trace: &[TraceItem]| {
        let mut overlap = Overlap::default();
        let began = overlap.begin();
        commit_new(&mut overlap, &[file("/d/1", 1)], &[0], of_first);
        overlap
            .conflict(began, &[file("/d/2", 1)], trace, &Premises::default())
            .is_some()
    };
    assert!(conflict(&first, &second));
    assert!(conflict(&first, &lists));
    assert!(!conflict(&first, &listed), "it listed before it changed anything");
    assert!(!conflict(&[], &second), "it comes before the first one");
    let elsewhere = [item(Use::Listed, "/d"), item(Use::Write, "/e/2")];
    let mut overlap = Overlap::default();
    let began = overlap.begin();
    commit_new(&mut overlap, &[file("/d/1", 1)], &[0], &[item(Use::Missing, "/e/2")]);
    let changes = [file("/e/2", 1)];
    let without_own = overlap.conflict(began, &changes, &elsewhere, &Premises::default());
    assert!(
        without_own.is_some(),
        "it changes nothing in the directory that it lists"
    );
    assert!(!conflict(&first, &[]), "it comes after the first one");
}

#[test]
fn of_three_jobs_in_a_ring_the_last_runs_again() {
    let looks = |own: &str, other: &str| [item(Use::Write, own), item(Use::Missing, other)];
    let mut overlap = Overlap::default();
    let began = overlap.begin();
    commit_new(&mut overlap, &[file("/1", 1)], &[0], &looks("/1", "/2"));
    assert_eq!(
        overlap.conflict(began, &[file("/2", 1)], &looks("/2", "/3"), &Premises::default()),
        None
    );
    commit_new(&mut overlap, &[file("/2", 1)], &[0], &looks("/2", "/3"));
    let third = overlap.conflict(began, &[file("/3", 1)], &looks("/3", "/1"), &Premises::default());
    assert_eq!(third.unwrap().path, Path::new("/1"));
}

#[test]
fn a_file_that_was_changed_and_removed_is_the_one_that_had_the_name() {
    let mut overlap = Overlap::default();
    let began = overlap.begin();
    let only = Premises {
        checks: vec![termite_types::Check {
            path: "/a".into(),
            seen: Seen::OnlyName,
        }],
        ..Premises::default()
    };
    commit(&mut overlap, &[file("/b", 1)]);
    assert_eq!(overlap.conflict(began, &[removal("/a")], &[], &only), None);
    commit(&mut overlap, &[file("/a", 1)]);
    assert!(overlap.conflict(began, &[removal("/a")], &[], &only).is_some());
}

#[test]
fn an_append_to_a_file_that_was_replaced_is_found() {
    let mut overlap = Overlap::default();
    let began = overlap.begin();
    let edit = Edit {
        base: Base { size: 1, hash: hash(9) },
        size: 2,
        hash: hash(8),
        content: Content::OnWorker,
        appended: true,
    };
    let append = Change {
        path: "/log".into(),
        kind: ChangeKind::Alter(Alter {
            content: Some(edit),
            ..Alter::default()
        }),
    };
    let changes = std::slice::from_ref(&append);
    let conflict = |overlap: &Overlap| overlap.conflict(began, changes, &[], &Premises::default());
    commit(&mut overlap, changes);
    assert_eq!(conflict(&overlap), None, "what others append stays");
    commit(&mut overlap, &[removal("/log")]);
    assert!(conflict(&overlap).is_some());
}
