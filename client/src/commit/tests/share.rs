//! Several jobs and one file.

use super::Bench;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use termite_types::{Content, IfPresent};

#[test]
fn parallel_appends_lose_no_line() {
    const JOBS: usize = 8;
    const ROUNDS: usize = 50;
    let bench = Bench::new();
    bench.write("log", b"");
    let bench = &bench;
    let lines = |job: usize| (0..ROUNDS).map(move |round| format!("job {job} line {round}\n"));
    std::thread::scope(|scope| {
        for job in 0..JOBS {
            scope.spawn(move || {
                for line in lines(job) {
                    // What the job saw, and what it left.
                    let seen = bench.read("log");
                    let after = [&seen[..], line.as_bytes()].concat();
                    let change = bench.append("log", &seen, &after);
                    super::super::commit(
                        &super::CommitRequest {
                            changes: vec![change],
                            premises: super::Premises::default(),
                            trace: Vec::new(),
                            cwd: bench.path(""),
                            began: Default::default(),
                            clock: bench.clock,
                        },
                        &bench.worker,
                        &crate::tree::DenyRules::new(&[], std::path::Path::new("/root")).unwrap(),
                        &Default::default(),
                        &bench.log,
                    )
                    .unwrap();
                }
            });
        }
    });
    let log = String::from_utf8(bench.read("log")).unwrap();
    let found: Vec<&str> = log.lines().collect();
    assert_eq!(found.len(), JOBS * ROUNDS);
    let expected: BTreeSet<String> = (0..JOBS)
        .flat_map(lines)
        .map(|line| line.trim_end().to_string())
        .collect();
    assert_eq!(found.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), expected);
    // Each job's own lines are in its order.
    for job in 0..JOBS {
        let own: Vec<&str> = found
            .iter()
            .copied()
            .filter(|line| line.starts_with(&format!("job {job} ")))
            .collect();
        assert_eq!(
            own,
            lines(job).map(|line| line.trim_end().to_string()).collect::<Vec<_>>()
        );
    }
    assert_eq!(super::temporaries(&bench.top), Vec::<std::path::PathBuf>::new());
}

#[test]
fn only_the_tail_is_fetched_and_the_file_stays_the_same() {
    let mut bench = Bench::new();
    let old = vec![b'o'; 1 << 20];
    bench.write("log", &old);
    let inode = fs::metadata(bench.path("log")).unwrap().ino();
    let new = [&old[..], b"tail"].concat();
    let mut edit = super::edit(&old, &new, true);
    edit.content = Content::OnWorker;
    let change = bench.alter("log", super::content(edit));
    // A worker that can give nothing of the beginning.
    let mut content = new.clone();
    content[..old.len()].fill(b'?');
    bench.worker.0.insert(super::hash(&new), content);
    let committed = bench.commit(vec![change]).unwrap();
    assert_eq!(bench.read("log"), new);
    assert_eq!(fs::metadata(bench.path("log")).unwrap().ino(), inode);
    assert_eq!(committed.paths[0].hash, Some(super::hash(&new)));
}

#[test]
fn what_is_appended_goes_behind_whatever_is_there() {
    let bench = Bench::new();
    for there in [b"base, grown".as_slice(), b"ba", b"", b"quite another content"] {
        bench.write("log", there);
        let inode = bench.inode("log");
        let committed = bench
            .commit(vec![bench.append("log", b"base", b"base and more")])
            .unwrap();
        assert_eq!(bench.read("log"), [there, b" and more"].concat());
        assert_eq!((bench.inode("log"), committed.paths[0].hash), (inode, None));
    }
    fs::remove_file(bench.path("log")).unwrap();
    let conflict = bench.conflict(vec![bench.append("log", b"base", b"base and more")], vec![]);
    assert_eq!((&*conflict.seen, &*conflict.found), ("a file", "nothing"));
}

#[test]
fn two_new_logs_become_one() {
    let bench = Bench::new();
    let committed = bench.commit(vec![bench.log("log", b"first\n")]).unwrap();
    assert_eq!(committed.paths[0].hash, Some(super::hash(b"first\n")));
    assert_eq!(bench.mtime("log"), super::OLD);
    let inode = bench.inode("log");
    let committed = bench.commit(vec![bench.log("log", b"second\n")]).unwrap();
    assert_eq!(bench.read("log"), b"first\nsecond\n");
    assert_eq!((bench.inode("log"), committed.paths[0].hash), (inode, None));
    assert!(bench.mtime("log") > super::OLD);
    // One that the job removed before is not appended to.
    let changes = vec![bench.remove("log"), bench.log("log", b"third\n")];
    bench.commit(changes).unwrap();
    assert_eq!(bench.read("log"), b"third\n");
    assert_ne!(bench.inode("log"), inode);
}

#[test]
fn a_symlink_that_an_open_would_have_followed_is_a_conflict() {
    let bench = Bench::new();
    symlink("log", bench.path("l")).unwrap();
    for if_present in [IfPresent::Append, IfPresent::Overwrite] {
        let made = || bench.file_if("l", b"1", if_present);
        let conflict = bench.conflict(vec![made()], vec![]);
        assert_eq!((&*conflict.seen, &*conflict.found), ("nothing", "a symlink"));
    }
    bench.commit(vec![bench.file("l", b"1")]).unwrap();
    assert_eq!(bench.read("l"), b"1", "a rename replaces it");
    assert!(!bench.path("log").exists());
}

#[test]
fn an_overwrite_with_what_is_there_gives_a_new_time() {
    let bench = Bench::new();
    for content in [&b""[..], b"1"] {
        bench.write("f", content);
        let old = std::time::UNIX_EPOCH;
        std::fs::File::open(bench.path("f")).unwrap().set_modified(old).unwrap();
        bench
            .commit(vec![bench.file_if("f", content, IfPresent::Overwrite)])
            .unwrap();
        assert_ne!(bench.stat("f").mtime(), 0);
    }
}

#[test]
fn a_tail_that_is_wrong_is_not_appended() {
    let mut bench = Bench::new();
    bench.write("log", b"base");
    let mut edit = super::edit(b"base", b"base and more", true);
    edit.content = Content::OnWorker;
    bench.worker.0.insert(edit.hash, b"base and less".to_vec());
    let changes = vec![bench.file("new", b""), bench.alter("log", super::content(edit))];
    let error = bench.commit(changes).unwrap_err();
    assert!(error.is_untouched(), "{error}");
    assert_eq!(bench.read("log"), b"base");
    assert!(!bench.path("new").exists());
}
