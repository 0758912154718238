//! What the stub does after it lost its daemon, by what the daemon's journal says.

use crate::fake::{Caller, Stage, script, text};
use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Output;
use termite_types::journal::{Answer, Ended, Record};
use termite_types::{PROTOCOL, RequestId, journal_path};

/// A daemon that writes the records, says so much of its output, and is gone.
fn lost(said: &'static [u8], records: impl FnOnce(RequestId) -> Vec<Record> + Send + 'static) -> Output {
    let stage = Stage::new();
    let path = journal_path(&stage.socket());
    let daemon = stage.serve(script(move |mut caller: Caller| {
        caller.output(1, said);
        write(&path, &records(caller.job.request));
    }));
    let output = stage.stub("/bin/echo", &["echo", "hello"]).output().unwrap();
    daemon.join().unwrap();
    output
}

fn write(path: &PathBuf, records: &[Record]) {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    let mut file = options.open(path).unwrap();
    let opened = Record::Opened {
        protocol: PROTOCOL,
        mark: 1,
    };
    for record in [&opened].into_iter().chain(records) {
        file.write_all(&record.encode().unwrap()).unwrap();
    }
}

fn staging(request: RequestId) -> Record {
    Record::Staging {
        request,
        caller: 1,
        dirs: vec!["/d".into()],
    }
}

fn begun(request: RequestId, answer: Answer) -> Record {
    Record::Begun {
        request,
        caller: 1,
        path: "/d/f".into(),
        others: 2,
        answer,
    }
}

fn answer() -> Answer {
    let mut answer = Answer::new(Ended::Exited(7), 0);
    answer.output = vec![(1, b"one ".to_vec()), (2, b"err".to_vec()), (1, b"two".to_vec())];
    answer
}

#[test]
fn a_job_that_is_done_ends_as_it_ended() {
    let done = |request| vec![staging(request), begun(request, answer()), Record::Done(request)];
    for said in [&b""[..], b"one", b"one two"] {
        let output = lost(said, done);
        let shown = (output.status.code(), text(&output.stdout), text(&output.stderr));
        assert_eq!(shown, (Some(7), "one two".into(), "err".into()));
    }
}

#[test]
fn what_was_sent_before_the_commit_is_not_counted_as_owed() {
    let output = lost(b"before one", |request| {
        let mut answer = answer();
        answer.sent = [7, 0];
        answer.end = Ended::Signaled(9);
        vec![begun(request, answer), Record::Done(request)]
    });
    assert_eq!(
        (output.status.signal(), text(&output.stdout)),
        (Some(9), "before one two".into())
    );
}

#[test]
fn output_that_is_lost_is_told() {
    let output = lost(b"", |request| {
        let mut answer = Answer::new(Ended::Exited(0), 0);
        answer.is_output_lost = true;
        vec![begun(request, answer), Record::Done(request)]
    });
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), String::new()));
    assert!(text(&output.stderr).contains("output is lost"), "{output:?}");
}

#[test]
fn a_job_that_may_be_half_there_does_not_run_again() {
    let output = lost(b"", |request| vec![staging(request), begun(request, answer())]);
    // make(1) removes the target of a command that a signal ended.
    assert_eq!(
        (output.status.signal(), text(&output.stdout)),
        (Some(15), String::new())
    );
    let why =
        "termite: echo: the daemon ended while it wrote /d/f and 2 more, which may be half there; run make again\n";
    assert_eq!(text(&output.stderr), why);
}

#[test]
fn a_job_of_which_nothing_is_there_runs_here() {
    let cases: [fn(RequestId) -> Vec<Record>; 4] = [
        |request| vec![staging(request)],
        |request| vec![staging(request), begun(request, answer()), Record::Undone(request)],
        |_| vec![begun(RequestId(9), answer())],
        |_| Vec::new(),
    ];
    for records in cases {
        let output = lost(b"", records);
        assert_eq!(text(&output.stdout), "hello\n", "{output:?}");
    }
}

#[test]
fn a_journal_that_cannot_be_trusted_runs_nothing() {
    let spoil: [fn(&PathBuf); 3] = [
        |path| std::fs::set_permissions(path, Permissions::from_mode(0o620)).unwrap(),
        |path| {
            let real = path.with_extension("real");
            std::fs::rename(path, &real).unwrap();
            symlink(real, path).unwrap();
        },
        |path| {
            let mut bytes = std::fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(path, bytes).unwrap();
        },
    ];
    for spoil in spoil {
        let stage = Stage::new();
        let path = journal_path(&stage.socket());
        let daemon = stage.serve(script(move |caller: Caller| {
            write(&path, &[staging(caller.job.request)]);
            spoil(&path);
        }));
        let output = stage.stub("/bin/echo", &["echo", "hello"]).output().unwrap();
        daemon.join().unwrap();
        assert_eq!(
            (output.status.signal(), text(&output.stdout)),
            (Some(15), String::new())
        );
        assert!(text(&output.stderr).contains("not known"), "{output:?}");
    }
}
