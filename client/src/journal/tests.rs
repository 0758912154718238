//! The journal's file over the lives of several daemons.

use super::*;
use crate::commit::CommitLog;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;
use termite_types::journal::{Answer, Ended};

const ME: fn() -> u32 = std::process::id;
/// Above every process number.
const NOBODY: u32 = 1 << 30;

struct Fixture {
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("d.sock");
        Self { socket, _dir: dir }
    }

    fn path(&self) -> PathBuf {
        journal_path(&self.socket)
    }

    fn begin(&self, mark: u64) -> Arc<Journal> {
        let last = Predecessor::read(&self.socket);
        Arc::new(Journal::begin(&self.socket, mark, &last).unwrap())
    }

    fn stage(&self, request: u128) -> Option<CommitStage> {
        let last = Predecessor::read(&self.socket);
        last.entries.get(&RequestId(request)).map(|entry| entry.stage.clone())
    }
}

fn answer() -> Answer {
    let mut answer = Answer::new(Ended::Exited(3), 0);
    answer.output.push((1, b"said".to_vec()));
    answer
}

fn log(journal: &Arc<Journal>, request: u128, caller: u32) -> JobLog {
    JobLog::new(journal.clone(), RequestId(request), caller, answer())
}

fn begin_commit(log: &JobLog) {
    log.staging(&[Path::new("/d")]).unwrap();
    log.begun(Path::new("/d/f"), 2).unwrap();
}

fn begun() -> CommitStage {
    CommitStage::Begun {
        path: "/d/f".into(),
        others: 2,
        answer: answer(),
    }
}

#[test]
fn a_dead_daemons_jobs_are_found_by_later_ones() {
    let place = Fixture::new();
    let first = place.begin(1);
    assert_eq!(std::fs::metadata(place.path()).unwrap().mode() & 0o777, 0o600);
    log(&first, 1, ME()).staging(&[Path::new("/d")]).unwrap();
    begin_commit(&log(&first, 2, ME()));
    begin_commit(&log(&first, 3, ME()));
    log(&first, 3, ME()).done();
    begin_commit(&log(&first, 4, NOBODY));
    begin_commit(&log(&first, 5, ME()));
    log(&first, 5, ME()).undone();
    // Killed. All is there for the next one.
    let last = Predecessor::read(&place.socket);
    assert_eq!(last.mark, Some(1));
    assert_eq!(last.entries[&RequestId(1)].dirs, [Path::new("/d")]);
    assert_eq!(last.entries.len(), 4);
    for mark in 2..5 {
        let next = place.begin(mark);
        assert_eq!(place.stage(1), None, "the stub runs it itself");
        assert_eq!(place.stage(2), Some(begun()));
        assert_eq!(place.stage(3), Some(CommitStage::Done(answer())));
        assert_eq!(place.stage(4), None, "its stub is dead");
        log(&next, 1, ME()).staging(&[Path::new("/e")]).unwrap();
        let read = Predecessor::read(&place.socket);
        assert_eq!(
            (read.mark, &read.entries[&RequestId(1)].dirs[..]),
            (Some(mark), &[PathBuf::from("/e")][..])
        );
    }
}

#[test]
fn a_file_that_has_grown_keeps_what_is_needed() {
    let place = Fixture::new();
    let journal = place.begin(1);
    begin_commit(&log(&journal, 1, ME()));
    begin_commit(&log(&journal, 2, ME()));
    log(&journal, 2, ME()).done();
    let mut longest = 0;
    for request in 10..40_000 {
        let log = log(&journal, request, ME());
        begin_commit(&log);
        log.done();
        journal.forget(RequestId(request));
        longest = longest.max(std::fs::metadata(place.path()).unwrap().len());
    }
    assert!(longest > GROWN / 2 && longest <= GROWN + 4096, "{longest}");
    assert_eq!(place.stage(1), Some(begun()));
    assert_eq!(place.stage(2), Some(CommitStage::Done(answer())));
    let names: Vec<_> = std::fs::read_dir(place.socket.parent().unwrap()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn torn_and_corrupt_ends_count_as_not_written() {
    for (garbage, is_torn) in [(&[9_u8, 0, 0, 0, 1][..], true), (&[1, 0, 0, 0, 0, 0, 0, 0, 7], false)] {
        let place = Fixture::new();
        let journal = place.begin(1);
        begin_commit(&log(&journal, 1, ME()));
        let whole = std::fs::read(place.path()).unwrap();
        std::fs::write(place.path(), [&whole[..], garbage].concat()).unwrap();
        assert_eq!(place.stage(1), Some(begun()), "torn: {is_torn}");
        std::fs::write(place.path(), &whole[..whole.len() - 1]).unwrap();
        assert_eq!(place.stage(1), Some(CommitStage::Untouched));
    }
}

#[test]
fn what_is_in_the_files_place_is_neither_believed_nor_followed() {
    let place = Fixture::new();
    begin_commit(&log(&place.begin(7), 1, ME()));
    let real = std::fs::read(place.path()).unwrap();
    let elsewhere = place.socket.with_extension("elsewhere");
    std::fs::write(&elsewhere, &real).unwrap();
    std::fs::set_permissions(&elsewhere, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::remove_file(place.path()).unwrap();
    symlink(&elsewhere, place.path()).unwrap();
    assert_eq!(Predecessor::read(&place.socket).mark, None, "a symlink");
    begin_commit(&log(&place.begin(8), 2, ME()));
    assert_eq!(std::fs::read(&elsewhere).unwrap(), real);
    assert!(place.stage(2).is_some());
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o660)).unwrap();
    assert_eq!(Predecessor::read(&place.socket).mark, None, "others may write");
    std::fs::remove_file(place.path()).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, place.path(), rustix::fs::Mode::RWXU).unwrap();
    assert_eq!(Predecessor::read(&place.socket).mark, None, "a FIFO");
    std::fs::remove_file(place.path()).unwrap();
    std::fs::create_dir(place.path()).unwrap();
    assert!(
        Journal::begin(&place.socket, 9, &Predecessor::default()).is_err(),
        "a directory"
    );
}

#[test]
fn the_file_goes_with_the_daemon_unless_a_stub_may_ask() {
    let place = Fixture::new();
    let journal = place.begin(1);
    begin_commit(&log(&journal, 1, ME()));
    begin_commit(&log(&journal, 2, NOBODY));
    journal.close();
    assert!(place.path().exists());
    let journal = place.begin(2);
    journal.forget(RequestId(1));
    journal.close();
    assert!(!place.path().exists());
}

#[test]
fn a_record_that_is_too_long_is_refused_and_the_next_one_is_read() {
    let place = Fixture::new();
    let journal = place.begin(1);
    let mut long = answer();
    long.output = vec![(1, vec![0; termite_types::journal::RECORD_MAX])];
    let long = JobLog::new(journal.clone(), RequestId(1), ME(), long);
    assert!(long.begun(Path::new("/d/f"), 0).is_err());
    begin_commit(&log(&journal, 2, ME()));
    assert_eq!((place.stage(1), place.stage(2)), (None, Some(begun())));
}

#[tokio::test]
async fn an_ending_daemon_waits_for_its_own_jobs() {
    let place = Fixture::new();
    begin_commit(&log(&place.begin(1), 1, ME()));
    let journal = place.begin(2);
    journal.settled().await;
    begin_commit(&log(&journal, 2, ME()));
    assert!(journal.knows(RequestId(2)));
    let forgets = async {
        tokio::task::yield_now().await;
        journal.forget(RequestId(2));
    };
    tokio::join!(journal.settled(), forgets);
}
