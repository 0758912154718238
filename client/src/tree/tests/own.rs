//! Commits are no news to the worker that made them, and news to everybody else.

use super::{Bench, ME, OTHER, told};
use crate::commit::{ClockShift, CommitRequest, Contents, Unlogged, commit};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use termite_types::{
    Alter, Attr, Base, BlobHash, Change, ChangeKind, Content, Edit, FileTime, Node, Premises, SetTime, Snapshot, Update,
};

struct Nothing;

impl Contents for Nothing {
    fn read(&self, _: BlobHash, _: u64, _: u32) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn hash(bytes: &[u8]) -> BlobHash {
    BlobHash(*blake3::hash(bytes).as_bytes())
}

fn attr(node: Node, mode: u32) -> Attr {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Attr {
        mode,
        uid,
        gid,
        mtime: FileTime {
            sec: 1_000_000_000,
            nsec: 1,
        },
        node,
    }
}

fn file(bench: &Bench, name: &str, content: &str) -> Change {
    let bytes = content.as_bytes().to_vec();
    let node = Node::File {
        size: bytes.len() as u64,
        hash: Some(hash(&bytes)),
    };
    let kind = ChangeKind::File {
        attr: attr(node, 0o644),
        explicit_mtime: false,
        content: Content::Inline(bytes),
        if_present: termite_types::IfPresent::Replace,
    };
    Change {
        path: bench.path(name),
        kind,
    }
}

fn edit(bench: &Bench, name: &str, before: &str, after: &str, appended: bool) -> Change {
    let content = Edit {
        base: Base {
            size: before.len() as u64,
            hash: hash(before.as_bytes()),
        },
        size: after.len() as u64,
        hash: hash(after.as_bytes()),
        content: Content::Inline(after.as_bytes().to_vec()),
        appended,
    };
    let alter = Alter {
        content: Some(content),
        ..Alter::default()
    };
    Change {
        path: bench.path(name),
        kind: ChangeKind::Alter(alter),
    }
}

fn dir(bench: &Bench, name: &str) -> Change {
    Change {
        path: bench.path(name),
        kind: ChangeKind::MakeDir {
            attr: attr(Node::Dir, 0o755),
            explicit_mtime: false,
            plain: false,
        },
    }
}

fn remove(bench: &Bench, name: &str, dir: bool) -> Change {
    Change {
        path: bench.path(name),
        kind: ChangeKind::Remove { dir },
    }
}

fn request(changes: Vec<Change>) -> CommitRequest {
    CommitRequest {
        changes,
        premises: Premises::default(),
        trace: Vec::new(),
        cwd: "/".into(),
        began: Default::default(),
        clock: ClockShift::default(),
    }
}

fn commit_for_me(bench: &Bench, changes: Vec<Change>) -> Vec<Update> {
    let (committed, _pending) = commit(
        &request(changes),
        &Nothing,
        &bench.tree.deny,
        &Default::default(),
        &Unlogged,
    )
    .expect("committed");
    bench.tree.committed(ME, &committed.paths).1
}

fn names(bench: &Bench, updates: &[Update]) -> Vec<String> {
    told(updates).map(|update| bench.name(update)).collect()
}

#[test]
fn an_own_commit_is_news_to_others_only() {
    let mut bench = Bench::new();
    bench.write("old", "x");
    bench.write("removed", "x");
    bench.serve(&[]);
    bench.tree.read_dir(OTHER, &bench.top).unwrap();
    let (other, _) = bench.tree.updates_for(OTHER, Snapshot::default());
    let changes = vec![
        remove(&bench, "removed", false),
        file(&bench, "old", "y"),
        file(&bench, "new", "z"),
        Change {
            path: bench.path("link"),
            kind: ChangeKind::Link { to: bench.path("new") },
        },
    ];
    let updates = commit_for_me(&bench, changes);
    assert_eq!(names(&bench, &updates), ["removed", "old", "new", "link"]);
    let Node::File { hash: Some(known), .. } = updates[2].attr.as_ref().unwrap().node else {
        panic!("no hash")
    };
    assert_eq!(known, hash(b"z"));
    assert!(bench.news().is_empty());
    let (_, updates) = bench.tree.updates_for(OTHER, other);
    assert_eq!(names(&bench, &updates), ["link", "new", "old", "removed"]);
    assert!(updates[3].attr.is_none());
    bench.write("new", "by hand");
    assert_eq!(bench.news(), ["link", "new"]);
}

#[test]
fn a_drain_between_commit_and_report_is_made_good() {
    let mut bench = Bench::new();
    bench.serve(&[]);
    let request = request(vec![file(&bench, "new", "z")]);
    let (committed, _pending) = commit(&request, &Nothing, &bench.tree.deny, &Default::default(), &Unlogged).unwrap();
    bench.tree.drain();
    bench.tree.committed(ME, &committed.paths);
    assert!(bench.news().is_empty());
}

#[test]
fn what_others_did_to_an_output_is_news() {
    let mut bench = Bench::new();
    bench.serve(&[]);
    let request = request(vec![file(&bench, "new", "z")]);
    let (committed, _pending) = commit(&request, &Nothing, &bench.tree.deny, &Default::default(), &Unlogged).unwrap();
    bench.write("new", "other");
    let (_, updates) = bench.tree.committed(ME, &committed.paths);
    assert!(matches!(
        updates[0].attr.as_ref().unwrap().node,
        Node::File { size: 5, hash: None }
    ));
    assert_eq!(bench.news(), ["new"]);
}

#[test]
fn an_append_that_met_another_is_news_to_its_worker() {
    let mut bench = Bench::new();
    bench.write("log", "a\n");
    bench.serve(&[]);
    bench.write("log", "a\nb\n");
    commit_for_me(&bench, vec![edit(&bench, "log", "a\n", "a\nc\n", true)]);
    assert_eq!(fs::read(bench.path("log")).unwrap(), b"a\nb\nc\n");
    assert_eq!(bench.news(), ["log"]);
}

#[test]
fn a_commit_into_a_file_with_links_is_no_news_under_its_own_name() {
    let mut bench = Bench::new();
    bench.write("a", "old");
    fs::hard_link(bench.path("a"), bench.path("b")).unwrap();
    bench.serve(&[]);
    commit_for_me(&bench, vec![edit(&bench, "a", "old", "new", false)]);
    assert_eq!(fs::read(bench.path("b")).unwrap(), b"new");
    assert_eq!(bench.news(), ["b"]);
}

#[test]
fn a_file_that_a_job_gave_another_name_is_no_news_under_that() {
    let mut bench = Bench::new();
    bench.write("moved", "x");
    bench.write("linked", "y");
    bench.serve(&[]);
    let name = |name: &str, from: &str, content: &[u8]| Change {
        path: bench.path(name),
        kind: ChangeKind::Name {
            from: bench.path(from),
            hash: Some(hash(content)),
        },
    };
    let changes = vec![
        remove(&bench, "moved", false),
        name("to", "moved", b"x"),
        name("second", "linked", b"y"),
    ];
    let updates = commit_for_me(&bench, changes);
    assert_eq!(names(&bench, &updates), ["moved", "to", "second"]);
    let known = |update: &Update| match update.attr.as_ref().map(|attr| &attr.node) {
        Some(Node::File { hash, .. }) => *hash,
        _ => None,
    };
    assert_eq!(known(&updates[1]), Some(hash(b"x")));
    assert_eq!(known(&updates[2]), Some(hash(b"y")));
    assert_eq!(bench.news(), ["linked"]);
}

#[test]
fn a_directory_that_was_made_is_listed_anew_and_one_that_was_there_is_not() {
    let mut bench = Bench::new();
    fs::create_dir(bench.path("old")).unwrap();
    bench.serve(&["old"]);
    // By a name that came and went, long ago.
    let touched = Alter {
        mtime: Some(SetTime {
            time: attr(Node::Dir, 0o755).mtime,
            explicit: false,
        }),
        ..Alter::default()
    };
    let changes = vec![
        Change {
            path: bench.path("old"),
            kind: ChangeKind::Alter(touched),
        },
        file(&bench, "old/x", ""),
        dir(&bench, "made"),
        file(&bench, "made/y", ""),
    ];
    let updates = commit_for_me(&bench, changes);
    assert_eq!(names(&bench, &updates), ["old/x", "made", "made/y"]);
    assert!(bench.news().is_empty());
    bench.serve(&["made"]);
    bench.write("made/y", "by hand");
    assert_eq!(bench.news(), ["made/y"]);
}

#[test]
fn a_tree_removed_by_a_commit_is_gone_for_others_too() {
    let mut bench = Bench::new();
    fs::create_dir_all(bench.path("d/e")).unwrap();
    bench.serve(&["d", "d/e"]);
    for dir in ["", "d", "d/e"] {
        bench
            .tree
            .read_dir(OTHER, &bench.path(dir).components().collect::<std::path::PathBuf>())
            .unwrap();
    }
    let (other, _) = bench.tree.updates_for(OTHER, Snapshot::default());
    commit_for_me(&bench, vec![remove(&bench, "d/e", true), remove(&bench, "d", true)]);
    assert!(bench.news().is_empty());
    let (_, updates) = bench.tree.updates_for(OTHER, other);
    assert_eq!(
        told(&updates).collect::<Vec<_>>(),
        [&Update::new(bench.path("d"), None)]
    );
}

#[test]
fn a_name_gives_its_directory_a_time_that_is_told() {
    let mut bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    bench.serve(&["d"]);
    bench.write("d/x", "");
    let updates = bench.updates();
    assert_eq!(names(&bench, &updates), ["d/x"]);
    let dir = updates.iter().find(|update| update.names_told).unwrap();
    assert_eq!(bench.name(dir), "d");
    let time = dir.attr.as_ref().unwrap().mtime;
    let modified = fs::metadata(bench.path("d")).unwrap();
    assert_eq!(
        (time.sec, i64::from(time.nsec)),
        (modified.mtime(), modified.mtime_nsec())
    );
}

#[test]
fn a_directory_that_a_job_made_is_told_of_as_if_it_were_listed() {
    let mut bench = Bench::new();
    bench.serve(&[]);
    for again in [false, true] {
        let request = request(vec![dir(&bench, "made"), file(&bench, "made/own", "z")]);
        let (committed, _pending) =
            commit(&request, &Nothing, &bench.tree.deny, &Default::default(), &Unlogged).unwrap();
        bench.write("made/before the report", "x");
        let (_, updates) = bench.tree.committed(ME, &committed.paths);
        assert_eq!(names(&bench, &updates), ["made", "made/own"], "{again}");
        assert_eq!(bench.news(), ["made/before the report"], "{again}");
        bench.write("made/after it", "x");
        assert_eq!(bench.news(), ["made/after it"], "{again}");
        bench.write("made/own", "by hand");
        fs::remove_file(bench.path("made/after it")).unwrap();
        assert_eq!(bench.news(), ["-made/after it", "made/own"], "{again}");
        fs::remove_dir_all(bench.path("made")).unwrap();
        bench.news();
    }
}
