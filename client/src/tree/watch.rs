//! The inotify queue: watches on directories, and events as they concern names. Knows
//! nothing of what is recorded about those names.

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;

/// One thing that happened in a watched directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// A name was made, removed, or its file changed.
    Name {
        /// Of the directory.
        watch: i32,
        /// In the directory.
        name: OsString,
        /// Its content may have been written.
        content: bool,
    },
    /// Attributes of the directory itself.
    Itself {
        /// Of the directory.
        watch: i32,
    },
    /// The directory was moved; its path may lead elsewhere.
    Moved {
        /// Of the directory.
        watch: i32,
    },
    /// The directory is gone, and the watch with it.
    Gone {
        /// Of the directory.
        watch: i32,
    },
    /// Events were lost: everything that is watched must be looked at.
    Overflow,
}

/// An inotify queue, or why there is none: then nothing can be watched.
pub(super) struct Watcher {
    queue: Result<OwnedFd, Errno>,
}

const BUFFER: usize = 16 << 10;

fn interest() -> WatchFlags {
    WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MODIFY
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::ATTRIB
        | WatchFlags::MOVE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR
        | WatchFlags::EXCL_UNLINK
}

impl Watcher {
    /// An empty queue.
    pub(super) fn new() -> Self {
        Self {
            queue: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC),
        }
    }

    /// Watches an open directory: the inode, wherever its path leads by then.
    pub(super) fn add(&self, dir: &impl AsFd) -> Result<i32, Errno> {
        let queue = self.queue.as_ref().map_err(|errno| *errno)?;
        let path = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
        inotify::add_watch(queue, path, interest())
    }

    /// Ends a watch. One that the kernel has ended already is no error.
    pub(super) fn remove(&self, watch: i32) {
        if let Ok(queue) = &self.queue
            && let Err(error) = inotify::remove_watch(queue, watch)
        {
            tracing::trace!("watch {watch} was gone: {error}");
        }
    }

    /// All events that were queued at the time of the call; empty when nothing happened.
    /// Whoever goes on writing meanwhile keeps nobody here.
    pub(super) fn read(&self) -> Result<Vec<Event>, Errno> {
        let Ok(queue) = &self.queue else {
            return Ok(Vec::new());
        };
        let queued = rustix::io::ioctl_fionread(queue)?;
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; BUFFER];
        let mut reader = Reader::new(queue, &mut buffer);
        let (mut events, mut seen) = (Vec::new(), 0);
        // What is in the buffer is no longer in the queue.
        while seen < queued || !reader.is_buffer_empty() {
            match reader.next() {
                Ok(event) => {
                    seen += size(&event);
                    events.extend(Event::of(&event));
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(events)
    }
}

/// Bytes of an event in the queue: a header of 16, and the name with its NUL, filled up to
/// a multiple of that (inotify(7)).
fn size(event: &inotify::Event<'_>) -> u64 {
    let name = event.file_name().map_or(0, |name| name.count_bytes() as u64 + 1);
    16 + name.next_multiple_of(16)
}

impl Event {
    fn of(event: &inotify::Event<'_>) -> Option<Self> {
        let (flags, watch) = (event.events(), event.wd());
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            return Some(Self::Overflow);
        }
        if flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT) {
            return Some(Self::Gone { watch });
        }
        if flags.contains(ReadFlags::MOVE_SELF) {
            return Some(Self::Moved { watch });
        }
        match event.file_name() {
            Some(name) => Some(Self::Name {
                watch,
                name: OsStr::from_bytes(name.to_bytes()).to_owned(),
                content: flags.intersects(ReadFlags::MODIFY | ReadFlags::CLOSE_WRITE),
            }),
            None => flags.contains(ReadFlags::ATTRIB).then_some(Self::Itself { watch }),
        }
    }
}

/// `f_type` of file systems where others than this kernel's path calls change files:
/// NFS, SMB, CIFS, SMB2, FUSE, 9P, Ceph, AFS, Coda, Lustre, GPFS, overlayfs (statfs(2)).
const SILENT: &[i64] = &[
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x6b41_4653,
    0x7375_7245,
    0x0bd0_0bd0,
    0x4750_4653,
    0x794c_7630,
];

/// Whether changes of a directory's file system may come without an event.
pub(super) fn is_silent(dir: &impl AsFd) -> bool {
    rustix::fs::fstatfs(dir).map_or(true, |fs| SILENT.contains(&fs.f_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Else a drain would stop too early, or wait for whoever goes on writing.
    #[test]
    fn the_size_of_an_event_is_what_it_takes_in_the_queue() {
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::new();
        watcher.add(&fs::File::open(dir.path()).unwrap()).unwrap();
        for len in [1, 14, 15, 16, 17, 31, 32, 255] {
            fs::write(dir.path().join("n".repeat(len)), "x").unwrap();
        }
        fs::set_permissions(dir.path(), fs::metadata(dir.path()).unwrap().permissions()).unwrap();
        let queue = watcher.queue.as_ref().unwrap();
        let queued = rustix::io::ioctl_fionread(queue).unwrap();
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; BUFFER];
        let mut reader = Reader::new(queue, &mut buffer);
        let sizes = std::iter::from_fn(|| reader.next().ok().map(|event| size(&event)));
        assert_eq!(sizes.sum::<u64>(), queued);
    }
}
