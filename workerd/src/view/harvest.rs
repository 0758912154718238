//! Reading off an upper directory what a finished job changed, as the client has to
//! repeat it.
//!
//! Knows how overlayfs writes down removals, opaque and moved directories (kernel
//! document `filesystems/overlayfs.rst`), with and without `userxattr`. Follows no
//! symlink. Knows nothing of the commit.

use super::confine::{self, is_dir, is_file, is_symlink};
use super::fault::View;
use super::mirror::{COPY_UP_NOTES, Known, OWN_NAMES, names_in, seen};
use super::outputs::piece;
use super::outputs::{Harvest, Outputs};
use super::trouble::Trouble;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::Statx;
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use termite_types::{Attr, Base, BlobHash, Change, ChangeKind, Content, Node, Owner};

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
    /// A directory that the job moved could not be brought whole.
    #[error("bringing the moved {}: {trouble}", .path.display())]
    Moved {
        /// Where the client has it.
        path: PathBuf,
        /// Why.
        trouble: Trouble,
    },
    /// The job changed a directory whose names it could not be told.
    #[error("changing {}, which may not be looked into", .0.display())]
    Shut(PathBuf),
}

/// Lists what the job of `view` changed, from its upper directory. All of its processes
/// must have ended. `owner` is whose the files are where the view cannot tell. Blocks:
/// contents are hashed, and moved directories brought whole.
pub fn harvest(upper: OwnedFd, view: &View, owner: &Owner) -> Result<Harvest, HarvestError> {
    let outputs = Outputs::new(upper, view.mirror().clone());
    let mut gather = Gather {
        view,
        owner,
        outputs,
        changes: Vec::new(),
        linked: HashMap::new(),
    };
    gather.dir(
        Path::new("/"),
        &Layer {
            below: Some(PathBuf::from("/")),
            moved: false,
        },
    )?;
    view.record_changes(&gather.changes);
    Ok(Harvest {
        changes: gather.changes,
        outputs: gather.outputs,
    })
}

struct Gather<'v> {
    view: &'v View,
    owner: &'v Owner,
    outputs: Outputs,
    changes: Vec<Change>,
    /// First names of files with several, by inode number.
    linked: HashMap<u64, PathBuf>,
}

/// What a directory of the upper layer lies over.
struct Layer {
    /// The client's directory that shows through.
    below: Option<PathBuf>,
    /// The client has no such directory at this path: all that shows is new there.
    moved: bool,
}

/// What overlayfs wrote down about an upper directory.
struct Marks {
    opaque: bool,
    /// Where the client's directory is: a sibling's name, or a path from the root.
    redirect: Option<PathBuf>,
}

impl Gather<'_> {
    fn dir(&mut self, at: &Path, layer: &Layer) -> Result<(), HarvestError> {
        let upper = |errno| HarvestError::Upper {
            path: at.to_path_buf(),
            errno,
        };
        let dir = confine::directory(self.outputs.upper(), at).map_err(upper)?;
        let mut names = names_in(dir.as_fd()).map_err(upper)?;
        names.sort_unstable();
        for name in &names {
            if at == Path::new("/") && OWN_NAMES.iter().any(|own| name == *own) {
                continue;
            }
            let stat = confine::stat_name(&dir, Path::new(name)).map_err(upper)?;
            self.entry(&at.join(name), name, &stat, layer)?;
        }
        if let (true, Some(below)) = (layer.moved, &layer.below) {
            let names: HashSet<_> = names.into_iter().collect();
            self.below(at, below, &names)?;
        }
        Ok(())
    }

    fn entry(&mut self, at: &Path, name: &OsStr, stat: &Statx, layer: &Layer) -> Result<(), HarvestError> {
        let upper = |errno| HarvestError::Upper {
            path: at.to_path_buf(),
            errno,
        };
        let under = match &layer.below {
            Some(below) => self.view.mirror().lookup(&below.join(name)).map_err(upper)?,
            None => None,
        };
        if under
            .as_ref()
            .is_some_and(|under| self.view.mirror().is_shut(under.ino))
        {
            return Err(HarvestError::Shut(at.to_path_buf()));
        }
        let stands = under.as_ref().filter(|_| !layer.moved);
        if is_dir(stat) {
            return self.upper_dir(at, name, stat, layer, under.as_ref());
        }
        let file = if is_file(stat) {
            Some(confine::file(self.outputs.upper(), at).map_err(upper)?)
        } else {
            None
        };
        if let Some(file) = file.filter(|file| stat.stx_size > 0 || !has_mark(file, "whiteout")) {
            return self.upper_file(at, stat, stands, &file).map_err(upper);
        }
        if is_symlink(stat) {
            return self.upper_symlink(at, stat, stands).map_err(upper);
        }
        // A whiteout; or a FIFO, socket or device, which stay here.
        if stands.is_some() {
            self.push(at, ChangeKind::Remove);
        }
        Ok(())
    }

    fn upper_dir(
        &mut self,
        at: &Path,
        name: &OsStr,
        stat: &Statx,
        layer: &Layer,
        under: Option<&Known>,
    ) -> Result<(), HarvestError> {
        let marks = Marks::of(self, at).map_err(|errno| HarvestError::Upper {
            path: at.to_path_buf(),
            errno,
        })?;
        let attr = self.attr(stat, Node::Dir);
        let explicit_mtime = self.view.is_explicit(attr.mtime);
        let over = under.filter(|under| under.attr.is_dir() && !marks.opaque && marks.redirect.is_none());
        let below = match (&marks.redirect, &layer.below) {
            _ if marks.opaque => None,
            (Some(path), _) if path.is_absolute() => Some(path.clone()),
            (Some(sibling), Some(below)) => Some(below.join(sibling)),
            (None, Some(below)) => over.map(|_| below.join(name)),
            (_, None) => None,
        };
        if let Some(under) = over
            && !layer.moved
        {
            let explicit_mtime = self.view.is_explicit_of_dir(at, attr.mtime);
            let changed = under.attr.mode != attr.mode || self.owner_differs(&under.attr, &attr);
            if changed || explicit_mtime && under.attr.mtime != attr.mtime {
                self.push(at, ChangeKind::Dir { attr, explicit_mtime });
                return self.dir(at, &Layer { below, moved: false });
            }
            let before = self.changes.len();
            self.dir(at, &Layer { below, moved: false })?;
            let renames = self.changes[before..].iter().any(|change| self.renames(at, change));
            // Names that come and go take the time away again which the job has given it.
            let has_own_time = if renames {
                explicit_mtime
            } else {
                self.is_touched(at, &attr)
            };
            if has_own_time {
                self.push(at, ChangeKind::Dir { attr, explicit_mtime });
            }
            return Ok(());
        }
        if under.is_some() && !layer.moved {
            self.push(at, ChangeKind::Remove);
        }
        self.push(at, ChangeKind::Dir { attr, explicit_mtime });
        self.dir(at, &Layer { below, moved: true })
    }

    fn upper_file(&mut self, at: &Path, stat: &Statx, stands: Option<&Known>, file: &OwnedFd) -> Result<(), Errno> {
        if stands.is_some_and(|stands| stands.attr.is_dir()) {
            self.push(at, ChangeKind::Remove);
        }
        if stat.stx_nlink > 1 {
            if let Some(to) = self.linked.get(&stat.stx_ino) {
                let kind = ChangeKind::Link { to: to.clone() };
                self.push(at, kind);
                return Ok(());
            }
            self.linked.insert(stat.stx_ino, at.to_path_buf());
        }
        // A file that the job made anew has nothing of the one that was there.
        // One that was changed through a descriptor for reading (`fchmod`) was never named.
        let known = || self.view.base(at).or_else(|| stands.map(|stands| stands.attr.clone()));
        let before = if is_copied_up(file) { known() } else { None };
        let told = before.as_ref().and_then(content_of);
        if told.is_none() && stands.is_some() && is_copied_up(file) {
            tracing::warn!("what {} held before is not known ({before:?})", at.display());
        }
        let io = |error: std::io::Error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        let Seen { hash, begins, inline } = look_through(file, stat.stx_size, told).map_err(io)?;
        let base = told.map(|(size, hash)| Base {
            size,
            hash,
            is_prefix: begins,
        });
        let attr = self.attr(
            stat,
            Node::File {
                size: stat.stx_size,
                hash: Some(hash),
            },
        );
        if let (Some(base), Some(before)) = (&base, &before)
            && stat.stx_nlink == 1
            && base.hash == hash
            && before.mode == attr.mode
            && before.mtime == attr.mtime
            && !self.owner_differs(before, &attr)
        {
            return Ok(());
        }
        self.outputs.hold_upper(at, hash);
        let explicit_mtime = self.view.is_explicit(attr.mtime);
        let content = inline.map_or(Content::OnWorker, Content::Inline);
        self.push(
            at,
            ChangeKind::File {
                attr,
                explicit_mtime,
                base,
                content,
            },
        );
        Ok(())
    }

    fn upper_symlink(&mut self, at: &Path, stat: &Statx, stands: Option<&Known>) -> Result<(), Errno> {
        let link = confine::handle(self.outputs.upper(), at)?;
        let target = rustix::fs::readlinkat(link, c"", Vec::new())?.into_bytes();
        let attr = self.attr(
            stat,
            Node::Symlink {
                target: OsString::from_vec(target).into(),
            },
        );
        if let Some(stands) = stands {
            let timed = stands.attr.mtime != attr.mtime && self.view.is_explicit(attr.mtime);
            if stands.attr.node == attr.node && !timed && !self.owner_differs(&stands.attr, &attr) {
                return Ok(());
            }
            if stands.attr.is_dir() {
                self.push(at, ChangeKind::Remove);
            }
        }
        self.push(at, ChangeKind::Symlink { attr });
        Ok(())
    }

    /// What shows through a moved directory, but for the names that the job covered.
    fn below(&mut self, at: &Path, below: &Path, covered: &HashSet<OsString>) -> Result<(), HarvestError> {
        let moved = |trouble| HarvestError::Moved {
            path: below.to_path_buf(),
            trouble,
        };
        for name in self.view.mirror().names(below).map_err(moved)? {
            if !covered.contains(name.as_os_str()) {
                self.moved(&at.join(&name), &below.join(&name))?;
            }
        }
        Ok(())
    }

    fn moved(&mut self, at: &Path, from: &Path) -> Result<(), HarvestError> {
        let failed = |trouble| HarvestError::Moved {
            path: from.to_path_buf(),
            trouble,
        };
        let store = |errno| failed(Trouble::from_store(errno, from));
        let mirror = self.view.mirror().clone();
        let Some(known) = mirror.lookup(from).map_err(store)? else {
            return Ok(());
        };
        match known.attr.node {
            Node::Dir => {
                self.push(
                    at,
                    ChangeKind::Dir {
                        attr: known.attr,
                        explicit_mtime: true,
                    },
                );
                self.below(at, from, &HashSet::new())
            }
            Node::Symlink { .. } => {
                self.push(at, ChangeKind::Symlink { attr: known.attr });
                Ok(())
            }
            Node::File { .. } => {
                mirror.fill(known.ino).map_err(failed)?;
                let Some(known) = mirror.lookup(from).map_err(store)? else {
                    return Ok(());
                };
                let Some((size, hash)) = content_of(&known.attr) else {
                    return Ok(());
                };
                self.outputs.hold_mirror(from, hash);
                let content = match self.outputs.read(&hash, 0, INLINE_MAX as u32) {
                    Ok(Some(bytes)) if size <= INLINE_MAX => Content::Inline(bytes),
                    _ => Content::OnWorker,
                };
                let attr = Attr {
                    node: Node::File { size, hash: Some(hash) },
                    ..known.attr
                };
                self.push(
                    at,
                    ChangeKind::File {
                        attr,
                        explicit_mtime: true,
                        base: None,
                        content,
                    },
                );
                Ok(())
            }
        }
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

    /// Whether a change makes or removes a name in a directory, which gives that another
    /// time on the client as well.
    fn renames(&self, dir: &Path, change: &Change) -> bool {
        let is_new = || matches!(self.view.mirror().lookup(&change.path), Ok(None));
        change.path.parent() == Some(dir) && (matches!(change.kind, ChangeKind::Remove) || is_new())
    }

    fn owner_differs(&self, a: &Attr, b: &Attr) -> bool {
        self.view.mirror().keeps_owners() && (a.uid, a.gid) != (b.uid, b.gid)
    }
}

impl Marks {
    fn of(gather: &Gather<'_>, at: &Path) -> Result<Self, Errno> {
        let dir = confine::directory(gather.outputs.upper(), at)?;
        let opaque = mark(&dir, "opaque").is_some_and(|value| value == b"y");
        let redirect = mark(&dir, "redirect").map(|value| PathBuf::from(OsString::from_vec(value)));
        Ok(Self { opaque, redirect })
    }
}

/// A note of overlayfs, whichever way the mount keeps them.
fn mark(file: &OwnedFd, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; libc::PATH_MAX as usize];
    ["trusted", "user"].into_iter().find_map(|space| {
        let len = rustix::fs::fgetxattr(file, format!("{space}.overlay.{name}"), &mut value[..]).ok()?;
        Some(value[..len].to_vec())
    })
}

fn has_mark(file: &OwnedFd, name: &str) -> bool {
    mark(file, name).is_some()
}

/// Whether overlayfs made the file from one of the lower layer.
fn is_copied_up(file: &OwnedFd) -> bool {
    let has = |note| rustix::fs::fgetxattr(file, note, &mut [0u8; 256][..]).is_ok();
    COPY_UP_NOTES.iter().any(|note| has(*note))
}

/// Size and hash of a file's content, where they are known.
fn content_of(attr: &Attr) -> Option<(u64, BlobHash)> {
    match attr.node {
        Node::File { size: 0, .. } => Some((0, BlobHash(*blake3::hash(&[]).as_bytes()))),
        Node::File { size, hash: Some(hash) } => Some((size, hash)),
        _ => None,
    }
}

/// What a look through an output tells.
struct Seen {
    hash: BlobHash,
    /// It begins with what was there before.
    begins: bool,
    /// All of it, if that is little.
    inline: Option<Vec<u8>>,
}

/// Reads an output of this size once; `before`: size and hash of what was there. Maps nothing:
/// a hole that is looked at like that takes memory, and without any left the reader is killed.
fn look_through(file: &OwnedFd, size: u64, before: Option<(u64, BlobHash)>) -> std::io::Result<Seen> {
    let (mut hasher, mut at, mut begins) = (blake3::Hasher::new(), 0, false);
    loop {
        let bytes = piece(file, at, (size - at).min(INLINE_MAX) as u32)?;
        let end = at + bytes.len() as u64;
        if let Some((size, hash)) = before.filter(|(size, _)| (at..=end).contains(size)) {
            let head = hasher.clone().update(&bytes[..(size - at) as usize]).finalize();
            begins = head.as_bytes() == &hash.0;
        }
        hasher.update(&bytes);
        if bytes.is_empty() || end == size {
            return Ok(Seen {
                hash: BlobHash(*hasher.finalize().as_bytes()),
                begins,
                inline: (at == 0 && end <= INLINE_MAX).then_some(bytes),
            });
        }
        at = end;
    }
}
