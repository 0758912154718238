//! What the daemon is told about the command.

#![allow(unsafe_code)]

use crate::fake::{Stage, script, stub, with};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use termite_types::{BuildId, Stdin};
use termite_wire::frame::CallerJob;

/// The job that a command, started in a stage, announces.
fn announced(change: impl FnOnce(&mut Command)) -> CallerJob {
    let stage = Stage::new();
    let (say, said) = mpsc::channel();
    let daemon = stage.serve(script(move |mut caller| {
        say.send(caller.job.clone()).unwrap();
        caller.exit(0);
    }));
    let mut command = stage.stub("/bin/prog", &["prog", "one", "two three"]);
    command.current_dir(stage.dir.path());
    change(&mut command);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    daemon.join().unwrap();
    said.recv().unwrap()
}

fn env_of<'a>(job: &'a CallerJob, name: &str) -> Option<&'a OsStr> {
    job.env.iter().find_map(|e| {
        Some(OsStr::from_bytes(
            e.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?,
        ))
    })
}

#[test]
fn everything_of_the_command_is_told() {
    let job = announced(|command| {
        command
            .env("A", "b")
            .env("LD_PRELOAD", "/nowhere/libtermite.so")
            .env("TERMITE_MODE", "off")
            .stdin(Stdio::null());
    });
    assert_eq!(job.program.as_os_str(), "/bin/prog");
    assert_eq!(job.argv, ["prog", "one", "two three"]);
    assert_eq!(job.build, BuildId(0xab));
    assert_eq!(job.stdio.stdin, Stdin::Null);
    assert!(job.stdio.stdout && job.stdio.stderr && !job.stdio.merged && !job.must);
    assert_eq!(env_of(&job, "A"), Some(OsStr::new("b")));
    for hidden in ["LD_PRELOAD", "TERMITE_MODE", "TERMITE__BUILD"] {
        assert_eq!(env_of(&job, hidden), None, "{hidden}");
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let umask = status.lines().find_map(|l| l.strip_prefix("Umask:")).unwrap();
    assert_eq!(job.umask, u32::from_str_radix(umask.trim(), 8).unwrap());
    assert_eq!(
        i32::from(job.nice),
        rustix::process::getpriority_process(None).unwrap().max(0)
    );
    let ignored = status.lines().find_map(|l| l.strip_prefix("SigIgn:")).unwrap();
    // Rust has the test ignore one more, and the C library keeps two for itself.
    let of_others = !(1 << (libc::SIGPIPE - 1) | 0b11 << 31);
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    assert_eq!(job.ignored & of_others, ignored & of_others);
    assert!(
        job.limits
            .iter()
            .any(|limit| limit.resource == libc::RLIMIT_NOFILE && limit.soft > 0)
    );
}

#[test]
fn arguments_and_directories_need_not_be_text() {
    let odd = OsString::from_vec(b"\xff\xfe a".to_vec());
    let inner = odd.clone();
    let job = announced(move |command| {
        let dir = command.get_current_dir().unwrap().join(&inner);
        std::fs::create_dir(&dir).unwrap();
        command.arg(&inner).env("ODD", &inner).current_dir(dir);
    });
    assert_eq!(job.argv[3], odd);
    assert_eq!(job.cwd.file_name(), Some(&*odd));
    assert_eq!(env_of(&job, "ODD"), Some(&*odd));
}

#[test]
fn an_environment_of_two_mebibytes_arrives() {
    // The kernel gives a quarter of the stack limit to arguments, 128 KiB to each string.
    let value = "x".repeat(120 << 10);
    let expected = value.clone();
    let job = announced(move |command| {
        for number in 0..18 {
            command.env(format!("BIG{number}"), &value);
        }
        // SAFETY: one system call between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let limit = libc::rlimit {
                    rlim_cur: 64 << 20,
                    rlim_max: libc::RLIM_INFINITY,
                };
                match libc::setrlimit(libc::RLIMIT_STACK, &limit) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
    });
    assert_eq!(env_of(&job, "BIG17"), Some(OsStr::new(&expected)));
    assert!(job.env.iter().map(|e| e.len()).sum::<usize>() > 2 << 20);
}

#[test]
fn streams_are_told_apart() {
    let shell = |text: &str| {
        let stage = Stage::new();
        let (say, said) = mpsc::channel();
        let daemon = stage.serve(script(move |mut caller| {
            say.send(caller.job.stdio.clone()).unwrap();
            caller.exit(0);
        }));
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]);
        stage.surround(&mut command);
        assert!(command.status().unwrap().success());
        daemon.join().unwrap();
        said.recv().unwrap()
    };
    let closed = shell("$STUB /bin/x x <&- >&-");
    assert_eq!(
        (closed.stdin, closed.stdout, closed.stderr),
        (Stdin::Closed, false, true)
    );
    let merged = shell("echo | $STUB /bin/x x 2>&1");
    assert_eq!((merged.stdin, merged.merged), (Stdin::Shared, true));
    let apart = shell("$STUB /bin/x x >/dev/null 2>/dev/null");
    assert!(!apart.merged);
}

#[test]
fn the_same_group_of_processes_is_one_build() {
    let build = |text: &str| {
        let stage = Stage::new();
        let (say, said) = mpsc::channel();
        let scripts = (0..2).map(|_| {
            let say = say.clone();
            Box::new(move |mut caller: crate::fake::Caller| {
                say.send(caller.job.build).unwrap();
                caller.exit(0);
            }) as Box<dyn FnOnce(crate::fake::Caller) + Send>
        });
        let daemon = stage.serve(scripts.collect());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]).process_group(0);
        stage.surround(&mut command);
        command.env_remove("TERMITE__BUILD");
        assert!(command.status().unwrap().success());
        daemon.join().unwrap();
        (said.recv().unwrap(), said.recv().unwrap())
    };
    let (a, b) = build("$STUB /bin/x x; $STUB /bin/y y");
    assert_eq!(a, b);
    let (c, _) = build("$STUB /bin/x x; $STUB /bin/y y");
    assert_ne!(a, c);
}

#[test]
fn status_and_signal_are_the_jobs() {
    for status in [0, 1, 2, 77, 255] {
        assert_eq!(
            with(&["x"], move |mut caller| caller.exit(status)).status.code(),
            Some(status.into())
        );
    }
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGSEGV, libc::SIGINT, libc::SIGPIPE] {
        let output = with(&["x"], move |mut caller| {
            caller.send(termite_wire::frame::ToCaller::Signaled {
                signal: signal as u8,
                read_input: 0,
            });
        });
        assert_eq!(output.status.signal(), Some(signal));
        assert!(!output.status.core_dumped());
    }
}

#[test]
fn a_wrong_use_is_told() {
    let output = Command::new(stub()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage"), "{output:?}");
}
