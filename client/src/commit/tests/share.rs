//! Several jobs and one file.

use super::{Bench, base};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

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
                    let change = bench.changed("log", &after, base(&seen, true));
                    super::super::commit(
                        &super::CommitRequest {
                            changes: vec![change],
                            clock: bench.clock,
                        },
                        &bench.worker,
                        &crate::tree::DenyRules::new(&[], std::path::Path::new("/root")).unwrap(),
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
    let change = bench.remote("log", &new, base(&old, true));
    // A worker that can give nothing of the beginning.
    let content = bench.worker.0.get_mut(&super::hash(&new)).unwrap();
    content[..old.len()].fill(b'?');
    let committed = bench.commit(vec![change]).unwrap();
    assert_eq!(bench.read("log"), new);
    assert_eq!(fs::metadata(bench.path("log")).unwrap().ino(), inode);
    assert_eq!(committed.paths[0].hash, Some(super::hash(&new)));
}

#[test]
fn a_base_that_is_no_longer_there_is_replaced_as_make_would() {
    let mut bench = Bench::new();
    for is_prefix in [true, false] {
        bench.write("file", b"quite another content");
        let change = bench.remote("file", b"base and more", base(b"base", is_prefix));
        let committed = bench.commit(vec![change]).unwrap();
        assert_eq!(bench.read("file"), b"base and more");
        assert!(committed.paths[0].hash.is_some());
        fs::remove_file(bench.path("file")).unwrap();
        let change = bench.remote("file", b"base and more", base(b"base", is_prefix));
        bench.commit(vec![change]).unwrap();
        assert_eq!(bench.read("file"), b"base and more");
    }
}

#[test]
fn a_tail_that_is_wrong_is_not_appended() {
    let mut bench = Bench::new();
    bench.write("log", b"base");
    let change = bench.remote("log", b"base and more", base(b"base", true));
    bench
        .worker
        .0
        .insert(super::hash(b"base and more"), b"base and less".to_vec());
    bench.commit(vec![change]).unwrap_err();
    assert_eq!(bench.read("log"), b"base");
}
