//! One job's use of a mirror by inode number, as a file system serves it that is the
//! lower layer of the job's mount: directories are completed before a name is looked up
//! in them, files filled before they are opened. What the guard learns from calls, this
//! learns from what overlayfs asks for, once for each name.
//!
//! Knows no message of FUSE and no mount.

use super::acts::{Before, ClientFile, NameActs, Written};
use super::confine::{self, is_dir, is_file};
use super::error::FaultError;
use super::inode::content_of;
use super::mapped::SharedMap;
use super::mirror::{Fill, Mirror, ReaderPin, is_placeholder, seen};
use parking_lot::Mutex;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, Statx};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::ops::Bound;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use termite_abi::Access;
use termite_types::{Attr, FileTime};

/// The mirror as one job's lower layer.
pub struct Lower {
    mirror: Arc<Mirror>,
    _pin: ReaderPin,
    /// A proc file system of workerd's own pid namespace: the way from a handle to the file.
    proc: OwnedFd,
    shared: Arc<SharedMap>,
    root: u64,
    nodes: Mutex<HashMap<u64, Node>>,
    /// What each name in a directory led to; `None`: to nothing.
    answers: Mutex<HashMap<(u64, OsString), Option<u64>>>,
    /// What stood at names as the job first looked for them; of a file, when it was first
    /// opened, which is what overlayfs does to copy one up.
    found: Mutex<BTreeMap<PathBuf, Before>>,
    /// Files whose extended attributes were asked for, as overlayfs does to copy one up.
    copied: Mutex<Vec<PathBuf>>,
    /// Modification times that directories were shown with: a copied-up one has such a
    /// time, whatever the mirror came to know since.
    dir_times: Mutex<HashSet<(PathBuf, FileTime)>>,
    begun: FileTime,
}

/// Something that the kernel knows by its inode number.
#[derive(Clone)]
struct Node {
    handle: Arc<OwnedFd>,
    path: Arc<Path>,
    /// How often it was found, and not yet forgotten.
    lookups: u64,
}

/// Attributes of something in the lower layer.
pub struct Found {
    /// As the mirror has them.
    pub stat: Statx,
    /// A file whose content, or a directory whose names are yet to come, so that its
    /// attributes may change with them.
    pub waits: bool,
}

/// A name in a directory.
pub struct Named {
    /// The name.
    pub name: OsString,
    /// Its inode number.
    pub ino: u64,
    /// What it is.
    pub kind: FileType,
}

impl Lower {
    /// Of a job that is about to begin. `proc` shows workerd itself.
    pub fn new(mirror: Arc<Mirror>, proc: OwnedFd, shared: Arc<SharedMap>) -> Result<Self, Errno> {
        let root = mirror.root_ino();
        let handle = rustix::fs::open(
            mirror.root(),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let top = Node {
            handle: Arc::new(handle),
            path: Path::new("/").into(),
            lookups: 1,
        };
        // Of the clock that file times are taken from.
        let begun = clock_gettime(ClockId::RealtimeCoarse);
        Ok(Self {
            _pin: mirror.enter(shared.clone()),
            mirror,
            proc,
            shared,
            root,
            nodes: Mutex::new(HashMap::from([(root, top)])),
            answers: Mutex::default(),
            found: Mutex::default(),
            copied: Mutex::default(),
            dir_times: Mutex::default(),
            begun: FileTime {
                sec: begun.tv_sec,
                nsec: begun.tv_nsec as u32,
            },
        })
    }

    /// Inode number of the root directory.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// The client path of a node.
    pub fn path(&self, ino: u64) -> Result<Arc<Path>, FaultError> {
        Ok(self.node(ino)?.path)
    }

    /// Finds a name in a directory; `None`: it is not there. What was found is to be
    /// forgotten as often. Blocks.
    pub fn lookup(&self, dir: u64, name: &OsStr) -> Result<Option<Found>, FaultError> {
        let parent = self.node(dir)?;
        // Whatever the mirror has become since, the answer is the same. The kernel asks again where
        // a call makes the name or renames over it, and overlayfs says ESTALE from then on if it is
        // told something else (`fuse_dentry_revalidate`, `ovl_dentry_revalidate`).
        let asked = (dir, name.to_os_string());
        let answer = self.answers.lock().get(&asked).copied();
        match answer {
            Some(None) => return Ok(None),
            Some(Some(ino)) => {
                if let Ok(node) = self.node(ino) {
                    let found = self.found(&node.handle, &node.path)?;
                    self.count_lookup(ino, || node);
                    return Ok(Some(found));
                }
            }
            None => {}
        }
        self.complete(dir)?;
        if let Some((client, _)) = self.mirror.dir_at(dir) {
            self.mirror.refuse_special(&client, name)?;
        }
        let path = parent.path.join(name);
        let handle = match confine::handle(&parent.handle, Path::new(name)) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => {
                let missing = self.missing(&parent, &path)?;
                self.answers.lock().insert(asked, None);
                return Ok(missing);
            }
            Err(errno) => return Err(FaultError::from_store(errno, &path)),
        };
        let found = self.found(&handle, &path)?;
        self.note_found(&found.stat, &handle, &path);
        self.record(Access::Stat, &path);
        self.answers.lock().insert(asked, Some(found.stat.stx_ino));
        self.count_lookup(found.stat.stx_ino, || Node {
            handle: Arc::new(handle),
            path: path.into(),
            lookups: 0,
        });
        Ok(Some(found))
    }

    /// The kernel is told of a node once more.
    fn count_lookup(&self, ino: u64, fresh: impl FnOnce() -> Node) {
        let mut nodes = self.nodes.lock();
        let node = nodes.entry(ino).or_insert_with(|| Node { lookups: 0, ..fresh() });
        node.lookups += 1;
    }

    /// The kernel has let go of a node this many times.
    pub fn forget(&self, ino: u64, times: u64) {
        let mut nodes = self.nodes.lock();
        let Some(node) = nodes.get_mut(&ino).filter(|_| ino != self.root) else {
            return;
        };
        node.lookups = node.lookups.saturating_sub(times);
        if node.lookups == 0 {
            nodes.remove(&ino);
        }
    }

    /// Attributes of a node.
    pub fn stat(&self, ino: u64) -> Result<Found, FaultError> {
        let node = self.node(ino)?;
        if let Some((path, false)) = self.mirror.dir_at(ino) {
            match self.mirror.complete_time(&path) {
                // The client has no such directory any more; the job saw it, and keeps what it saw.
                Ok(_) | Err(FaultError::Errno(libc::ENOENT | libc::ENOTDIR)) => {}
                Err(error) => return Err(error),
            }
        }
        self.found(&node.handle, &node.path)
    }

    /// Where a symlink leads. Of one that is gone or replaced the kernel goes on to ask, as it does
    /// not look for a name again that it knows.
    pub fn target(&self, ino: u64) -> Result<Vec<u8>, FaultError> {
        let node = self.node(ino)?;
        let now = self.mirror.lookup(&node.path);
        let now = now.map_err(|errno| FaultError::from_store(errno, &node.path))?;
        if now.is_none_or(|now| now.ino != ino) {
            return Err(FaultError::moved_on(&node.path));
        }
        let target = rustix::fs::readlinkat(&node.handle, c"", Vec::new());
        Ok(target
            .map_err(|errno| FaultError::from_store(errno, &node.path))?
            .into_bytes())
    }

    /// A file for reading, its content brought first. Blocks.
    pub fn open(&self, ino: u64) -> Result<OwnedFd, FaultError> {
        let node = self.node(ino)?;
        // It may be a call that makes the file where there is none, which FUSE does not tell.
        self.mirror.fill(ino).map_err(|error| error.of_needed(&node.path))?;
        self.note_opened(ino, &node.path);
        self.record(Access::Read, &node.path);
        let link = format!("self/fd/{}", rustix::fd::AsRawFd::as_raw_fd(&*node.handle));
        rustix::fs::openat(&self.proc, link, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| FaultError::from_store(errno, &node.path))
    }

    /// The names of a directory in the client's order, without `.` and `..`. Blocks.
    pub fn list(&self, ino: u64) -> Result<Vec<Named>, FaultError> {
        let node = self.node(ino)?;
        self.complete(ino).map_err(|error| error.of_seen(&node.path))?;
        let names = || {
            let dir = confine::directory(&node.handle, Path::new("."))?;
            let mut names = Vec::new();
            for entry in rustix::fs::Dir::read_from(dir)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    names.push(Named {
                        name: OsStr::from_bytes(name).to_os_string(),
                        ino: entry.ino(),
                        kind: entry.file_type(),
                    });
                }
            }
            Ok(names)
        };
        self.record(Access::Listed, &node.path);
        names().map_err(|errno| FaultError::from_store(errno, &node.path))
    }

    /// What stood at a name before the job, and what it may have done there: no call is seen,
    /// so that it may be anything.
    pub(super) fn acts(&self, path: &Path) -> NameActs {
        let found = self.found.lock();
        // In a directory that the job made, nothing is looked for here.
        let above = || path.ancestors().skip(1).find_map(|dir| found.get(dir));
        let is_new = || above().filter(|above| matches!(above, Before::Nothing)).cloned();
        let found = found.get(path).cloned().or_else(is_new);
        NameActs {
            named: true,
            exclusive: true,
            removed: true,
            written: Written::Within,
            ..NameActs::of(found.unwrap_or(Before::Own))
        }
    }

    /// Names of the client's that the job found below a directory, with whether each is a
    /// directory; what it removed there is among them. In the order of their paths.
    pub(super) fn seen_below(&self, dir: &Path) -> Vec<(PathBuf, bool)> {
        let found = self.found.lock();
        let below = found.range::<Path, _>((Bound::Excluded(dir), Bound::Unbounded));
        below
            .take_while(|(path, _)| path.starts_with(dir))
            .filter_map(|(path, before)| match before {
                Before::File(_) | Before::Symlink(_) => Some((path.clone(), false)),
                Before::Dir(_) => Some((path.clone(), true)),
                Before::Nothing | Before::Own => None,
            })
            .collect()
    }

    /// Symlinks that the job found.
    pub(super) fn symlinks_found(&self) -> Vec<PathBuf> {
        let found = self.found.lock();
        let symlinks = found.iter().filter(|(_, before)| matches!(before, Before::Symlink(_)));
        symlinks.map(|(path, _)| path.clone()).collect()
    }

    /// Files that may have been copied up, as they stood.
    pub(super) fn copied_up(&self) -> Vec<ClientFile> {
        let found = self.found.lock();
        let copied = self.copied.lock();
        let files = copied.iter().filter_map(|path| match found.get(path) {
            Some(Before::File(file)) => Some(file.clone()),
            _ => None,
        });
        files.collect()
    }

    /// The extended attributes of a node are asked for. None is shown.
    pub fn list_attributes(&self, ino: u64) -> Result<(), FaultError> {
        let node = self.node(ino)?;
        let stat = confine::stat(&node.handle).map_err(|errno| FaultError::from_store(errno, &node.path))?;
        if is_file(&stat) {
            self.check_as_told(ino, &node.path)?;
            // One without bytes was opened by nobody.
            self.note_opened(ino, &node.path);
            let mut copied = self.copied.lock();
            if !copied.iter().any(|path| *path == *node.path) {
                copied.push(node.path.to_path_buf());
            }
        }
        Ok(())
    }

    /// Whether a modification time is one that no write gave while the job ran, so that
    /// it was set by somebody's will. The calls that set times are not seen.
    pub(super) fn is_explicit(&self, mtime: FileTime) -> bool {
        let now = clock_gettime(ClockId::Realtime);
        let now = (now.tv_sec, now.tv_nsec as u32);
        let (mtime, begun) = ((mtime.sec, mtime.nsec), (self.begun.sec, self.begun.nsec));
        mtime < begun || mtime > now
    }

    /// Whether a directory of the client had this modification time when the job saw it.
    pub(super) fn had_time(&self, dir: &Path, mtime: FileTime) -> bool {
        self.dir_times.lock().contains(&(dir.to_path_buf(), mtime))
    }

    fn node(&self, ino: u64) -> Result<Node, FaultError> {
        // The kernel names none that it was not told of, or has forgotten.
        self.nodes
            .lock()
            .get(&ino)
            .cloned()
            .ok_or(FaultError::Errno(libc::ESTALE))
    }

    fn complete(&self, dir: u64) -> Result<(), FaultError> {
        match self.mirror.dir_at(dir) {
            Some((path, false)) => self.mirror.complete(&path).map(drop),
            // One that the client has no more keeps the names it had.
            Some((_, true)) | None => Ok(()),
        }
    }

    /// Into a directory that the client's own user may not list, nobody may look.
    fn missing(&self, parent: &Node, path: &Path) -> Result<Option<Found>, FaultError> {
        self.record(Access::Missing, path);
        self.found.lock().entry(path.to_path_buf()).or_insert(Before::Nothing);
        if confine::stat(&parent.handle).is_ok_and(|stat| self.mirror.is_shut(stat.stx_ino)) {
            Err(FaultError::Errno(libc::EACCES))
        } else {
            Ok(None)
        }
    }

    fn found(&self, handle: &OwnedFd, path: &Path) -> Result<Found, FaultError> {
        let stat = confine::stat(handle).map_err(|errno| FaultError::from_store(errno, path))?;
        let ino = stat.stx_ino;
        let waits = if is_dir(&stat) {
            let time = seen(&stat, termite_types::Node::Dir).mtime;
            self.dir_times.lock().insert((path.to_path_buf(), time));
            matches!(self.mirror.dir_at(ino), Some((_, false)))
        } else {
            is_placeholder(&stat) && matches!(self.mirror.fill_state(ino), Some(Fill::Placeholder | Fill::Filling))
        };
        Ok(Found { stat, waits })
    }

    fn note_found(&self, stat: &Statx, handle: &OwnedFd, path: &Path) {
        let before = || {
            if is_file(stat) {
                let attr = self.mirror.attr_of(stat.stx_ino, path)?;
                return Some(Before::of(path, attr));
            }
            let node = if is_dir(stat) {
                termite_types::Node::Dir
            } else {
                let target = rustix::fs::readlinkat(handle, c"", Vec::new()).ok()?;
                termite_types::Node::Symlink {
                    target: PathBuf::from(OsString::from_vec(target.into_bytes())),
                }
            };
            Some(Before::of(path, seen(stat, node)))
        };
        let mut found = self.found.lock();
        if !found.contains_key(path)
            && let Some(before) = before()
        {
            found.insert(path.to_path_buf(), before);
        }
    }

    /// Whether a file that overlayfs copies up is still the one that the job was told of: of what
    /// waited for its content, size and time were taken before that came.
    fn check_as_told(&self, ino: u64, path: &Path) -> Result<(), FaultError> {
        let told = |attr: &Attr| (attr.mode, attr.mtime, attr.size());
        match (self.found.lock().get(path), self.mirror.attr_of(ino, path)) {
            (Some(Before::File(file)), Some(attr)) if told(&file.attr) != told(&attr) => {
                Err(FaultError::moved_on(path))
            }
            _ => Ok(()),
        }
    }

    /// The content of a file is known by now, if it was not when the file was found. Its other
    /// attributes stay as the job was told them: of a file that waits for its content they may
    /// have become others since.
    fn note_opened(&self, ino: u64, path: &Path) {
        let Some(attr) = self.mirror.attr_of(ino, path) else {
            return;
        };
        let mut found = self.found.lock();
        match found.get_mut(path) {
            Some(Before::File(file)) if content_of(&file.attr).is_none() => file.attr.node = attr.node,
            Some(_) => {}
            None => drop(found.insert(path.to_path_buf(), Before::of(path, attr))),
        }
    }

    fn record(&self, access: Access, path: &Path) {
        self.shared.trace(access, &[path.as_os_str().as_bytes()]);
    }
}
