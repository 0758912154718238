//! Client and worker over one connection in memory: calls both ways, refusals, loss.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use termite_types::{
    Attr, BlobHash, BuildId, Change, ChangeKind, Content, Expected, FileTime, JobEnd, JobId, JobResult, JobSpec,
    Listing, Node, Owner, PROTOCOL, Snapshot, Stdin, Stdio, TerminalSize, Update, Usage,
};
use termite_wire::meet::{Greeting, Host, ask_holder, greet};
use termite_wire::offer::{FileService, SessionService, SinkService, WorkerService};
use termite_wire::peer::{ClientInfo, Listed, Opened};
use termite_wire::peer_capnp;
use termite_wire::remote::{RemoteFiles, RemoteSession, RemoteSink};
use termite_wire::rpc::{self, RemoteError};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

const JOB: JobId = JobId {
    build: BuildId(5),
    number: 1,
};
const TICKET: &[u8] = b"a ticket";
const HASH: BlobHash = BlobHash([7; 32]);
const SNAPSHOT: Snapshot = Snapshot { epoch: 1, count: 2 };

fn attr(node: Node) -> Attr {
    Attr {
        mode: 0o755,
        uid: 1,
        gid: 2,
        mtime: FileTime { sec: 3, nsec: 4 },
        node,
    }
}

/// A client with one directory and one file.
struct Files;

impl FileService for Files {
    async fn read_dir(&self, snapshot: Snapshot, path: PathBuf) -> Listed {
        assert_eq!(snapshot, SNAPSHOT);
        match path.to_str() {
            Some("/p") => Listed::Listing(Listing {
                attr: attr(Node::Dir),
                entries: Vec::new(),
            }),
            _ => Listed::Errno(2),
        }
    }

    async fn open(&self, _snapshot: Snapshot, path: PathBuf) -> Opened {
        match path.to_str() {
            Some("/p/f") => Opened::File {
                attr: attr(Node::File {
                    size: 3,
                    hash: Some(HASH),
                }),
                head: b"ab".to_vec(),
                holders: Vec::new(),
            },
            _ => Opened::Denied,
        }
    }

    async fn read_dirs(&self, snapshot: Snapshot, paths: Vec<PathBuf>) -> Vec<Listed> {
        let mut listed = Vec::new();
        for path in paths.into_iter().take(2) {
            listed.push(self.read_dir(snapshot, path).await);
        }
        listed
    }

    /// As nobody should: more answers than questions.
    async fn open_all(&self, _snapshot: Snapshot, paths: Vec<PathBuf>) -> Vec<Opened> {
        vec![Opened::Denied; paths.len() + 1]
    }

    async fn read(&self, hash: BlobHash, offset: u64, length: u32) -> Result<Vec<u8>, String> {
        if hash != HASH {
            return Err(format!("blob {hash} is not here"));
        }
        Ok(b"abc"[offset as usize..][..length as usize].to_vec())
    }
}

/// A worker whose jobs do what their program's name says.
#[derive(Default)]
struct Worker {
    said: Rc<RefCell<Vec<String>>>,
    dropped: Rc<Notify>,
    started: Rc<Notify>,
    open: RefCell<Weak<Session>>,
}

struct Session {
    client: ClientInfo,
    files: RemoteFiles,
    said: Rc<RefCell<Vec<String>>>,
    dropped: Rc<Notify>,
    started: Rc<Notify>,
}

impl WorkerService for Worker {
    type Session = Session;

    async fn open(&self, client: ClientInfo, files: RemoteFiles) -> Result<Rc<Session>, String> {
        if client.uid == 99 {
            return Err("no room for user 99".to_string());
        }
        let (said, dropped, started) = (self.said.clone(), self.dropped.clone(), self.started.clone());
        let session = Rc::new(Session {
            client,
            files,
            said,
            dropped,
            started,
        });
        *self.open.borrow_mut() = Rc::downgrade(&session);
        Ok(session)
    }

    fn ticketed(&self, ticket: &[u8]) -> Option<Rc<Session>> {
        let session = self.open.borrow().upgrade();
        session.filter(|_| ticket == TICKET)
    }
}

struct OnDrop(Rc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl SessionService for Session {
    async fn run(
        &self,
        job: JobSpec,
        snapshot: Snapshot,
        updates: Vec<Update>,
        expected: Expected,
        sink: RemoteSink,
    ) -> Result<JobResult, String> {
        let _dropped = OnDrop(self.dropped.clone());
        self.started.notify_one();
        let lost = |error: RemoteError| error.to_string();
        let mut changes = Vec::new();
        match job.program.to_str() {
            Some("read") => {
                let listed = self.files.read_dir(snapshot, Path::new("/p")).await.map_err(lost)?;
                assert!(matches!(listed, Listed::Listing(_)));
                let opened = self.files.open(snapshot, Path::new("/p/f")).await.map_err(lost)?;
                assert!(matches!(opened, Opened::File { head, .. } if head == b"ab"));
                assert_eq!(
                    self.files.open(snapshot, Path::new("/x")).await.map_err(lost)?,
                    Opened::Denied
                );
                assert_eq!(self.files.read(HASH, 2, 1).await.map_err(lost)?, b"c");
                self.files.read(BlobHash([0; 32]), 0, 1).await.map_err(lost)?;
            }
            Some("many") => {
                let many = ["/p", "/x", "/y"].map(PathBuf::from);
                let listed = self.files.read_dirs(snapshot, &many).await.map_err(lost)?;
                assert!(matches!(listed[..], [Listed::Listing(_), Listed::Errno(2)]));
                self.files.open_all(snapshot, &many).await.map_err(lost)?;
            }
            Some("talk") => {
                assert_eq!(updates.len(), 1);
                assert_eq!(expected, something());
                sink.output(1, b"hello").await.map_err(lost)?;
                sink.want_input().await.map_err(lost)?;
            }
            Some("large") => changes = (0..10).map(large_change).collect(),
            Some("bad") => {
                changes = vec![Change {
                    path: "/p/../q".into(),
                    kind: ChangeKind::Remove,
                }]
            }
            _ => std::future::pending().await,
        }
        Ok(JobResult {
            end: JobEnd::Exited(self.client.shim.len() as u8),
            changes,
            trace: Vec::new(),
            output: Vec::new(),
            unread_input: 0,
            usage: Usage::default(),
            worker_now: FileTime::default(),
        })
    }

    async fn committed(&self, job: JobId, _snapshot: Snapshot, updates: Vec<Update>) -> Result<(), String> {
        self.say(format!("committed {job} {}", updates.len()));
        Err("not ours".to_string())
    }

    fn discard(&self, job: JobId) {
        self.say(format!("discard {job}"));
    }

    fn signal(&self, job: JobId, signal: u8) {
        self.say(format!("signal {job} {signal}"));
    }

    async fn input(&self, job: JobId, bytes: Vec<u8>) {
        self.say(format!("input {job} {bytes:?}"));
    }

    fn resize(&self, job: JobId, size: TerminalSize) {
        self.say(format!("resize {job} {}x{}", size.cols, size.rows));
    }

    fn cancel(&self, job: JobId) {
        self.say(format!("cancel {job}"));
    }

    async fn read(&self, _hash: BlobHash, offset: u64, length: u32) -> Result<Vec<u8>, String> {
        Ok(vec![offset as u8; length as usize])
    }

    fn ticket(&self) -> &[u8] {
        TICKET
    }

    async fn held(&self, hash: BlobHash, offset: u64, length: u32) -> Result<Vec<u8>, String> {
        self.files
            .read(hash, offset, length)
            .await
            .map_err(|error| error.to_string())
    }
}

impl Session {
    fn say(&self, what: String) {
        self.said.borrow_mut().push(what);
    }
}

/// Ten of them make a message longer than capnp's own limit of 64 MiB.
fn large_change(at: u8) -> Change {
    let bytes = vec![at; 8 << 20];
    Change {
        path: format!("/p/{at}").into(),
        kind: ChangeKind::File {
            attr: attr(Node::File {
                size: bytes.len() as u64,
                hash: Some(HASH),
            }),
            explicit_mtime: false,
            base: None,
            content: Content::Inline(bytes),
        },
    }
}

#[derive(Default)]
struct Sink {
    output: RefCell<Vec<(u8, Vec<u8>)>>,
    wants_input: Cell<bool>,
}

impl SinkService for Sink {
    async fn output(&self, fd: u8, bytes: Vec<u8>) {
        self.output.borrow_mut().push((fd, bytes));
    }

    fn want_input(&self) {
        self.wants_input.set(true);
    }
}

fn job(program: &str) -> JobSpec {
    JobSpec {
        id: JOB,
        program: program.into(),
        argv: vec![program.into()],
        env: Vec::new(),
        cwd: "/p".into(),
        umask: 0o022,
        limits: Vec::new(),
        owner: Owner {
            uid: 1,
            gid: 1,
            groups: Vec::new(),
        },
        hostname: "h".into(),
        stdio: Stdio {
            stdin: Stdin::Null,
            stdout: true,
            stderr: true,
            merged: false,
            terminal: [false; 3],
            size: None,
        },
        jobserver: None,
        drivers: Vec::new(),
    }
}

/// Runs a job that tells nothing.
async fn run(session: &RemoteSession, program: &str) -> Result<JobResult, RemoteError> {
    let (expected, sink) = (Expected::default(), Rc::new(Sink::default()));
    session.run(&job(program), SNAPSHOT, &[], &expected, sink).await
}

fn something() -> Expected {
    Expected {
        dirs: vec!["/".into(), "/p".into()],
        files: vec!["/p/f".into()],
    }
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
