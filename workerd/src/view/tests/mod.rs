//! The mirror against a client that changes, refuses, lies or goes away. No mounts: what
//! jobs see through an overlay is tested with the guard.

mod changes;
mod evict;
mod holes;
mod lower;
mod peers;
mod prefetch;
mod sparse;
mod special;

use super::error::FaultError;
use super::mirror::{Fill, Mirror, Owners};
use super::outputs::Outputs;
use super::{Files, FilesError, LocalFiles, OpenedFile, Pieces, SharedMap};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use termite_types::{Abandon, BlobHash, Holder, Listing, Node, Update};

/// A client that can be made to misbehave.
struct Client {
    files: LocalFiles,
    open_error: Mutex<Option<FilesError>>,
    list_error: Mutex<Option<FilesError>>,
    /// Contents that its listings name.
    hashes: Mutex<HashMap<PathBuf, BlobHash>>,
    /// So many answers to `read` or `open` carry wrong bytes.
    lies: AtomicU32,
    listings: AtomicU32,
    opens: AtomicU32,
    /// Contents that were asked for by hash.
    reads: AtomicU32,
    /// Questions for several directories or files.
    batches: AtomicU32,
    /// So many answers are given to such a question.
    most: AtomicU32,
    /// Who else has what is opened, and what that worker sends.
    others: Mutex<Vec<(Holder, Vec<u8>)>>,
    /// Who was found to lie.
    liars: Mutex<Vec<Holder>>,
    /// Happens once, after the next such answer was made and before it arrives.
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Client {
    fn several<T>(&self, paths: &[PathBuf], answer: impl Fn(&Path) -> T) -> Vec<T> {
        self.batches.fetch_add(1, Ordering::Relaxed);
        let most = self.most.load(Ordering::Relaxed) as usize;
        let answers = paths.iter().take(most).map(|path| answer(path)).collect();
        let meanwhile = self.meanwhile.lock().take();
        if let Some(happen) = meanwhile {
            happen();
        }
        answers
    }
}

impl Files for Client {
    fn read_dir(&self, path: &Path) -> Result<Listing, FilesError> {
        self.listings.fetch_add(1, Ordering::Relaxed);
        if let Some(error) = self.list_error.lock().clone() {
            return Err(error);
        }
        let mut listing = self.files.read_dir(path)?;
        let hashes = self.hashes.lock();
        for entry in &mut listing.entries {
            if let Node::File { hash, .. } = &mut entry.attr.node {
                *hash = hashes.get(&path.join(&entry.name)).copied();
            }
        }
        Ok(listing)
    }

    fn open(&self, path: &Path) -> Result<OpenedFile, FilesError> {
        self.opens.fetch_add(1, Ordering::Relaxed);
        if let Some(error) = self.open_error.lock().clone() {
            return Err(error);
        }
        let mut opened = self.files.open(path)?;
        let lies = self
            .lies
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |lies| lies.checked_sub(1));
        if lies.is_ok() {
            opened.head[0] ^= 1;
        }
        opened.holders = self.others.lock().iter().map(|(holder, _)| holder.clone()).collect();
        if !opened.holders.is_empty() {
            opened.head.clear();
        }
        Ok(opened)
    }

    fn read_dirs(&self, paths: &[PathBuf]) -> Vec<Result<Listing, FilesError>> {
        self.several(paths, |path| self.read_dir(path))
    }

    fn open_all(&self, paths: &[PathBuf]) -> Vec<Result<OpenedFile, FilesError>> {
        self.several(paths, |path| self.open(path))
    }

    fn read(&self, hash: &BlobHash, from: u64, until: u64) -> Pieces<'_> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.files.read(hash, from, until)
    }

    fn read_from(&self, holder: &Holder, _hash: &BlobHash, from: u64, _until: u64) -> Pieces<'_> {
        let others = self.others.lock();
        let (_, sent) = others.iter().find(|(other, _)| other == holder).expect("it was named");
        let pieces: Vec<_> = sent[from as usize..].chunks(1000).map(<[u8]>::to_vec).collect();
        let lost = sent.is_empty().then(|| Err(FilesError::Lost("it left".into())));
        Box::new(pieces.into_iter().map(Ok).chain(lost))
    }

    fn distrust(&self, holder: &Holder) {
        self.liars.lock().push(holder.clone());
    }
}

/// A client's tree and a mirror of it, side by side.
struct Pair {
    client: tempfile::TempDir,
    _store: tempfile::TempDir,
    files: Arc<Client>,
    mirror: Arc<Mirror>,
}

impl Pair {
    fn new() -> Self {
        Self::with(|mirror| mirror)
    }

    /// The same whose mirror's directories are all sparse, or as usual.
    fn maybe_sparse(is_sparse: bool) -> Self {
        Self::with(|mirror| if is_sparse { mirror.sparse_beyond(0) } else { mirror })
    }

    fn with(change: impl FnOnce(Mirror) -> Mirror) -> Self {
        let client = tempfile::tempdir().unwrap();
        // A store is a tmpfs.
        let store = tempfile::tempdir_in("/dev/shm").unwrap();
        let files = Arc::new(Client {
            files: LocalFiles::new(client.path()),
            open_error: Mutex::default(),
            list_error: Mutex::default(),
            hashes: Mutex::default(),
            lies: AtomicU32::new(0),
            listings: AtomicU32::new(0),
            opens: AtomicU32::new(0),
            reads: AtomicU32::new(0),
            batches: AtomicU32::new(0),
            most: AtomicU32::new(u32::MAX),
            others: Mutex::default(),
            liars: Mutex::default(),
            meanwhile: Mutex::default(),
        });
        let owners = Owners::of(rustix::process::geteuid().is_root());
        let mirror = Mirror::new(store.path(), files.clone(), owners).unwrap();
        Self {
            client,
            _store: store,
            files,
            mirror: Arc::new(change(mirror)),
        }
    }

    fn here(&self, name: &str) -> PathBuf {
        self.client.path().join(name)
    }

    fn there(&self, name: &str) -> PathBuf {
        self.mirror.root().join(name)
    }

    fn ino(&self, name: &str) -> u64 {
        fs::symlink_metadata(self.there(name)).unwrap().ino()
    }

    fn fill(&self, name: &str) -> Result<(), FaultError> {
        self.mirror.fill(self.ino(name))
    }
}

#[test]
fn many_threads_ask_once() {
    let pair = Pair::new();
    fs::write(pair.here("file"), "content").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| pair.mirror.complete(Path::new("/")).unwrap());
        }
    });
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| pair.fill("file").unwrap());
        }
    });
    assert_eq!(pair.files.listings.load(Ordering::Relaxed), 1);
    assert_eq!(pair.files.opens.load(Ordering::Relaxed), 1);
    assert_eq!(fs::read(pair.there("file")).unwrap(), b"content");
}

#[test]
fn a_placeholder_has_looks_and_no_content_until_it_is_filled_in_place() {
    let pair = Pair::new();
    let content: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(pair.here("large"), &content).unwrap();
    fs::set_permissions(pair.here("large"), PermissionsExt::from_mode(0o440)).unwrap();
    pair.mirror.complete(Path::new("/")).unwrap();
    let looks = |path: PathBuf| {
        let meta = fs::metadata(path).unwrap();
        (meta.len(), meta.mode(), meta.mtime(), meta.mtime_nsec(), meta.uid())
    };
    assert_eq!(looks(pair.there("large")), looks(pair.here("large")));
    let marked = || {
        let meta = fs::metadata(pair.there("large")).unwrap();
        (meta.atime(), meta.atime_nsec()) == (termite_abi::PLACEHOLDER_ATIME_SEC, termite_abi::PLACEHOLDER_ATIME_NSEC)
    };
    assert!(marked() && fs::metadata(pair.there("large")).unwrap().blocks() == 0);
    let ino = pair.ino("large");
    pair.fill("large").unwrap();
    assert!(!marked() && pair.ino("large") == ino);
    assert!(fs::read(pair.there("large")).unwrap() == content);
    assert_eq!(looks(pair.there("large")), looks(pair.here("large")));
}

/// Another job may look at a file, and take its time along, while it is filled for this one.
#[test]
fn a_file_keeps_its_time_while_it_is_filled() {
    let pair = Pair::new();
    let content = vec![7; 10 << 20];
    for name in ["file", "copy"] {
        fs::write(pair.here(name), &content).unwrap();
    }
    pair.mirror.complete(Path::new("/")).unwrap();
    let time = |path: PathBuf| fs::metadata(path).unwrap().modified().unwrap();
    for name in ["file", "copy"] {
        let expected = time(pair.here(name));
        std::thread::scope(|scope| {
            let filling = scope.spawn(|| pair.fill(name).unwrap());
            while !filling.is_finished() {
                assert_eq!(time(pair.there(name)), expected);
            }
        });
        assert_eq!(time(pair.there(name)), expected);
        assert!(fs::read(pair.there(name)).unwrap() == content);
    }
}

#[test]
fn content_is_copied_where_it_is_here_already() {
    let pair = Pair::new();
    fs::write(pair.here("one"), "content").unwrap();
    fs::write(pair.here("two"), "content").unwrap();
    pair.mirror.complete(Path::new("/")).unwrap();
    pair.fill("one").unwrap();
    pair.fill("two").unwrap();
    assert_eq!(fs::read(pair.there("two")).unwrap(), b"content");
    assert_ne!(pair.ino("one"), pair.ino("two"));
}

#[test]
fn wrong_bytes_are_asked_for_once_more_and_never_shown() {
    let pair = Pair::new();
    fs::write(pair.here("file"), "content").unwrap();
    pair.mirror.complete(Path::new("/")).unwrap();
    pair.files.lies.store(2, Ordering::Relaxed);
    assert!(matches!(pair.fill("file"), Err(FaultError::Abandon(Abandon::Files(_)))));
    assert_eq!(pair.mirror.fill_state(pair.ino("file")), Some(Fill::Placeholder));
    pair.files.lies.store(1, Ordering::Relaxed);
    pair.fill("file").unwrap();
    assert_eq!(fs::read(pair.there("file")).unwrap(), b"content");
}

#[test]
fn refusals_are_told_apart() {
    let pair = Pair::new();
    fs::create_dir(pair.here("dir")).unwrap();
    fs::write(pair.here("file"), "content").unwrap();
    pair.mirror.complete(Path::new("/")).unwrap();
    let fill = |error| {
        *pair.files.open_error.lock() = Some(error);
        pair.fill("file")
    };
    assert_eq!(
        fill(FilesError::Errno(libc::EACCES)),
        Err(FaultError::Errno(libc::EACCES))
    );
    assert_eq!(
        fill(FilesError::Denied),
        Err(FaultError::Abandon(Abandon::Denied("/file".into())))
    );
    assert!(matches!(
        fill(FilesError::Lost("gone".into())),
        Err(FaultError::Abandon(Abandon::Files(_)))
    ));
    *pair.files.open_error.lock() = None;
    pair.fill("file").unwrap();

    let complete = |error| {
        *pair.files.list_error.lock() = Some(error);
        pair.mirror.complete(Path::new("/dir"))
    };
    assert_eq!(
        complete(FilesError::Denied),
        Err(FaultError::Abandon(Abandon::Denied("/dir".into())))
    );
    assert_eq!(complete(FilesError::Errno(libc::EACCES)), Ok(true));
    assert_eq!(
        fs::metadata(pair.there("dir")).unwrap().mode() & 0o777,
        0,
        "nobody may look into it here either"
    );
}

#[test]
fn what_the_client_lost_is_gone_here() {
    let pair = Pair::new();
    fs::create_dir(pair.here("dir")).unwrap();
    fs::write(pair.here("file"), "content").unwrap();
    pair.mirror.complete(Path::new("/")).unwrap();
    let file = pair.ino("file");
    fs::remove_file(pair.here("file")).unwrap();
    fs::remove_dir(pair.here("dir")).unwrap();
    assert_eq!(pair.mirror.fill(file), Err(FaultError::Errno(libc::ENOENT)));
    assert_eq!(
        pair.mirror.fill(file),
        Err(FaultError::Errno(libc::ENOENT)),
        "a job may hold it yet"
    );
    assert_eq!(
        pair.mirror.complete(Path::new("/dir")),
        Err(FaultError::Errno(libc::ENOENT))
    );
    assert!(!pair.there("file").exists() && !pair.there("dir").exists());
}

#[test]
fn a_spelling_leads_to_a_file_while_that_stands_there_filled() {
    let pair = Pair::new();
    fs::write(pair.here("file"), "old").unwrap();
    pair.mirror.complete(Path::new("/")).unwrap();
    let turn = pair.mirror.recall(|_, _| {});
    let known = || pair.mirror.leads_to_file(turn, b"/file").is_some();
    let learn_at = |turn, path: &str| {
        pair.mirror
            .learn_file(turn, b"/file", Path::new(path), pair.ino("file"));
    };
    let learn = || learn_at(turn, "/file");
    learn();
    assert!(!known(), "a placeholder");
    pair.fill("file").unwrap();
    learn_at(turn, "/elsewhere");
    assert!(!known(), "the client has it elsewhere");
    learn();
    assert!(known());

    fs::write(pair.here("file"), "newer").unwrap();
    let attr = pair.files.files.open(Path::new("/file")).unwrap().attr;
    let update = |attr| Update::new("/file", attr);
    pair.mirror.apply(&[update(Some(attr))]).unwrap();
    assert!(!known(), "another file has its place");
    pair.fill("file").unwrap();
    learn();
    assert!(known());
    pair.mirror.apply(&[update(None)]).unwrap();
    assert!(!known(), "it is gone");

    fs::write(pair.here("file"), "again").unwrap();
    let root = Update::new("/", Some(pair.files.files.read_dir(Path::new("/")).unwrap().attr));
    pair.mirror.apply(&[root]).unwrap();
    pair.mirror.complete(Path::new("/")).unwrap();
    pair.fill("file").unwrap();
    learn();
    assert!(!known(), "what lead there fell into doubt since the job began");
    let later = pair.mirror.recall(|_, _| {});
    learn_at(later, "/file");
    assert!(pair.mirror.leads_to_file(later, b"/file").is_some() && !known());
}

/// Both ways in which a file loses its place to a newer one while a job holds it: overlayfs
/// must find it with a name, and the view must know what it is.
#[test]
fn a_file_that_a_job_holds_outlives_its_place() {
    let pair = Pair::new();
    let names = ["filled", "placeholder"];
    for name in names {
        fs::write(pair.here(name), "old").unwrap();
    }
    pair.mirror.complete(Path::new("/")).unwrap();
    pair.fill("filled").unwrap();
    let pin = pair.mirror.enter(SharedMap::of_no_slot());
    let held = names.map(|name| fs::File::open(pair.there(name)).unwrap());
    let ino = |file: &fs::File| file.metadata().unwrap().ino();

    let upper = tempfile::tempdir_in(pair.mirror.root().parent().unwrap()).unwrap();
    let mut outputs = Outputs::new(fs::File::open(upper.path()).unwrap().into());
    let updates = names.map(|name| {
        for dir in [pair.client.path(), upper.path()] {
            fs::write(dir.join(name), "newer").unwrap();
        }
        let path = Path::new("/").join(name);
        let attr = pair.files.files.open(&path).unwrap().attr;
        let Node::File { hash: Some(hash), .. } = attr.node else {
            panic!("{attr:?}")
        };
        outputs.hold_upper(&path, hash);
        Update::new(path, Some(attr))
    });
    pair.mirror.merge(&outputs, &updates).unwrap();
    for (name, held) in names.iter().zip(&held) {
        assert_eq!(fs::read(pair.there(name)).unwrap(), b"newer");
        assert_ne!(pair.ino(name), ino(held), "{name}");
        assert_eq!(held.metadata().unwrap().nlink(), 1, "{name}");
    }
    let filled = pair.mirror.fill(ino(&held[1]));
    assert!(
        matches!(filled, Err(FaultError::Abandon(Abandon::Conflict(_)))),
        "the client has a longer one: {filled:?}"
    );
    assert_eq!(io::read_to_string(&held[0]).unwrap(), "old");
    let places = names.map(|name| Path::new("/").join(name));
    for (held, place) in held.iter().zip(&places) {
        assert_eq!(pair.mirror.attr_of(ino(held), Path::new("/elsewhere")), None);
        let attr = pair.mirror.attr_of(ino(held), place).unwrap();
        assert!(matches!(attr.node, Node::File { size, .. } if size == held.metadata().unwrap().len()));
    }
    drop(pin);
    for (held, place) in held.iter().zip(&places) {
        assert_eq!(held.metadata().unwrap().nlink(), 0);
        assert_eq!(pair.mirror.attr_of(ino(held), place), None);
    }
}
