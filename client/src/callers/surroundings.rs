//! What a caller sees and may do apart from its user: where paths lead, and its groups.
//! Jobs act in the daemon's place, so these have to be the same. Knows no jobs.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// Lines of a process's status, and what differs where one of them does (proc_pid_status(5)).
const RIGHTS: [(&str, &str); 2] = [
    ("Gid:", "it runs with another group than the daemon"),
    ("Groups:", "it runs with other groups than the daemon"),
];

/// What else of a process is compared, and what differs: where a link leads.
const PLACES: [(&str, &str); 3] = [
    ("ns/mnt", "it runs in another mount namespace than the daemon"),
    ("root", "it runs in another root directory than the daemon"),
    ("ns/uts", "it runs with another host name than the daemon"),
];

/// A process in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Surroundings {
    /// In the order of [`RIGHTS`].
    rights: [String; RIGHTS.len()],
    /// In the order of [`PLACES`]. `None`: it may not be looked at, as by a daemon in a user
    /// namespace of its own, whose callers are outside of it.
    places: [Option<PathBuf>; PLACES.len()],
    /// The execution domain (personality(2)), if it may be looked at.
    personality: Option<String>,
}

impl Surroundings {
    /// Of this process.
    pub fn own() -> io::Result<Self> {
        Self::of("self")
    }

    /// Of another process. An error: it lives where this one cannot look.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        Self::of(&pid.to_string())
    }

    fn of(process: &str) -> io::Result<Self> {
        let path = |name: &str| format!("/proc/{process}/{name}");
        let status = fs::read_to_string(path("status"))?;
        let right = |name: &str| {
            let mut lines = status.lines();
            lines
                .find_map(|line| line.strip_prefix(name))
                .map(|line| line.trim().to_owned())
        };
        let mut places = [const { None }; PLACES.len()];
        for (place, (name, _)) in places.iter_mut().zip(PLACES) {
            *place = may_look(fs::read_link(path(name)))?;
        }
        Ok(Self {
            // What a kernel does not tell it tells of nobody.
            rights: RIGHTS.map(|(name, _)| right(name).unwrap_or_default()),
            places,
            personality: may_look(fs::read_to_string(path("personality")))?,
        })
    }

    /// What differs, in words.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let differ = |mine: &Option<PathBuf>, its: &Option<PathBuf>| mine.is_some() && its.is_some() && mine != its;
        let rights = self.rights.iter().zip(&other.rights).zip(RIGHTS);
        let places = self.places.iter().zip(&other.places).zip(PLACES);
        let right = rights
            .filter(|((mine, its), _)| mine != its)
            .map(|(_, (_, words))| words);
        let place = places
            .filter(|((mine, its), _)| differ(mine, its))
            .map(|(_, (_, words))| words);
        let is_other = |mine: &String| other.personality.as_ref().is_some_and(|its| its != mine);
        let personality = self.personality.as_ref().is_some_and(is_other);
        place
            .chain(right)
            .next()
            .or_else(|| personality.then_some("it runs in another execution domain than the daemon (setarch)"))
    }
}

/// `None`: it may not be looked at.
fn may_look<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::Surroundings;
    use std::io::Read;
    use std::process::{Command, Stdio};

    /// What differs of a process that is started by these words.
    fn difference(starter: &[&str]) -> Option<&'static str> {
        let mut command = Command::new(starter[0]);
        command.args(&starter[1..]).args(["sh", "-c", "echo; exec cat"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It is there now.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let its = Surroundings::of_process(child.id()).unwrap();
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        Surroundings::own().unwrap().difference(&its)
    }

    #[test]
    fn a_process_is_where_it_is() {
        let own = Surroundings::own().unwrap();
        let same = Surroundings::of_process(std::process::id()).unwrap();
        assert_eq!((own.difference(&same), own == same), (None, true));
        assert_eq!(difference(&["env"]), None);
        assert!(Surroundings::of_process(0).is_err());
    }

    #[test]
    fn who_is_in_another_domain_is_told_apart() {
        let in_domain = difference(&["setarch", "--addr-no-randomize"]);
        assert!(in_domain.is_some_and(|why| why.contains("domain")), "{in_domain:?}");
    }
}
