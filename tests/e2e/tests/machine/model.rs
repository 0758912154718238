//! A POSIX file system as a value: names, inodes, link counts, modes, contents, open files
//! and locks of several jobs. Looks paths up and changes names; permissions are not part
//! of it, since each job owns all files. Knows no system call by its name: `step` does.

use std::collections::{BTreeMap, VecDeque};

/// Number of an inode; 0 is the root directory.
pub(crate) type Ino = u32;
/// Slots for open files that a job has.
pub(crate) const SLOTS: usize = 2;
/// As many symbolic links the kernel follows in one path (path_resolution(7)).
const LINKS: usize = 40;
/// The root directory.
pub(crate) const ROOT: Ino = 0;

/// Name of an error as strerrorname_np(3) has it.
pub(crate) type Errno = &'static str;

/// Lines of text by path: what is compared with a real tree.
pub(crate) type Tree = BTreeMap<String, String>;

/// What an inode is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Kind {
    /// A regular file's bytes.
    File(Vec<u8>),
    /// A directory's names.
    Dir(BTreeMap<String, Ino>),
    /// A symbolic link's target.
    Link(String),
}

/// A file, directory or symbolic link.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Inode {
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u16,
    /// Names that it has.
    pub names: u32,
    /// Its time of modification if that was set, seconds since 1970.
    pub time: Option<i64>,
    /// Value of `user.k`.
    pub xattr: Option<String>,
}

/// An open file of a job.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Open {
    /// What is open.
    pub ino: Ino,
    /// Where the next read or write begins.
    pub offset: usize,
    /// It may be read.
    pub reads: bool,
    /// It may be written.
    pub writes: bool,
    /// Each write goes to the end.
    pub appends: bool,
    /// Its lock by flock(2), and whether that is exclusive.
    pub flock: Option<bool>,
}

/// What a job holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Job {
    /// Open files.
    pub slots: [Option<Open>; SLOTS],
    /// The file of which it holds a record lock.
    pub record: Option<Ino>,
    /// A directory that it is about to read the names of.
    pub listing: Option<Ino>,
}

/// Where a path leads: the directory of its last name, that name, and what it stands for.
pub(crate) struct Found {
    /// Directory.
    pub dir: Ino,
    /// Last name.
    pub name: String,
    /// Nothing, if there is no such name.
    pub ino: Option<Ino>,
}

/// The file system, and what the jobs hold of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    inodes: BTreeMap<Ino, Inode>,
    /// By number.
    pub jobs: Vec<Job>,
}

impl State {
    /// An empty directory and that many jobs that hold nothing.
    pub(crate) fn new(jobs: usize) -> Self {
        let root = Inode::new(Kind::Dir(BTreeMap::new()), 0o755);
        Self {
            inodes: [(ROOT, root)].into(),
            jobs: vec![Job::default(); jobs],
        }
    }

    /// An inode, which must be there.
    pub(crate) fn inode(&self, ino: Ino) -> &Inode {
        &self.inodes[&ino]
    }

    /// An inode, which must be there, to be changed.
    pub(crate) fn inode_mut(&mut self, ino: Ino) -> &mut Inode {
        self.inodes
            .get_mut(&ino)
            .expect("a name or descriptor of an inode that is gone")
    }

    /// Follows a path from the root; its last name only if `follow` says so.
    pub(crate) fn walk(&self, path: &str, follow: bool) -> Result<Found, Errno> {
        let mut names: VecDeque<String> = path.split('/').filter(|name| *name != ".").map(str::to_owned).collect();
        let (mut dir, mut links) = (ROOT, 0);
        loop {
            let name = names.pop_front().unwrap_or_default();
            let Kind::Dir(entries) = &self.inode(dir).kind else {
                return Err("ENOTDIR");
            };
            let is_last = names.is_empty();
            let ino = if name.is_empty() {
                Some(dir)
            } else {
                entries.get(&name).copied()
            };
            let Some(child) = ino else {
                return if is_last {
                    Ok(Found { dir, name, ino })
                } else {
                    Err("ENOENT")
                };
            };
            match &self.inode(child).kind {
                Kind::Link(target) if !is_last || follow => {
                    links += 1;
                    if links > LINKS {
                        return Err("ELOOP");
                    }
                    target
                        .split('/')
                        .rev()
                        .for_each(|name| names.push_front(name.to_owned()));
                }
                _ if is_last => return Ok(Found { dir, name, ino }),
                _ => dir = child,
            }
        }
    }

    /// The inode that a path leads to.
    pub(crate) fn find(&self, path: &str, follow: bool) -> Result<Ino, Errno> {
        self.walk(path, follow)?.ino.ok_or("ENOENT")
    }

    /// Whether `ino` is `dir` or lies somewhere below it.
    pub(crate) fn is_below(&self, ino: Ino, dir: Ino) -> bool {
        let Kind::Dir(names) = &self.inode(dir).kind else {
            return false;
        };
        ino == dir || names.values().any(|child| self.is_below(ino, *child))
    }

    /// Makes an inode with a first name.
    pub(crate) fn make(&mut self, ino: Ino, at: &Found, inode: Inode) {
        self.inodes.insert(ino, inode);
        self.add_name(at, ino);
    }

    /// Gives an inode one more name, where there is none of that spelling.
    pub(crate) fn add_name(&mut self, at: &Found, ino: Ino) {
        self.names_mut(at.dir).insert(at.name.clone(), ino);
        self.inode_mut(ino).names += 1;
    }

    /// Takes a name away, and the inode with it if nothing else refers to that.
    pub(crate) fn remove_name(&mut self, at: &Found) {
        if let Some(ino) = self.names_mut(at.dir).remove(&at.name) {
            self.inode_mut(ino).names -= 1;
            self.forget_unused();
        }
    }

    /// Lets two names change their inodes.
    pub(crate) fn swap_names(&mut self, one: (&Found, Ino), other: (&Found, Ino)) {
        self.names_mut(one.0.dir).insert(one.0.name.clone(), other.1);
        self.names_mut(other.0.dir).insert(other.0.name.clone(), one.1);
    }

    fn names_mut(&mut self, dir: Ino) -> &mut BTreeMap<String, Ino> {
        match &mut self.inode_mut(dir).kind {
            Kind::Dir(names) => names,
            _ => unreachable!("names are looked up in directories only"),
        }
    }

    /// Drops inodes that have no name and are not open.
    pub(crate) fn forget_unused(&mut self) {
        let jobs = &self.jobs;
        let is_held = |ino: Ino| {
            let holds = |job: &Job| {
                let is_open = job.slots.iter().flatten().any(|open| open.ino == ino);
                is_open || job.listing == Some(ino)
            };
            jobs.iter().any(holds)
        };
        self.inodes
            .retain(|ino, inode| *ino == ROOT || inode.names > 0 || is_held(*ino));
    }

    /// Closes a slot, with what closing releases: the lock of that open file, and the
    /// record lock of the whole job on that inode (fcntl(2)).
    pub(crate) fn close(&mut self, job: usize, slot: usize) -> Result<(), Errno> {
        let holder = &mut self.jobs[job];
        let open = holder.slots[slot].take().ok_or("EBADF")?;
        holder.record = holder.record.filter(|ino| *ino != open.ino);
        self.forget_unused();
        Ok(())
    }

    /// Closes everything of a job that has ended.
    pub(crate) fn end(&mut self, job: usize) {
        self.jobs[job] = Job::default();
        self.forget_unused();
    }

    /// The tree as text.
    pub(crate) fn tree(&self) -> Tree {
        let (mut tree, mut first_names) = (Tree::new(), BTreeMap::new());
        self.add_lines(ROOT, "", &mut tree, &mut first_names);
        tree
    }

    fn add_lines(&self, dir: Ino, above: &str, tree: &mut Tree, first_names: &mut BTreeMap<Ino, String>) {
        let Kind::Dir(names) = &self.inode(dir).kind else {
            return;
        };
        for (name, ino) in names {
            let path = format!("{above}{name}");
            let inode = self.inode(*ino);
            let first = first_names.entry(*ino).or_insert_with(|| path.clone());
            tree.insert(path.clone(), inode.line(first));
            self.add_lines(*ino, &format!("{path}/"), tree, first_names);
        }
    }
}

impl Inode {
    /// One that has no name so far.
    pub(crate) fn new(kind: Kind, mode: u16) -> Self {
        Self {
            kind,
            mode,
            names: 0,
            time: None,
            xattr: None,
        }
    }

    /// Whether it is a directory.
    pub(crate) fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir(_))
    }

    /// Its line of a tree, where `first` is its first name there.
    fn line(&self, first: &str) -> String {
        let mut text = match &self.kind {
            Kind::File(bytes) => format!("file {:?} {:04o}", String::from_utf8_lossy(bytes), self.mode),
            Kind::Dir(_) => format!("dir {:04o}", self.mode),
            Kind::Link(target) => format!("link to {target}"),
        };
        if let (Kind::File(_), Some(time)) = (&self.kind, self.time) {
            text += &format!(" at {time}");
        }
        if let Some(value) = &self.xattr {
            text += &format!(" user.k={value}");
        }
        if !self.is_dir() && self.names > 1 {
            text += &format!(", {} names, file of {first}", self.names);
        }
        text
    }
}
