//! The daemon is not there: it is started, once, and left alone.

#![allow(unsafe_code)]

use crate::fake::{Caller, Stage, text};
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

/// `bin/termite` that notes its surroundings and puts the test's socket in place.
fn daemon_script(stage: &Stage) -> String {
    let dir = stage.dir.path().display();
    format!(
        "echo start >>{dir}/starts\n\
         {{ echo \"args $*\"; echo \"cwd $(pwd)\"; echo \"from $TERMITE__FROM\"; echo \"umask $(umask)\"\n\
         ls -l /proc/$$/fd; cut -d' ' -f5,6 /proc/$$/stat; echo \"pid $$\"; env; }} >>{dir}/seen 2>&1\n\
         mv {dir}/hidden.sock $TERMITE_SOCKET"
    )
}

fn exit_zero() -> Box<dyn FnOnce(Caller) + Send> {
    Box::new(|mut caller: Caller| caller.exit(0))
}

#[test]
fn an_absent_daemon_is_started_apart_from_everything() {
    let stage = Stage::new();
    stage.install(&daemon_script(&stage));
    let daemon = stage.serve_at(&stage.dir.path().join("hidden.sock"), vec![exit_zero()]);
    let mut command = stage.stub("/bin/x", &["x"]);
    command
        .env("LD_PRELOAD", "/nowhere/libtermite.so")
        .current_dir(stage.dir.path());
    // SAFETY: two system calls between fork and exec; 7 is the descriptor of a jobserver here.
    unsafe {
        command.pre_exec(|| {
            libc::dup2(1, 7);
            libc::umask(0o027);
            Ok(())
        });
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    daemon.join().unwrap();
    let seen = std::fs::read_to_string(stage.dir.path().join("seen")).unwrap();
    for expected in ["args daemon\n", "cwd /\n", "umask 0077\n", "TERMITE_SOCKET="] {
        assert!(seen.contains(expected), "{expected}: {seen}");
    }
    assert!(
        seen.contains(&format!("from {}\n", stage.dir.path().display())),
        "{seen}"
    );
    assert!(
        !seen.contains("LD_PRELOAD") && !seen.contains("TERMITE__BUILD"),
        "{seen}"
    );
    assert!(!seen.contains(" 7 -> "), "a descriptor leaked: {seen}");
    assert!(
        seen.contains(" 0 -> /dev/null") && seen.contains("state/termite/daemon.log"),
        "{seen}"
    );
    let pid = seen.lines().find_map(|l| l.strip_prefix("pid ")).unwrap();
    let [group, session] = [0, 1].map(|at| {
        let line = seen
            .lines()
            .find(|l| l.split(' ').count() == 2 && l.split(' ').all(|n| n.parse::<u32>().is_ok()));
        line.unwrap().split(' ').nth(at).unwrap().to_owned()
    });
    assert_eq!(group, session, "not in a session of its own: {seen}");
    // SAFETY: no arguments but a number. The library's own binding has no word for a session
    // whose leader lives outside the pid namespace (0).
    let ours = unsafe { libc::getsid(0) };
    assert_ne!(session, ours.to_string());
    assert_ne!(session, pid, "a leader of a session could take a terminal");
}

#[test]
fn eight_stubs_at_once_start_one_daemon() {
    let stage = Stage::new();
    stage.install(&daemon_script(&stage));
    let scripts = (0..8).map(|_| exit_zero()).collect();
    let daemon = stage.serve_at(&stage.dir.path().join("hidden.sock"), scripts);
    let children: Vec<_> = (0..8).map(|_| stage.stub("/bin/x", &["x"]).spawn().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    daemon.join().unwrap();
    assert_eq!(
        std::fs::read_to_string(stage.dir.path().join("starts")).unwrap(),
        "start\n"
    );
}

#[test]
fn a_daemon_that_fails_is_quoted_and_the_command_runs() {
    let stage = Stage::new();
    stage.install("echo 'cannot read the moon' >&2; exit 1");
    let output = stage.stub("/bin/echo", &["echo", "hello"]).output().unwrap();
    assert_eq!(text(&output.stdout), "hello\n");
    assert_eq!(
        text(&output.stderr),
        "termite: echo ran locally: the daemon did not start: cannot read the moon\n"
    );
}

#[test]
fn a_daemon_that_is_not_installed() {
    let stage = Stage::new();
    let output = stage.stub("/bin/echo", &["echo", "hello"]).output().unwrap();
    assert_eq!(text(&output.stdout), "hello\n");
    assert!(
        text(&output.stderr).contains("bin/termite: No such file or directory"),
        "{output:?}"
    );
}

#[test]
fn a_dead_daemons_socket_is_as_good_as_none() {
    let stage = Stage::new();
    drop(std::os::unix::net::UnixListener::bind(stage.socket()).unwrap());
    stage.install(&daemon_script(&stage));
    let daemon = stage.serve_at(&stage.dir.path().join("hidden.sock"), vec![exit_zero()]);
    let output = stage.stub("/bin/x", &["x"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    daemon.join().unwrap();
}

#[test]
fn the_stub_is_quick() {
    let stage = Stage::new();
    let rounds = 50;
    let daemon = stage.serve((0..rounds).map(|_| exit_zero()).collect());
    let begin = Instant::now();
    for _ in 0..rounds {
        assert!(stage.stub("/bin/x", &["x"]).status().unwrap().success());
    }
    let each = begin.elapsed() / rounds;
    daemon.join().unwrap();
    println!("{each:?} for each stub");
    // A busy machine and a build without optimisation are allowed for; the figure is printed.
    assert!(each < Duration::from_millis(50), "{each:?}");
}
