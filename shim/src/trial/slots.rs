//! Job mode against a slot's shared memory, without a guard: the answers are those of
//! a bare process whatever is known, the cookie is there when it must be and gone
//! afterwards, and the trace tells what was used.

use super::{Ending, Rig, end};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use termite_abi::{Access, DirKey, PLACEHOLDER_ATIME_NSEC, PLACEHOLDER_ATIME_SEC, Shared};

const COOKIE: u64 = 0x0123_4567_89ab_cdef;

struct Slot {
    rig: Rig,
    shared: &'static Shared,
}

impl Slot {
    fn new() -> Self {
        let rig = Rig::new();
        rig.compile(include_str!("lookups.c"), "bin/lookups");
        let tree = rig.path("work");
        fs::create_dir_all(tree.join("a/dir")).unwrap();
        fs::create_dir_all(tree.join("a/closed")).unwrap();
        fs::create_dir_all(tree.join("b")).unwrap();
        for name in ["a/file", "a/dir/inner", "b/file", "a/new", "top"] {
            rig.write(&format!("work/{name}"), &format!("content of {name}"));
        }
        rig.write("work/a/empty", "");
        for (target, name) in [
            ("file", "link"),
            ("none", "dangling"),
            ("../b/file", "out"),
            ("dir", "dirlink"),
            ("loop", "loop"),
        ] {
            symlink(target, tree.join("a").join(name)).unwrap();
        }
        fs::set_permissions(tree.join("a/closed"), fs::Permissions::from_mode(0o000)).unwrap();
        mark(&tree.join("a/new"));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(rig.path("shared"))
            .unwrap();
        fs::set_permissions(rig.path("shared"), fs::Permissions::from_mode(0o666)).unwrap();
        file.set_len(size_of::<Shared>() as u64).unwrap();
        // SAFETY: a mapping as long as the file and a `Shared`, kept for good.
        let shared = unsafe {
            let (read, write) = (libc::PROT_READ, libc::PROT_WRITE);
            let size = size_of::<Shared>();
            let at = libc::mmap(
                std::ptr::null_mut(),
                size,
                read | write,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            );
            assert_ne!(at, libc::MAP_FAILED);
            &*at.cast::<Shared>()
        };
        shared.init(COOKIE);
        Self { rig, shared }
    }

    fn tree(&self) -> String {
        self.rig.path("work").to_str().unwrap().to_owned()
    }

    /// Records directories below the tree, by absolute and by every relative spelling
    /// that the program uses.
    fn complete(&self, dirs: &[&str]) {
        let epoch = self.shared.epoch();
        for dir in dirs {
            let joint = if dir.is_empty() { "" } else { "/" };
            self.shared.set_complete(
                self.shared
                    .dir_key(&[format!("{}{joint}{dir}", self.tree()).as_bytes()], epoch),
            );
        }
    }

    /// Records links whose targets stand in complete directories.
    fn linked(&self, links: &[&str]) {
        self.record(links, Shared::link_key);
    }

    /// Records directories that are none of them symlinks.
    fn plain(&self, dirs: &[&str]) {
        self.record(dirs, Shared::plain_key);
    }

    fn record(&self, names: &[&str], key: fn(&Shared, &[&[u8]], u64) -> DirKey) {
        for name in names {
            let spelled = format!("{}/{name}", self.tree());
            self.shared
                .set_complete(key(self.shared, &[spelled.as_bytes()], self.shared.epoch()));
        }
    }

    /// A command where the shared memory is at its place, in a mount namespace of its own.
    fn enter(&self, words: &[&str]) -> Command {
        const SET_UP: &str = "d=$1; s=$2; shift 2; mkdir -p $d && mount -t tmpfs none $d && mkdir $d/.termite && \
            for n in null .termite/shared; do : > $d/$n || exit 1; done && mount --bind /dev/null $d/null && \
            mount --bind $s $d/.termite/shared && mount --rbind $d /dev && exec \"$@\"";
        let (dev, shared) = (self.rig.path("dev"), self.rig.path("shared"));
        // SAFETY: takes nothing.
        let unshare = if unsafe { libc::geteuid() } == 0 { "-m" } else { "-rm" };
        let set_up = [
            "unshare",
            unshare,
            "sh",
            "-c",
            SET_UP,
            "-",
            dev.to_str().unwrap(),
            shared.to_str().unwrap(),
        ];
        let library = format!("LD_PRELOAD={}", self.rig.path("lib/libtermite.so").display());
        self.rig.command(&[&set_up[..], &["env", &library], words].concat())
    }

    /// Runs the program as a job and bare, and checks that it says the same.
    fn agree(&self) {
        let program = self.rig.path("bin/lookups");
        let tree = self.tree();
        let words = [program.to_str().unwrap(), &tree];
        mark(&self.rig.path("work/a/new"));
        let bare = end(self.bare_as_entered(&words));
        assert!(bare.stdout.lines().count() > 1000, "{bare:?}");
        mark(&self.rig.path("work/a/new"));
        let job = end(self.enter(&words));
        compare(&job, &bare);
    }

    /// The same command with the library off, so that users and mounts are the same.
    fn bare_as_entered(&self, words: &[&str]) -> Command {
        let mut command = self.enter(words);
        command.env("TERMITE_MODE", "off");
        command
    }

    fn trace(&self) -> BTreeSet<(Access, String)> {
        let records = self.shared.trace_records();
        records
            .map(|(access, path)| (access, String::from_utf8(path.to_vec()).unwrap()))
            .collect()
    }

    fn hits(&self, name: &str) -> u32 {
        let row = crate::row::NAMES.split('\0').position(|row| row == name).unwrap();
        self.shared.hits[row].load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Compares line by line, but for the mark of a placeholder, which only a bare process sees.
fn compare(job: &Ending, bare: &Ending) {
    for (job, bare) in job.stdout.lines().zip(bare.stdout.lines()) {
        assert_eq!(job, bare.replace(" marked", " plain"));
    }
    assert_eq!((job.status, &job.stderr), (bare.status, &bare.stderr));
    assert_eq!(job.stdout.lines().count(), bare.stdout.lines().count());
}

/// Makes a file look like a placeholder.
fn mark(file: &Path) {
    let path = std::ffi::CString::new(file.to_str().unwrap()).unwrap();
    let keep = libc::timespec {
        tv_sec: 0,
        tv_nsec: libc::UTIME_OMIT,
    };
    let times = [
        libc::timespec {
            tv_sec: PLACEHOLDER_ATIME_SEC,
            tv_nsec: PLACEHOLDER_ATIME_NSEC,
        },
        keep,
    ];
    // SAFETY: NUL-terminated path, two times.
    let set = unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), times.as_ptr(), 0) };
    assert_eq!(set, 0);
}

/// All directories of the tree but `b`, as the program spells them.
const KNOWN: [&str; 11] = [
    "",
    "a",
    "./a",
    "a/",
    "a/dir",
    "a/dir/..",
    "a/dirlink",
    "a/closed",
    "a/file",
    "missing",
    "./.",
];

#[test]
fn a_job_that_knows_nothing_gets_the_answers_of_a_bare_process() {
    let slot = Slot::new();
    slot.agree();
    assert_eq!(slot.trace(), BTreeSet::new());
    assert!(slot.hits("stat") > 50 && slot.hits("fopen") > 200 && slot.hits("rename") == 0);
}

#[test]
fn a_job_that_knows_directories_gets_the_same_answers() {
    let slot = Slot::new();
    slot.complete(&KNOWN);
    slot.agree();
    let trace = slot.trace();
    let has = |access, name: &str| trace.contains(&(access, format!("{}/{name}", slot.tree())));
    assert!(has(Access::Read, "a/file") && has(Access::Stat, "a/file"));
    assert!(has(Access::Missing, "a/missing") && has(Access::Missing, "missing/x"));
    assert!(has(Access::Listed, "a/dir") && has(Access::Stat, "a/dir"));
    assert!(has(Access::Stat, "a/dangling"), "lstat does not follow");
    assert!(
        !has(Access::Missing, "a/dangling"),
        "that depends on more than its directory"
    );
    assert!(!has(Access::Read, "a/new"), "a placeholder is for the guard");
    assert!(
        !trace
            .iter()
            .any(|(_, path)| path.contains("/b/") || path.ends_with("/.."))
    );
}

#[test]
fn a_directory_known_to_be_no_symlink_is_not_asked() {
    let slot = Slot::new();
    slot.complete(&KNOWN);
    slot.agree();
    let trace = slot.trace();
    slot.plain(&["a", "a/dir"]);
    slot.agree();
    assert_eq!(slot.trace(), trace);

    // Told an untruth, it believes it, and for that epoch alone.
    slot.plain(&["a/dirlink"]);
    let program = slot.rig.path("bin/lookups");
    let (tree, cookie) = (slot.tree(), format!("{COOKIE:x}"));
    let said = |call: &str, path: &str| {
        let ending = end(slot.enter(&[program.to_str().unwrap(), &tree, &cookie, path]));
        let call = |line: &&str| line.starts_with(call);
        ending.stdout.lines().find(call).unwrap().to_owned()
    };
    let readlink = || said("readlink(", "a/dirlink");
    let realpath = || said("realpath(", "a/dirlink/inner");
    let refused = format!("errno {}", libc::EINVAL);
    assert!(readlink().contains(&refused), "{}", readlink());
    assert!(realpath().ends_with(" /a/dirlink/inner"), "{}", realpath());
    slot.shared.next_epoch();
    slot.complete(&KNOWN);
    assert!(!readlink().contains(&refused), "{}", readlink());
    assert!(!realpath().ends_with(" /a/dirlink/inner"), "{}", realpath());
}

#[test]
fn an_old_epoch_counts_for_nothing() {
    let slot = Slot::new();
    slot.complete(&KNOWN);
    slot.plain(&["a/dirlink"]);
    slot.shared.next_epoch();
    slot.agree();
    assert_eq!(slot.trace(), BTreeSet::new());
}

#[test]
fn a_full_trace_ends_the_fast_path() {
    let slot = Slot::new();
    slot.complete(&KNOWN);
    slot.shared
        .trace_head
        .store(termite_abi::TRACE_LEN as u64 - 40, std::sync::atomic::Ordering::Relaxed);
    slot.agree();
    assert_eq!(slot.shared.trace_overflow.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn the_cookie_is_there_where_it_may_and_gone_afterwards() {
    let slot = Slot::new();
    slot.complete(&KNOWN);
    let program = slot.rig.path("bin/lookups");
    let (tree, cookie) = (slot.tree(), format!("{COOKIE:x}"));
    let run = |paths: &[&str]| {
        let words = [&[program.to_str().unwrap(), &tree, &cookie], paths].concat();
        let ending = end(slot.enter(&words));
        assert_eq!((ending.status, ending.stderr.as_str()), (0, ""));
        assert!(!ending.stdout.contains("COOKIE"), "{}", ending.stdout);
        let stopped: Vec<_> = ending
            .stdout
            .lines()
            .filter(|line| line.contains("errno 35 "))
            .map(str::to_owned)
            .collect();
        (ending.stdout.lines().count(), stopped)
    };
    // Nobody follows a link of which the guard has not said where it leads.
    let (_, stopped) = run(&["a/link"]);
    for call in [
        "stat(",
        "statx(",
        "open(",
        "access r(",
        "realpath(",
        "statfs(",
        "getxattr(",
        "listxattr(",
    ] {
        assert!(
            stopped.iter().any(|line| line.starts_with(call)),
            "{call} in {stopped:?}"
        );
    }
    for call in ["lstat(", "lgetxattr(", "llistxattr("] {
        assert!(!stopped.iter().any(|line| line.starts_with(call)), "{call}");
    }
    // All else is answered past the guard, but for what might be a directory that is not
    // known itself, and for who may write, which is the client's to say.
    slot.linked(&["a/link"]);
    let (calls, stopped) = run(&["a/file", "a/missing", "top", "a/link"]);
    let may_stop = ["open64(", "opendir(", "access x(a/link)", "eaccess(", "syscall("];
    let wrong: Vec<_> = stopped
        .iter()
        .filter(|line| !may_stop.iter().any(|call| line.starts_with(call)))
        .collect();
    assert_eq!((calls, wrong), (4 * 36, vec![]));
    let by_number = stopped.iter().filter(|line| line.starts_with("syscall("));
    assert_eq!(
        by_number.count(),
        4 * 3,
        "a call by its number never carries the cookie"
    );
    assert!(
        !stopped
            .iter()
            .any(|line| line.contains("(a/file)") && !line.starts_with("syscall(") && !line.starts_with("eaccess(")),
        "known, though it is no directory"
    );
    // What enters a directory that is known is answered, or is a list of its names.
    let (_, stopped) = run(&["a/dir/"]);
    assert!(
        !stopped.iter().any(|line| line.contains("stat(a/dir/)")),
        "{stopped:#?}"
    );
    // Only the names of a directory keep its time up to date.
    let at_directory = |path: &str| {
        let (_, stopped) = run(&[path]);
        move |call: &str| stopped.iter().any(|line| line.starts_with(call))
    };
    let (unknown, known) = (at_directory("b"), at_directory("a/dir"));
    for call in ["stat(", "lstat(", "fstatat(", "statx(", "openat("] {
        assert!(unknown(call) && !known(call), "{call}");
    }
    assert!(!unknown("access r("), "that tells no time");
    for path in ["b/file", "a/dir/..", "/dev/null"] {
        let (calls, stopped) = run(&[path]);
        // `faccessat` and the like in libc may give up before they ask.
        assert!(stopped.len() >= calls - 3, "{path}: {stopped:#?} of {calls}");
    }
    let (_, stopped) = run(&["a/dangling"]);
    assert!(
        stopped.iter().any(|line| line.starts_with("stat")) && !stopped.iter().any(|line| line.starts_with("lstat"))
    );
}

#[test]
fn memory_of_another_version_is_left_alone() {
    let slot = Slot::new();
    slot.complete(&KNOWN);
    fs::write(slot.rig.path("short"), "termite").unwrap();
    fs::rename(slot.rig.path("short"), slot.rig.path("shared")).unwrap();
    let words = ["sh", "-c", "test -e /dev/null; echo $?"];
    assert_eq!(end(slot.enter(&words)), end(slot.bare_as_entered(&words)));
}

#[test]
fn memory_comes_in_huge_pages_where_it_is_fit_for_them() {
    let slot = Slot::new();
    slot.rig.compile(include_str!("memory.c"), "bin/memory");
    let program = slot.rig.path("bin/memory");
    let said = |of_fit: u8| {
        format!(
            "fit: mapped errno 77 huge {of_fit}\n\
             small: mapped errno 77 huge 0\n\
             not to be written: mapped errno 77 huge 0\n\
             sparse: mapped errno 77 huge 0\n\
             a stack: mapped errno 77 huge 0\n\
             nothing: failed errno 22\n"
        )
    };
    let words = [program.to_str().unwrap()];
    assert_eq!(end(slot.enter(&words)).stdout, said(1));
    assert_eq!(end(slot.bare_as_entered(&words)).stdout, said(0));
    assert_eq!(slot.hits("mmap"), 6);
}
