//! How workerd starts and ends: in bare roots, as different users, by signals and by
//! `kill -9`. Every worker is the test binary executing itself.

use super::{StoreOptions, enter};
use crate::slot::tests::bed::{Bed, USER, alone, answer, copy, in_worker, is_inside, libraries, this, worker_command};
use crate::slot::{JobFd, SlotStatus};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

#[test]
fn the_store_is_as_asked_for() {
    in_worker(this!(the_store_is_as_asked_for), |bed| {
        let store = &bed.entered.store;
        let fs = rustix::fs::statfs(&store.root).unwrap();
        assert_eq!(fs.f_blocks * fs.f_bsize as u64, 1 << 30);
        assert_eq!(
            (fs.f_files, store.bytes, store.inodes),
            (store.inodes, 1 << 30, (1 << 30) / 8192)
        );
        let status = std::fs::read_to_string(store.proc.join("self/status")).unwrap();
        assert!(status.contains("\nPid:\t1\n"), "{status}");
        // The host's tree is where it was, and the store is not in it.
        assert!(Path::new("/usr/bin").is_dir() && !Path::new("/store").exists());
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(store.root.join("..")).unwrap().permissions());
        assert_eq!(mode & 0o7777, 0o700);
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
        assert_eq!(store.root_user, map.contains("4294967295"));
    });
}

#[test]
fn a_store_may_lie_on_a_given_directory() {
    let test = this!(a_store_may_lie_on_a_given_directory);
    if is_inside() {
        alone(|| {
            let dir = std::env::temp_dir();
            let entered = enter(StoreOptions {
                dir: Some(dir.clone()),
                ..StoreOptions::default()
            })
            .unwrap();
            assert_eq!(entered.store.root, dir.join("store"));
            assert!(entered.store.bytes > 0 && entered.store.inodes > 0);
            let bed = Bed::with(entered);
            assert_eq!(bed.run_script("exit 6").end.status, SlotStatus::Exited(6));
        });
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(
        worker_command(test, None)
            .env("TMPDIR", dir.path())
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(names(dir.path()), [""; 0]);
}

fn names(dir: &Path) -> Vec<std::ffi::OsString> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect()
}

#[test]
fn a_store_on_a_missing_directory_is_an_error_with_advice() {
    if is_inside() {
        alone(|| {
            let error = enter(StoreOptions {
                dir: Some("/no/such/place".into()),
                ..StoreOptions::default()
            })
            .unwrap_err();
            let text = error.to_string();
            assert!(
                text.starts_with("could not mount the store: No such file") && text.contains("; check "),
                "{text}"
            );
        });
    }
    let test = this!(a_store_on_a_missing_directory_is_an_error_with_advice);
    assert!(
        worker_command(test, None)
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
}

/// A worker with a running job; prints a line when it runs, and goes on for ever.
fn worker_with_job() -> ! {
    alone(|| {
        let bed = Bed::new();
        let mut plan = bed.script("sleep 1000 & echo running; wait");
        let ours = rustix::io::fcntl_dupfd_cloexec(std::io::stdout(), 3).unwrap();
        plan.stdio[1] = JobFd::Open(ours);
        let (slot, _) = bed.go(plan);
        std::mem::forget(slot);
        loop {
            std::thread::park();
        }
    })
}

/// The worker as a child, up to the moment when its job runs. Also the supervisor's and
/// workerd's pids on the host.
fn running_worker(test: &str, user: Option<u32>) -> (Child, BufReader<ChildStdout>, u32, u32) {
    let mut worker = worker_command(test, user).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(worker.stdout.take().unwrap());
    let mut line = String::new();
    while !line.ends_with("running\n") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the worker ended early");
    }
    let supervisor = only_child(worker.id());
    (worker, lines, supervisor, only_child(supervisor))
}

fn only_child(of: u32) -> u32 {
    let tasks = std::fs::read_dir(format!("/proc/{of}/task"))
        .unwrap()
        .map(|task| task.unwrap().path());
    let children: String = tasks
        .map(|task| std::fs::read_to_string(task.join("children")).unwrap())
        .collect();
    children.trim().parse().expect("one child")
}

/// Every process of the worker holds its output: its end is the end of all.
fn assert_nothing_is_left(mut lines: BufReader<ChildStdout>, mounts: &str) {
    lines.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);
}

#[test]
fn kill_9_of_either_process_leaves_nothing() {
    if is_inside() {
        worker_with_job();
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let user = rustix::process::geteuid().is_root().then_some(Some(USER));
    for user in [None].into_iter().chain(user) {
        for victim in [0, 1] {
            let test = this!(kill_9_of_either_process_leaves_nothing);
            let (mut worker, lines, supervisor, workerd) = running_worker(test, user);
            send(if victim == 0 { supervisor } else { workerd }, libc::SIGKILL);
            assert_nothing_is_left(lines, &mounts);
            worker.wait().unwrap();
        }
    }
}

#[test]
fn the_supervisor_passes_signals_on_and_ends_like_its_child() {
    if is_inside() {
        worker_with_job();
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let test = this!(the_supervisor_passes_signals_on_and_ends_like_its_child);
    let (mut worker, lines, supervisor, _) = running_worker(test, None);
    send(supervisor, libc::SIGTERM);
    assert_nothing_is_left(lines, &mounts);
    // No handler but the early one is set in this worker.
    assert_eq!(worker.wait().unwrap().code(), Some(128 + libc::SIGTERM));
}

fn send(pid: u32, signal: i32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    crate::slot::sys::signal_one(pid, signal);
}

/// Runs the test binary as a job: the bare root has nothing else.
fn worker_in_bare_root() {
    let bed = Bed::with(
        enter(StoreOptions {
            bytes: Some(1 << 28),
            ..StoreOptions::default()
        })
        .unwrap(),
    );
    for entry in std::fs::read_dir("/").unwrap() {
        let at = entry.unwrap().path();
        bed.install_tree(&at);
    }
    let mut plan = bed.plan("/worker", &["/worker", "--list"]);
    let (mut from, to) = std::io::pipe().unwrap();
    plan.stdio = [JobFd::Closed, JobFd::Open(to.into()), JobFd::Terminal];
    let mut started = bed.entered.spawner.start(plan).unwrap();
    let guard = answer(started.listener.unwrap(), |_| {});
    started.slot.go().unwrap();
    let mut output = String::new();
    from.read_to_string(&mut output).unwrap();
    assert_eq!(started.slot.wait().unwrap().status, SlotStatus::Exited(0));
    assert!(output.contains("start::tests::a_bare_root_is_enough: test"), "{output}");
    guard.join().unwrap();
    crate::slot::self_test(&bed.entered.spawner, &bed.entered.store.root).unwrap();
}

#[test]
fn a_bare_root_is_enough() {
    if is_inside() {
        alone(worker_in_bare_root);
    }
    if !rustix::process::geteuid().is_root() {
        println!("only root can change its root directory");
        return;
    }
    let bare = tempfile::tempdir().unwrap();
    let itself = std::env::current_exe().unwrap();
    copy(&itself, &bare.path().join("worker"));
    for library in libraries(&itself) {
        copy(&library, &bare.path().join(library.strip_prefix("/").unwrap()));
    }
    std::fs::set_permissions(bare.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let before = names(bare.path());
    let arguments = crate::slot::tests::bed::arguments(this!(a_bare_root_is_enough));
    let chroot = ["chroot", bare.path().to_str().unwrap(), "/worker"];
    let mount_namespace = [&["unshare", "-r"], &chroot[..]].concat();
    for (user, command) in [
        (None, &chroot[..]),
        (Some(USER), &mount_namespace),
        (None, &mount_namespace),
    ] {
        let mut worker = Command::new(command[0]);
        worker.args(&command[1..]).args(arguments).stdin(Stdio::null());
        crate::slot::tests::bed::mark_inside(&mut worker);
        if let Some(id) = user {
            worker.uid(id).gid(id).current_dir("/");
        }
        let output = worker.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{command:?} as {user:?}: {} {text}",
            output.status
        );
    }
    assert_eq!(names(bare.path()), before);
}

#[test]
fn the_supervisor_ends_with_the_status_of_its_child() {
    if is_inside() {
        alone(|| {
            let _bed = Bed::new();
            std::process::exit(42);
        });
    }
    let test = this!(the_supervisor_ends_with_the_status_of_its_child);
    let status = worker_command(test, None).stdout(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(42));
}
