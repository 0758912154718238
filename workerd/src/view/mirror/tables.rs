//! What a mirror remembers of its directories and files. Knows no I/O.

use super::resolved_paths::ResolvedPathCache;
use super::unmade::Unmade;
use crate::view::SharedMap;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use termite_types::{Attr, BlobHash, FileTime, Node};

/// How far a directory of the mirror is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Names {
    /// Names may be missing or stale: to be listed before it is looked into.
    Partial,
    /// Being listed by a thread; others wait.
    Listing {
        /// Whose it is.
        claim: Claim,
        /// It changed meanwhile: the listing may be older than that.
        again: bool,
    },
    /// Known, but some are made only when somebody looks for them: [`Tables::sparse`].
    Sparse,
    /// Has exactly the client's names.
    Complete,
}

/// A thread's right to list directories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Claim(u64);

/// A directory that is being listed before the mirror has it.
struct Awaited {
    claim: Claim,
    /// It changed meanwhile, or what it is in.
    again: bool,
}

/// How far a file of the mirror holds its content. A file moves `Placeholder` ->
/// `Filling` -> `Filled`, back to `Placeholder` where filling failed or its content was
/// evicted, and to `Gone` where the client has it no more. [`Tables::set_fill`] makes every such step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::view) enum Fill {
    /// Right attributes, no content; marked by its access time.
    Placeholder,
    /// Being filled by a thread; others wait.
    Filling,
    /// Holds its content.
    Filled,
    /// Removed before it was filled; a running job may still hold its name.
    Gone,
}

/// A directory of the mirror.
pub(super) struct Dir {
    pub ino: u64,
    pub names: Names,
    /// It was complete once. Jobs that began then look for any name there without asking, so
    /// that it is never sparse again.
    pub was_complete: bool,
    pub attr: Attr,
    /// The client's user may not look into it.
    pub shut: bool,
}

/// A regular file of the mirror.
#[derive(Clone)]
pub(super) struct File {
    pub dir: Arc<Path>,
    pub name: OsString,
    pub attr: Attr,
    pub fill: Fill,
    /// Its name in the staging directory, once another file has its place in the tree.
    pub kept_as: Option<OsString>,
}

/// Directories by client path, everything by inode number, content by hash.
pub(super) struct Tables {
    pub dirs: HashMap<Arc<Path>, Dir>,
    /// Voided by every change to what spellings lead through.
    pub resolved: ResolvedPathCache,
    /// What sparse directories do not have yet.
    pub sparse: HashMap<Arc<Path>, Unmade>,
    /// Names of special files, by directory.
    pub specials: HashMap<Arc<Path>, HashSet<OsString>>,
    /// Where symlinks were made.
    symlinks: HashSet<PathBuf>,
    /// Directories that are being listed together with what they are in.
    awaited: HashMap<PathBuf, Awaited>,
    /// Counts claims.
    claims: u64,
    dir_of: HashMap<u64, Arc<Path>>,
    files: HashMap<u64, File>,
    filled: HashMap<BlobHash, u64>,
    /// Contents that are being received, with how many files wait for each.
    arriving: HashMap<BlobHash, u32>,
    /// Filled files that lost their name: a running job may have looked one up, and change
    /// it yet. tmpfs gives no inode number twice.
    former: HashMap<u64, File>,
    /// The same and those that are gone, oldest first.
    retired: VecDeque<Retired>,
    /// The running jobs by when they began.
    readers: BTreeMap<u64, Reader>,
    /// Counts jobs; what is retired bears the number of the newest.
    clock: u64,
    root: u64,
}

/// What has changed in the mirror under a running job.
#[derive(Clone, Default)]
pub(crate) struct Shifts {
    /// Paths that were changed.
    pub paths: HashSet<PathBuf>,
    /// Directories that went. The job's kernel may still have them, without what was in them.
    pub gone_dirs: HashSet<PathBuf>,
    /// Symlinks that went. The job's kernel may still follow them.
    pub gone_links: HashSet<PathBuf>,
}

/// A running job.
struct Reader {
    shared: Arc<SharedMap>,
    shifts: Shifts,
}

/// A file that lost its name while jobs ran.
struct Retired {
    since: u64,
    ino: u64,
}

impl File {
    /// Its client path.
    pub(super) fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// Its content, where that is known.
    pub(super) fn content(&self) -> Option<BlobHash> {
        match self.attr.node {
            Node::File { hash, .. } => hash,
            _ => None,
        }
    }

    pub(super) fn is_at(&self, path: &Path) -> bool {
        path.parent() == Some(&self.dir) && path.file_name() == Some(&self.name)
    }
}

impl Tables {
    /// A symlink is made.
    pub(super) fn note_symlink(&mut self, path: PathBuf) {
        self.symlinks.insert(path);
    }

    /// Whether a name is that of a symlink, or was at some time.
    pub(super) fn may_be_symlink(&self, path: &Path) -> bool {
        self.symlinks.contains(path)
    }

    /// Of a tree whose root directory has this inode number, and of which nothing is known.
    pub(super) fn new(root: u64) -> Self {
        let mut tables = Self {
            dirs: HashMap::new(),
            resolved: ResolvedPathCache::default(),
            sparse: HashMap::new(),
            specials: HashMap::new(),
            symlinks: HashSet::new(),
            awaited: HashMap::new(),
            claims: 0,
            dir_of: HashMap::new(),
            files: HashMap::new(),
            filled: HashMap::new(),
            arriving: HashMap::new(),
            former: HashMap::new(),
            retired: VecDeque::new(),
            readers: BTreeMap::new(),
            clock: 0,
            root,
        };
        let attr = Attr {
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: FileTime::default(),
            node: Node::Dir,
        };
        tables.add_dir(Path::new("/"), root, attr);
        tables
    }

    pub(super) fn root(&self) -> u64 {
        self.root
    }

    pub(super) fn add_dir(&mut self, path: &Path, ino: u64, attr: Attr) {
        if path.parent().is_some_and(|parent| self.is_complete(parent)) {
            self.resolved.void();
        }
        let names = match self.awaited.remove(path) {
            Some(Awaited { claim, again }) => Names::Listing { claim, again },
            None => Names::Partial,
        };
        let path: Arc<Path> = path.into();
        self.dir_of.insert(ino, path.clone());
        self.dirs.insert(
            path,
            Dir {
                ino,
                names,
                was_complete: false,
                attr,
                shut: false,
            },
        );
    }

    /// A claim that nobody has.
    pub(super) fn new_claim(&mut self) -> Claim {
        self.claims += 1;
        Claim(self.claims)
    }

    /// Claims a directory for listing, if that is to be done and nobody does it; also one
    /// that is not there yet.
    pub(super) fn claim_ahead(&mut self, path: &Path, claim: Claim) -> bool {
        match self.dirs.get_mut(path) {
            Some(dir) if dir.names == Names::Partial => {
                dir.names = Names::Listing { claim, again: false };
                true
            }
            None if !self.awaited.contains_key(path) => {
                self.awaited.insert(path.to_owned(), Awaited { claim, again: false });
                true
            }
            _ => false,
        }
    }

    /// Whether a directory, known already or not, is being listed under another claim.
    pub(super) fn is_listed_by_another(&self, path: &Path, claim: Claim) -> bool {
        let holder = match self.dirs.get(path).map(|dir| dir.names) {
            Some(Names::Listing { claim, .. }) => Some(claim),
            Some(_) => None,
            None => self.awaited.get(path).map(|dir| dir.claim),
        };
        holder.is_some_and(|holder| holder != claim)
    }

    /// The directory of which a listing was asked for under this claim. `None`: the listing
    /// may be older than what is known.
    pub(super) fn listed_soundly(&self, path: &Path, claim: Claim) -> Option<&Dir> {
        let sound = Names::Listing { claim, again: false };
        self.dirs.get(path).filter(|dir| dir.names == sound)
    }

    /// A directory is not being listed under this claim any more.
    pub(super) fn end_claim(&mut self, path: &Path, claim: Claim, listed: bool) {
        if self.awaited.get(path).is_some_and(|dir| dir.claim == claim) {
            self.awaited.remove(path);
        }
        let Some(dir) = self.dirs.get_mut(path) else { return };
        if let Names::Listing { claim: held, again } = dir.names
            && held == claim
        {
            match listed && !again {
                true if self.sparse.contains_key(path) => dir.names = Names::Sparse,
                true => self.set_complete(path),
                false => {
                    dir.names = Names::Partial;
                    self.sparse.remove(path);
                }
            }
        }
    }

    /// The client's directory changed: what is known of its names may be wrong.
    pub(super) fn doubt_dir(&mut self, path: &Path) {
        if let Some(dir) = self.dirs.get_mut(path) {
            self.resolved.void();
            dir.names = match dir.names {
                Names::Listing { claim, .. } => Names::Listing { claim, again: true },
                Names::Partial | Names::Sparse | Names::Complete => Names::Partial,
            };
            self.sparse.remove(path);
        }
    }

    /// A name changed. A listing under way of what it is in, or below it, may be older than
    /// that.
    pub(super) fn doubt_listings(&mut self, path: &Path) {
        let Some(parent) = path.parent() else { return };
        if let Some(Dir {
            names: Names::Listing { .. },
            ..
        }) = self.dirs.get(parent)
        {
            self.doubt_dir(parent);
        }
        for (dir, awaited) in &mut self.awaited {
            awaited.again |= dir == parent || dir.starts_with(path);
        }
    }

    pub(super) fn forget_dir(&mut self, path: &Path) {
        if let Some(dir) = self.dirs.remove(path) {
            self.resolved.void();
            self.sparse.remove(path);
            self.specials.remove(path);
            self.dir_of.remove(&dir.ino);
            for reader in self.readers.values_mut() {
                reader.shifts.gone_dirs.insert(path.to_path_buf());
            }
        }
    }

    /// A symlink has gone.
    pub(super) fn forget_link(&mut self, path: &Path) {
        self.resolved.void();
        for reader in self.readers.values_mut() {
            reader.shifts.gone_links.insert(path.to_path_buf());
        }
    }

    /// A directory has exactly the client's names.
    pub(super) fn set_complete(&mut self, path: &Path) {
        self.sparse.remove(path);
        if let Some(dir) = self.dirs.get_mut(path) {
            dir.names = Names::Complete;
            dir.was_complete = true;
        }
    }

    /// Whether a directory has exactly the client's names.
    pub(super) fn is_complete(&self, path: &Path) -> bool {
        self.dirs.get(path).is_some_and(|dir| dir.names == Names::Complete)
    }

    pub(super) fn dir_path(&self, ino: u64) -> Option<&Arc<Path>> {
        self.dir_of.get(&ino)
    }

    /// The table's own copy of a directory's path.
    pub(super) fn interned(&self, path: &Path) -> Option<Arc<Path>> {
        self.dirs.get_key_value(path).map(|(path, _)| path.clone())
    }

    pub(super) fn add_file(&mut self, ino: u64, file: File) {
        let fill = file.fill;
        self.files.insert(ino, file);
        self.set_fill(ino, fill);
    }

    pub(super) fn file(&self, ino: u64) -> Option<&File> {
        self.files.get(&ino)
    }

    /// How the file at a client path stands, or stood when its name went. `None`: the
    /// inode is that of another path. A job that moves or exchanges files takes their
    /// inode numbers along to paths where the client has something else, or nothing.
    pub(super) fn attr_of(&self, ino: u64, path: &Path) -> Option<&Attr> {
        self.known_file(ino)
            .filter(|file| file.is_at(path))
            .map(|file| &file.attr)
    }

    /// A file by its inode number, also one that lost its name while jobs run.
    pub(super) fn known_file(&self, ino: u64) -> Option<&File> {
        self.files.get(&ino).or_else(|| self.former.get(&ino))
    }

    /// The file that stands at a client path with its content.
    pub(super) fn ready_file(&self, ino: u64) -> Option<&File> {
        let file = self.files.get(&ino)?;
        (file.fill == Fill::Filled && file.kept_as.is_none()).then_some(file)
    }

    pub(super) fn count_files(&self) -> usize {
        self.files.len()
    }

    /// All files that stand at their places with their content.
    pub(super) fn ready_files(&self) -> impl Iterator<Item = (u64, &File)> {
        let ready = |file: &File| file.fill == Fill::Filled && file.kept_as.is_none();
        self.files
            .iter()
            .filter(move |(_, file)| ready(file))
            .map(|(ino, file)| (*ino, file))
    }

    /// Takes note of changed attributes of a file.
    pub(super) fn set_attr(&mut self, ino: u64, attr: Attr) {
        if let Some(file) = self.files.get_mut(&ino) {
            file.attr = attr;
        }
    }

    /// Takes note of a directory's attributes, whose names are told by themselves.
    pub(super) fn set_dir_attr(&mut self, path: &Path, attr: &Attr) {
        if let Some(dir) = self.dirs.get_mut(path) {
            if dir.attr.mode != attr.mode {
                self.resolved.void();
            }
            dir.attr = attr.clone();
        }
    }

    /// Whether everybody may search all that a directory lies in.
    pub(super) fn is_open_to_all(&self, path: &Path) -> bool {
        let is_open = |dir: &Path| self.dirs.get(dir).is_some_and(|dir| dir.attr.mode & 0o111 == 0o111);
        self.dirs.contains_key(path) && path.ancestors().skip(1).all(is_open)
    }

    /// The one place where a file's state changes.
    pub(super) fn set_fill(&mut self, ino: u64, fill: Fill) {
        let Some(file) = self.files.get_mut(&ino) else { return };
        file.fill = fill;
        let Node::File { hash: Some(hash), .. } = file.attr.node else {
            return;
        };
        if fill == Fill::Filled && file.kept_as.is_none() {
            self.filled.insert(hash, ino);
        } else if self.filled.get(&hash) == Some(&ino) {
            self.filled.remove(&hash);
        }
    }

    /// Claims a placeholder for filling.
    pub(super) fn claim_fill(&mut self, ino: u64) -> Option<File> {
        let file = self.files.get(&ino)?;
        let claimed = (file.fill == Fill::Placeholder).then(|| file.clone());
        if claimed.is_some() {
            self.set_fill(ino, Fill::Filling);
        }
        claimed
    }

    /// Content begins to be received.
    pub(super) fn arrives(&mut self, hash: BlobHash) {
        *self.arriving.entry(hash).or_default() += 1;
    }

    /// It is not being received any more, for one of those that began.
    pub(super) fn arrived(&mut self, hash: &BlobHash) {
        if let Some(waiting) = self.arriving.get_mut(hash) {
            *waiting -= 1;
            if *waiting == 0 {
                self.arriving.remove(hash);
            }
        }
    }

    /// Whether content is being received.
    pub(super) fn is_arriving(&self, hash: &BlobHash) -> bool {
        self.arriving.contains_key(hash)
    }

    /// Whether any file is being filled. Looks at all.
    pub(super) fn is_filling(&self) -> bool {
        self.files.values().any(|file| file.fill == Fill::Filling)
    }

    /// Whether a running job may hold a file that has content, or can get it.
    pub(super) fn is_held(&self, ino: u64) -> bool {
        !self.readers.is_empty() && self.files.get(&ino).is_some_and(|file| file.fill != Fill::Gone)
    }

    /// The name of a file went. It is known until the last job of that time has ended:
    /// with its content, or as one that can still be filled where it is kept, or as gone.
    pub(super) fn forget_file(&mut self, ino: u64, kept_as: Option<OsString>) {
        let Some(file) = self.files.get_mut(&ino) else { return };
        let is_kept = kept_as.is_some();
        file.kept_as = kept_as;
        match file.fill {
            Fill::Filled => {
                self.set_fill(ino, Fill::Gone);
                if let Some(file) = self.files.remove(&ino) {
                    self.former.insert(ino, file);
                }
            }
            Fill::Placeholder | Fill::Filling if is_kept => {}
            _ => self.set_fill(ino, Fill::Gone),
        }
        let since = self.clock;
        self.retired.push_back(Retired { since, ino });
    }

    /// A job begins, which has this memory in common with the worker.
    pub(super) fn enter(&mut self, shared: Arc<SharedMap>) -> u64 {
        let shifts = Shifts::default();
        self.clock += 1;
        self.readers.insert(self.clock, Reader { shared, shifts });
        self.clock
    }

    /// What the running jobs were told about spellings does not hold any more.
    pub(super) fn end_epochs(&self) {
        for reader in self.readers.values() {
            reader.shared.next_epoch();
        }
    }

    /// A path is about to change under the jobs that run.
    pub(super) fn note_shift(&mut self, path: &Path) {
        for reader in self.readers.values_mut() {
            reader.shifts.paths.insert(path.to_path_buf());
        }
    }

    /// What has changed here since a job began.
    pub(super) fn shifts(&self, reader: u64) -> Shifts {
        let reader = self.readers.get(&reader);
        reader.map(|reader| reader.shifts.clone()).unwrap_or_default()
    }

    /// Whether no job sees the mirror.
    pub(super) fn is_at_rest(&self) -> bool {
        self.readers.is_empty()
    }

    /// A job has ended. Returns what nobody holds any more in the staging directory.
    pub(super) fn leave(&mut self, reader: u64) -> Vec<OsString> {
        self.readers.remove(&reader);
        let oldest = self.readers.keys().next().copied().unwrap_or(u64::MAX);
        let over = self.retired.partition_point(|file| file.since < oldest);
        let mut names = Vec::new();
        for Retired { ino, .. } in self.retired.drain(..over) {
            let file = self.former.remove(&ino).or_else(|| self.files.remove(&ino));
            names.extend(file.and_then(|file| file.kept_as));
        }
        names
    }

    /// The inode number of a filled file with this content.
    pub(super) fn holder_ino(&self, hash: &BlobHash) -> Option<u64> {
        self.filled.get(hash).copied()
    }

    /// Where a filled file with this content is.
    pub(super) fn holder(&self, hash: &BlobHash) -> Option<(u64, PathBuf)> {
        let ino = *self.filled.get(hash)?;
        let file = self.files.get(&ino)?;
        Some((ino, file.path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(fill: Fill) -> File {
        File {
            dir: Path::new("/").into(),
            name: "f".into(),
            attr: Attr {
                mode: 0o644,
                uid: 0,
                gid: 0,
                mtime: FileTime::default(),
                node: Node::File { size: 1, hash: None },
            },
            fill,
            kept_as: None,
        }
    }

    #[test]
    fn a_former_file_is_known_while_a_job_of_its_time_runs() {
        let mut tables = Tables::new(1);
        tables.add_file(2, file(Fill::Filled));
        assert!(!tables.is_held(2), "nobody runs");
        let (early, late) = (
            tables.enter(SharedMap::of_no_slot()),
            tables.enter(SharedMap::of_no_slot()),
        );
        assert!(tables.is_held(2));
        tables.forget_file(2, Some("kept".into()));
        tables.add_file(3, file(Fill::Placeholder));
        tables.forget_file(3, None);
        tables.add_file(4, file(Fill::Placeholder));
        tables.forget_file(4, Some("empty".into()));
        assert!(tables.file(4).is_some_and(|file| file.fill == Fill::Placeholder));
        let later = tables.enter(SharedMap::of_no_slot());
        assert_eq!(tables.leave(late), Vec::<OsString>::new());
        assert!(tables.attr_of(2, Path::new("/g")).is_none());
        assert!(
            tables.attr_of(2, Path::new("/f")).is_some() && tables.file(3).is_some_and(|file| file.fill == Fill::Gone)
        );
        assert_eq!(tables.leave(early), ["kept", "empty"]);
        assert!(tables.attr_of(2, Path::new("/f")).is_none() && tables.file(3).is_none());
        assert_eq!(tables.leave(later), Vec::<OsString>::new());
    }
}
