//! What a caller sees and may do apart from its user: where paths lead, and its groups.
//! Jobs act in the daemon's place, so these have to be the same. Knows no jobs.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};

/// Where the kernel tells something of a process, below its directory in proc(5).
enum Source {
    /// Where a link leads.
    Link(&'static str),
    /// What begins a line of its status (proc_pid_status(5)).
    Line(&'static str),
    /// What a file holds.
    File(&'static str),
}

/// What is compared, and what it means where it differs.
const COMPARED: [(Source, &str); 6] = [
    (
        Source::Link("ns/mnt"),
        "it runs in another mount namespace than the daemon",
    ),
    (
        Source::Link("root"),
        "it runs in another root directory than the daemon",
    ),
    (Source::Link("ns/uts"), "it runs with another host name than the daemon"),
    (Source::Line("Gid:"), "it runs with another group than the daemon"),
    (Source::Line("Groups:"), "it runs with other groups than the daemon"),
    (
        Source::File("personality"),
        "it runs in another execution domain than the daemon (setarch)",
    ),
];

/// A process in its place: in the order of [`COMPARED`]. `None`: it may not be looked at, as by a
/// daemon in a user namespace of its own, whose callers are outside of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Surroundings([Option<OsString>; COMPARED.len()]);

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
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let mut told = [const { None }; COMPARED.len()];
        for (told, (source, _)) in told.iter_mut().zip(&COMPARED) {
            *told = match source {
                Source::Link(name) => may_look(fs::read_link(path(name)))?.map(OsString::from),
                Source::Line(name) => line(name).map(OsString::from),
                Source::File(name) => may_look(fs::read_to_string(path(name)))?.map(OsString::from),
            };
        }
        Ok(Self(told))
    }

    /// What differs, in words.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let pairs = self.0.iter().zip(&other.0).zip(&COMPARED);
        let mut known = pairs.filter_map(|((mine, its), (_, words))| Some((mine.as_ref()?, its.as_ref()?, *words)));
        known.find(|(mine, its, _)| mine != its).map(|(_, _, words)| words)
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
