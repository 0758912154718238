//! Renaming a directory that the client has, where the kernel will not (EXDEV: overlayfs
//! without `redirect_dir`, which an ordinary user cannot have): its files are renamed one
//! by one into a new directory.
//!
//! Knows the job's tree by the same walk as everything else; knows no notification.

use super::View;
use super::confine::{self, is_dir};
use super::error::FaultError;
use super::inode::all_xattrs;
use super::lookup_cache::absolute;
use super::mirror::names_in;
use super::path_use::{PathUse, Reply, Resolved};
use super::walk::{FileStat, Stop, Walk, WalkEnd};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, RenameFlags, Statx, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use termite_types::{Abandon, FileTime};

/// A place for a name in the job's tree.
struct DirEntry {
    dir: OwnedFd,
    name: OsString,
    path: PathBuf,
    /// It was spelled with a final slash, which only a directory bears.
    slashed: bool,
}

impl DirEntry {
    /// Attributes of what has the name.
    fn looks(&self) -> Result<Statx, Errno> {
        confine::stat_name(&self.dir, Path::new(&self.name))
    }

    /// Whether it is a directory that its owner may not write to.
    fn is_fixed(&self) -> bool {
        self.looks()
            .is_ok_and(|stat| is_dir(&stat) && stat.stx_mode & 0o200 == 0)
    }
}

impl View {
    /// Renames for a task, as `renameat2(2)` would. `Ready`: the kernel has to say what is
    /// wrong. `Errno`: the call ends with this, 0 being success. Blocks.
    pub fn rename_dir(
        &self,
        task: u32,
        from: &PathUse<'_>,
        to: &PathUse<'_>,
        flags: RenameFlags,
    ) -> Result<Reply, Abandon> {
        let walk = Walk::new(self, Some(task), super::Blocking::Allowed);
        super::walk::settle(self.try_rename(&walk, from, to, flags))
    }

    /// Renames, or finds that the kernel will do so itself.
    fn try_rename(
        &self,
        walk: &Walk<'_>,
        from: &PathUse<'_>,
        to: &PathUse<'_>,
        flags: RenameFlags,
    ) -> Result<Reply, Stop> {
        let (Some(from), Some(to)) = (self.place(walk, from)?, self.place(walk, to)?) else {
            return Ok(Reply::Ready(Resolved::Missing));
        };
        let is_dir = |at: &DirEntry| at.looks().is_ok_and(|stat| is_dir(&stat));
        // The new name stands for what gets it, unless that is there already.
        let takes = if flags.contains(RenameFlags::EXCHANGE) {
            &to
        } else {
            &from
        };
        if from.slashed && !is_dir(&from) || to.slashed && !is_dir(takes) {
            return Ok(Reply::Ready(Resolved::Missing));
        }
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        // A directory that gets another parent is written to.
        let moves = from.path.parent() != to.path.parent();
        if moves && (from.is_fixed() || exchange && to.is_fixed()) {
            return Ok(Reply::Ready(Resolved::Missing));
        }
        let moved = match self.rename(&from, &to, flags) {
            // A process that stands in it would stay in the old one.
            Err(Errno::XDEV) if self.is_in_use(&from.path) || exchange && self.is_in_use(&to.path) => {
                return Err(FaultError::from(Abandon::Unsupported("renaming a directory in use".into())).into());
            }
            Err(Errno::XDEV) if exchange => self.exchange(walk, &from, &to),
            Err(Errno::XDEV) => self.move_tree(walk, &from, &to),
            Err(errno) => Err(errno.into()),
            Ok(()) => Ok(()),
        };
        match moved {
            Ok(()) => Ok(Reply::Errno(0)),
            Err(Moving::Errno(errno)) => Ok(Reply::Errno(errno.raw_os_error())),
            Err(Moving::Stop(stop)) => Err(stop),
        }
    }

    /// Where a name is or would be. `None`: it names no entry of a directory that the
    /// owner may write to.
    fn place(&self, walk: &Walk<'_>, used: &PathUse<'_>) -> Result<Option<DirEntry>, Stop> {
        let Some(mut spelled) = absolute(walk, used) else {
            return Ok(None);
        };
        let slashed = spelled.ends_with(b"/");
        while spelled.len() > 1 && spelled.ends_with(b"/") {
            spelled.pop();
        }
        let Some(slash) = spelled.iter().rposition(|byte| *byte == b'/') else {
            return Ok(None);
        };
        let name = std::ffi::OsStr::from_bytes(&spelled[slash + 1..]).to_os_string();
        if matches!(name.as_bytes(), b"" | b"." | b"..") {
            return Ok(None);
        }
        let WalkEnd::Dir(parent) = walk.walk(PathBuf::from("/"), &spelled[..slash], true)? else {
            return Ok(None);
        };
        if !self.may_pass(walk, &spelled[..slash], used.path.len())? {
            return Ok(None);
        }
        walk.ensure(&parent)?;
        let Ok(dir) = confine::directory(&self.root, &parent) else {
            return Ok(None);
        };
        let writable = confine::stat(&dir).is_ok_and(|stat| stat.stx_mode & 0o200 != 0);
        let path = parent.join(&name);
        Ok(writable.then_some(DirEntry {
            dir,
            name,
            path,
            slashed,
        }))
    }

    /// Whether the owner may search every directory that the last `own` bytes of a spelling
    /// lead through, as the kernel would see it for the job; the walk itself may always.
    fn may_pass(&self, walk: &Walk<'_>, spelled: &[u8], own: usize) -> Result<bool, Stop> {
        let from = spelled.len().saturating_sub(own);
        let ends = (from..spelled.len()).filter(|&at| at > 0 && spelled[at] == b'/');
        for end in ends.chain([spelled.len()]) {
            let WalkEnd::Dir(passed) = walk.walk(PathBuf::from("/"), &spelled[..end], true)? else {
                return Ok(false);
            };
            let dir = confine::directory(&self.root, &passed);
            if !dir.is_ok_and(|dir| confine::stat(&dir).is_ok_and(|stat| stat.stx_mode & 0o100 != 0)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a process of the job has the directory, or one below it, as its working
    /// directory or open.
    fn is_in_use(&self, dir: &Path) -> bool {
        let names = |path: &Path| {
            let dir = confine::directory(&self.proc, path);
            dir.and_then(|dir| names_in(dir.as_fd())).unwrap_or_default()
        };
        let leads_in = |link: &Path| {
            let target = rustix::fs::readlinkat(&self.proc, link, Vec::new());
            target.is_ok_and(|target| Path::new(std::ffi::OsStr::from_bytes(target.as_bytes())).starts_with(dir))
        };
        // A file keeps what it is wherever its name goes.
        let is_dir = |link: &Path| {
            let stat = rustix::fs::statat(&self.proc, link, AtFlags::empty());
            stat.is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
        };
        let is_open_dir = |link: &Path| leads_in(link) && is_dir(link);
        let own_root = rustix::fs::fstat(&self.root).map(|stat| (stat.st_dev, stat.st_ino));
        let is_of_job = |task: &Path| {
            let root = rustix::fs::statat(&self.proc, task.join("root"), AtFlags::empty());
            matches!((root, own_root), (Ok(root), Ok(own)) if (root.st_dev, root.st_ino) == own)
        };
        let tasks = names(Path::new(".")).into_iter().map(PathBuf::from);
        let numbered = |task: &PathBuf| task.as_os_str().as_bytes().iter().all(u8::is_ascii_digit);
        tasks.filter(numbered).filter(|task| is_of_job(task)).any(|task| {
            let open = names(&task.join("fd"));
            leads_in(&task.join("cwd")) || open.iter().any(|fd| is_open_dir(&task.join("fd").join(fd)))
        })
    }

    fn rename(&self, from: &DirEntry, to: &DirEntry, flags: RenameFlags) -> Result<(), Errno> {
        rustix::fs::renameat_with(&from.dir, &from.name, &to.dir, &to.name, flags)
    }

    /// Two names change places by three moves. Between them one of the names is missing;
    /// and if the second or third cannot be made, the job begins anew on the client.
    fn exchange(&self, walk: &Walk<'_>, from: &DirEntry, to: &DirEntry) -> Result<(), Moving> {
        let aside = self.aside(walk, from)?;
        let rest = self.move_entry(walk, to, from);
        match rest.and_then(|()| self.move_entry(walk, &aside, to)) {
            Err(Moving::Errno(errno)) => {
                let why = format!("exchanging {} ({errno})", from.path.display());
                Err(Moving::Stop(FaultError::from(Abandon::Unsupported(why)).into()))
            }
            done => done,
        }
    }

    /// Moves to a name beside it that nothing has.
    fn aside(&self, walk: &Walk<'_>, from: &DirEntry) -> Result<DirEntry, Moving> {
        for number in 0.. {
            let name = OsString::from(format!(".exchanged-{number}"));
            if confine::stat_name(&from.dir, Path::new(&name)).is_ok() {
                continue;
            }
            let aside = DirEntry {
                dir: dup(&from.dir)?,
                path: from.path.with_file_name(&name),
                name,
                slashed: false,
            };
            self.move_entry(walk, from, &aside)?;
            return Ok(aside);
        }
        Err(Errno::EXIST.into())
    }

    /// Moves a directory by moving all that is in it into a new one.
    fn move_tree(&self, walk: &Walk<'_>, from: &DirEntry, to: &DirEntry) -> Result<(), Moving> {
        walk.ensure(&from.path)?;
        let looks = from.looks()?;
        match rustix::fs::mkdirat(&to.dir, &to.name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let source = confine::directory(&from.dir, Path::new(&from.name))?;
        let target = confine::directory(&to.dir, Path::new(&to.name))?;
        // One that was there is replaced if it is empty.
        walk.ensure(&to.path)?;
        if !names_in(target.as_fd())?.is_empty() {
            return Err(Errno::NOTEMPTY.into());
        }
        for name in names_in(source.as_fd())? {
            let inner = DirEntry {
                dir: dup(&source)?,
                path: from.path.join(&name),
                name: name.clone(),
                slashed: false,
            };
            let outer = DirEntry {
                dir: dup(&target)?,
                path: to.path.join(&name),
                name,
                slashed: false,
            };
            self.move_entry(walk, &inner, &outer)?;
        }
        // The job has set them: of the client's files it sees none.
        let xattrs = |dir: &OwnedFd, path: &Path| {
            all_xattrs(dir).map_err(|errno| Stop::from(FaultError::from_store(errno, path)))
        };
        for xattr in xattrs(&target, &to.path)? {
            rustix::fs::fremovexattr(&target, &xattr.name)?;
        }
        for xattr in xattrs(&source, &from.path)? {
            rustix::fs::fsetxattr(&target, &xattr.name, &xattr.value, XattrFlags::empty())?;
        }
        let mtime = apply_attrs(&target, &looks)?;
        self.set_explicit(mtime);
        Ok(rustix::fs::unlinkat(&from.dir, &from.name, AtFlags::REMOVEDIR)?)
    }

    fn move_entry(&self, walk: &Walk<'_>, from: &DirEntry, to: &DirEntry) -> Result<(), Moving> {
        let looks = from.looks()?;
        if !is_dir(&looks) {
            // Renaming copies it up.
            walk.fill_and_know(FileStat::of(&looks))?;
        }
        self.note_move(walk, &from.path, &to.path)
            .map_err(|error| Moving::Stop(error.into()))?;
        match self.rename(from, to, RenameFlags::empty()) {
            Err(Errno::XDEV) if is_dir(&looks) => self.move_tree(walk, from, to),
            done => Ok(done?),
        }
    }
}

/// Why a move stopped.
enum Moving {
    Errno(Errno),
    Stop(Stop),
}

impl From<Errno> for Moving {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<Stop> for Moving {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

fn dup(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

/// Mode and times of the directory that a new one stands for. Returns the modification
/// time, which a rename leaves alone.
fn apply_attrs(dir: &OwnedFd, looks: &Statx) -> Result<FileTime, Errno> {
    rustix::fs::fchmod(dir, Mode::from_raw_mode(u32::from(looks.stx_mode) & 0o7777))?;
    let time = |time: rustix::fs::StatxTimestamp| Timespec {
        tv_sec: time.tv_sec,
        tv_nsec: time.tv_nsec.into(),
    };
    let times = Timestamps {
        last_access: time(looks.stx_atime),
        last_modification: time(looks.stx_mtime),
    };
    rustix::fs::futimens(dir, &times)?;
    Ok(FileTime {
        sec: looks.stx_mtime.tv_sec,
        nsec: looks.stx_mtime.tv_nsec,
    })
}
