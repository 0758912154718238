//! Where a trace rightly differs from what strace saw: a short list, each with its reason.
//! Knows sights and traces, not how they came to be.

use super::observed::{Saw, Sight, normal};
use super::random_names::strike_random;
use super::trace::{Kind, Trace};
use super::{Mode, as_path};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// One reason why a sight need not be in the trace.
pub struct Exception {
    /// A few words.
    pub name: &'static str,
    /// Why that is right.
    pub reason: &'static str,
    applies: fn(Mode, &Sight, &Trace) -> bool,
}

/// All of them.
pub const EXCEPTIONS: [Exception; 5] = [
    Exception {
        name: "the slot's own trees",
        reason: "/proc, /dev and /sys of a job are its slot's: nothing of the client's is seen there",
        applies: |_, sight, _| {
            [&b"/proc"[..], b"/dev", b"/sys"]
                .iter()
                .any(|own| is_below(&sight.path, own))
        },
    },
    Exception {
        name: "the preload file",
        reason: "the guard answers /etc/ld.so.preload with the library's name, whatever the client has there",
        applies: |mode, sight, _| mode == Mode::ShimAndGuard && sight.path == b"/etc/ld.so.preload",
    },
    Exception {
        name: "temporary names",
        reason: "a name that a program draws by lot is another one in each run; the rest of it must be equal",
        applies: |_, sight, trace| {
            let struck = strike_random(&sight.path);
            struck != sight.path && trace.has_struck(fitting(sight.saw), &struck)
        },
    },
    Exception {
        name: "users and groups",
        reason: "where the client asks more than files for them, it answers in the place of nscd, and a job reads none",
        applies: |_, sight, trace| {
            let asks = !trace.paths().any(|path| path == b"/etc/nsswitch.conf");
            let read = [
                "/var/run/nscd/socket",
                "/etc/nsswitch.conf",
                "/etc/passwd",
                "/etc/group",
                "/",
            ];
            asks && read.iter().any(|path| sight.path == path.as_bytes())
        },
    },
    Exception {
        name: "links on the way",
        reason: "the shim has realpath resolved by the kernel, in one call, where libc reads each component as a \
                 link; whoever knows the path that was resolved knows those on its way",
        applies: |mode, sight, trace| {
            mode == Mode::ShimAndGuard && sight.as_link && trace.paths().any(|path| is_on_the_way(sight, path))
        },
    },
];

impl Exception {
    /// Whether it explains why the trace does not have this.
    pub fn excuses(&self, mode: Mode, sight: &Sight, trace: &Trace) -> bool {
        (self.applies)(mode, sight, trace)
    }
}

fn is_below(path: &[u8], top: &[u8]) -> bool {
    path.strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn fitting(saw: Saw) -> &'static [Kind] {
    match saw {
        Saw::Read => &[Kind::Read, Kind::Listed],
        // What a lot was drawn for is the job's own.
        Saw::Found => &[Kind::Stat, Kind::Read, Kind::Listed, Kind::Write],
        Saw::Missing | Saw::OneMissing => &[Kind::Missing],
        Saw::Listed => &[Kind::Listed],
        Saw::Changed => &[Kind::Write],
        Saw::ReadOrChanged => &[Kind::Read, Kind::Write],
        Saw::Named => &[Kind::Read, Kind::Stat, Kind::Missing, Kind::Listed, Kind::Write],
    }
}

/// Whether resolving `path` on this machine passes the sight's path, with the same end.
fn is_on_the_way(sight: &Sight, path: &[u8]) -> bool {
    let found = match sight.saw {
        Saw::Found => true,
        Saw::Missing => false,
        _ => return false,
    };
    passed(as_path(path)).contains(&(sight.path.clone(), found))
}

/// Everything that resolving a path looks at, and whether it is there.
fn passed(path: &Path) -> BTreeSet<(Vec<u8>, bool)> {
    let mut passed = BTreeSet::new();
    let mut todo: Vec<PathBuf> = parts(path);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part.as_os_str() == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let Ok(meta) = fs::symlink_metadata(&next) else {
            passed.insert((normal(next.as_os_str().as_encoded_bytes()), false));
            break;
        };
        passed.insert((normal(next.as_os_str().as_encoded_bytes()), true));
        if !meta.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        match fs::read_link(&next) {
            Ok(target) if links <= 40 => {
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                todo.extend(parts(&target));
            }
            _ => break,
        }
    }
    passed
}

/// The names of a path, last first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    });
    names.rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_of_a_path_goes_through_its_links() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir(dir.join("d")).unwrap();
        std::os::unix::fs::symlink("d/../e", dir.join("l")).unwrap();
        let passed = passed(&dir.join("l/x"));
        let has = |name: &str, found| passed.contains(&(dir.join(name).into_os_string().into_encoded_bytes(), found));
        assert!(has("l", true) && has("d", true) && has("e", false) && !has("l/x", true) && !has("l/x", false));
    }
}
