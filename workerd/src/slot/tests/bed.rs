//! What the tests of slots stand on: a worker in a process of its own, a mirror with a
//! shell in it, and a guard that lets everything go on.

#![allow(unsafe_code)]

use crate::slot::{JobFd, Network, SlotPlan, Started, sys};
use crate::start::{Entered, StoreOptions, enter};
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use termite_types::{BuildId, JobId, JobSpec, Owner};

/// Names the test whose body this process is to run as a worker.
const INSIDE: &str = "TERMITE_TEST_INSIDE";
/// Names what the test binary does as a job.
pub(crate) const JOB: &str = "TERMITE_TEST_JOB";
/// What that worker prints at its end.
const PASSED: &str = "worker passed";

/// Runs `body` in a process that has become a worker: the test binary executes itself.
/// Where the tests run as root, once as root and once as an ordinary user.
pub(crate) fn in_worker(test: &str, body: impl FnOnce(&Bed)) {
    if is_inside() {
        alone(|| body(&Bed::new()));
    }
    let user = rustix::process::geteuid().is_root().then_some(Some(USER));
    for user in [None].into_iter().chain(user) {
        let output = worker_command(test, user)
            .output()
            .expect("the test binary executes itself");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && text.contains(PASSED),
            "{user:?} {}: {text}",
            output.status
        );
        print!("{text}");
    }
}

/// Runs `body` in a process that has no thread but its own, as workerd has at its
/// start, and ends with it. The harness has threads.
pub(crate) fn alone(body: impl FnOnce()) -> ! {
    let Some(child) = sys::fork().unwrap() else {
        let passed = std::panic::catch_unwind(AssertUnwindSafe(body)).is_ok();
        println!("{}", if passed { PASSED } else { "worker failed" });
        std::process::exit(i32::from(!passed));
    };
    let status = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty())
        .unwrap()
        .unwrap()
        .1;
    std::process::exit(status.exit_status().unwrap_or(2))
}

/// Whether this process is one that [`worker_command`] started.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// The command behind [`in_worker`], as this user or as who runs the tests.
pub(crate) fn worker_command(test: &str, user: Option<u32>) -> Command {
    // By descriptor: the binary may lie where only root can look.
    let itself = std::fs::File::open(std::env::current_exe().expect("a test binary has a path")).unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", itself.as_raw_fd()));
    std::mem::forget(itself);
    if let Some(id) = user {
        command.uid(id).gid(id).current_dir("/");
    }
    command.args(arguments(test)).stdin(Stdio::null());
    mark_inside(&mut command);
    command
}

/// Tells the command's process that it [`is_inside`].
pub(crate) fn mark_inside(command: &mut Command) {
    command.env(INSIDE, "1").env("RUST_BACKTRACE", "0");
}

/// Arguments that make the test binary run one test alone.
pub(crate) fn arguments(test: &str) -> [&str; 4] {
    let test = test.split_once("::").expect("module_path! begins with the crate").1;
    [test, "--exact", "--nocapture", "--test-threads=1"]
}

/// The full name of a test of this module, for [`in_worker`].
macro_rules! this {
    ($name:ident) => {
        concat!(module_path!(), "::", stringify!($name))
    };
}
pub(crate) use this;

/// An ordinary user.
pub(crate) const USER: u32 = 1000;

/// A worker with one mirror.
pub(crate) struct Bed {
    pub entered: Entered,
    network: Network,
    pub mirror: PathBuf,
    count: AtomicU32,
}

/// What a job did.
pub(crate) struct Ran {
    pub end: crate::slot::SlotEnd,
    /// What it wrote to descriptors 1 and 2.
    pub output: String,
    /// The job's directory in the store.
    pub dir: PathBuf,
}

impl Bed {
    /// In a process with one thread, which becomes a worker.
    pub(crate) fn new() -> Self {
        let options = StoreOptions {
            bytes: Some(1 << 30),
            ..StoreOptions::default()
        };
        Self::with(enter(options).expect("this host lets workerd start"))
    }

    /// The programs are the host's.
    pub(crate) fn with(entered: Entered) -> Self {
        let mirror = entered.store.root.join("mirror");
        let network = Network::new(&entered.spawner).unwrap();
        let bed = Self {
            entered,
            mirror,
            network,
            count: AtomicU32::new(0),
        };
        for dir in ["etc", "tmp", "work", "bin"] {
            std::fs::create_dir_all(bed.mirror.join(dir)).unwrap();
        }
        let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
        std::fs::set_permissions(bed.mirror.join("work"), everyone).unwrap();
        // A bare root has none of them; its tests use the test binary alone.
        for program in ["sh", "cat", "sleep", "tty", "stty", "id", "hostname"] {
            if let Some(path) = find(program) {
                bed.install(&path, &Path::new("bin").join(program));
            }
        }
        bed
    }

    /// Puts a program and its libraries into the mirror.
    pub(crate) fn install(&self, program: &Path, at: &Path) {
        copy(program, &self.mirror.join(at));
        for library in libraries(program) {
            let at = self.mirror.join(library.strip_prefix("/").unwrap());
            if !at.exists() {
                copy(&library, &at);
            }
        }
    }

    /// A plan that runs a shell script, with nothing on its descriptors.
    pub(crate) fn script(&self, script: &str) -> SlotPlan {
        self.plan("/bin/sh", &["sh", "-c", script])
    }

    pub(crate) fn plan(&self, program: &str, argv: &[&str]) -> SlotPlan {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let dir = self.entered.store.root.join(format!("job-{number}"));
        std::fs::create_dir(&dir).unwrap();
        let shared = dir.join("shared-memory");
        std::fs::write(&shared, b"shared").unwrap();
        SlotPlan {
            lower: self.mirror.clone(),
            network: self.network.clone(),
            dir,
            shared,
            shim: None,
            spec: JobSpec {
                id: JobId {
                    build: BuildId(1),
                    number,
                },
                argv: argv.iter().map(OsString::from).collect(),
                env: vec!["PATH=/bin".into()],
                cwd: "/work".into(),
                owner: Owner {
                    uid: USER,
                    gid: USER,
                    groups: Vec::new(),
                },
                ..JobSpec::bare(program)
            },
            stdio: [JobFd::Closed, JobFd::Closed, JobFd::Closed],
            placeholder: None,
            jobserver: None,
            cookie: 0x1234_5678_9abc_def0,
            served: None,
        }
    }

    /// Runs a plan to its end; descriptors 1 and 2 become one pipe.
    pub(crate) fn run(&self, mut plan: SlotPlan) -> Ran {
        let (mut from, to) = std::io::pipe().unwrap();
        plan.stdio[1] = JobFd::Open(to.try_clone().unwrap().into());
        plan.stdio[2] = JobFd::Open(to.into());
        let dir = plan.dir.clone();
        let mut started = self.entered.spawner.start(plan).expect("a slot starts");
        let guard = let_all_go_on(started.listener.unwrap());
        started.slot.go().unwrap();
        let mut output = String::new();
        from.read_to_string(&mut output).unwrap();
        let end = started.slot.wait().unwrap();
        guard.join().unwrap();
        Ran { end, output, dir }
    }

    /// Copies a whole tree to the same place in the mirror.
    pub(crate) fn install_tree(&self, path: &Path) {
        if path.is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                self.install_tree(&entry.unwrap().path());
            }
        } else {
            copy(path, &self.mirror.join(path.strip_prefix("/").unwrap()));
        }
    }

    /// The test binary itself as a job, running one test's job side.
    pub(crate) fn itself(&self, job: &str) -> SlotPlan {
        let test = concat!(module_path!(), "::job_side").replace("::bed::", "::");
        let program = self.mirror.join("bin/itself");
        if !program.exists() {
            self.install(Path::new("/proc/self/exe"), Path::new("bin/itself"));
        }
        let mut argv = vec!["itself"];
        argv.extend(arguments(&test));
        let mut plan = self.plan("/bin/itself", &argv);
        plan.spec.env.push(format!("{JOB}={job}").into());
        plan
    }

    pub(crate) fn run_script(&self, script: &str) -> Ran {
        self.run(self.script(script))
    }

    /// Starts a plan and lets it go.
    pub(crate) fn go(&self, plan: SlotPlan) -> (crate::slot::Slot, Option<OwnedFd>) {
        let Started {
            mut slot,
            listener,
            terminal,
            ..
        } = self.entered.spawner.start(plan).expect("a slot starts");
        let_all_go_on(listener.unwrap());
        slot.go().unwrap();
        (slot, terminal)
    }
}

fn find(program: &str) -> Option<PathBuf> {
    ["/bin", "/usr/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(program))
        .find(|path| path.exists())
}

/// The interpreter and the libraries of a program, as `ldd` finds them.
pub(crate) fn libraries(program: &Path) -> Vec<PathBuf> {
    let listing = Command::new("ldd")
        .arg(program.canonicalize().unwrap())
        .output()
        .expect("ldd runs");
    let text = String::from_utf8_lossy(&listing.stdout).into_owned();
    text.split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

/// A guard that answers CONTINUE to everything, in a thread that ends with the job.
/// Gives the number of calls.
pub(crate) fn let_all_go_on(listener: OwnedFd) -> std::thread::JoinHandle<u32> {
    answer(listener, |_| {})
}

/// The same, showing each call first.
pub(crate) fn answer(
    listener: OwnedFd,
    mut see: impl FnMut(&libc::seccomp_notif) + Send + 'static,
) -> std::thread::JoinHandle<u32> {
    // _IOWR('!', 0, struct seccomp_notif), _IOWR('!', 1, struct seccomp_notif_resp).
    const RECV: libc::c_ulong = 0xc050_2100;
    const SEND: libc::c_ulong = 0xc018_2101;
    std::thread::spawn(move || {
        let mut count = 0;
        loop {
            // SAFETY: plain structures, valid when zero, that outlive the calls.
            unsafe {
                let mut poll = libc::pollfd {
                    fd: listener.as_raw_fd(),
                    events: libc::POLLIN,
                    revents: 0,
                };
                libc::poll(&mut poll, 1, -1);
                if poll.revents & libc::POLLIN == 0 {
                    return count;
                }
                let mut call: libc::seccomp_notif = std::mem::zeroed();
                if libc::ioctl(listener.as_raw_fd(), RECV, &mut call) != 0 {
                    continue;
                }
                see(&call);
                count += 1;
                let mut reply: libc::seccomp_notif_resp = std::mem::zeroed();
                reply.id = call.id;
                reply.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
                libc::ioctl(listener.as_raw_fd(), SEND, &reply);
            }
        }
    })
}
