//! What a caller sees and may do apart from its user: where paths lead, and its group. Jobs
//! act in the daemon's place, so these have to be the same. Knows no jobs.

use std::io;
use std::path::PathBuf;

/// A process in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Surroundings {
    /// Its mount namespace, and its root directory as this process names it.
    mounts: (PathBuf, PathBuf),
    gid: u32,
}

impl Surroundings {
    /// Of this process.
    pub fn own() -> io::Result<Self> {
        Self::of("self", rustix::process::getegid().as_raw())
    }

    /// Of a process with this effective group. An error: it lives where this one cannot look.
    pub fn of_process(pid: u32, gid: u32) -> io::Result<Self> {
        Self::of(&pid.to_string(), gid)
    }

    fn of(process: &str, gid: u32) -> io::Result<Self> {
        let link = |name: &str| std::fs::read_link(format!("/proc/{process}/{name}"));
        Ok(Self {
            mounts: (link("ns/mnt")?, link("root")?),
            gid,
        })
    }

    /// What differs, in words.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        match () {
            () if self.mounts != other.mounts => Some("it runs in another mount namespace than the daemon"),
            () if self.gid != other.gid => Some("it runs with another group than the daemon"),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Surroundings;

    #[test]
    fn a_process_is_where_it_is() {
        let own = Surroundings::own().unwrap();
        let gid = rustix::process::getegid().as_raw();
        let same = Surroundings::of_process(std::process::id(), gid).unwrap();
        assert_eq!((own.difference(&same), own == same), (None, true));
        let other = Surroundings::of_process(std::process::id(), gid + 1).unwrap();
        assert!(own.difference(&other).is_some_and(|why| why.contains("group")));
        assert!(Surroundings::of_process(0, gid).is_err());
    }
}
