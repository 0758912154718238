//! Jobs are read back as they were written, and the oldest make room.

use super::*;
use crate::report::Phases;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use termite_types::{BlobHash, BuildId, JobId, TraceItem, Use};

fn id(build: u64, number: u32) -> JobId {
    JobId {
        build: BuildId(build),
        number,
    }
}

fn record(id: JobId) -> JobRecord {
    JobRecord {
        job: id.to_string(),
        command: "gcc -c x.c".into(),
        program: "/usr/bin/gcc".into(),
        argv: vec!["gcc".into(), "-c".into(), "x.c".into()],
        cwd: "/p".into(),
        site: Site::Worker,
        worker: Some("unix:/run/w".into()),
        reason: "no rule".into(),
        attempts: Vec::new(),
        conflicts: Vec::new(),
        commit_fault: None,
        exit: Some(0),
        signal: None,
        started_unix_ms: 7,
        waited_s: 0.5,
        wall_s: 1.5,
        worker_s: 0.75,
        cpu_s: 0.25,
        guard_faults: 3,
        fetches: 2,
        prefetched: 7,
        phases: Phases::default(),
        traced: true,
    }
}

fn item(used: Use, path: &[u8]) -> TraceItem {
    TraceItem {
        path: OsString::from_vec(path.to_vec()).into(),
        used,
    }
}

#[test]
fn a_job_is_read_back_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::new(dir.path().join("history"));
    let trace = [
        item(Use::Read(Some(BlobHash([0xa5; 32]))), b"/p/x.c"),
        item(Use::Read(None), b"/p/y.h"),
        item(Use::Stat, b"/p"),
        item(Use::Missing, b"/p/ \xff\n"),
        item(Use::Listed, b"/p"),
        item(Use::Write, b"/p/x.o"),
    ];
    history.write_job(id(1, 2), &record(id(1, 2)), &trace).unwrap();
    history.write_job(id(1, 10), &record(id(1, 10)), &[]).unwrap();
    let (read, its) = history.job(id(1, 2)).unwrap().unwrap();
    assert_eq!((read, &its[..]), (record(id(1, 2)), &trace[..]));
    assert_eq!(history.jobs(BuildId(1)).unwrap(), [record(id(1, 2)), record(id(1, 10))]);
    assert_eq!(history.job(id(1, 3)).unwrap(), None);
    assert_eq!(history.jobs(BuildId(2)).unwrap(), []);
}

/// The one file with the jobs of build 1.
fn log(history: &History) -> PathBuf {
    let files = entries(&history.dir().join(BuildId(1).to_string())).unwrap();
    let [file] = &files[..] else { panic!("{files:?}") };
    file.clone()
}

#[test]
fn a_damaged_record_is_an_error_and_one_that_is_not_whole_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::new(dir.path().into());
    let (one, two) = (id(1, 1), id(1, 2));
    let trace = [item(Use::Read(None), b"/x")];
    history.write_job(one, &record(one), &trace).unwrap();
    let file = log(&history);
    let first = std::fs::read(&file).unwrap();
    history.write_job(two, &record(two), &trace).unwrap();
    let whole = std::fs::read(&file).unwrap();
    for cut in [first.len(), first.len() + 2, first.len() + 9, whole.len() - 1] {
        std::fs::write(&file, &whole[..cut]).unwrap();
        assert!(
            history.job(one).unwrap().is_some() && history.job(two).unwrap().is_none(),
            "{cut}"
        );
        assert!(!history.jobs(BuildId(1)).unwrap().is_empty(), "{cut}");
    }
    for wrong in [0, 2, 9, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[wrong] = b'?';
        std::fs::write(&file, damaged).unwrap();
        let error = history.job(one).and(history.job(two)).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{wrong}: {error}");
    }
}

#[test]
fn the_oldest_make_room_also_those_of_earlier_daemons() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::new(dir.path().into());
    let write = |history: &History, id: JobId| history.write_job(id, &record(id), &[]).unwrap();
    write(&history, id(1, 1));
    let size = std::fs::metadata(log(&history)).unwrap().len();
    let open = || History::with_limit(dir.path().into(), 4 * size + size / 2);
    let history = open();
    (2..=4).for_each(|number| write(&history, id(1, number)));
    let numbers = |build| -> Vec<String> {
        let jobs = history.jobs(BuildId(build)).unwrap();
        jobs.into_iter().map(|job| job.job).collect()
    };
    assert_eq!(numbers(1).len(), 4);
    write(&open(), id(2, 1));
    assert_eq!(
        numbers(1),
        [2, 3, 4].map(|number| id(1, number).to_string()),
        "the first file went"
    );
    // One that is longer than all may be stays alone.
    let long = item(Use::Read(None), &[b'/'; 10_000]);
    open().write_job(id(3, 1), &record(id(3, 1)), &[long]).unwrap();
    assert_eq!((numbers(1).len(), numbers(2).len()), (0, 0));
    assert!(!dir.path().join(BuildId(1).to_string()).exists());
    assert_eq!(history.job(id(3, 1)).unwrap().unwrap().1.len(), 1);
}

#[test]
fn who_removes_the_history_loses_nothing_new() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::new(dir.path().join("history"));
    for number in 1..=2 {
        history.write_job(id(1, number), &record(id(1, number)), &[]).unwrap();
        std::fs::remove_dir_all(history.dir()).unwrap();
    }
    history.write_job(id(1, 3), &record(id(1, 3)), &[]).unwrap();
    assert_eq!(history.jobs(BuildId(1)).unwrap(), [record(id(1, 3))]);
}

#[test]
fn old_builds_go_with_their_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::new(dir.path().into());
    for build in 1..=BUILDS as u64 + 1 {
        let record_of = |id: BuildId| BuildRecord {
            build: id.to_string(),
            cwd: "/p".into(),
            started_unix: build,
            report: Last::default(),
        };
        history.write_build(&record_of(BuildId(build))).unwrap();
        history.write_job(id(build, 1), &record(id(build, 1)), &[]).unwrap();
    }
    history.trim().unwrap();
    assert_eq!(history.builds().unwrap().len(), BUILDS);
    assert_eq!(history.job(id(1, 1)).unwrap(), None);
    assert!(history.job(id(2, 1)).unwrap().is_some());
    let last = history.last_build(Path::new("/p")).unwrap().unwrap();
    assert_eq!(last.started_unix, BUILDS as u64 + 1);
    assert!(history.last_build(Path::new("/q")).unwrap().is_none());
}

#[test]
fn the_last_record_of_a_job_counts() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::new(dir.path().join("history"));
    let begun = JobRecord {
        exit: None,
        ..record(id(1, 2))
    };
    let ended = record(id(1, 2));
    history.write_job(id(1, 2), &begun, &[]).unwrap();
    history.write_job(id(1, 3), &record(id(1, 3)), &[]).unwrap();
    history.write_job(id(1, 2), &ended, &[]).unwrap();
    assert_eq!(history.job(id(1, 2)).unwrap().unwrap().0, ended);
    let jobs = history.jobs(BuildId(1)).unwrap();
    assert_eq!(jobs, [ended, record(id(1, 3))]);
}

#[test]
fn jobs_are_called_by_less_than_their_whole_id() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::new(dir.path().join("history"));
    for (build, cwd, started_unix) in [(0xab00, "/p", 1), (0xab01, "/p/deep", 2), (0xcd00, "/q", 3)] {
        let build = BuildId(build << 48);
        let record = BuildRecord {
            build: build.to_string(),
            cwd: cwd.into(),
            started_unix,
            report: Last::default(),
        };
        history.write_build(&record).unwrap();
    }
    let called = |name: &str| history.job_called(name, Path::new("/p"));
    assert_eq!(called("3").unwrap(), id(0xab01 << 48, 3));
    assert_eq!(called("c.3").unwrap(), id(0xcd00 << 48, 3));
    assert_eq!(called("AB00.4").unwrap(), id(0xab00 << 48, 4));
    assert_eq!(called("ab01000000000000.5").unwrap(), id(0xab01 << 48, 5));
    let wrong = |name: &str| called(name).unwrap_err().to_string();
    assert!(wrong("ab.1").starts_with("ab may be any of ab0"), "{}", wrong("ab.1"));
    assert!(wrong("ef.1").starts_with("no build is known whose id begins with ef"));
    for none in ["", "x", "-1", "ab.", ".1", "ab.x", "zz.1", "1.2.3"] {
        assert!(wrong(none).contains(" is no job: "), "{none}");
    }
    let nowhere = history.job_called("3", Path::new("/r")).unwrap_err().to_string();
    assert_eq!(nowhere, "no build under /r is known");
}
