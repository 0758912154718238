//! The frames of `shim.capnp`.

use super::{canonical, golden_bytes};
use std::ffi::OsString;
use std::fmt::Debug;
use std::os::unix::ffi::OsStringExt;
use termite_types::{BuildId, Limit, RequestId, Stdin, Stdio, TerminalSize};
use termite_wire::frame::{CallerJob, Control, Decoder, Frame, FrameError, ToCaller, ToDaemon, encode};

const BUILD: BuildId = BuildId(0x0123_4567_89ab_cdef);

pub(crate) fn check_all() {
    to_daemon();
    to_caller();
    another_protocol();
}

fn check<F: Frame + PartialEq + Debug>(name: &str, frame: &F) {
    let golden = golden_bytes(name);
    let ours = encode(frame);
    for bytes in [&golden, &ours] {
        let mut decoder = Decoder::<F>::new();
        decoder.feed(bytes);
        assert_eq!(decoder.next().expect("a frame").as_ref(), Some(frame), "{name}");
        assert!(!decoder.is_torn(), "{name}");
    }
    assert_eq!(canonical(&ours), canonical(&golden), "{name}");
}

fn to_daemon() {
    let job = CallerJob {
        request: RequestId(0x0102_0304_0506_0708_1010_1010_1010_1010),
        build: BUILD,
        program: "/usr/bin/gcc".into(),
        argv: vec![
            "gcc".into(),
            "-c".into(),
            "".into(),
            OsString::from_vec(b"x\xff.c".to_vec()),
        ],
        env: vec!["A=1".into(), "B=".into()],
        cwd: "/home/u/p".into(),
        umask: 0o022,
        ignored: 1 << 63 | 1,
        nice: 19,
        limits: vec![Limit {
            resource: 3,
            soft: 8 << 20,
            hard: u64::MAX,
        }],
        groups: vec![100, 4],
        stdio: Stdio {
            stdin: Stdin::Null,
            stdout: true,
            stderr: true,
            merged: false,
            terminal: [true, false, true],
            size: Some(TerminalSize { rows: 24, cols: 80 }),
        },
        inherited: vec![9],
        must: true,
        is_driven: true,
    };
    let begin = Control::Begin {
        build: BUILD,
        cwd: "/home/u/p".into(),
        command: vec!["make".into(), "-j8".into()],
        workers: vec!["unix:/run/w".into(), "localhost:7".into()],
    };
    let cases = [
        ("job", ToDaemon::Job(job)),
        ("status", ToDaemon::Control(Control::Status)),
        ("stop", ToDaemon::Control(Control::Stop)),
        ("last", ToDaemon::Control(Control::Last("/home/u/p".into()))),
        ("begin", ToDaemon::Control(begin)),
        ("finish", ToDaemon::Control(Control::Finish { build: BUILD, exit: 2 })),
        (
            "forget",
            ToDaemon::Control(Control::Forget(vec!["sh".into(), "x y".into()])),
        ),
        ("signal", ToDaemon::Signal(15)),
        ("input", ToDaemon::Input(vec![0, 10, 255])),
        ("end", ToDaemon::Input(Vec::new())),
        ("resize", ToDaemon::Resize(TerminalSize { rows: 50, cols: 132 })),
    ];
    for (case, frame) in cases {
        check(&format!("shim.ToDaemon.{case}"), &frame);
    }
}

fn to_caller() {
    let local = ToCaller::Local {
        reason: "the worker is full: inodes".into(),
        as_driver: true,
        tell: true,
        tools: "cc gcc".into(),
    };
    let cases = [
        ("local", local),
        (
            "output",
            ToCaller::Output {
                fd: 2,
                bytes: b"hi\xff\n".to_vec(),
            },
        ),
        ("want", ToCaller::WantInput),
        (
            "exited",
            ToCaller::Exited {
                status: 255,
                read_input: u64::MAX,
            },
        ),
        (
            "signaled",
            ToCaller::Signaled {
                signal: 9,
                read_input: 1,
            },
        ),
        ("report", ToCaller::Report("{\"exit\":0}".into())),
        ("error", ToCaller::Error("stop the daemon".into())),
    ];
    for (case, frame) in cases {
        check(&format!("shim.ToCaller.{case}"), &frame);
    }
}

fn another_protocol() {
    let mut decoder = Decoder::<ToDaemon>::new();
    decoder.feed(&golden_bytes("shim.ToDaemon.other"));
    let error = decoder.next().expect_err("another protocol");
    assert!(
        matches!(
            error,
            FrameError::Protocol {
                theirs: u32::MAX,
                ours: termite_types::PROTOCOL
            }
        ),
        "{error:?}"
    );
}
