//! Client and worker over one connection in memory: calls both ways, refusals, loss.

mod doubles;

use doubles::*;
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;
use termite_types::{BlobHash, Expected, JobEnd, JobResult, JobSpec, PROTOCOL, TerminalSize, Update};
use termite_wire::client::RemoteSession;
use termite_wire::handshake::{Greeting, Host, ask_holder, greet};
use termite_wire::peer::ClientInfo;
use termite_wire::peer_capnp;
use termite_wire::rpc::{self, RemoteError};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

fn job(program: &str) -> JobSpec {
    JobSpec {
        id: JOB,
        ..JobSpec::bare(program)
    }
}

/// Runs a job that tells nothing.
async fn run(session: &RemoteSession, program: &str) -> Result<JobResult, RemoteError> {
    let (expected, sink) = (Expected::default(), Rc::new(Sink::default()));
    session.run(&job(program), SNAPSHOT, &[], &expected, sink).await
}

/// A connection, and what the test holds of both its ends.
struct Ends {
    said: Rc<RefCell<Vec<String>>>,
    /// A job's future on the worker was dropped or ended.
    dropped: Rc<Notify>,
    /// A job arrived on the worker.
    started: Rc<Notify>,
    other: capnp::capability::Client,
    worker_end: tokio::task::JoinHandle<Result<(), RemoteError>>,
    client_end: tokio::task::JoinHandle<Result<(), RemoteError>>,
}

fn connect(token: &[u8]) -> Ends {
    let (here, there) = tokio::io::duplex(1 << 16);
    let worker = Rc::new(Worker::default());
    let (said, dropped, started) = (worker.said.clone(), worker.dropped.clone(), worker.started.clone());
    let greeting = Greeting {
        slots: 4,
        hostname: "worker".into(),
        ..Greeting::default()
    };
    let host = Host {
        greeting,
        token: token.to_vec(),
        worker,
    };
    let worker_end = spawn_local(rpc::answer(there, host.bootstrap()));
    let (other, driver) = rpc::dial(here);
    Ends {
        said,
        dropped,
        started,
        other,
        worker_end,
        client_end: spawn_local(driver),
    }
}

async fn session(ends: &Ends) -> RemoteSession {
    session_with(ends, &Greeting::default()).await
}

async fn session_with(ends: &Ends, mine: &Greeting) -> RemoteSession {
    let (greeting, worker) = greet(ends.other.clone(), mine).await.expect("a worker");
    assert_eq!((greeting.slots, greeting.hostname), (4, "worker".into()));
    let client = ClientInfo {
        id: vec![1],
        uid: 1,
        gid: 1,
        shim: vec![0; 3],
    };
    worker.open(&client, Rc::new(Files)).await.expect("a session")
}

fn on_one_thread<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, test)
}

#[test]
fn a_job_reads_the_clients_files() {
    on_one_thread(async {
        let ends = connect(b"");
        let session = session(&ends).await;
        let refused = run(&session, "read").await;
        let error = refused.expect_err("the last blob is not there");
        // Both sides' words arrive once, without the protocol's own.
        assert_eq!(error.to_string(), format!("blob {} is not here", BlobHash([0; 32])));
    });
}

#[test]
fn another_worker_reads_what_a_ticket_is_for() {
    on_one_thread(async {
        // The token is the client's affair: a ticket is enough.
        let ends = connect(b"secret");
        let with_token = Greeting {
            token: b"secret".to_vec(),
            ..Greeting::default()
        };
        let session = session_with(&ends, &with_token).await;
        assert_eq!(session.ticket(), TICKET);
        let refused = ask_holder(ends.other.clone(), b"no ticket").await;
        let why = refused.err().expect("a refusal").to_string();
        assert!(why.contains("ticket"), "{why}");
        let blobs = ask_holder(ends.other.clone(), TICKET).await.expect("a holder");
        assert_eq!(blobs.read(HASH, 1, 2).await.expect("bytes"), b"bc");
        assert_eq!(blobs.read(HASH, 2, 3).await.expect("bytes"), b"c\0\0");
        assert_eq!(blobs.read(HASH, 3, 4).await.expect("zeros"), [0; 4]);
        let missing = blobs.read(BlobHash([0; 32]), 0, 1).await;
        assert!(matches!(missing, Err(RemoteError::Refused(_))), "{missing:?}");
        drop(session);
        // Its end is told by a message of its own.
        let over = loop {
            match blobs.read(HASH, 1, 2).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(over) => break over,
            }
        };
        assert!(
            matches!(&over, RemoteError::Refused(why) if why.contains("left")),
            "{over:?}"
        );
    });
}

#[test]
fn answers_are_as_many_as_were_asked_for_or_fewer() {
    on_one_thread(async {
        let ends = connect(b"");
        let session = session(&ends).await;
        let error = run(&session, "many").await.expect_err("one answer too many");
        assert!(error.to_string().contains("number of answers"), "{error}");
    });
}

#[test]
fn a_job_talks() {
    on_one_thread(async {
        let ends = connect(b"");
        let session = session(&ends).await;
        let sink = Rc::new(Sink::default());
        let updates = [Update::new("/p/f", None)];
        let result = session
            .run(&job("talk"), SNAPSHOT, &updates, &something(), sink.clone())
            .await
            .expect("a result");
        assert_eq!(result.end, JobEnd::Exited(3));
        assert_eq!(*sink.output.borrow(), [(1, b"hello".to_vec())]);
        assert!(sink.wants_input.get());
        session.signal(JOB, 15).await.expect("an answer");
        session.input(JOB, b"x").await.expect("an answer");
        session
            .resize(JOB, TerminalSize { rows: 2, cols: 3 })
            .await
            .expect("an answer");
        session.cancel(JOB).await.expect("an answer");
        let time = Duration::from_millis(70);
        assert_eq!(session.idle(JOB.build, time).await.expect("an answer"), [JOB.number]);
        session.send_home(JOB).await.expect("an answer");
        session.discard(JOB).await.expect("an answer");
        let refused = session.committed(JOB, SNAPSHOT, &updates).await.expect_err("a refusal");
        assert!(
            matches!(&refused, RemoteError::Refused(why) if why == "not ours"),
            "{refused:?}"
        );
        assert_eq!(session.read(HASH, 9, 2).await.expect("bytes"), [9, 9]);
        let said = [
            "signal J 15",
            "input J [120]",
            "resize J 3x2",
            "cancel J",
            "idle for 70ms in 0000000000000005",
            "send J home",
            "discard J",
            "committed J 1",
        ];
        assert_eq!(
            *ends.said.borrow(),
            said.map(|line| line.replace('J', &JOB.to_string()))
        );
    });
}

#[test]
fn a_large_result_passes() {
    on_one_thread(async {
        let ends = connect(b"");
        let session = session(&ends).await;
        let result = run(&session, "large").await.expect("a result");
        assert_eq!(result.changes, (0..10).map(large_change).collect::<Vec<_>>());
    });
}

#[test]
fn an_answer_that_breaks_a_promise_is_refused() {
    on_one_thread(async {
        let ends = connect(b"");
        let session = session(&ends).await;
        let answer = run(&session, "bad").await;
        let error = answer.expect_err("a path with dots");
        assert_eq!(
            error.to_string(),
            "bad path of a change in a message: it holds `.` or `..`"
        );
    });
}

#[test]
fn a_dropped_call_is_dropped_on_the_worker() {
    on_one_thread(async {
        let ends = connect(b"");
        let session = session(&ends).await;
        let run = spawn_local(async move { run(&session, "wait").await.map(drop) });
        ends.started.notified().await;
        run.abort();
        ends.dropped.notified().await;
    });
}

#[test]
fn the_loss_of_the_worker_ends_calls() {
    on_one_thread(async {
        let ends = connect(b"");
        let session = session(&ends).await;
        let run = spawn_local(async move { run(&session, "wait").await.map(drop) });
        ends.started.notified().await;
        ends.worker_end.abort();
        let error = run.await.expect("no panic").expect_err("the worker is gone");
        assert!(matches!(error, RemoteError::Lost(_)), "{error:?}");
        let driver = ends.client_end.await.expect("no panic");
        driver.expect("loss is no error of the driver");
    });
}

#[test]
fn the_loss_of_the_client_drops_its_jobs() {
    on_one_thread(async {
        let ends = connect(b"");
        let session = session(&ends).await;
        let _run = spawn_local(async move { run(&session, "wait").await.map(drop) });
        ends.started.notified().await;
        ends.client_end.abort();
        ends.dropped.notified().await;
        let driver = ends.worker_end.await.expect("no panic");
        driver.expect("loss is no error of the driver");
    });
}

#[test]
fn a_session_can_be_refused() {
    on_one_thread(async {
        let ends = connect(b"");
        let (_, worker) = greet(ends.other.clone(), &Greeting::default()).await.expect("a worker");
        let client = ClientInfo {
            id: vec![1],
            uid: 99,
            gid: 1,
            shim: Vec::new(),
        };
        let error = worker
            .open(&client, Rc::new(Files))
            .await
            .map(drop)
            .expect_err("refused");
        assert_eq!(error.to_string(), "no room for user 99");
        let nobody = ClientInfo {
            id: Vec::new(),
            ..client
        };
        let error = worker
            .open(&nobody, Rc::new(Files))
            .await
            .map(drop)
            .expect_err("refused");
        assert_eq!(error.to_string(), "bad client id in a message: it is empty");
    });
}

#[test]
fn another_protocol_is_told_to_the_caller() {
    on_one_thread(async {
        let ends = connect(b"");
        let other = peer_capnp::peer::Client {
            client: ends.other.clone(),
        };
        let mut request = other.hello_request();
        request.get().init_mine().set_protocol(PROTOCOL + 1);
        let error: RemoteError = request
            .send()
            .promise
            .await
            .map(drop)
            .expect_err("another protocol")
            .into();
        let (theirs, ours) = (PROTOCOL + 1, PROTOCOL);
        let says = format!("the other side speaks protocol {theirs}, this one {ours}");
        assert!(error.to_string().starts_with(&says), "{error}");
    });
}

#[test]
fn the_token_opens() {
    on_one_thread(async {
        let ends = connect(b"secret");
        for wrong in [&b""[..], b"secreT", b"secret2"] {
            let mine = Greeting {
                token: wrong.to_vec(),
                ..Greeting::default()
            };
            let error = greet(ends.other.clone(), &mine)
                .await
                .map(drop)
                .expect_err("a wrong token");
            assert!(error.to_string().contains("token"), "{error}");
        }
        let mine = Greeting {
            token: b"secret".to_vec(),
            ..Greeting::default()
        };
        greet(ends.other.clone(), &mine).await.map(drop).expect("the token");
    });
}
