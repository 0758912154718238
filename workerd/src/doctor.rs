//! What this host allows a worker, thing by thing, and what to do about what it lacks.
//! Tries the very steps that a worker takes. Knows how to say it; the rooms behind it
//! know how to try.

use crate::backend::{self, BackendChoice, ChosenBackend, NoFuse};
use crate::slot;
use crate::start::{self, Entered, StoreOptions};
use crate::store::Store;
use serde::Serialize;
use std::fmt::{Display, Write};

/// Linux that has all that a worker cannot do without, and all that makes it fast.
const LEAST_KERNEL: (u32, u32) = (5, 19);
const FULL_KERNEL: (u32, u32) = (6, 6);
/// Bytes of the store with which a compiler and its headers fit several times.
const LEAST_STORE: u64 = 1 << 30;
/// Directories that a client of a large build watches; daemons of one user.
const LEAST_WATCHES: u64 = 65_536;
const LEAST_INSTANCES: u64 = 16;
/// Names that the jobs of some slots look up.
const LEAST_FILES: u64 = 65_536;

/// All that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// A worker can run here.
    pub ok: bool,
    /// What `--fault auto` chooses, and why; or why nothing.
    pub fault: Option<&'static str>,
    /// In words.
    pub why: String,
    /// Thing by thing.
    pub checks: Vec<Check>,
}

/// One thing that a host has or lacks.
#[derive(Debug, Serialize)]
pub struct Check {
    /// A short name, the same on every host.
    pub name: &'static str,
    /// Whether it is there.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it, if it is lacking.
    pub advice: Option<&'static str>,
}

/// Whether something is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is.
    Ok,
    /// It is not.
    Lacking,
}

impl Check {
    fn of<T: Display, E: Display>(name: &'static str, outcome: Result<T, E>, advice: &'static str) -> Self {
        let (state, found, advice) = match outcome {
            Ok(found) => (State::Ok, found.to_string(), None),
            Err(why) => (State::Lacking, why.to_string(), Some(advice)),
        };
        Self {
            name,
            state,
            found,
            advice,
        }
    }
}

/// Looks at everything. Must be called before there is a second thread; afterwards this
/// process is in namespaces of its own and has nothing to do but tell and end.
pub fn examine(store: StoreOptions) -> Report {
    let mut checks = host_checks();
    let entered = match start::enter(store) {
        Ok(entered) => entered,
        Err(error) => {
            let why = error.to_string();
            checks.push(Check::of("namespaces", Err::<&str, _>(error), "as it says"));
            return Report {
                ok: false,
                fault: None,
                why,
                checks,
            };
        }
    };
    checks.extend(worker_checks(&entered));
    let (fault, why) = match backend::choose(BackendChoice::Auto, &entered) {
        Ok(ChosenBackend { backend, why }) => (Some(backend.name()), why),
        Err(error) => (None, error.to_string()),
    };
    Report {
        ok: fault.is_some(),
        fault,
        why,
        checks,
    }
}

/// What can be told from outside.
fn host_checks() -> Vec<Check> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let version = version(&release);
    let at_least = |least: (u32, u32)| {
        if version >= Some(least) {
            Ok(release.clone())
        } else {
            Err(release.clone())
        }
    };
    vec![
        Check::of(
            "kernel",
            at_least(LEAST_KERNEL),
            "the guard needs Linux 5.19 (waiting calls that only a kill interrupts); with an older one jobs are \
             served by FUSE",
        ),
        Check::of(
            "kernel-full-speed",
            at_least(FULL_KERNEL),
            "Linux 6.6 makes stopped calls several times as fast, and lets an ordinary user's overlayfs mark \
             directories as opaque",
        ),
        Check::of(
            "inotify-watches",
            limit("max_user_watches", LEAST_WATCHES),
            "a client watches each directory that it served: sysctl fs.inotify.max_user_watches=524288",
        ),
        Check::of(
            "inotify-instances",
            limit("max_user_instances", LEAST_INSTANCES),
            "each client daemon needs one: sysctl fs.inotify.max_user_instances=128",
        ),
    ]
}

/// What a worker that stands in its namespaces can try.
fn worker_checks(entered: &Entered) -> Vec<Check> {
    let Entered { store, spawner, .. } = entered;
    let (whose, overlay) = if store.root_user {
        ("as root", "as root, with trusted attributes; the self-test passed")
    } else {
        (
            "as an ordinary user, in a user namespace",
            "as an ordinary user, with userxattr; the self-test passed",
        )
    };
    let seccomp = slot::try_guard(spawner).map_err(|error| error.to_string());
    let part = |pick: fn(&slot::GuardAllows) -> Result<(), rustix::io::Errno>| match &seccomp {
        Ok(allows) => pick(allows).map(|()| "allowed").map_err(|errno| errno.to_string()),
        Err(error) => Err(error.clone()),
    };
    let trial = slot::trial(spawner, &store.root.join(".trial"), None, |_| ());
    vec![
        Check::of("namespaces", Ok::<_, &str>(whose), ""),
        Check::of(
            "store",
            store_size(store),
            "compilers and headers have to fit: give more memory, or another size with --store",
        ),
        Check::of(
            "overlayfs",
            slot::self_test(spawner, &store.root).map(|()| overlay),
            "load the module overlay, or use Linux 5.11 or newer, which lets ordinary users mount it; without what is \
             missing jobs are served by FUSE",
        ),
        Check::of(
            "seccomp",
            part(|allows| allows.filters),
            "no slot can do without filters: allow the system call seccomp (a container may refuse it)",
        ),
        Check::of(
            "seccomp-notification",
            part(|allows| allows.listener),
            "EBUSY: a process around this one has a listener already (a container, another termite), so start \
             workerd outside; EINVAL: use Linux 5.19 or newer (WAIT_KILLABLE_RECV); without it jobs are served by FUSE",
        ),
        Check::of(
            "seccomp-wake-up",
            part(|allows| allows.wake_up),
            "use Linux 6.6 or newer: without the synchronous wake-up a stopped call takes 60 us in the place of 10",
        ),
        Check::of(
            "slot",
            trial.map(|()| "made, with all its namespaces and its guard"),
            "as it says; where only the guard is refused, jobs are served by FUSE",
        ),
        Check::of(
            "process-numbers",
            pid_check(entered),
            "jobs run all the same, but parallel ones may have the same process number: they need a kernel with \
             CONFIG_CHECKPOINT_RESTORE, and in a container a /proc/sys that is not read-only",
        ),
        Check::of(
            "fuse",
            fuse_check(entered),
            "only needed where the guard is refused: load the module fuse, and let the worker's user open /dev/fuse",
        ),
        Check::of(
            "open-files",
            open_files(store),
            "only for FUSE, where a job takes a descriptor for each name it looks up: raise the hard limit (ulimit \
             -Hn, LimitNOFILE)",
        ),
    ]
}

fn fuse_check(entered: &Entered) -> Result<&'static str, NoFuse> {
    backend::try_fuse(entered).map(|_| "a slot stood on it")
}

/// What is found and is not enough, as a report shows it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Lack(String);

fn pid_check(entered: &Entered) -> Result<String, Lack> {
    match slot::pid_limit(&entered.spawner) {
        Ok(Ok(limit)) => Ok(format!("each job has its own, below {limit}")),
        Ok(Err(errno)) => Err(Lack(format!("/proc/sys/kernel/ns_last_pid: {errno}"))),
        Err(error) => Err(Lack(error.to_string())),
    }
}

fn store_size(store: &Store) -> Result<String, Lack> {
    let told = format!("{} MiB, {} files", store.bytes >> 20, store.inodes);
    if store.bytes >= LEAST_STORE {
        Ok(told)
    } else {
        Err(Lack(told))
    }
}

fn open_files(store: &Store) -> Result<String, Lack> {
    match backend::raise_file_limit(store) {
        None => Ok("no limit".into()),
        Some(most) if most >= LEAST_FILES => Ok(most.to_string()),
        Some(most) => Err(Lack(most.to_string())),
    }
}

fn limit(name: &str, least: u64) -> Result<String, Lack> {
    let path = format!("/proc/sys/fs/inotify/{name}");
    let text = std::fs::read_to_string(&path).map_err(|error| Lack(format!("{path}: {error}")))?;
    match text.trim().parse::<u64>() {
        Ok(number) if number >= least => Ok(number.to_string()),
        _ => Err(Lack(text.trim().to_string())),
    }
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

impl Report {
    /// For programs.
    pub fn json(&self) -> String {
        // Of strings and numbers alone there is nothing that JSON cannot say.
        serde_json::to_string(self).map_or_else(|error| format!("{error}\n"), |json| json + "\n")
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let state = match check.state {
                State::Ok => "ok",
                State::Lacking => "lacking",
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{state:<8} {:<21} {}", check.name, check.found);
            if let Some(advice) = check.advice {
                let _ = writeln!(text, "{:<30} {advice}", "");
            }
        }
        let _ = match self.fault {
            Some(fault) => writeln!(
                text,
                "A worker can run here. Files are served by {fault}: {}.",
                self.why
            ),
            None => writeln!(text, "No worker can run here: {}.", self.why),
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_releases() {
        assert_eq!(version("6.18.44-fc-v782"), Some((6, 18)));
        assert_eq!(version("5.4"), Some((5, 4)));
        assert_eq!(version("5.10-rc1"), Some((5, 10)));
        assert!(version("5.4") < Some(LEAST_KERNEL) && version("6.1.0") > Some(LEAST_KERNEL));
        assert_eq!(version("strange"), None);
    }

    #[test]
    fn tells_what_is_lacking_and_what_to_do() {
        let report = Report {
            ok: false,
            fault: None,
            why: "no way".into(),
            checks: vec![
                Check::of("kernel", Ok::<_, &str>("6.6"), "unused"),
                Check::of("fuse", Err::<&str, _>("no /dev/fuse"), "load it"),
            ],
        };
        let text = report.text();
        assert!(
            text.starts_with("ok       kernel                6.6\nlacking  fuse"),
            "{text}"
        );
        assert!(text.contains("no /dev/fuse\n") && text.contains(" load it\n"), "{text}");
        assert!(text.ends_with("No worker can run here: no way.\n"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["checks"][1]["state"], "lacking");
        assert_eq!(json["checks"][1]["advice"], "load it");
        assert_eq!(json["checks"][0]["advice"], serde_json::Value::Null);
        assert_eq!((json["ok"].as_bool(), json["fault"].is_null()), (Some(false), true));
    }
}
