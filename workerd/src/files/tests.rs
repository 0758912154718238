//! A client's files by way of another worker, over real connections: one that serves, one
//! that lies, one that is silent, one that is not there.

use super::ClientFiles;
use crate::peers::{PeerTimeouts, Peers};
use crate::view::{Mirror, Owners};
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::slice;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use termite_types::{
    Attr, BlobHash, BuildId, Entry, Expected, FileTime, Holder, JobId, JobResult, JobSpec, Listing, Node, Resource,
    Snapshot, TerminalSize, Update, UserAnswer, UserQuery,
};
use termite_wire::client::{RemoteFiles, RemoteSink};
use termite_wire::client_services::FileService;
use termite_wire::handshake::{Greeting, Host, greet};
use termite_wire::peer::{ClientInfo, Listed, Opened, TICKET_LEN};
use termite_wire::rpc;
use termite_wire::server::{SessionService, WorkerService};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};

/// Files in the client's root.
const NAMES: [&str; 2] = ["a", "b"];
/// Of each; three pieces.
const SIZE: u64 = 2_500_000;

fn content(name: &str) -> Vec<u8> {
    name.bytes().cycle().take(SIZE as usize).collect()
}

fn hash(name: &str) -> BlobHash {
    BlobHash(*blake3::hash(&content(name)).as_bytes())
}

fn piece(hash_of: BlobHash, offset: u64, length: u32) -> Vec<u8> {
    // Hashing takes a while in a build for tests.
    static HASHES: LazyLock<[BlobHash; 2]> = LazyLock::new(|| NAMES.map(hash));
    let at = HASHES.iter().position(|hash| *hash == hash_of).unwrap();
    let until = SIZE.min(offset + u64::from(length));
    content(NAMES[at])[offset as usize..until as usize].to_vec()
}

/// A client whose contents others hold.
struct Client {
    holders: Vec<Holder>,
    /// Pieces that it was asked for itself.
    reads: RefCell<Vec<u64>>,
}

impl Client {
    fn attr(node: Node) -> Attr {
        Attr {
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: FileTime::default(),
            node,
        }
    }

    fn opened(&self, path: &Path) -> Opened {
        let name = path.file_name().unwrap().to_str().unwrap();
        Opened::File {
            attr: Self::attr(Node::File {
                size: SIZE,
                hash: Some(hash(name)),
            }),
            head: Vec::new(),
            holders: self.holders.clone(),
        }
    }
}

impl FileService for Client {
    type Error = io::Error;

    async fn machine_has(&self, resource: Resource) -> bool {
        resource == Resource::Process(1)
    }

    async fn find_user(&self, _query: UserQuery) -> UserAnswer {
        UserAnswer::Nobody
    }

    async fn read_dir(&self, _snapshot: Snapshot, _path: PathBuf) -> Listed {
        let entry = |name: &str| Entry {
            name: name.into(),
            attr: Self::attr(Node::File { size: SIZE, hash: None }),
        };
        Listed::Listing(Listing {
            attr: Self::attr(Node::Dir),
            entries: NAMES.map(entry).to_vec(),
        })
    }

    async fn open(&self, _snapshot: Snapshot, path: PathBuf) -> Opened {
        self.opened(&path)
    }

    async fn read_dirs(&self, snapshot: Snapshot, paths: Vec<PathBuf>) -> Vec<Listed> {
        vec![self.read_dir(snapshot, paths[0].clone()).await]
    }

    async fn open_all(&self, _snapshot: Snapshot, paths: Vec<PathBuf>) -> Vec<Opened> {
        paths.iter().map(|path| self.opened(path)).collect()
    }

    async fn read(&self, hash: BlobHash, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        self.reads.borrow_mut().push(offset);
        Ok(piece(hash, offset, length))
    }
}

/// A worker that runs nothing. Hands the client's files to the test, and gives others what
/// it likes.
struct Other {
    files: RefCell<Option<RemoteFiles>>,
    session: Rc<OtherSession>,
}

/// How it gives them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    Lies,
    IsSilent,
}

struct OtherSession {
    manner: Manner,
    given: RefCell<Vec<u64>>,
}

impl WorkerService for Other {
    type Error = io::Error;
    type Session = OtherSession;

    async fn open(&self, _client: ClientInfo, files: RemoteFiles) -> io::Result<Rc<OtherSession>> {
        *self.files.borrow_mut() = Some(files);
        Ok(self.session.clone())
    }

    fn ticketed(&self, ticket: &[u8]) -> Option<Rc<OtherSession>> {
        (ticket == self.session.ticket()).then(|| self.session.clone())
    }
}

impl SessionService for OtherSession {
    type Error = io::Error;

    async fn run(
        &self,
        _job: JobSpec,
        _snapshot: Snapshot,
        _updates: Vec<Update>,
        _expected: Expected,
        _sink: RemoteSink,
    ) -> io::Result<JobResult> {
        Err(io::Error::other("it runs nothing"))
    }

    async fn committed(&self, _job: JobId, _snapshot: Snapshot, _updates: Vec<Update>) -> io::Result<()> {
        Err(io::Error::other("it ran nothing"))
    }

    fn discard(&self, _job: JobId) {}

    fn signal(&self, _job: JobId, _signal: u8) {}

    async fn input(&self, _job: JobId, _bytes: Vec<u8>) {}

    fn resize(&self, _job: JobId, _size: TerminalSize) {}

    fn cancel(&self, _job: JobId) {}

    async fn idle(&self, _build: BuildId, _time: Duration) -> Vec<u32> {
        Vec::new()
    }

    fn send_home(&self, _job: JobId) {}

    async fn read(&self, _hash: BlobHash, _offset: u64, _length: u32) -> io::Result<Vec<u8>> {
        Err(io::Error::other("it has no outputs"))
    }

    fn ticket(&self) -> &[u8] {
        &[7; TICKET_LEN]
    }

    async fn held(&self, hash: BlobHash, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        self.given.borrow_mut().push(offset);
        let mut piece = piece(hash, offset, length);
        match self.manner {
            Manner::Lies if offset > 0 => piece[0] ^= 1,
            Manner::IsSilent => std::future::pending().await,
            Manner::Honest | Manner::Lies => {}
        }
        Ok(piece)
    }
}

fn other(manner: Manner) -> Rc<Other> {
    Rc::new(Other {
        files: RefCell::default(),
        session: Rc::new(OtherSession {
            manner,
            given: RefCell::default(),
        }),
    })
}

fn host(worker: &Rc<Other>) -> Host<Other> {
    Host {
        greeting: Greeting::default(),
        token: Vec::new(),
        worker: worker.clone(),
    }
}

fn serve(worker: &Rc<Other>, socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    let worker = worker.clone();
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn_local(rpc::answer(stream, host(&worker).bootstrap()));
        }
    });
}

/// However busy this machine is.
const ENDLESS: PeerTimeouts = PeerTimeouts {
    dial: Duration::from_secs(600),
    piece: Duration::from_secs(600),
    pause: Duration::from_secs(600),
};

/// Brings the files of a client that names these as holders. Returns how often the client was
/// asked for a piece.
async fn prefetch(addresses: &[String], ticket: u8, timeouts: PeerTimeouts) -> usize {
    let holders = addresses.iter().map(|address| Holder {
        address: address.clone(),
        ticket: vec![ticket; TICKET_LEN],
    });
    let client = Rc::new(Client {
        holders: holders.collect(),
        reads: RefCell::default(),
    });
    let (here, there) = tokio::io::duplex(1 << 16);
    let me = other(Manner::Honest);
    spawn_local(rpc::answer(there, host(&me).bootstrap()));
    let (bootstrap, traffic) = rpc::dial(here);
    spawn_local(traffic);
    let (_, worker) = greet(bootstrap, &Greeting::default()).await.unwrap();
    let info = ClientInfo {
        id: vec![1],
        uid: 0,
        gid: 0,
        shim: Vec::new(),
    };
    let _session = worker.open(&info, client.clone()).await.unwrap();
    let remote = me.files.borrow_mut().take().unwrap();
    let (_newest, snapshot) = watch::channel(Snapshot::default());
    let files = Arc::new(ClientFiles::new(remote, Peers::new(timeouts), snapshot));
    let store = tempfile::tempdir().unwrap();
    let owners = Owners::of(rustix::process::geteuid().is_root());
    let mirror = Arc::new(Mirror::new(store.path(), files, owners).unwrap());
    let expected = Expected {
        dirs: vec!["/".into()],
        files: NAMES.map(|name| Path::new("/").join(name)).to_vec(),
    };
    let filled = mirror.clone();
    let prefetched = tokio::task::spawn_blocking(move || filled.prefetch(&expected))
        .await
        .unwrap();
    assert_eq!(prefetched, 3);
    for name in NAMES {
        let there = std::fs::read(mirror.root().join(name)).unwrap();
        assert!(there == content(name), "another content");
    }
    client.reads.borrow().len()
}

fn on_one_thread(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    LocalSet::new().block_on(&runtime.enable_all().build().unwrap(), test);
}

#[test]
fn another_worker_gives_what_the_client_need_not() {
    on_one_thread(async {
        let dir = tempfile::tempdir().unwrap();
        let address = format!("unix:{}", dir.path().join("sock").display());
        let peer = other(Manner::Honest);
        serve(&peer, &dir.path().join("sock"));
        assert_eq!(prefetch(slice::from_ref(&address), 7, ENDLESS).await, 0);
        assert_eq!(*peer.session.given.borrow(), [0, 1 << 20, 2 << 20].repeat(2));
        assert_eq!(prefetch(&[address], 8, ENDLESS).await, 6, "a ticket of nobody");
    });
}

#[test]
fn a_liar_is_found_out_and_avoided() {
    on_one_thread(async {
        let dir = tempfile::tempdir().unwrap();
        let address = |name: &str| format!("unix:{}", dir.path().join(name).display());
        let (liar, honest) = (other(Manner::Lies), other(Manner::Honest));
        serve(&liar, &dir.path().join("liar"));
        serve(&honest, &dir.path().join("honest"));
        assert_eq!(
            prefetch(&[address("liar")], 7, ENDLESS).await,
            6,
            "the client helps out"
        );
        assert_eq!(
            liar.session.given.borrow().len(),
            3,
            "it is not asked for the second file"
        );
        assert_eq!(prefetch(&[address("liar"), address("honest")], 7, ENDLESS).await, 0);
        assert_eq!(honest.session.given.borrow().len(), 6);
    });
}

#[test]
fn who_gives_no_answer_is_not_asked_again() {
    on_one_thread(async {
        let dir = tempfile::tempdir().unwrap();
        let silent = other(Manner::IsSilent);
        let short = PeerTimeouts {
            piece: Duration::from_millis(100),
            ..ENDLESS
        };
        serve(&silent, &dir.path().join("sock"));
        let address = format!("unix:{}", dir.path().join("sock").display());
        assert_eq!(prefetch(&[address], 7, short).await, 6, "the client helps out");
        let of_the_first_file = [0, 1 << 20, 2 << 20];
        assert_eq!(*silent.session.given.borrow(), of_the_first_file);
    });
}

#[test]
fn whom_nobody_can_reach_costs_nothing_but_a_moment() {
    on_one_thread(async {
        let nowhere = "unix:/nonexistent/sock".to_string();
        let not_loopback = "192.0.2.1:7000".to_string();
        assert_eq!(prefetch(&[nowhere, not_loopback, "?".into()], 7, ENDLESS).await, 6);
    });
}
