//! Stand-ins: a client with one directory and one file, a worker whose jobs do what their
//! program's name says, and who listens to a job.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;
use termite_types::{
    Attr, BlobHash, BuildId, Change, ChangeKind, Content, Expected, FileTime, JobEnd, JobId, JobResult, JobSpec,
    Listing, Node, Premises, Resource, Snapshot, TerminalSize, Update, Usage, UserAnswer, UserQuery,
};
use termite_wire::client::{RemoteFiles, RemoteSink};
use termite_wire::client_services::{FileService, SinkService};
use termite_wire::peer::{ClientInfo, Listed, Opened};
use termite_wire::rpc::RemoteError;
use termite_wire::server::{SessionService, WorkerService};
use tokio::sync::Notify;

pub(crate) const JOB: JobId = JobId {
    build: BuildId(5),
    number: 1,
};
pub(crate) const TICKET: &[u8] = b"a ticket";
pub(crate) const HASH: BlobHash = BlobHash([7; 32]);
pub(crate) const SNAPSHOT: Snapshot = Snapshot { epoch: 1, count: 2 };

pub(crate) fn attr(node: Node) -> Attr {
    Attr {
        mode: 0o755,
        uid: 1,
        gid: 2,
        mtime: FileTime { sec: 3, nsec: 4 },
        node,
    }
}

/// A client with one directory and one file.
pub(crate) struct Files;

impl FileService for Files {
    type Error = io::Error;

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

    async fn machine_has(&self, resource: Resource) -> bool {
        resource == Resource::Process(1)
    }

    async fn find_user(&self, _query: UserQuery) -> UserAnswer {
        UserAnswer::Nobody
    }

    async fn read(&self, hash: BlobHash, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        if hash != HASH {
            return Err(io::Error::other(format!("blob {hash} is not here")));
        }
        Ok(b"abc\0\0\0\0"[offset as usize..][..length as usize].to_vec())
    }
}

/// A worker whose jobs do what their program's name says.
#[derive(Default)]
pub(crate) struct Worker {
    pub said: Rc<RefCell<Vec<String>>>,
    pub dropped: Rc<Notify>,
    pub started: Rc<Notify>,
    open: RefCell<Weak<Session>>,
}

pub(crate) struct Session {
    client: ClientInfo,
    files: RemoteFiles,
    said: Rc<RefCell<Vec<String>>>,
    dropped: Rc<Notify>,
    started: Rc<Notify>,
}

impl WorkerService for Worker {
    type Error = io::Error;
    type Session = Session;

    async fn open(&self, client: ClientInfo, files: RemoteFiles) -> io::Result<Rc<Session>> {
        if client.uid == 99 {
            return Err(io::Error::other("no room for user 99"));
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
    type Error = io::Error;

    async fn run(
        &self,
        job: JobSpec,
        snapshot: Snapshot,
        updates: Vec<Update>,
        expected: Expected,
        sink: RemoteSink,
    ) -> io::Result<JobResult> {
        let _dropped = OnDrop(self.dropped.clone());
        self.started.notify_one();
        let lost = |error: RemoteError| io::Error::other(error);
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
                    kind: ChangeKind::Remove { dir: false },
                }]
            }
            _ => std::future::pending().await,
        }
        Ok(JobResult {
            end: JobEnd::Exited(self.client.shim.len() as u8),
            changes,
            premises: Premises::default(),
            trace: Vec::new(),
            output: Vec::new(),
            read_input: 0,
            usage: Usage::default(),
            worker_now: FileTime::default(),
        })
    }

    async fn committed(&self, job: JobId, _snapshot: Snapshot, updates: Vec<Update>) -> io::Result<()> {
        self.say(format!("committed {job} {}", updates.len()));
        Err(io::Error::other("not ours"))
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

    async fn idle(&self, build: BuildId, time: Duration) -> Vec<u32> {
        self.say(format!("idle for {time:?} in {build}"));
        vec![JOB.number]
    }

    fn send_home(&self, job: JobId) {
        self.say(format!("send {job} home"));
    }

    async fn read(&self, _hash: BlobHash, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        Ok(vec![offset as u8; length as usize])
    }

    fn ticket(&self) -> &[u8] {
        TICKET
    }

    async fn held(&self, hash: BlobHash, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        self.files.read(hash, offset, length).await.map_err(io::Error::other)
    }
}

impl Session {
    fn say(&self, what: String) {
        self.said.borrow_mut().push(what);
    }
}

/// Ten of them make a message longer than capnp's own limit of 64 MiB.
pub(crate) fn large_change(at: u8) -> Change {
    let bytes = vec![at; 8 << 20];
    Change {
        path: format!("/p/{at}").into(),
        kind: ChangeKind::File {
            attr: attr(Node::File {
                size: bytes.len() as u64,
                hash: Some(HASH),
            }),
            explicit_mtime: false,
            content: Content::Inline(bytes),
            if_present: termite_types::IfPresent::Replace,
        },
    }
}

#[derive(Default)]
pub(crate) struct Sink {
    pub output: RefCell<Vec<(u8, Vec<u8>)>>,
    pub wants_input: Cell<bool>,
}

impl SinkService for Sink {
    async fn output(&self, fd: u8, bytes: Vec<u8>) {
        self.output.borrow_mut().push((fd, bytes));
    }

    fn want_input(&self) {
        self.wants_input.set(true);
    }
}

/// What the client of a talking job tells its worker to expect.
pub(crate) fn something() -> Expected {
    Expected {
        dirs: vec!["/".into(), "/p".into()],
        files: vec!["/p/f".into()],
    }
}
