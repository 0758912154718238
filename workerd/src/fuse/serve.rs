//! Answers the kernel's requests from a job's `view::Lower`. Knows FUSE's messages and
//! handles; knows nothing of mirrors, nor of how the file system is mounted.

use super::attr::{NAME_LIFETIME, file_attr, lifetime, listed_kind, nothing};
use crate::guard::Events;
use crate::view::{FaultError, Lower, Named};
use fuser::{
    BackingId, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek,
    ReplyOpen, ReplyXattr, Request,
};
use parking_lot::Mutex;
use rustix::fd::{AsFd, OwnedFd};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use termite_types::Abandon;

/// `__FMODE_EXEC` of linux/fs.h: the open is part of an execve. FUSE passes it on.
const FOR_EXECUTION: i32 = 0x20;
/// The mirror never gives a number twice.
const ONLY_GENERATION: Generation = Generation(0);

/// A job's lower layer as a file system.
pub(super) struct Served {
    lower: Arc<Lower>,
    drivers: Vec<OsString>,
    events: Arc<dyn Events>,
    over: AtomicBool,
    requests: Arc<Requests>,
    /// Reading and mapping go to the mirror's own files (Linux 6.9, real root).
    passes_through: AtomicBool,
    handles: Mutex<Handles>,
}

/// How many requests there were, and are.
#[derive(Default)]
pub(super) struct Requests {
    pub begun: AtomicU64,
    pub in_hand: AtomicU64,
}

#[derive(Default)]
struct Handles {
    last: u64,
    files: HashMap<u64, Opened>,
    dirs: HashMap<u64, Arc<Vec<Named>>>,
    /// All openings of one file share one.
    backings: HashMap<u64, Weak<BackingId>>,
}

struct Opened {
    file: Arc<OwnedFd>,
    _backing: Option<Arc<BackingId>>,
}

impl Handles {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl Served {
    pub(super) fn new(
        lower: Arc<Lower>,
        drivers: Vec<OsString>,
        events: Arc<dyn Events>,
        requests: Arc<Requests>,
        passes_through: bool,
    ) -> Self {
        Self {
            lower,
            drivers,
            events,
            over: AtomicBool::new(false),
            requests,
            passes_through: AtomicBool::new(passes_through),
            handles: Mutex::default(),
        }
    }

    /// Does what a request asks for, unless the job is over. The errno to answer, if not.
    fn answer<T>(&self, work: impl FnOnce() -> Result<T, FaultError>) -> Result<T, Errno> {
        self.requests.begun.fetch_add(1, Ordering::Relaxed);
        if self.over.load(Ordering::Relaxed) {
            return Err(Errno::EPERM);
        }
        self.requests.in_hand.fetch_add(1, Ordering::Relaxed);
        let done = work();
        self.requests.in_hand.fetch_sub(1, Ordering::Relaxed);
        done.map_err(|error| match error {
            FaultError::Errno(errno) => Errno::from_i32(errno),
            FaultError::Abandon(why) => {
                self.give_up(why);
                Errno::EPERM
            }
        })
    }

    /// The job cannot go on here.
    fn give_up(&self, why: Abandon) {
        if !self.over.swap(true, Ordering::Relaxed) {
            self.events.abandon(why);
        }
    }

    /// The root directory has one number in FUSE and another in the mirror.
    fn inner(&self, number: INodeNo) -> u64 {
        if number == INodeNo::ROOT {
            self.lower.root()
        } else {
            number.0
        }
    }

    fn refuse_drivers(&self, ino: u64, flags: OpenFlags) -> Result<(), FaultError> {
        if flags.0 & FOR_EXECUTION == 0 {
            return Ok(());
        }
        let path = self.lower.path(ino)?;
        if path
            .file_name()
            .is_some_and(|name| self.drivers.iter().any(|driver| driver == name))
        {
            return Err(FaultError::Abandon(Abandon::Driver(path.to_path_buf())));
        }
        Ok(())
    }

    /// What reading is handed over to, where it can be.
    fn backing(&self, handles: &mut Handles, ino: u64, file: &OwnedFd, reply: &ReplyOpen) -> Option<Arc<BackingId>> {
        if let Some(backing) = handles.backings.get(&ino).and_then(Weak::upgrade) {
            return Some(backing);
        }
        if !self.passes_through.load(Ordering::Relaxed) {
            return None;
        }
        match reply.open_backing(file.as_fd()) {
            Ok(backing) => {
                let backing = Arc::new(backing);
                handles.backings.insert(ino, Arc::downgrade(&backing));
                Some(backing)
            }
            Err(error) => {
                tracing::debug!("FUSE reads through workerd: {error}");
                self.passes_through.store(false, Ordering::Relaxed);
                None
            }
        }
    }
}

impl Filesystem for Served {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Symlinks are not cached: what became of one is to be seen by who goes by it again. What a
        // kernel does not know it does without.
        let _ = config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS);
        // The overlay is stacked on this, and this on the mirror.
        let stacks = config.set_max_stack_depth(1).is_ok();
        let can =
            stacks && *self.passes_through.get_mut() && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok();
        *self.passes_through.get_mut() = can;
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.answer(|| self.lower.lookup(self.inner(parent), name)) {
            Ok(Some(found)) => {
                let attr = file_attr(&found, INodeNo(found.stat.stx_ino));
                reply.entry_with_ttls(&lifetime(&found), &NAME_LIFETIME, &attr, ONLY_GENERATION);
            }
            Ok(None) => reply.entry(&NAME_LIFETIME, &nothing(), ONLY_GENERATION),
            Err(errno) => reply.error(errno),
        }
    }

    fn forget(&self, _: &Request, number: INodeNo, times: u64) {
        self.lower.forget(self.inner(number), times);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.answer(|| self.lower.stat(self.inner(number))) {
            Ok(found) => reply.attr(&lifetime(&found), &file_attr(&found, number)),
            Err(errno) => reply.error(errno),
        }
    }

    /// Answered with none, so that the kernel goes on asking: that is how a copy is told from
    /// a look.
    fn listxattr(&self, _: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        match self.answer(|| self.lower.list_attributes(self.inner(number))) {
            Ok(()) if size == 0 => reply.size(0),
            Ok(()) => reply.data(&[]),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        match self.answer(|| self.lower.target(self.inner(number))) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, _: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let ino = self.inner(number);
        let opened = self.answer(|| {
            self.refuse_drivers(ino, flags)?;
            self.lower.open(ino)
        });
        let file = match opened {
            Ok(file) => file,
            Err(errno) => return reply.error(errno),
        };
        let mut handles = self.handles.lock();
        let backing = self.backing(&mut handles, ino, &file, &reply);
        let number = handles.number();
        let opened = Opened {
            file: Arc::new(file),
            _backing: backing.clone(),
        };
        handles.files.insert(number, opened);
        drop(handles);
        match backing {
            Some(backing) => reply.opened_passthrough(FileHandle(number), FopenFlags::empty(), &backing),
            // A filled file never gets other content.
            None => reply.opened(FileHandle(number), FopenFlags::FOPEN_KEEP_CACHE),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let file = self
            .handles
            .lock()
            .files
            .get(&handle.0)
            .map(|opened| opened.file.clone());
        let read = self.answer(|| {
            let file = file.ok_or(FaultError::Errno(libc::EBADF))?;
            read_piece(&file, offset, size).map_err(|errno| FaultError::Errno(errno.raw_os_error()))
        });
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn release(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let mut handles = self.handles.lock();
        let closed = handles.files.remove(&handle.0);
        let ino = self.inner(number);
        // Under the lock, lest another opening takes it up again while it goes.
        drop(closed);
        if handles
            .backings
            .get(&ino)
            .is_some_and(|backing| backing.strong_count() == 0)
        {
            handles.backings.remove(&ino);
        }
        drop(handles);
        reply.ok();
    }

    /// Nothing is written here. The kernel does not ask again.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    /// The mirror's files have no attributes beyond those of `stat`, as tmpfs has it.
    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    /// Holes are not told: the kernel takes a file for data to its end, and asks no more.
    fn lseek(&self, _: &Request, _: INodeNo, _: FileHandle, _: i64, _: i32, reply: ReplyLseek) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.answer(|| self.lower.list(self.inner(number))) {
            Ok(names) => {
                let mut handles = self.handles.lock();
                let number = handles.number();
                handles.dirs.insert(number, Arc::new(names));
                reply.opened(FileHandle(number), FopenFlags::FOPEN_CACHE_DIR);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(&self, _: &Request, number: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let names = self.handles.lock().dirs.get(&handle.0).cloned();
        let Ok(names) = self.answer(|| names.ok_or(FaultError::Errno(libc::EBADF))) else {
            return reply.error(Errno::EBADF);
        };
        let own = [".", ".."].map(|name| (number, fuser::FileType::Directory, OsStr::new(name)));
        let below = names
            .iter()
            .map(|named| (INodeNo(named.ino), listed_kind(named.kind), named.name.as_os_str()));
        for ((ino, kind, name), next) in own.into_iter().chain(below).zip(1..).skip(offset as usize) {
            if reply.add(ino, next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.handles.lock().dirs.remove(&handle.0);
        reply.ok();
    }

    /// Views have no extended attributes of the client's, and those outside of the kernel's
    /// name spaces (xattr(7)) nobody has.
    fn getxattr(&self, _: &Request, _: INodeNo, name: &OsStr, _: u32, reply: ReplyXattr) {
        self.requests.begun.fetch_add(1, Ordering::Relaxed);
        let spaces: [&[u8]; 4] = [b"security.", b"system.", b"trusted.", b"user."];
        let is_known = spaces.iter().any(|space| name.as_bytes().starts_with(space));
        reply.error(if is_known { Errno::ENODATA } else { Errno::EOPNOTSUPP });
    }
}

/// As many bytes as there are, up to `size`: FUSE takes less for the end of the file.
fn read_piece(file: &OwnedFd, offset: u64, size: u32) -> Result<Vec<u8>, rustix::io::Errno> {
    let mut bytes = vec![0; size as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::io::pread(file, &mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
