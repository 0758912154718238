//! What a caller sees and may do apart from its user: where paths lead, and its groups.
//! Jobs act in the daemon's place, so these have to be the same. Knows no jobs.

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;

/// Where the kernel tells something of a process, below its directory in proc(5).
enum Source {
    /// Where a link leads.
    Link(&'static str),
    /// What a short file holds.
    File(&'static str),
}

/// What is compared, and what it means where it differs.
const COMPARED: [(Source, &str); 4] = [
    (
        Source::Link("ns/mnt"),
        "it runs in another mount namespace than the daemon",
    ),
    (
        Source::Link("root"),
        "it runs in another root directory than the daemon",
    ),
    (Source::Link("ns/uts"), "it runs with another host name than the daemon"),
    (
        Source::File("personality"),
        "it runs in another execution domain than the daemon (setarch)",
    ),
];

/// Bytes of such a file at most.
const SHORT: usize = 32;

/// A process in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Surroundings {
    /// In the order of [`COMPARED`]. `None`: it may not be looked at, as by a daemon in a user
    /// namespace of its own, whose callers are outside of it.
    told: [Option<Vec<u8>>; COMPARED.len()],
    groups: Groups,
}

/// The groups by which a process may use files: the effective one, and the others in the order of
/// their numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Groups(u32, Vec<u32>);

impl Groups {
    /// Of a process with these.
    pub fn new(effective: u32, mut others: Vec<u32>) -> Self {
        others.sort_unstable();
        Self(effective, others)
    }

    /// Of this process.
    pub fn own() -> io::Result<Self> {
        let others = rustix::process::getgroups()?;
        let others = others.into_iter().map(|group| group.as_raw()).collect();
        Ok(Self::new(rustix::process::getegid().as_raw(), others))
    }
}

impl Surroundings {
    /// Of this process.
    pub fn own() -> io::Result<Self> {
        Self::of("self", Groups::own()?)
    }

    /// Of another process. An error: it lives where this one cannot look.
    pub fn of_process(pid: u32, groups: Groups) -> io::Result<Self> {
        Self::of(&pid.to_string(), groups)
    }

    fn of(process: &str, groups: Groups) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, format!("/proc/{process}"), flags, Mode::empty())?;
        let mut told = [const { None }; COMPARED.len()];
        for (told, (source, _)) in told.iter_mut().zip(&COMPARED) {
            let found = match source {
                Source::Link(name) => readlinkat(&dir, *name, Vec::new()).map(|target| target.into_bytes()),
                Source::File(name) => read_short(&dir, name),
            };
            *told = may_look(found)?;
        }
        Ok(Self { told, groups })
    }

    /// What differs, in words.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let pairs = self.told.iter().zip(&other.told).zip(&COMPARED);
        let mut known = pairs.filter_map(|((mine, its), (_, words))| Some((mine.as_ref()?, its.as_ref()?, *words)));
        let differs = known.find(|(mine, its, _)| mine != its).map(|(_, _, words)| words);
        differs.or_else(|| {
            let Groups(effective, others) = &self.groups;
            match &other.groups {
                Groups(its, _) if its != effective => Some("it runs with another group than the daemon"),
                Groups(_, its) if its != others => Some("it runs with other groups than the daemon"),
                _ => None,
            }
        })
    }
}

/// What a file of at most [`SHORT`] bytes holds.
fn read_short(dir: &OwnedFd, name: &str) -> Result<Vec<u8>, Errno> {
    let file = openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = vec![0; SHORT];
    let len = rustix::io::read(&file, &mut bytes[..])?;
    bytes.truncate(len);
    Ok(bytes)
}

/// `None`: it may not be looked at.
fn may_look<T>(found: Result<T, Errno>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ACCESS | Errno::PERM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Groups, Surroundings};
    use std::io::Read;
    use std::process::{Command, Stdio};

    /// What differs of a process that is started by these words.
    fn difference(starter: &[&str]) -> Option<&'static str> {
        let mut command = Command::new(starter[0]);
        command.args(&starter[1..]).args(["sh", "-c", "echo; exec cat"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It is there now.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let its = Surroundings::of_process(child.id(), Groups::own().unwrap()).unwrap();
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        Surroundings::own().unwrap().difference(&its)
    }

    #[test]
    fn a_process_is_where_it_is() {
        let own = Surroundings::own().unwrap();
        let same = Surroundings::of_process(std::process::id(), Groups::own().unwrap()).unwrap();
        assert_eq!((own.difference(&same), own == same), (None, true));
        assert_eq!(difference(&["env"]), None);
        assert!(Surroundings::of_process(0, Groups::own().unwrap()).is_err());
    }

    #[test]
    fn who_is_in_another_domain_is_told_apart() {
        let in_domain = difference(&["setarch", "--addr-no-randomize"]);
        assert!(in_domain.is_some_and(|why| why.contains("domain")), "{in_domain:?}");
    }

    #[test]
    fn other_groups_are_told_apart() {
        let with = |groups| Surroundings {
            groups,
            ..Surroundings::own().unwrap()
        };
        let own = with(Groups::new(1, vec![3, 2]));
        assert_eq!(own.difference(&with(Groups::new(1, vec![2, 3]))), None);
        let other = own.difference(&with(Groups::new(2, vec![2, 3])));
        assert!(other.is_some_and(|why| why.contains("another group")), "{other:?}");
        let others = own.difference(&with(Groups::new(1, vec![2])));
        assert!(others.is_some_and(|why| why.contains("other groups")), "{others:?}");
    }
}
