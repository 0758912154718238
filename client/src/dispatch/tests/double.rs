//! A worker that runs no program: its jobs do what their arguments say. And callers.

use crate::callers::{self, SocketLock};
use crate::config::{Config, Surroundings};
use crate::daemon::Daemon;
use crate::journal::{Journal, Predecessor};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use termite_types::{
    Abandon, Attr, BlobHash, BuildId, Change, ChangeKind, Conflict, Content, Expected, FileTime, JobEnd, JobId,
    JobResult, JobSpec, Node, RequestId, Snapshot, Stdin, Stdio, TerminalSize, Update, Usage,
};
use termite_wire::client::{RemoteFiles, RemoteSink};
use termite_wire::frame::{CallerJob, Decoder, ToCaller, ToDaemon, encode};
use termite_wire::handshake::{Greeting, Host};
use termite_wire::peer::ClientInfo;
use termite_wire::rpc;
use termite_wire::server::{SessionService, WorkerService};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::LocalSet;

pub(super) const BUILD: BuildId = BuildId(7);

/// A worker and its only session. Its words: `count` adds 1 to the counter, `conflict N`
/// conflicts N times, `read` wants a piece of input each time and conflicts once, `say`
/// shows two lines and conflicts once, `wait` ends when it is told to.
pub(super) struct Double {
    dir: PathBuf,
    pub counter: Cell<u32>,
    pub runs: Cell<u32>,
    runs_of: RefCell<HashMap<JobId, u32>>,
    pub discarded: RefCell<Vec<JobId>>,
    pub heard: RefCell<Vec<Vec<u8>>>,
    input: Notify,
    pub go_on: Notify,
}

impl Double {
    fn conflict(&self, seen: u32) -> JobEnd {
        let conflict = Conflict::new(
            &self.dir.join("counter"),
            seen.to_string(),
            self.counter.get().to_string(),
        );
        JobEnd::Abandoned(Abandon::Conflict(conflict))
    }

    /// Adds 1, unless another job did so meanwhile.
    async fn count(&self) -> (JobEnd, Vec<Change>) {
        let seen = self.counter.get();
        tokio::time::sleep(Duration::from_millis(5)).await;
        if self.counter.get() != seen {
            return (self.conflict(seen), Vec::new());
        }
        self.counter.set(seen + 1);
        let content = (seen + 1).to_string().into_bytes();
        let (size, hash) = (content.len() as u64, blake3::hash(&content));
        let change = Change {
            path: self.dir.join("counter"),
            kind: ChangeKind::File {
                attr: Attr {
                    mode: 0o644,
                    uid: rustix::process::getuid().as_raw(),
                    gid: rustix::process::getgid().as_raw(),
                    mtime: FileTime { sec: 1, nsec: 0 },
                    node: Node::File {
                        size,
                        hash: Some(BlobHash(*hash.as_bytes())),
                    },
                },
                explicit_mtime: false,
                if_present: termite_types::IfPresent::Replace,
                content: Content::Inline(content),
            },
        };
        (JobEnd::Exited(0), vec![change])
    }

    async fn act(&self, job: &JobSpec, run: u32, sink: &RemoteSink) -> (JobEnd, Vec<Change>) {
        let word = |at: usize| job.argv[at].to_str().unwrap();
        let conflicts = match word(0) {
            "count" => return self.count().await,
            "conflict" => word(1).parse().unwrap(),
            "read" => {
                sink.want_input().await.unwrap();
                self.input.notified().await;
                1
            }
            "say" => {
                sink.output(1, b"one\n").await.unwrap();
                sink.output(1, format!("two, run {run}\n").as_bytes()).await.unwrap();
                1
            }
            "wait" => {
                self.go_on.notified().await;
                0
            }
            other => panic!("{other}"),
        };
        match run <= conflicts {
            true => (self.conflict(run), Vec::new()),
            false => (JobEnd::Exited(0), Vec::new()),
        }
    }
}

/// The same as a service.
pub(super) struct Offered(pub Rc<Double>);

impl WorkerService for Offered {
    type Error = io::Error;
    type Session = Self;

    async fn open(&self, _client: ClientInfo, _files: RemoteFiles) -> io::Result<Rc<Self>> {
        Ok(Rc::new(Self(self.0.clone())))
    }

    fn ticketed(&self, _ticket: &[u8]) -> Option<Rc<Self>> {
        None
    }
}

impl SessionService for Offered {
    type Error = io::Error;

    async fn run(
        &self,
        job: JobSpec,
        _snapshot: Snapshot,
        _updates: Vec<Update>,
        _expected: Expected,
        sink: RemoteSink,
    ) -> io::Result<JobResult> {
        let double = &self.0;
        double.runs.set(double.runs.get() + 1);
        let run = {
            let mut runs = double.runs_of.borrow_mut();
            let run = runs.entry(job.id).or_default();
            *run += 1;
            *run
        };
        let (end, changes) = double.act(&job, run, &sink).await;
        Ok(JobResult {
            end,
            changes,
            premises: termite_types::Premises::default(),
            trace: Vec::new(),
            output: vec![(2, format!("run {run}\n").into_bytes())],
            read_input: 0,
            usage: Usage::default(),
            worker_now: FileTime { sec: 1, nsec: 0 },
        })
    }

    async fn committed(&self, _job: JobId, _snapshot: Snapshot, _updates: Vec<Update>) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, job: JobId) {
        self.0.discarded.borrow_mut().push(job);
    }

    fn signal(&self, _job: JobId, _signal: u8) {}

    async fn input(&self, _job: JobId, bytes: Vec<u8>) {
        self.0.heard.borrow_mut().push(bytes);
        self.0.input.notify_one();
    }

    fn resize(&self, _job: JobId, _size: TerminalSize) {}

    fn cancel(&self, _job: JobId) {}

    async fn idle(&self, _build: BuildId, _time: Duration) -> Vec<u32> {
        Vec::new()
    }

    fn send_home(&self, _job: JobId) {}

    async fn read(&self, _hash: BlobHash, _offset: u64, _length: u32) -> io::Result<Vec<u8>> {
        Err(io::Error::other("nothing is here"))
    }

    fn ticket(&self) -> &[u8] {
        b"ticket"
    }

    async fn held(&self, _hash: BlobHash, _offset: u64, _length: u32) -> io::Result<Vec<u8>> {
        Err(io::Error::other("nothing is here"))
    }
}

/// A daemon with one such worker.
pub(super) struct Scene {
    pub daemon: Rc<Daemon>,
    pub double: Rc<Double>,
    pub dir: PathBuf,
    socket: PathBuf,
    asked: Cell<u64>,
    _lock: SocketLock,
}

/// Has `act` talk to a daemon whose worker has so many slots.
pub(super) fn with_daemon(slots: u16, act: impl AsyncFnOnce(&Scene)) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let scene = Scene::new(&root, slots).await;
        act(&scene).await;
        scene.daemon.builds.settled().await;
    });
}

impl Scene {
    async fn new(root: &Path, slots: u16) -> Self {
        for dir in ["home", "prefix/lib", "project"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        std::fs::write(root.join("prefix/lib/libtermite.so"), "").unwrap();
        let worker = root.join("worker");
        let double = Rc::new(Double {
            dir: root.join("project"),
            counter: Cell::new(0),
            runs: Cell::new(0),
            runs_of: RefCell::default(),
            discarded: RefCell::default(),
            heard: RefCell::default(),
            input: Notify::new(),
            go_on: Notify::new(),
        });
        let listener = UnixListener::bind(&worker).unwrap();
        tokio::task::spawn_local(offer(listener, double.clone(), slots));
        let home = root.join("home");
        let variable = |name: &str| (name == "HOME").then(|| OsString::from(&home));
        let around = Surroundings {
            cwd: root.join("project"),
            variable: &variable,
            uid: rustix::process::getuid().as_raw(),
            prefix: root.join("prefix"),
        };
        let socket = root.join("run/daemon.sock");
        let flags = [
            ("workers", format!("unix:{}", worker.display())),
            ("socket", socket.display().to_string()),
        ];
        let config = Config::load_in(&around, &flags).unwrap();
        let (listener, lock) = callers::bind(&socket).unwrap();
        let journal = Journal::begin(&socket, 1, &Predecessor::default()).unwrap();
        let daemon = Daemon::new(config, Arc::new(journal)).await.unwrap();
        daemon.enlist_workers().unwrap();
        tokio::task::spawn_local(callers::serve(listener, daemon.clone()));
        Self {
            daemon,
            double,
            socket,
            dir: root.join("project"),
            asked: Cell::default(),
            _lock: lock,
        }
    }

    /// Asks for a job. On a terminal, what it says is shown at once.
    pub(super) async fn ask(&self, argv: &[&str], on_terminal: bool) -> Asker {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        let stdio = Stdio {
            stdin: Stdin::Pipe,
            terminal: [false, on_terminal, false],
            ..Stdio::without_input()
        };
        let job = CallerJob {
            request: RequestId(u128::from(self.asked.replace(self.asked.get() + 1))),
            build: BUILD,
            program: "/double".into(),
            argv: argv.iter().map(OsString::from).collect(),
            env: Vec::new(),
            cwd: self.dir.clone(),
            umask: 0o22,
            ignored: 0,
            nice: 0,
            limits: Vec::new(),
            groups: Vec::new(),
            stdio,
            inherited: Vec::new(),
            must: true,
            is_driven: false,
        };
        stream.write_all(&encode(&ToDaemon::Job(job))).await.unwrap();
        Asker {
            stream,
            decoder: Decoder::new(),
        }
    }
}

async fn offer(listener: UnixListener, double: Rc<Double>, slots: u16) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let host = Host {
            greeting: Greeting {
                slots,
                ..Greeting::default()
            },
            token: Vec::new(),
            worker: Rc::new(Offered(double.clone())),
        };
        tokio::task::spawn_local(rpc::answer(stream, host.bootstrap()));
    }
}

/// A caller that waits for its job.
pub(super) struct Asker {
    stream: UnixStream,
    decoder: Decoder<ToCaller>,
}

impl Asker {
    /// What it is told next.
    pub(super) async fn next(&mut self) -> Option<ToCaller> {
        let mut piece = vec![0; 1 << 16];
        loop {
            if let Some(frame) = self.decoder.next().unwrap() {
                return Some(frame);
            }
            match self.stream.read(&mut piece).await.unwrap() {
                0 => return None,
                len => self.decoder.feed(&piece[..len]),
            }
        }
    }

    /// All that it is told until the end.
    pub(super) async fn rest(&mut self) -> Vec<ToCaller> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    pub(super) async fn say(&mut self, frame: ToDaemon) {
        self.stream.write_all(&encode(&frame)).await.unwrap();
    }
}
