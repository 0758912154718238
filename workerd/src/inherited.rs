//! Descriptors above 2 that a job would inherit from its caller: what they lead to is on the
//! client. A file of no meaning has their numbers, and inotify(7) tells whether the job read or
//! wrote it, opened it once more or gave it attributes. Most jobs inherit such descriptors by an
//! oversight of whoever started the build, and use none. Knows nothing of slots.

use crate::watched::watched;
use parking_lot::Mutex;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, inotify};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use termite_types::Abandon;

/// Whoever reads the file gets something: a read of nothing is not told.
const CONTENT: [u8; 4096] = [b'\n'; 4096];

/// The file itself.
#[derive(Clone)]
pub struct Placeholder {
    /// Device and inode number.
    pub file: (u64, u64),
    /// Of a job that uses it.
    pub needed: Abandon,
}

/// Bytes of notices that are read at once. One has no name, as it is of a file.
const NOTICES: usize = 1024;

/// Instances of inotify that no job uses at the moment. None is ever closed: the kernel would wait
/// for everybody else who looks for watches (12 ms, measured on Linux 6.18), and the job with it.
#[derive(Default)]
pub(crate) struct Instances(Mutex<Vec<OwnedFd>>);

/// Watches the placeholder of one job.
pub(crate) struct Inherited {
    numbers: Vec<u32>,
    /// `None` once it was given back.
    notices: Option<OwnedFd>,
    instances: Arc<Instances>,
    watch: i32,
    is_used: AtomicBool,
    /// Keeps the file: its end would be a notice.
    placeholder: OwnedFd,
}

impl Instances {
    fn take(&self) -> io::Result<OwnedFd> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let free = self.0.lock().pop();
        free.map_or_else(|| Ok(inotify::init(flags)?), Ok)
    }
}

impl Inherited {
    /// Makes the placeholder, in a directory of the job's own, for these numbers. `proc`: this
    /// process is in it.
    pub(crate) fn new(
        dir: &Path,
        proc: &Path,
        numbers: Vec<u32>,
        instances: Arc<Instances>,
    ) -> io::Result<(Self, OwnedFd)> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let placeholder = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR)?;
        rustix::io::write(&placeholder, &CONTENT)?;
        rustix::fs::seek(&placeholder, rustix::fs::SeekFrom::Start(0))?;
        let name = proc.join(format!("self/fd/{}", placeholder.as_raw_fd()));
        let content = inotify::WatchFlags::ACCESS | inotify::WatchFlags::MODIFY;
        let used = content | inotify::WatchFlags::OPEN | inotify::WatchFlags::ATTRIB;
        let notices = instances.take()?;
        let inherited = Self {
            numbers,
            watch: inotify::add_watch(&notices, name, used)?,
            notices: Some(notices),
            instances,
            is_used: AtomicBool::new(false),
            placeholder: rustix::io::fcntl_dupfd_cloexec(&placeholder, 3)?,
        };
        Ok((inherited, placeholder))
    }

    /// What a guard goes by.
    pub(crate) fn placeholder(&self) -> io::Result<Placeholder> {
        let stat = rustix::fs::fstat(&self.placeholder)?;
        Ok(Placeholder {
            file: (stat.st_dev, stat.st_ino),
            needed: self.needed(),
        })
    }

    /// Fails once the job has used one of them.
    pub(crate) fn check(&self) -> Result<(), Abandon> {
        match self.is_used() {
            Ok(false) => Ok(()),
            Ok(true) => Err(self.needed()),
            Err(errno) => Err(Abandon::Slot(errno.to_string())),
        }
    }

    /// Resolves when the job has used one of them.
    pub(crate) async fn used(&self) -> Abandon {
        match self.wait().await {
            Ok(()) => self.needed(),
            Err(error) => Abandon::Slot(error.to_string()),
        }
    }

    async fn wait(&self) -> io::Result<()> {
        let notices = watched(rustix::io::fcntl_dupfd_cloexec(self.notices()?, 3)?)?;
        while !self.is_used()? {
            notices.readable().await?.clear_ready();
        }
        Ok(())
    }

    /// Reads what there is. What an earlier job's watch left is of another number.
    fn is_used(&self) -> Result<bool, Errno> {
        let mut room = [MaybeUninit::uninit(); NOTICES];
        let mut reader = inotify::Reader::new(self.notices()?, &mut room);
        loop {
            match reader.next() {
                Ok(notice) if notice.wd() == self.watch => self.is_used.store(true, Ordering::Relaxed),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(self.is_used.load(Ordering::Relaxed)),
                Err(errno) => return Err(errno),
            }
        }
    }

    fn notices(&self) -> Result<&OwnedFd, Errno> {
        self.notices.as_ref().ok_or(Errno::BADF)
    }

    fn needed(&self) -> Abandon {
        const NAMED: usize = 3;
        let named: Vec<_> = self.numbers.iter().take(NAMED).map(u32::to_string).collect();
        let more = match self.numbers.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Abandon::Machine(match &self.numbers[..] {
            [number] => format!("descriptor {number}, which it inherited"),
            _ => format!("one of the descriptors that it inherited: {}{more}", named.join(", ")),
        })
    }
}

impl Drop for Inherited {
    fn drop(&mut self) {
        if let Some(notices) = self.notices.take()
            // An instance that cannot let go of a watch is of no use.
            && inotify::remove_watch(&notices, self.watch).is_ok()
        {
            self.instances.0.lock().push(notices);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited() -> (Inherited, OwnedFd) {
        inherited_with(Arc::default())
    }

    fn inherited_with(instances: Arc<Instances>) -> (Inherited, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        Inherited::new(dir.path(), Path::new("/proc"), vec![3, 7], instances).unwrap()
    }

    #[tokio::test]
    async fn an_instance_serves_one_job_after_another() {
        let instances = Arc::new(Instances::default());
        for _ in 0..3 {
            let (first, placeholder) = inherited_with(instances.clone());
            rustix::io::read(&placeholder, &mut [0; 1]).unwrap();
            let why = first.used().await;
            assert_eq!(first.check(), Err(why));
            drop((first, placeholder));
            let (second, _placeholder) = inherited_with(instances.clone());
            assert_eq!(second.check(), Ok(()), "what the first one did is not its doing");
            drop(second);
            assert_eq!(instances.0.lock().len(), 1);
        }
    }

    #[test]
    fn what_is_only_open_is_not_used() {
        let (inherited, placeholder) = inherited();
        let copy = rustix::io::dup(&placeholder).unwrap();
        rustix::fs::fstat(&copy).unwrap();
        drop((copy, placeholder));
        assert_eq!(inherited.check(), Ok(()));
    }

    #[test]
    fn reads_and_writes_are_told_once_they_were_made() {
        let uses: [fn(&OwnedFd) -> usize; 3] = [
            |fd| rustix::io::read(fd, &mut [0; 1]).unwrap(),
            |fd| rustix::io::write(rustix::io::dup(fd).unwrap(), b"x").unwrap(),
            |fd| rustix::io::pread(fd, &mut [0; 8], 100).unwrap(),
        ];
        for used in uses {
            let (inherited, placeholder) = inherited();
            used(&placeholder);
            let why = inherited.check().unwrap_err();
            assert_eq!(
                why.to_string(),
                "it needs one of the descriptors that it inherited: 3, 7"
            );
        }
    }
}
