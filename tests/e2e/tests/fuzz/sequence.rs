//! Random client trees and random lists of operations on them, as proptest makes and
//! shrinks them. Knows the language of `operations.c`, not what carries it out.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::fmt;

/// As many processes as `operations.c` has room for.
const PROCESSES: usize = 4;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// No set-user-id, nor set-group-id where the group may execute: a write takes these from
/// a file unless the writer has CAP_FSETID in the first user namespace.
/// No sticky directory either, which keeps its time where names come and go.
const MODES: [&str; 9] = ["644", "755", "600", "700", "444", "555", "2744", "711", "0"];
/// Those of an ordinary user let the owner into directories: what a directory holds that
/// its owner may list and not search, a worker is not told.
const OPEN_MODES: [&str; 6] = ["755", "700", "555", "500", "2744", "711"];

/// A client's tree and the jobs that run on it, one after the other.
#[derive(Clone)]
pub(crate) struct Case {
    /// In the order in which they are made; one whose place is taken is left out.
    pub seeds: Vec<Seed>,
    /// The lists of the jobs, as `operations.c` reads them.
    pub jobs: Vec<String>,
}

/// One name of the client's tree.
#[derive(Clone, Debug)]
pub(crate) struct Seed {
    /// Below the tree's root.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Permissions, but for symlinks.
    pub mode: u32,
}

/// What a name of the client's tree stands for.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// An empty directory; those above the other names come by themselves.
    Dir,
    /// A directory of so many empty files.
    Crowd(usize),
    /// A file of so many bytes.
    File(usize),
    /// A symbolic link; `@` in the target is the tree's root.
    Link(String),
}

/// An operation and a number that picks the process.
#[derive(Clone, Debug)]
struct Turn(usize, String);

/// The list of one job.
fn list(turns: &[Turn]) -> String {
    let mut lines = String::new();
    let mut living = 1;
    for Turn(pick, operation) in turns {
        let process = pick % living;
        if operation == "fork" {
            if living < PROCESSES {
                lines += &format!("{process} fork {living}\n");
                living += 1;
            }
        } else {
            lines += &format!("{process} {operation}\n");
        }
    }
    lines
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for seed in &self.seeds {
            writeln!(f, "\n{} {:?} {:o}", seed.path, seed.kind, seed.mode)?;
        }
        self.jobs.iter().try_for_each(|job| write!(f, "--\n{job}"))
    }
}

/// Trees and jobs. Only root may give files away, with the same answer everywhere.
pub(crate) fn cases(is_root: bool) -> impl Strategy<Value = Case> {
    let jobs = vec(vec(turn(is_root), 1..50), 1..4);
    (vec(seed(), 0..12), jobs).prop_map(|(seeds, jobs)| Case {
        seeds,
        jobs: jobs.iter().map(|turns| list(turns)).collect(),
    })
}

fn inner() -> impl Strategy<Value = String> {
    vec(select(&NAMES), 1..4).prop_map(|names| names.join("/"))
}

fn seed() -> impl Strategy<Value = Seed> {
    let kind = prop_oneof![
        20 => Just(Kind::Dir),
        1 => select(vec![4, 4100]).prop_map(Kind::Crowd),
        60 => select(vec![0, 1, 300, 5000, 70000]).prop_map(Kind::File),
        20 => target().prop_map(Kind::Link),
    ];
    let mode = select(vec![0o644, 0o755, 0o755, 0o600, 0o444, 0o700]);
    (inner(), kind, mode).prop_map(|(path, kind, mode)| Seed { path, kind, mode })
}

fn target() -> impl Strategy<Value = String> {
    let before = select(vec!["", "", "", "../", "@/", "./"]);
    (before, inner()).prop_map(|(before, path)| format!("{before}{path}"))
}

/// A path as programs spell them.
fn path() -> impl Strategy<Value = String> {
    let before = prop_oneof![
        10 => Just(""),
        4 => Just("@/"),
        2 => select(vec!["0:", "1:", "2:", "3:"]),
        3 => select(vec!["./", "../", "a/../", "b/../", "c//./"]),
    ];
    let after = prop_oneof![14 => Just(""), 3 => select(vec!["/", "/.", "/.."])];
    prop_oneof![
        20 => (before, inner(), after).prop_map(|(before, path, after)| format!("{before}{path}{after}")),
        1 => select(vec![".", "..", "@/", "0:.", "1:", "a/b/c/d/e"]).prop_map(str::to_owned),
    ]
}

fn slot() -> impl Strategy<Value = String> {
    (0..4).prop_map(|slot: i32| slot.to_string())
}

fn mode(is_root: bool) -> impl Strategy<Value = String> {
    select(if is_root { &MODES[..] } else { &OPEN_MODES[..] }).prop_map(str::to_owned)
}

fn size() -> impl Strategy<Value = String> {
    select(vec![0, 1, 3, 299, 4096, 5001, 66000]).prop_map(|size: i32| size.to_string())
}

fn time() -> impl Strategy<Value = String> {
    select(vec!["10", "2000", "n", "o", "30l"]).prop_map(str::to_owned)
}

fn flags() -> impl Strategy<Value = String> {
    let access = select(vec!["r", "r", "w", "+", "+", "p"]);
    let create = select(vec!["", "", "c", "c", "cx", "t", "ct", "a", "ca"]);
    let kind = select(vec!["", "", "", "", "n", "d"]);
    (access, create, kind).prop_map(|(access, create, kind)| format!("{access}{create}{kind}"))
}

fn words<A: Strategy<Value = String> + 'static>(name: &'static str, args: A) -> BoxedStrategy<String> {
    args.prop_map(move |args| format!("{name} {args}")).boxed()
}

fn two(one: impl Strategy<Value = String>, two: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (one, two).prop_map(|(one, two)| format!("{one} {two}"))
}

fn turn(is_root: bool) -> impl Strategy<Value = Turn> {
    let owner = move || {
        select(if is_root {
            vec!["0 0", "1 2", "-1 3"]
        } else {
            vec!["-1 -1"]
        })
        .prop_map(str::to_owned)
    };
    let looking = prop_oneof![
        words("stat", path()),
        words("lstat", path()),
        words("list", path()),
        words("stream", path()),
        words(
            "access",
            two(path(), select(vec!["0", "1", "2", "4"]).prop_map(str::to_owned))
        ),
        words("readlink", path()),
        words("realpath", path()),
    ];
    let opened = prop_oneof![
        4 => words("open", two(slot(), two(path(), two(flags(), mode(is_root))))),
        1 => words("close", slot()),
        2 => words("read", two(slot(), size())),
        1 => words("pread", two(slot(), size())),
        2 => words("write", two(slot(), size())),
        1 => words("pwrite", two(slot(), two(size(), size()))),
        1 => words("lseek", two(slot(), two(size(), select(vec!["0", "1", "2"]).prop_map(str::to_owned)))),
        1 => words("ftruncate", two(slot(), size())),
        1 => words("fallocate", two(slot(), two(size(), size()))),
        1 => words("map", two(slot(), two(size(), select(vec!["X", "Y"]).prop_map(str::to_owned)))),
        1 => words("fstat", slot()),
        1 => words("fchmod", two(slot(), mode(is_root))),
        1 => words("futimens", two(slot(), time())),
        1 => words("range", two(slot(), two(slot(), size()))),
        1 => words("sendfile", two(slot(), two(slot(), size()))),
        1 => words("tmpfile", two(slot(), two(path(), mode(is_root)))),
        1 => words("linkopen", two(slot(), path())),
    ];
    let naming = prop_oneof![
        6 => words("rename", two(path(), path())),
        2 => words("exchange", two(path(), path())),
        1 => words("noreplace", two(path(), path())),
        3 => words("link", two(path(), path())),
        1 => words("linkfollow", two(path(), path())),
        3 => words("symlink", two(target(), path())),
        4 => words("unlink", path()),
        2 => words("rmdir", path()),
        4 => words("mkdir", two(path(), mode(is_root))),
        2 => words("copy", two(path(), path())),
    ];
    let changing = prop_oneof![
        2 => words("chmod", two(path(), mode(is_root))),
        2 => words("utimens", two(path(), time())),
        2 => words("truncate", two(path(), size())),
        1 => words("chown", two(path(), owner())),
    ];
    let process = prop_oneof![
        3 => words("chdir", path()),
        1 => words("fchdir", slot()),
        1 => words("umask", select(vec!["22", "77", "0", "2"]).prop_map(str::to_owned)),
        3 => Just("fork".to_owned()),
        2 => Just("exec".to_owned()),
    ];
    let operation = prop_oneof![4 => looking, 6 => opened, 6 => naming, 2 => changing, 2 => process];
    (any::<usize>(), operation).prop_map(|(pick, operation)| Turn(pick, operation))
}
