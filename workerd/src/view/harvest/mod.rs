//! Reading off an upper directory what a finished job left different, with what its calls
//! were about (`acts`) telling what stood there before and which file is which.
//!
//! Knows how overlayfs writes down removals, opaque and moved directories (kernel
//! document `filesystems/overlayfs.rst`), with and without `userxattr`. Follows no
//! symlink. Knows nothing of the commit.

mod clients;
mod layer;
mod moved;
mod unseen;

use super::View;
use super::acts::{Before, ClientFile, NameActs, Written};
use super::confine::{self, is_dir, is_file, is_symlink};
use super::error::FaultError;
use super::mirror::{OWN_NAMES, names_in, seen};
use super::outputs::{Harvest, Outputs};
use clients::only_name;
use layer::{Marks, Seen, has_mark, look_through, xattrs};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::Statx;
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use termite_types::{
    Abandon, Alter, Attr, BlobHash, Change, ChangeKind, Check, Content, IfPresent, Node, Owner, SetTime,
};

/// Bytes up to which a file's content travels with its change.
pub const INLINE_MAX: u64 = 64 << 10;

/// Why the outputs of a job could not be told.
#[derive(Debug, thiserror::Error)]
pub enum HarvestError {
    /// The upper directory could not be read.
    #[error("reading the output {}: {errno}", .path.display())]
    Upper {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// What the client has could not be told.
    #[error("looking at the client's {}: {error}", .path.display())]
    Client {
        /// Where the client has it.
        path: PathBuf,
        /// Why.
        error: FaultError,
    },
    /// The job changed a directory whose names it could not be told.
    #[error("changing {}, which may not be looked into", .0.display())]
    Shut(PathBuf),
    /// The job gave it an access list, whose users and groups are not those of the client.
    #[error("an access list on {}", .0.display())]
    AccessList(PathBuf),
    /// The job left something that only works where it was made.
    #[error("a FIFO, socket or device at {}", .0.display())]
    Special(PathBuf),
}

impl HarvestError {
    /// Why the job is given up.
    pub fn into_abandon(self) -> Abandon {
        match self {
            Self::Upper { .. } | Self::Client { .. } => Abandon::Full(self.to_string()),
            Self::Shut(_) => Abandon::Unsupported(self.to_string()),
            Self::AccessList(_) | Self::Special(_) => Abandon::Machine(self.to_string()),
        }
    }
}

/// Lists what the job of `view` left different, from its upper directory. All of its
/// processes must have ended. `owner` is whose the files are where the view cannot tell.
/// Blocks: contents are hashed, and moved directories brought whole.
pub fn harvest(upper: OwnedFd, view: &View, owner: &Owner) -> Result<Harvest, HarvestError> {
    let outputs = Outputs::new(upper);
    let mut gather = Gather {
        view,
        owner,
        outputs,
        changes: Vec::new(),
        checks: Vec::new(),
        files: HashMap::new(),
        copied: HashMap::new(),
        redirected: HashSet::new(),
    };
    if view.lower().is_some() {
        gather.find_redirects(Path::new("/"))?;
        gather.find_copied()?;
    }
    gather.dir(
        Path::new("/"),
        &Layer {
            below: Some(PathBuf::from("/")),
            kind: LayerKind::InPlace,
        },
    )?;
    gather.find_lost();
    view.record_changes(&gather.changes);
    let premises = view
        .premises(&gather.changes, gather.checks)
        .map_err(unread(Path::new("/")))?;
    Ok(Harvest {
        changes: gather.changes,
        premises,
        outputs: gather.outputs,
    })
}

struct Gather<'v> {
    view: &'v View,
    owner: &'v Owner,
    outputs: Outputs,
    changes: Vec<Change>,
    /// What has to hold of the client's files that the job changed, apart from their names.
    checks: Vec<Check>,
    /// Files of the upper layer that were met already, by inode number.
    files: HashMap<u64, Met>,
    /// Where no call is seen: files of the client's that are in the upper layer, with what
    /// tells them apart, by inode number there.
    copied: HashMap<u64, ClientFile>,
    /// Where no call is seen: directories that the job moved away.
    redirected: HashSet<PathBuf>,
}

/// A file or symlink that was met under one name and may have others.
#[derive(Clone)]
enum Met {
    /// The job made it; its first name.
    Made(PathBuf),
    /// It is the client's from this path; with its content as it is now.
    Clients(PathBuf, Option<BlobHash>),
}

/// What a directory of the upper layer lies over.
struct Layer {
    /// The client's directory that shows through.
    below: Option<PathBuf>,
    kind: LayerKind,
}

/// How a directory of the upper layer came to its path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LayerKind {
    /// The client has it there.
    InPlace,
    /// The job made it where nothing was. All that shows is new there, but another job may have
    /// made it too.
    Made,
    /// The job moved it there, or made it in the place of another. All that shows is new there.
    Moved,
}

impl Gather<'_> {
    fn dir(&mut self, at: &Path, layer: &Layer) -> Result<(), HarvestError> {
        let names = self.names(at)?;
        for name in &names {
            let path = at.join(name);
            let stat = confine::stat_name(self.open(at)?, Path::new(name)).map_err(unread(&path))?;
            self.entry(&path, name, &stat, layer)?;
        }
        if let (true, Some(below)) = (layer.kind != LayerKind::InPlace, &layer.below) {
            let names: HashSet<_> = names.into_iter().collect();
            self.below(at, below, &names)?;
        }
        Ok(())
    }

    fn open(&self, at: &Path) -> Result<OwnedFd, HarvestError> {
        confine::directory(self.outputs.upper(), at).map_err(unread(at))
    }

    /// The names of an upper directory but for the slot's own.
    fn names(&self, at: &Path) -> Result<Vec<OsString>, HarvestError> {
        let mut names = names_in(self.open(at)?.as_fd()).map_err(unread(at))?;
        names.retain(|name| at != Path::new("/") || !OWN_NAMES.iter().any(|own| name == *own));
        names.sort_unstable();
        Ok(names)
    }

    /// Takes in one name of a directory of the upper layer.
    fn entry(&mut self, at: &Path, name: &OsStr, stat: &Statx, layer: &Layer) -> Result<(), HarvestError> {
        if let Some(below) = &layer.below {
            let under = self.view.mirror().lookup(&below.join(name)).map_err(unread(at))?;
            if under.is_some_and(|under| self.view.mirror().is_shut(under.ino)) {
                return Err(HarvestError::Shut(at.to_path_buf()));
            }
        }
        let acts = match layer.kind {
            LayerKind::InPlace => self.acts(at)?,
            LayerKind::Made => self.view.acts_in_made(at),
            LayerKind::Moved => NameActs::of(Before::Own),
        };
        if is_dir(stat) {
            self.upper_dir(at, name, stat, layer, &acts)?;
            let dir = self.open(at)?;
            return self.own_xattrs(at, &dir);
        }
        if is_file(stat) {
            let file = confine::file(self.outputs.upper(), at).map_err(unread(at))?;
            if stat.stx_size > 0 || !has_mark(&file, "whiteout") {
                self.upper_file(at, stat, &acts, &file)?;
                return self.own_xattrs(at, &file);
            }
        } else if is_symlink(stat) {
            return self.upper_symlink(at, stat, &acts);
        } else if !is_whiteout(stat) {
            return Err(HarvestError::Special(at.to_path_buf()));
        }
        self.gone(at, &acts, Successor::Nothing)
    }

    fn acts(&self, at: &Path) -> Result<NameActs, HarvestError> {
        self.view.name_acts(at).map_err(unread(at))
    }

    /// The name no longer leads to what stood there.
    fn gone(&mut self, at: &Path, acts: &NameActs, next: Successor) -> Result<(), HarvestError> {
        match acts.before {
            Before::Dir(_) => self.dir_gone(at, acts)?,
            // What takes its place is put over it in one step.
            Before::File(_) | Before::Symlink(_) if next == Successor::Leaf => {}
            Before::File(_) | Before::Symlink(_) => self.push(at, ChangeKind::Remove { dir: false }),
            Before::Nothing | Before::Own => {}
        }
        Ok(())
    }

    /// The job removed or moved a directory of the client's, and with it the names that it
    /// had there for the job.
    fn dir_gone(&mut self, at: &Path, acts: &NameActs) -> Result<(), HarvestError> {
        if acts.moved && self.view.moves_directories() || self.redirected.contains(at) {
            return self.tree_gone(at);
        }
        let removed: Vec<_> = match self.view.lower() {
            Some(lower) => lower.seen_below(at),
            None => {
                let acts = self.view.acts.lock();
                let of_client = |before: &Before| !matches!(before, Before::Nothing | Before::Own);
                let removed = acts
                    .below(at)
                    .filter(|(_, acts)| acts.removed && of_client(&acts.before));
                let is_dir = |acts: &NameActs| matches!(acts.before, Before::Dir(_));
                removed.map(|(path, acts)| (path.to_path_buf(), is_dir(acts))).collect()
            }
        };
        // Children before what they are in.
        for (path, dir) in removed.into_iter().rev() {
            self.push(&path, ChangeKind::Remove { dir });
        }
        self.push(at, ChangeKind::Remove { dir: true });
        Ok(())
    }

    /// Takes in a directory of the upper layer, with all that is in it.
    fn upper_dir(
        &mut self,
        at: &Path,
        name: &OsStr,
        stat: &Statx,
        layer: &Layer,
        acts: &NameActs,
    ) -> Result<(), HarvestError> {
        let marks = Marks::of(&self.open(at)?);
        let attr = self.attr(stat, Node::Dir);
        let below = marks.leads_to(layer.below.as_deref(), name);
        if let (Before::Dir(before), Some(below)) = (&acts.before, &below)
            && layer.kind == LayerKind::InPlace
            && marks.redirect.is_none()
        {
            return self.changed_dir(at, attr, before, below.clone());
        }
        if layer.kind == LayerKind::InPlace && self.view.lower().is_none() && !acts.named {
            // The client had it when the job went into it, and has removed it since. The job made
            // none, so that what is in it has no place there.
            let kind = LayerKind::InPlace;
            return self.dir(at, &Layer { below, kind });
        }
        let is_dir = match (&below, &marks.redirect) {
            (Some(shows), None) => self
                .view
                .mirror()
                .lookup(shows)
                .map_err(unread(at))?
                .is_some_and(|known| known.attr.is_dir()),
            _ => true,
        };
        self.gone(at, acts, Successor::Dir)?;
        let explicit_mtime = self.view.is_explicit(attr.mtime);
        self.push(
            at,
            ChangeKind::MakeDir {
                attr,
                explicit_mtime,
                plain: acts.plain,
            },
        );
        let below = below.filter(|_| is_dir);
        let kind = match acts.makes_joinable() && marks.redirect.is_none() {
            true => LayerKind::Made,
            false => LayerKind::Moved,
        };
        self.dir(at, &Layer { below, kind })
    }

    /// A directory of the client's, in which something was changed, or which was.
    fn changed_dir(&mut self, at: &Path, attr: Attr, before: &Attr, below: PathBuf) -> Result<(), HarvestError> {
        let explicit = self.view.is_explicit_of_dir(at, attr.mtime);
        let mut alter = Alter {
            mode: (before.mode != attr.mode).then_some(attr.mode),
            owner: self.owner_differs(before, &attr).then_some((attr.uid, attr.gid)),
            ..Alter::default()
        };
        let first = self.changes.len();
        let layer = Layer {
            below: Some(below),
            kind: LayerKind::InPlace,
        };
        self.dir(at, &layer)?;
        let has_own_time = match explicit {
            true => before.mtime != attr.mtime,
            false => self.is_touched(at, &attr),
        };
        let is_put = |change: &Change| change.path.parent() == Some(at) && change.kind.is_of_name();
        // Names that were put have given it another time, and the job has given it this one since.
        let is_set_since = self.view.is_explicit(attr.mtime) && self.changes[first..].iter().any(is_put);
        if has_own_time || is_set_since {
            alter.mtime = Some(SetTime {
                time: attr.mtime,
                explicit: explicit || is_set_since,
            });
        }
        if !alter.is_empty() {
            let alter = Change {
                path: at.to_path_buf(),
                kind: ChangeKind::Alter(alter),
            };
            self.changes.insert(first, alter);
        }
        Ok(())
    }

    /// Takes in a file of the upper layer: changed in place, made by the job, or another name of one of these.
    fn upper_file(&mut self, at: &Path, stat: &Statx, acts: &NameActs, file: &OwnedFd) -> Result<(), HarvestError> {
        let met = match self.files.get(&stat.stx_ino) {
            Some(met) => met.clone(),
            None => {
                let met = match self.origin(at, stat.stx_ino, acts) {
                    Some((file_before, written)) => {
                        let hash = self.altered_file(at, stat, file, &file_before, written)?;
                        Met::Clients(file_before.path, hash)
                    }
                    None => {
                        self.gone(at, acts, Successor::Leaf)?;
                        self.made_file(at, stat, acts, file)?;
                        self.files.insert(stat.stx_ino, Met::Made(at.to_path_buf()));
                        return Ok(());
                    }
                };
                self.files.insert(stat.stx_ino, met.clone());
                met
            }
        };
        match met {
            // It has this name as before.
            Met::Clients(from, _) if from == at && !matches!(acts.before, Before::Own) => {}
            Met::Clients(from, hash) => {
                hash.into_iter().for_each(|hash| self.outputs.hold_upper(at, hash));
                self.gone(at, acts, Successor::Leaf)?;
                self.push(at, ChangeKind::Name { from, hash });
            }
            Met::Made(to) => {
                self.gone(at, acts, Successor::Leaf)?;
                self.push(at, ChangeKind::Link { to });
            }
        }
        Ok(())
    }

    /// The extended attributes that the job set: a view has none of the client's.
    fn own_xattrs(&mut self, at: &Path, file: &OwnedFd) -> Result<(), HarvestError> {
        let xattrs = xattrs(file).map_err(unread(at))?;
        let Some(xattrs) = xattrs else {
            return Err(HarvestError::AccessList(at.to_path_buf()));
        };
        if !xattrs.is_empty() {
            self.push(at, ChangeKind::SetXattrs(xattrs));
        }
        Ok(())
    }

    /// Takes in a file that the job made.
    fn made_file(&mut self, at: &Path, stat: &Statx, acts: &NameActs, file: &OwnedFd) -> Result<(), HarvestError> {
        let Seen { hash, inline, .. } = look_through(file, stat.stx_size, None).map_err(io(at))?;
        let node = Node::File {
            size: stat.stx_size,
            hash: Some(hash),
        };
        let attr = self.attr(stat, node);
        self.outputs.hold_upper(at, hash);
        let explicit_mtime = self.view.is_explicit(attr.mtime);
        let content = inline.map_or(Content::OnWorker, Content::Inline);
        let if_present = match acts.written {
            _ if acts.exclusive || acts.replaced || acts.made_again || !matches!(acts.before, Before::Nothing) => {
                IfPresent::Replace
            }
            Written::Appended => IfPresent::Append,
            Written::Anew if !acts.is_attributed => IfPresent::Overwrite,
            Written::Not | Written::Anew | Written::Within => IfPresent::Replace,
        };
        self.push(
            at,
            ChangeKind::File {
                attr,
                explicit_mtime,
                content,
                if_present,
            },
        );
        Ok(())
    }

    /// Takes in a symlink of the upper layer: one of the client's that was moved, or a new one.
    fn upper_symlink(&mut self, at: &Path, stat: &Statx, acts: &NameActs) -> Result<(), HarvestError> {
        let link = confine::handle(self.outputs.upper(), at).map_err(unread(at))?;
        let target = rustix::fs::readlinkat(link, c"", Vec::new()).map_err(unread(at))?;
        let node = Node::Symlink {
            target: OsString::from_vec(target.into_bytes()).into(),
        };
        let attr = self.attr(stat, node);
        if let Some(from) = self.unchanged_symlink(stat.stx_ino, &attr)? {
            if from != at || matches!(acts.before, Before::Own) {
                self.gone(at, acts, Successor::Leaf)?;
                self.push(at, ChangeKind::Name { from, hash: None });
            }
            return Ok(());
        }
        // One that the job put there is another, however alike. Where no call is seen, it may be.
        let is_unseen = self.view.lower().is_some();
        if let Before::Symlink(before) = &acts.before
            && (is_unseen || !acts.named)
            && self.is_symlink_unchanged(before, &attr)
        {
            self.checks.extend(is_unseen.then(|| only_name(at.to_path_buf())));
            return Ok(());
        }
        if stat.stx_nlink > 1
            && let Some(from) = self.symlink_linked(stat.stx_ino, at, &attr)?
        {
            self.gone(at, acts, Successor::Leaf)?;
            self.push(at, ChangeKind::Name { from, hash: None });
            return Ok(());
        }
        self.gone(at, acts, Successor::Leaf)?;
        match self.files.get(&stat.stx_ino) {
            Some(Met::Made(first)) => {
                let to = first.clone();
                self.push(at, ChangeKind::Link { to });
            }
            _ => {
                self.push(at, ChangeKind::Symlink { attr });
                self.files.insert(stat.stx_ino, Met::Made(at.to_path_buf()));
            }
        }
        Ok(())
    }

    /// The symlink of the client's that one of the upper layer was, if it is as before.
    fn unchanged_symlink(&self, ino: u64, attr: &Attr) -> Result<Option<PathBuf>, HarvestError> {
        let Some(from) = self.view.acts.lock().of_symlink(ino).map(Path::to_path_buf) else {
            return Ok(None);
        };
        let before = self.acts(&from)?.before;
        let is_it = matches!(&before, Before::Symlink(before) if self.is_symlink_unchanged(before, attr));
        Ok(is_it.then_some(from))
    }

    fn is_symlink_unchanged(&self, before: &Attr, attr: &Attr) -> bool {
        let timed = before.mtime != attr.mtime && self.view.is_explicit(attr.mtime);
        before.node == attr.node && !timed && !self.owner_differs(before, attr)
    }

    /// The symlink of the client's, still in its place, of which the one at `at` is another name.
    fn symlink_linked(&self, ino: u64, at: &Path, attr: &Attr) -> Result<Option<PathBuf>, HarvestError> {
        for path in self.view.symlinks_touched() {
            let here = confine::handle(self.outputs.upper(), &path).and_then(confine::stat);
            if path != at && here.is_ok_and(|stat| stat.stx_ino == ino) && self.is_clients_symlink(&path, attr)? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Whether the symlink at a path, with these attributes, is the one that the client has
    /// there. One that the job put in its place is another.
    fn is_clients_symlink(&self, path: &Path, attr: &Attr) -> Result<bool, HarvestError> {
        let acts = self.acts(path)?;
        Ok(match &acts.before {
            // A call that was to make or remove the name may have failed.
            Before::Symlink(before) => !acts.named || (&before.node, before.mtime) == (&attr.node, attr.mtime),
            _ => false,
        })
    }

    fn push(&mut self, at: &Path, kind: ChangeKind) {
        self.changes.push(Change {
            path: at.to_path_buf(),
            kind,
        });
    }

    fn attr(&self, stat: &Statx, node: Node) -> Attr {
        let attr = seen(stat, node);
        if self.view.mirror().keeps_owners() {
            attr
        } else {
            Attr {
                uid: self.owner.uid,
                gid: self.owner.gid,
                ..attr
            }
        }
    }

    /// Whether the job gave a directory a later time. A copied-up one has the time that the
    /// mirror's has. One for temporary files (it is sticky) changes with every job, and
    /// nobody asks when.
    fn is_touched(&self, at: &Path, attr: &Attr) -> bool {
        let below = self.view.mirror().dir_mtime(at);
        attr.mode & 0o1000 == 0 && below.is_ok_and(|below| below.is_some_and(|below| below < attr.mtime))
    }

    fn owner_differs(&self, a: &Attr, b: &Attr) -> bool {
        self.view.mirror().keeps_owners() && (a.uid, a.gid) != (b.uid, b.gid)
    }
}

/// What has a name after something of the client's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Successor {
    Nothing,
    Leaf,
    Dir,
}

/// A removal, as overlayfs writes it down where it may make devices.
fn is_whiteout(stat: &Statx) -> bool {
    let number = (stat.stx_rdev_major, stat.stx_rdev_minor);
    u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFCHR && number == (0, 0)
}

fn unread(path: &Path) -> impl Fn(Errno) -> HarvestError {
    move |errno| HarvestError::Upper {
        path: path.to_path_buf(),
        errno,
    }
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> HarvestError {
    move |error| unread(path)(error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))
}

fn client(path: &Path) -> impl Fn(FaultError) -> HarvestError {
    move |error| HarvestError::Client {
        path: path.to_path_buf(),
        error,
    }
}
