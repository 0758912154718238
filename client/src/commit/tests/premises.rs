//! What jobs were told, and what is there when they are committed.

use super::{Bench, base};
use crate::commit::CommitError;
use crate::commit::planted::{Fault, plant};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use termite_types::{Base, Premises, Seen};

fn content(bytes: &[u8]) -> Seen {
    Seen::Content(base(bytes))
}

#[test]
fn what_was_not_there_must_not_be_there() {
    let bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    symlink("nowhere", bench.path("l")).unwrap();
    bench.write("f", b"");
    for seen in [Seen::Nothing, Seen::Absent] {
        for (name, found) in [("d", "a directory"), ("l", "a symlink"), ("f", "a file")] {
            let conflict = bench.conflict(
                vec![bench.file("new", b"")],
                vec![("none", seen.clone()), (name, seen.clone())],
            );
            assert_eq!(conflict.path, bench.path(name));
            assert_eq!((&*conflict.seen, &*conflict.found), ("nothing", found));
        }
        bench
            .commit_if(vec![], vec![("none", seen.clone()), ("none/below", seen)])
            .unwrap();
    }
    // The file that the job made may be the very one.
    bench
        .commit_if(vec![bench.file("x", b"")], vec![("x", Seen::Nothing)])
        .unwrap();
    bench.conflict(vec![bench.file("x", b"")], vec![("x", Seen::Nothing)]);
}

#[test]
fn what_was_removed_must_have_been_there() {
    let bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    symlink("nowhere", bench.path("l")).unwrap();
    bench.write("f", b"");
    for name in ["l", "f"] {
        bench.commit_if(vec![], vec![(name, Seen::Leaf)]).unwrap();
    }
    for (name, found) in [("d", "a directory"), ("none", "nothing")] {
        let conflict = bench.conflict(vec![bench.file("new", b"")], vec![(name, Seen::Leaf)]);
        assert_eq!(
            (&*conflict.seen, &*conflict.found),
            ("something that is no directory", found)
        );
    }
}

#[test]
fn what_was_changed_and_removed_must_have_no_other_name() {
    let bench = Bench::new();
    bench.write("f", b"");
    bench.write("g", b"");
    fs::hard_link(bench.path("g"), bench.path("h")).unwrap();
    let refused = bench.commit_if(vec![bench.remove("g")], vec![("g", Seen::OnlyName)]);
    assert!(matches!(refused, Err(CommitError::Refused { path, .. }) if path == bench.path("g")));
    assert!(bench.path("g").exists());
    // One that is gone may have another name by now.
    bench.conflict(vec![bench.remove("f")], vec![("none", Seen::OnlyName)]);
    bench
        .commit_if(vec![bench.remove("f")], vec![("f", Seen::OnlyName)])
        .unwrap();
}

#[test]
fn what_was_renamed_over_must_be_another_file() {
    let bench = Bench::new();
    bench.write("f", b"");
    fs::hard_link(bench.path("f"), bench.path("g")).unwrap();
    bench.write("h", b"");
    fs::hard_link(bench.path("h"), bench.path("i")).unwrap();
    let renamed_over = |from: &str| Seen::OtherFile(bench.path(from));
    let refused = bench.commit_if(vec![bench.remove("g")], vec![("f", renamed_over("g"))]);
    assert!(matches!(refused, Err(CommitError::Refused { path, .. }) if path == bench.path("f")));
    assert!(bench.path("g").exists());
    bench
        .commit_if(
            vec![bench.remove("g")],
            vec![("f", renamed_over("h")), ("none", renamed_over("g"))],
        )
        .unwrap();
}

#[test]
fn what_was_read_must_be_there_unless_the_job_would_put_the_same() {
    let bench = Bench::new();
    bench.write("f", b"one");
    let made = || vec![bench.file("f", b"three")];
    let edited = || vec![bench.edit("f", b"one", b"three")];
    bench.commit_if(vec![], vec![("f", content(b"one"))]).unwrap();
    bench.write("f", b"two");
    for changes in [made(), edited(), vec![bench.remove("f")], vec![]] {
        let conflict = bench.conflict(changes, vec![("f", content(b"one"))]);
        let words = |bytes: &[u8]| {
            let hash = super::hash(bytes).to_string();
            format!("a file of 3 bytes (hash {}…)", &hash[..6])
        };
        assert_eq!((conflict.seen, conflict.found), (words(b"one"), words(b"two")));
    }
    bench.write("f", b"longer");
    let conflict = bench.conflict(made(), vec![("f", content(b"one"))]);
    assert_eq!(conflict.found, "a file of 6 bytes");
    for changes in [made(), edited()] {
        bench.write("f", b"three");
        bench.commit_if(changes, vec![("f", content(b"one"))]).unwrap();
        assert_eq!(bench.read("f"), b"three");
    }
    fs::remove_file(bench.path("f")).unwrap();
    for changes in [made(), vec![bench.remove("f")]] {
        assert_eq!(bench.conflict(changes, vec![("f", content(b"one"))]).found, "nothing");
    }
    fs::create_dir(bench.path("f")).unwrap();
    assert_eq!(
        bench.conflict(vec![], vec![("f", content(b"one"))]).found,
        "a directory"
    );
}

#[test]
fn a_file_that_is_moved_there_may_be_there_already() {
    let bench = Bench::new();
    bench.write("from", b"new");
    bench.write("to", b"new");
    let mut name = bench.name("to", "from");
    let changes = |name: &termite_types::Change| vec![bench.remove("from"), name.clone()];
    // Whose content is not known.
    bench.conflict(changes(&name), vec![("to", content(b"old"))]);
    if let termite_types::ChangeKind::Name { hash, .. } = &mut name.kind {
        *hash = Some(super::hash(b"new"));
    }
    bench.commit_if(changes(&name), vec![("to", content(b"old"))]).unwrap();
}

#[test]
fn a_file_is_read_only_if_it_may_fit() {
    let bench = Bench::new();
    // Longer than anything that could be read.
    fs::File::create(bench.path("huge")).unwrap().set_len(1 << 40).unwrap();
    let Base { hash, .. } = base(b"");
    let seen = Seen::Content(Base { size: 1, hash });
    let conflict = bench.conflict_without_tree(vec![("huge", seen)]);
    assert_eq!(conflict.found, "a file of 1099511627776 bytes");
}

/// What these tests expect is not what a commit does that does not look.
#[test]
fn planted_faults_are_found() {
    for (fault, seen) in [
        (Fault::ContentUnchecked, content(b"1")),
        (Fault::ExclusiveUnchecked, Seen::Nothing),
    ] {
        let bench = Bench::new();
        bench.write("f", b"2");
        bench.conflict(vec![bench.file("f", b"3")], vec![("f", seen.clone())]);
        plant(Some(fault));
        let committed = bench.commit_if(vec![bench.file("f", b"3")], vec![("f", seen)]);
        plant(None);
        committed.expect("no conflict");
        assert_eq!(bench.read("f"), b"3");
    }
}

#[test]
fn a_symlink_that_a_change_went_through_must_lead_there() {
    let bench = Bench::new();
    symlink("f", bench.path("l")).unwrap();
    bench.write("f", b"");
    let seen = |target: &str| Seen::Symlink(target.into());
    bench.commit_if(vec![], vec![("l", seen("f"))]).unwrap();
    for (name, found) in [("l", "a symlink to f"), ("f", "a file"), ("none", "nothing")] {
        let conflict = bench.conflict(vec![bench.file("new", b"")], vec![(name, seen("g"))]);
        assert_eq!((&*conflict.seen, &*conflict.found), ("a symlink to g", found));
    }
}

#[test]
fn a_mode_that_was_changed_must_be_there_unless_it_is_the_new_one() {
    let bench = Bench::new();
    bench.write("f", b"");
    fs::create_dir(bench.path("d")).unwrap();
    for name in ["f", "d"] {
        bench.commit(vec![bench.chmod(name, 0o700)]).unwrap();
        let give = |mode| vec![bench.chmod(name, mode)];
        let conflict = bench.conflict(give(0o711), vec![(name, Seen::Mode(0o755))]);
        assert_eq!((&*conflict.seen, &*conflict.found), ("the mode 755", "the mode 700"));
        bench.commit_if(give(0o700), vec![(name, Seen::Mode(0o755))]).unwrap();
        bench.commit_if(give(0o711), vec![(name, Seen::Mode(0o700))]).unwrap();
    }
    let replaced = vec![bench.file("f", b"new")];
    bench.conflict(replaced, vec![("f", Seen::Mode(0o600))]);
    bench.commit_if(vec![], vec![("none", Seen::Mode(0o600))]).unwrap();
}

#[test]
fn an_owner_that_was_replaced_must_be_there() {
    let bench = Bench::new();
    bench.write("f", b"");
    let here = bench.stat("f");
    let (uid, gid) = (here.uid(), here.gid());
    bench.commit_if(vec![], vec![("f", Seen::Owner(uid, gid))]).unwrap();
    let removed = vec![bench.remove("f")];
    let conflict = bench.conflict(removed, vec![("f", Seen::Owner(uid, gid + 1))]);
    assert_eq!(conflict.found, format!("the owner {uid}:{gid}"));
}

#[test]
fn a_file_that_the_job_locked_is_locked_by_nobody_else() {
    let bench = Bench::new();
    bench.write("lock", b"");
    let commit = || {
        let premises = Premises {
            locks: vec![bench.path("lock"), bench.path("none")],
            ..Premises::default()
        };
        bench.commit_by(vec![bench.file("f", b"")], premises)
    };
    let other = fs::File::open(bench.path("lock")).unwrap();
    other.lock_shared().unwrap();
    let conflict = commit().unwrap_err();
    assert!(matches!(conflict, CommitError::Conflict(_)), "{conflict}");
    assert!(!bench.path("f").exists());
    other.unlock().unwrap();
    commit().unwrap();
    other.try_lock().expect("the lock is given back");
}
