//! Descriptors above 2 that a job would inherit from its caller: what they lead to is on the
//! client. A file of no meaning has their numbers, and inotify(7) tells whether the job read or
//! wrote it, opened it once more or gave it attributes. Most jobs inherit such descriptors by an
//! oversight of whoever started the build, and use none. Knows nothing of slots.

use crate::watched::watched;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, inotify};
use std::io;
use std::path::Path;
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

/// Watches the placeholder of one job.
pub(crate) struct Inherited {
    numbers: Vec<u32>,
    notices: OwnedFd,
    /// Keeps the file: its end would be a notice.
    placeholder: OwnedFd,
}

impl Inherited {
    /// Makes the placeholder, in a directory of the job's own, for these numbers. `proc`: this
    /// process is in it.
    pub fn new(dir: &Path, proc: &Path, numbers: Vec<u32>) -> io::Result<(Self, OwnedFd)> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let placeholder = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR)?;
        rustix::io::write(&placeholder, &CONTENT)?;
        rustix::fs::seek(&placeholder, rustix::fs::SeekFrom::Start(0))?;
        let notices = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let name = proc.join(format!("self/fd/{}", placeholder.as_raw_fd()));
        let content = inotify::WatchFlags::ACCESS | inotify::WatchFlags::MODIFY;
        let used = content | inotify::WatchFlags::OPEN | inotify::WatchFlags::ATTRIB;
        inotify::add_watch(&notices, name, used)?;
        let inherited = Self {
            numbers,
            notices,
            placeholder: rustix::io::fcntl_dupfd_cloexec(&placeholder, 3)?,
        };
        Ok((inherited, placeholder))
    }

    /// What a guard goes by.
    pub fn placeholder(&self) -> io::Result<Placeholder> {
        let stat = rustix::fs::fstat(&self.placeholder)?;
        Ok(Placeholder {
            file: (stat.st_dev, stat.st_ino),
            needed: self.needed(),
        })
    }

    /// Fails once the job has used one of them.
    pub fn check(&self) -> Result<(), Abandon> {
        // Nobody takes a notice away.
        match rustix::io::ioctl_fionread(&self.notices) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.needed()),
            Err(errno) => Err(Abandon::Slot(errno.to_string())),
        }
    }

    /// Resolves when the job has used one of them.
    pub async fn used(&self) -> Abandon {
        let ready = async {
            watched(rustix::io::fcntl_dupfd_cloexec(&self.notices, 3)?)?
                .readable()
                .await
                .map(drop)
        };
        match ready.await {
            Ok(()) => self.needed(),
            Err(error) => Abandon::Slot(error.to_string()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited() -> (Inherited, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        Inherited::new(dir.path(), Path::new("/proc"), vec![3, 7]).unwrap()
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
