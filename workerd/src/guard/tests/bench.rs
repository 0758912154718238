//! What these tests stand on: a worker, a client that is a directory of this machine, a
//! mirror of it, and jobs that run over it in real slots under the real guard.

use crate::guard::{Events, GuardSpec, make_ready, serve};
use crate::slot::tests::bed::{USER, alone, is_inside, worker_command};
use crate::slot::{JobFd, Network, SlotEnd, SlotPlan, Started};
use crate::start::{Entered, StoreOptions, enter};
use crate::view::{Files, Harvest, LocalFiles, Mirror, Owners, SharedMap, View, ViewSpec, harvest};
use parking_lot::Mutex;
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use termite_types::{Abandon, Change, ChangeKind, Content, JobSpec, Node, Owner, TraceItem, Update};

const COOKIE: u64 = 0x1234_5678_9abc_def0;

/// A worker that serves one client.
pub(super) struct Bench {
    pub entered: Entered,
    network: Network,
    pub files: Arc<LocalFiles>,
    mirrors: AtomicU32,
    count: AtomicU32,
}

/// What a job came to.
pub(super) struct Ran {
    pub end: SlotEnd,
    pub output: String,
    pub harvest: Harvest,
    pub trace: Vec<TraceItem>,
    pub events: Arc<Heard>,
    pub faults: u64,
    pub fetches: u64,
    pub wall: Duration,
    pub shared: Arc<SharedMap>,
}

impl Ran {
    /// Whether the shim would have known this spelling of a directory at the job's end.
    pub(super) fn knows(&self, spelled: &Path) -> bool {
        let key = self
            .shared
            .dir_key(&[spelled.as_os_str().as_encoded_bytes()], self.shared.epoch());
        self.shared.is_complete(key)
    }
}

/// What the guard told.
#[derive(Default)]
pub(super) struct Heard {
    pub abandoned: Mutex<Option<Abandon>>,
    pub wanted: AtomicU32,
}

impl Events for Heard {
    fn want_input(&self) {
        self.wanted.fetch_add(1, Ordering::Relaxed);
    }

    fn abandon(&self, why: Abandon) {
        *self.abandoned.lock() = Some(why);
    }
}

/// Runs `body` as a worker whose client is this machine, as root and as an ordinary user.
pub(super) fn with_client(test: &str, body: impl FnOnce(&Bench)) {
    if is_inside() {
        alone(|| body(&Bench::new(Path::new("/"))));
    }
    let user = rustix::process::geteuid().is_root().then_some(Some(USER));
    for user in [None].into_iter().chain(user) {
        let output = worker_command(test, user)
            .output()
            .expect("the test binary executes itself");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && text.contains("worker passed"),
            "{user:?} {}: {text}",
            output.status
        );
        print!("{text}");
    }
}

impl Bench {
    fn new(root: &Path) -> Self {
        let options = StoreOptions {
            bytes: Some(2 << 30),
            ..StoreOptions::default()
        };
        let entered = enter(options).expect("this host lets workerd start");
        let files = Arc::new(LocalFiles::new(root));
        let network = Network::new(&entered.spawner).unwrap();
        Self {
            entered,
            network,
            files,
            mirrors: AtomicU32::new(0),
            count: AtomicU32::new(0),
        }
    }

    /// An empty mirror of the client.
    pub(super) fn mirror(&self) -> Arc<Mirror> {
        self.mirror_of(self.files.clone())
    }

    /// The same of another client.
    pub(super) fn mirror_of(&self, files: Arc<dyn Files>) -> Arc<Mirror> {
        Arc::new(self.new_mirror(files))
    }

    /// The same whose directories are all sparse.
    pub(super) fn sparse_mirror(&self) -> Arc<Mirror> {
        Arc::new(self.new_mirror(self.files.clone()).sparse_beyond(0))
    }

    fn new_mirror(&self, files: Arc<dyn Files>) -> Mirror {
        let dir = self
            .entered
            .store
            .root
            .join(format!("client-{}", self.mirrors.fetch_add(1, Ordering::Relaxed)));
        let owners = Owners::of(self.entered.store.root_user);
        Mirror::new(&dir, files, owners).unwrap()
    }

    /// A job that runs a shell script in `cwd`.
    pub(super) fn script(&self, cwd: &Path, script: &str) -> JobSpec {
        self.command(cwd, Path::new("/bin/sh"), &["sh", "-c", script])
    }

    pub(super) fn command(&self, cwd: &Path, program: &Path, argv: &[&str]) -> JobSpec {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let id = if self.entered.store.root_user {
            (uid, gid)
        } else {
            (USER, USER)
        };
        JobSpec {
            argv: argv.iter().map(OsString::from).collect(),
            env: vec!["PATH=/usr/local/bin:/usr/bin:/bin".into(), "LC_ALL=C".into()],
            cwd: cwd.into(),
            owner: Owner {
                uid: id.0,
                gid: id.1,
                groups: Vec::new(),
            },
            ..JobSpec::bare(program)
        }
    }

    /// Runs a job over a mirror to its harvest.
    pub(super) fn run(&self, mirror: &Arc<Mirror>, spec: JobSpec) -> Ran {
        self.run_with(mirror, spec, JobFd::Null, None)
    }

    pub(super) fn run_with(&self, mirror: &Arc<Mirror>, spec: JobSpec, stdin: JobFd, preload: Option<PathBuf>) -> Ran {
        let begun = Instant::now();
        let dir = self
            .entered
            .store
            .root
            .join(format!("job-{}", self.count.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&dir).unwrap();
        let shared_path = dir.join("shared");
        let shared = Arc::new(SharedMap::new(std::fs::File::create_new(&shared_path).unwrap().as_fd()).unwrap());
        shared.init(COOKIE);
        let (mut from, to) = std::io::pipe().unwrap();
        let (cwd, program) = (spec.cwd.clone(), spec.program.clone());
        let (owner, drivers) = (spec.owner.clone(), spec.drivers.clone());
        let plan = SlotPlan {
            lower: mirror.root().to_path_buf(),
            network: self.network.clone(),
            dir: dir.clone(),
            shared: shared_path,
            shim: None,
            spec,
            stdio: [
                stdin,
                JobFd::Open(to.try_clone().unwrap().into()),
                JobFd::Open(to.into()),
            ],
            placeholder: None,
            jobserver: None,
            cookie: COOKIE,
            served: None,
        };
        let Started {
            mut slot,
            listener,
            root,
            upper,
            ..
        } = self.entered.spawner.start(plan).expect("a slot starts");
        let proc = std::fs::File::open(&self.entered.store.proc).unwrap().into();
        let view = Arc::new(View::new(ViewSpec {
            mirror: mirror.clone(),
            root,
            upper: upper.try_clone().unwrap(),
            proc,
            shared,
            // Of the client, whoever the worker is.
            uid: 0,
            gid: 0,
            lower: None,
        }));
        let events = Arc::new(Heard::default());
        let guard_spec = GuardSpec {
            view: view.clone(),
            preload,
            drivers,
            terminal_input: false,
            pids: None,
            placeholder: None,
        };
        if let Err(why) = make_ready(&guard_spec, slot.pid(), &cwd, &program) {
            events.abandon(why);
        }
        let guard = serve(
            listener.expect("a slot over a mirror has a guard"),
            guard_spec,
            events.clone(),
        )
        .unwrap();
        slot.go().unwrap();
        let mut output = String::new();
        from.read_to_string(&mut output).unwrap();
        let end = slot.wait().unwrap();
        guard.join();
        let harvest = harvest(upper, &view, &owner).unwrap();
        let (faults, fetches, trace) = (guard.faults(), view.fetches(), view.trace().unwrap());
        Ran {
            end,
            output,
            harvest,
            trace,
            events,
            faults,
            fetches,
            wall: begun.elapsed(),
            shared: view.shared().clone(),
        }
    }
}

impl Ran {
    /// The changes in short: a message for the kind and the path.
    pub(super) fn changes(&self) -> Vec<String> {
        self.harvest.changes.iter().map(short).collect()
    }

    /// The content that a file of the harvest has.
    pub(super) fn content(&self, path: &Path) -> Vec<u8> {
        let file = self.harvest.changes.iter().find_map(|change| match &change.kind {
            ChangeKind::File { attr, content, .. } if change.path == path => {
                let Node::File { size, hash: Some(hash) } = attr.node else {
                    panic!("{attr:?}")
                };
                Some((size, hash, content))
            }
            ChangeKind::Alter(alter) if change.path == path => {
                let edit = alter.content.as_ref()?;
                Some((edit.size, edit.hash, &edit.content))
            }
            _ => None,
        });
        let (size, hash, content) = file.expect("an output");
        match content {
            Content::Inline(bytes) => bytes.clone(),
            Content::OnWorker => self.harvest.outputs.read(&hash, 0, size as u32).unwrap().expect("held"),
        }
    }
}

fn short(change: &Change) -> String {
    let kind = match &change.kind {
        ChangeKind::Remove { .. } => "-",
        ChangeKind::MakeDir { .. } => "d",
        ChangeKind::Symlink { .. } => "l",
        ChangeKind::File { .. } => "f",
        ChangeKind::Link { .. } => "h",
        ChangeKind::Name { .. } => "n",
        ChangeKind::Alter(_) => "a",
        ChangeKind::SetXattrs(_) => "x",
    };
    format!("{kind} {}", change.path.display())
}

/// How a path of this machine stands, as the client tells it.
pub(super) fn update(path: &Path) -> Update {
    let attr = path
        .parent()
        .and_then(|dir| LocalFiles::new("/").read_dir(dir).ok())
        .and_then(|listing| {
            let name = path.file_name()?;
            listing
                .entries
                .into_iter()
                .find(|entry| entry.name == name)
                .map(|entry| entry.attr)
        });
    Update::new(path, attr)
}
