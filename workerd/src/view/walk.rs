//! Walking a path through a job's tree as the kernel will, component by component, with
//! each directory completed before anything looks into it.
//!
//! Whatever stands behind a directory of the job's tree is found by its inode number, so
//! that a directory which the job moved is still completed from where the client has it.
//! Knows nothing of system calls.

use super::View;
use super::act::Act;
use super::confine::{self, is_dir, is_symlink};
use super::error::FaultError;
use super::mirror::{Fill, Mirror, OWN_NAMES, Presence, is_placeholder};
use super::path_use::{Blocking, Reply};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Statx};
use rustix::io::Errno;
use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use termite_types::Abandon;

/// As many symlinks as the kernel follows in one path (`MAXSYMLINKS`).
pub(super) const MAX_LINKS: u32 = 40;

/// Why a walk ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The client must be asked, and there is no leave to block.
    NeedsFetch,
    /// The call cannot go on.
    Error(FaultError),
}

impl From<FaultError> for Stop {
    fn from(error: FaultError) -> Self {
        Self::Error(error)
    }
}

/// What the call is answered.
pub(super) fn settle(outcome: Result<Reply, Stop>) -> Result<Reply, Abandon> {
    match outcome {
        Ok(reply) => Ok(reply),
        Err(Stop::NeedsFetch) => Ok(Reply::NeedsFetch),
        Err(Stop::Error(FaultError::Errno(errno))) => Ok(Reply::Errno(errno)),
        Err(Stop::Error(FaultError::Abandon(abandon))) => Err(abandon),
    }
}

/// Where a walk ended. Paths are canonical in the job's tree.
#[derive(Debug)]
pub(super) enum WalkEnd {
    /// At a directory.
    Dir(PathBuf),
    /// At something that is neither directory nor symlink.
    File(PathBuf, FileStat),
    /// At a symlink that is not to be followed.
    Symlink(PathBuf),
    /// At a last name that is not there, in a directory that is.
    Missing(PathBuf),
    /// Before its last name: a directory on the way is not there.
    Nowhere,
    /// At something that the kernel will refuse in its own words.
    Blocked,
    /// In the slot's own files.
    Outside,
}

impl WalkEnd {
    /// The canonical path of what is there, or is missing there.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Dir(path) | Self::File(path, _) | Self::Symlink(path) | Self::Missing(path) => Some(path),
            Self::Nowhere | Self::Blocked | Self::Outside => None,
        }
    }

    /// Whether a call that does `act` here fails, and so does nothing. `makes`: the call makes what
    /// is not there.
    pub(super) fn refuses(&self, act: Act, makes: bool) -> bool {
        let is_dir = matches!(self, Self::Dir(_));
        match self {
            Self::Missing(_) => !makes,
            Self::File(..) | Self::Symlink(_) | Self::Dir(_) => match act {
                Act::Open { exclusive, .. } => exclusive || is_dir,
                Act::MakeDir { .. } | Act::Make => true,
                Act::MoveHere { exclusive, dir } => exclusive || dir != is_dir,
                Act::Remove { dir } => dir != is_dir,
                Act::Look | Act::TestWrite | Act::MoveAway | Act::Exchange | Act::Link | Act::Attributes { .. } => {
                    false
                }
            },
            Self::Nowhere | Self::Blocked | Self::Outside => true,
        }
    }
}

/// What matters of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileStat {
    pub ino: u64,
    /// It is marked as a placeholder.
    waits: bool,
    /// Somebody may execute it.
    pub runs: bool,
    /// It has a set-user-ID or set-group-ID bit.
    pub sets_id: bool,
}

impl FileStat {
    pub(super) fn of(stat: &Statx) -> Self {
        Self {
            ino: stat.stx_ino,
            waits: is_placeholder(stat),
            runs: stat.stx_mode & 0o111 != 0,
            sets_id: stat.stx_mode & 0o6000 != 0,
        }
    }
}

/// What a walk finds at one name.
enum Step {
    /// A directory, and its inode number.
    Dir(PathBuf, u64),
    /// A symlink that is followed, with its target.
    Link(Vec<u8>),
    /// The walk ends here.
    End(WalkEnd),
}

/// One walk for one task.
pub(super) struct Walk<'v> {
    pub view: &'v View,
    pub task: Option<u32>,
    pub blocking: Blocking,
    /// The content of what stands at its end is looked at, too: a file is filled before the job's
    /// kernel sees it.
    pub reads: bool,
    /// The last walk of [`Walk::locate`] went through a symlink.
    pub linked: Cell<bool>,
    /// A walk went through the slot's own files, whose magic links lead each task elsewhere:
    /// nothing is learnt.
    pub magic: Cell<bool>,
    /// The last walk ended early, with a `..` ahead of it: once what is missing there is
    /// made, the path leads where nobody looked.
    pub turns_back: Cell<bool>,
    /// The symlinks that walks went through, each with its target.
    pub followed: RefCell<Vec<(PathBuf, PathBuf)>>,
}

impl<'v> Walk<'v> {
    /// A walk that begins.
    pub(super) fn new(view: &'v View, task: Option<u32>, blocking: Blocking) -> Self {
        Self {
            view,
            task,
            blocking,
            reads: false,
            linked: Cell::new(false),
            magic: Cell::new(false),
            turns_back: Cell::new(false),
            followed: RefCell::default(),
        }
    }

    /// Where an absolute spelling leads.
    pub(super) fn locate(&self, spelled: &[u8], follow: bool) -> Result<WalkEnd, Stop> {
        let (dir, name) = match spelled.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&spelled[..slash], &spelled[slash + 1..]),
            None => return Ok(WalkEnd::Blocked),
        };
        if matches!(name, b"" | b"." | b"..") {
            return self.walk(PathBuf::from("/"), spelled, true);
        }
        let lead = self.lead(dir, OsStr::from_bytes(name))?;
        self.linked.set(false);
        match lead {
            SpelledDir::To(dir) => self.walk(dir, name, follow),
            SpelledDir::Nowhere => Ok(WalkEnd::Nowhere),
            SpelledDir::Outside => self.walk(PathBuf::from("/"), spelled, follow),
        }
    }

    /// Where a spelled directory leads in which a name is looked for: all that is looked at
    /// is there.
    fn lead(&self, spelled: &[u8], name: &OsStr) -> Result<SpelledDir, Stop> {
        if let Some(lead) = self.view.known_dir(spelled) {
            return Ok(SpelledDir::To(lead));
        }
        if self.view.was_nowhere(spelled) {
            let now = confine::handle(&self.view.root, Path::new(OsStr::from_bytes(spelled)));
            if now.is_err_and(|errno| errno == Errno::NOENT) {
                return Ok(SpelledDir::Nowhere);
            }
        }
        let epoch = self.view.learning_epoch();
        let lead = match self.walk(PathBuf::from("/"), spelled, true)? {
            WalkEnd::Dir(dir) => {
                self.ensure_name(&dir, None, name)?;
                if !self.view.is_ready(&dir) {
                    return Ok(SpelledDir::To(dir));
                }
                Some(dir)
            }
            WalkEnd::Outside => return Ok(SpelledDir::Outside),
            WalkEnd::File(..) | WalkEnd::Symlink(_) | WalkEnd::Missing(_) | WalkEnd::Nowhere | WalkEnd::Blocked => None,
        };
        let lasts = lead.is_some() || !self.turns_back.get();
        if let Some(epoch) = epoch
            && lasts
            && !self.magic.get()
        {
            self.view.learn_dir(epoch, spelled, lead.as_deref());
        }
        Ok(lead.map_or(SpelledDir::Nowhere, SpelledDir::To))
    }

    /// Tells the shim that a directory, spelled like this, is complete itself.
    pub(super) fn publish(&self, spelled: &[u8], dir: &Path) {
        let name = spelled.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if let Some(epoch) = self.view.learning_epoch()
            && !matches!(name, b"" | b"." | b"..")
            && !self.magic.get()
            && self.view.is_ready(dir)
        {
            self.view.learn_dir(epoch, spelled, Some(dir));
        }
    }

    /// Completes the client's directory behind a canonical directory of the job's tree.
    pub(super) fn ensure(&self, dir: &Path) -> Result<(), Stop> {
        self.ensure_by(dir, None, None, Mirror::complete)
    }

    /// Brings its time alone, which some have that cannot be completed.
    pub(super) fn ensure_time(&self, dir: &Path) -> Result<(), Stop> {
        self.ensure_by(dir, None, None, Mirror::complete_time)
    }

    /// Brings a name of it, if the client has that. `seen`: its inode number, where that was
    /// just seen.
    fn ensure_name(&self, dir: &Path, seen: Option<u64>, name: &OsStr) -> Result<(), Stop> {
        self.ensure_by(dir, seen, Some(name), |mirror, path| mirror.complete_name(path, name))
    }

    /// `bring` says whether the directory is complete then.
    fn ensure_by(
        &self,
        dir: &Path,
        seen: Option<u64>,
        name: Option<&OsStr>,
        bring: impl FnOnce(&Mirror, &Path) -> Result<bool, FaultError>,
    ) -> Result<(), Stop> {
        if self.view.is_ready(dir) {
            return Ok(());
        }
        let epoch = self.view.learning_epoch();
        let ino = match seen {
            Some(ino) => ino,
            None if dir == Path::new("/") => self.view.mirror.root_ino(),
            None => match confine::handle(&self.view.root, dir).and_then(confine::stat) {
                Ok(stat) => stat.stx_ino,
                // Moved or removed by another task this moment: the kernel will say.
                Err(_) => return Ok(()),
            },
        };
        let is_complete = match self.view.mirror.presence(ino, name) {
            None | Some((_, Presence::Complete)) => true,
            Some((_, Presence::Ready)) => false,
            Some((_, Presence::Lacking)) if self.blocking == Blocking::Never => return Err(Stop::NeedsFetch),
            Some((path, Presence::Lacking)) => bring(&self.view.mirror, &path)?,
        };
        if let Some(epoch) = epoch.filter(|_| is_complete) {
            self.view.learn_ready(epoch, dir);
        }
        Ok(())
    }

    /// Fills the client's file at a canonical path, unless the job has put another one there.
    fn fill_unseen(&self, path: &Path) -> Result<(), Stop> {
        let mirror = &self.view.mirror;
        if mirror.unfilled_at(path).is_none() || confine::handle(&self.view.upper, path).is_ok() {
            return Ok(());
        }
        match self.blocking {
            Blocking::Never => Err(Stop::NeedsFetch),
            Blocking::Allowed => Ok(mirror.fill_unseen(path)?),
        }
    }

    /// Gives a file its content, if it is one that waits for it.
    pub(super) fn fill(&self, looks: FileStat) -> Result<(), Stop> {
        if !looks.waits {
            return Ok(());
        }
        match self.view.mirror.fill_state(looks.ino) {
            None | Some(Fill::Filled) => Ok(()),
            Some(Fill::Placeholder | Fill::Filling) if self.blocking == Blocking::Never => Err(Stop::NeedsFetch),
            Some(_) => Ok(self.view.mirror.fill(looks.ino)?),
        }
    }

    /// The same, until the mirror knows what the content is: a file shows that it has it a
    /// moment before.
    pub(super) fn fill_and_know(&self, looks: FileStat) -> Result<(), Stop> {
        self.fill(looks)?;
        match self.view.mirror.fill_state(looks.ino) {
            Some(Fill::Filling) if self.blocking == Blocking::Never => Err(Stop::NeedsFetch),
            Some(Fill::Filling) => Ok(self.view.mirror.fill(looks.ino)?),
            _ => Ok(()),
        }
    }

    /// Walks `path` from a canonical directory; an absolute symlink leads to the root.
    pub(super) fn walk(&self, from: PathBuf, path: &[u8], follow: bool) -> Result<WalkEnd, Stop> {
        let mut at = from;
        // Of `at`, where that was looked at.
        let mut seen = None;
        let mut todo: Vec<Vec<u8>> = reversed(path);
        let mut links = 0;
        let turns_back = |todo: &[Vec<u8>]| self.turns_back.set(todo.iter().any(|name| name == b".."));
        turns_back(&todo);
        while let Some(name) = todo.pop() {
            match &name[..] {
                b"" | b"." => continue,
                b".." => {
                    at.pop();
                    seen = None;
                    continue;
                }
                _ => {}
            }
            if is_own(&at, &name) {
                seen = None;
                self.magic.set(true);
                match self.own_link(&at, &name, &mut todo) {
                    Own::Leads(target) => {
                        at = self.restart(&target, PathBuf::from("/"), &mut todo, &mut links);
                    }
                    Own::Passes => at.push(OsStr::from_bytes(&name)),
                    Own::Outside => return Ok(WalkEnd::Outside),
                }
                if links > MAX_LINKS {
                    return Ok(WalkEnd::Blocked);
                }
                continue;
            }
            let name = OsStr::from_bytes(&name);
            self.ensure_name(&at, seen, name)?;
            let next = at.join(name);
            if self.reads && todo.iter().all(Vec::is_empty) {
                self.fill_unseen(&next)?;
            }
            match self.step(next, &todo, follow) {
                Step::Dir(next, ino) => (at, seen) = (next, Some(ino)),
                Step::Link(target) => {
                    // An absolute target begins anew; what is left of `at` was seen already.
                    seen = seen.filter(|_| target.first() != Some(&b'/'));
                    at = self.restart(&target, at, &mut todo, &mut links);
                    if links > MAX_LINKS || target.is_empty() {
                        return Ok(WalkEnd::Blocked);
                    }
                }
                Step::End(end) => {
                    if matches!(end, WalkEnd::Nowhere | WalkEnd::Missing(_) | WalkEnd::Blocked) {
                        turns_back(&todo);
                    }
                    return Ok(end);
                }
            }
        }
        Ok(WalkEnd::Dir(at))
    }

    /// What a walk finds at one name of its path, with `todo` behind it.
    fn step(&self, next: PathBuf, todo: &[Vec<u8>], follow: bool) -> Step {
        let handle = match confine::handle(&self.view.root, &next) {
            Ok(handle) => handle,
            Err(Errno::NOENT) if todo.iter().all(Vec::is_empty) => return Step::End(WalkEnd::Missing(next)),
            Err(Errno::NOENT) => return Step::End(WalkEnd::Nowhere),
            Err(_) => return Step::End(WalkEnd::Blocked),
        };
        let Ok(stat) = confine::stat(&handle) else {
            return Step::End(WalkEnd::Blocked);
        };
        if is_dir(&stat) {
            return Step::Dir(next, stat.stx_ino);
        }
        if !is_symlink(&stat) {
            let is_last = todo.is_empty();
            return Step::End(if is_last {
                WalkEnd::File(next, FileStat::of(&stat))
            } else {
                WalkEnd::Blocked
            });
        }
        if todo.is_empty() && !follow {
            return Step::End(WalkEnd::Symlink(next));
        }
        let Ok(target) = rustix::fs::readlinkat(&handle, c"", Vec::new()) else {
            return Step::End(WalkEnd::Blocked);
        };
        let led = PathBuf::from(OsStr::from_bytes(target.as_bytes()));
        self.followed.borrow_mut().push((next, led));
        Step::Link(target.into_bytes())
    }

    /// What stands at a canonical path, without bringing anything.
    pub(super) fn at(&self, path: &Path) -> WalkEnd {
        match confine::handle(&self.view.root, path).and_then(confine::stat) {
            Ok(stat) if is_dir(&stat) => WalkEnd::Dir(path.to_path_buf()),
            Ok(stat) if is_symlink(&stat) => WalkEnd::Symlink(path.to_path_buf()),
            Ok(stat) => WalkEnd::File(path.to_path_buf(), FileStat::of(&stat)),
            Err(Errno::NOENT) => WalkEnd::Missing(path.to_path_buf()),
            Err(_) => WalkEnd::Blocked,
        }
    }

    /// Goes on with a link's target before the rest of the path.
    fn restart(&self, target: &[u8], at: PathBuf, todo: &mut Vec<Vec<u8>>, links: &mut u32) -> PathBuf {
        *links += 1;
        self.linked.set(true);
        todo.extend(reversed(target));
        if target.first() == Some(&b'/') {
            PathBuf::from("/")
        } else {
            at
        }
    }

    /// Where a task's working directory (`None`) or descriptor is or was. `None`: nothing
    /// that ever had a path.
    pub(super) fn place_of_task(&self, fd: Option<i32>) -> Option<Linked> {
        let task = self.task?;
        let link = match fd {
            None => format!("{task}/cwd"),
            Some(fd) => format!("{task}/fd/{fd}"),
        };
        self.linked(&self.view.proc, OsStr::new(&link))
    }

    /// The same where it is still there.
    fn link_of_task(&self, fd: Option<i32>) -> Option<Vec<u8>> {
        self.place_of_task(fd)?.there()
    }

    /// Reads a magic link. The kernel adds ` (deleted)` to the path of what was removed,
    /// but a name may end like that by itself.
    fn linked(&self, dir: &OwnedFd, link: &OsStr) -> Option<Linked> {
        let target = rustix::fs::readlinkat(dir, link, Vec::new()).ok()?.into_bytes();
        if target.first() != Some(&b'/') {
            return None;
        }
        let Some(former) = target.strip_suffix(b" (deleted)") else {
            return Some(Linked::There(target));
        };
        let named = confine::handle(&self.view.root, Path::new(OsStr::from_bytes(&target))).and_then(rustix::fs::fstat);
        let meant = rustix::fs::statat(dir, link, AtFlags::empty());
        Some(match (named, meant) {
            (Ok(named), Ok(meant)) if (named.st_dev, named.st_ino) == (meant.st_dev, meant.st_ino) => {
                Linked::There(target)
            }
            _ => Linked::Removed(former.to_vec()),
        })
    }

    /// Magic links lead out of the slot's own files and back into the view:
    /// `/proc/self/cwd/x.c`, `/proc/self/fd/5`, `/dev/fd/5`.
    fn own_link(&self, at: &Path, name: &[u8], todo: &mut Vec<Vec<u8>>) -> Own {
        let mut whole = at.as_os_str().as_bytes().to_vec();
        for part in std::iter::once(name).chain(todo.iter().rev().map(Vec::as_slice)) {
            whole.push(b'/');
            whole.extend_from_slice(part);
        }
        let parts: Vec<&[u8]> = whole
            .split(|byte| *byte == b'/')
            .filter(|part| !part.is_empty() && *part != b".")
            .collect();
        let (link, used) = match *parts {
            [b"dev", b"fd", fd, ..] => (number(fd).and_then(|fd| self.link_of_task(Some(fd))), 3),
            [b"proc", b"self" | b"thread-self", b"fd", fd, ..] => {
                (number(fd).and_then(|fd| self.link_of_task(Some(fd))), 4)
            }
            [b"proc", b"self" | b"thread-self", b"cwd", ..] => (self.link_of_task(None), 3),
            [b"proc", b"self" | b"thread-self", b"root", ..] => (Some(b"/".to_vec()), 3),
            [b"proc", pid, b"cwd", ..] => (self.link_of_slot(pid, None, b"cwd"), 3),
            [b"proc", pid, b"fd", fd, ..] => (self.link_of_slot(pid, Some(OsStr::new("fd")), fd), 4),
            _ => (None, 0),
        };
        if let Some(link) = link {
            let rest = parts[used..].iter().rev().map(|part| part.to_vec()).collect();
            *todo = rest;
            return Own::Leads(link);
        }
        if todo.iter().any(|part| part == b"..") {
            Own::Passes
        } else {
            Own::Outside
        }
    }

    /// A magic link of another process of the slot, by the slot's numbers.
    fn link_of_slot(&self, pid: &[u8], sub: Option<&OsStr>, name: &[u8]) -> Option<Vec<u8>> {
        let pid = number(pid)?;
        number(name).map(drop).or_else(|| (name == b"cwd").then_some(()))?;
        let mut dir = PathBuf::from(format!("/proc/{pid}"));
        dir.extend(sub);
        let dir = confine::handle(&self.view.root, &dir).ok()?;
        self.linked(&dir, OsStr::from_bytes(name))?.there()
    }
}

/// What a magic link says of something that has or had a path in the job's tree.
pub(super) enum Linked {
    /// It is here.
    There(Vec<u8>),
    /// It was removed from here; only `..` still leads on from it.
    Removed(Vec<u8>),
}

impl Linked {
    pub(super) fn there(self) -> Option<Vec<u8>> {
        match self {
            Self::There(path) => Some(path),
            Self::Removed(_) => None,
        }
    }
}

/// Where a spelled directory leads.
enum SpelledDir {
    To(PathBuf),
    Nowhere,
    Outside,
}

/// What a name in the slot's own files is.
enum Own {
    /// A magic link to this path.
    Leads(Vec<u8>),
    /// On the way out again by `..`.
    Passes,
    /// Served by nobody.
    Outside,
}

fn reversed(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect()
}

fn is_own(at: &Path, name: &[u8]) -> bool {
    let first = at.iter().nth(1).map_or(name, OsStr::as_bytes);
    OWN_NAMES.iter().any(|own| own.as_bytes() == first)
}

fn number(text: &[u8]) -> Option<i32> {
    std::str::from_utf8(text)
        .ok()?
        .parse()
        .ok()
        .filter(|number| *number >= 0)
}
