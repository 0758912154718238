//! A stub whose standard streams are a terminal.

#![allow(unsafe_code)]

use crate::fake::{Stage, script};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use termite_types::TerminalSize;
use termite_wire::frame::ToDaemon;

fn terminal() -> (std::fs::File, OwnedFd) {
    let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&main).unwrap();
    unlockpt(&main).unwrap();
    let name = ptsname(&main, Vec::new()).unwrap();
    let other = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    (std::fs::File::from(main), other)
}

fn size(fd: impl AsFd, rows: u16, cols: u16) {
    tcsetwinsize(
        fd,
        Winsize {
            ws_row: rows,
            ws_col: cols,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )
    .unwrap();
}

fn on_terminal(command: &mut Command, terminal: &OwnedFd) {
    let stream = || Stdio::from(terminal.try_clone().unwrap());
    command.stdin(stream()).stdout(stream()).stderr(stream());
    // SAFETY: system calls between fork and exec; 0 is the terminal.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            libc::ioctl(0, libc::TIOCSCTTY, 0);
            Ok(())
        });
    }
}

fn is_raw(terminal: &OwnedFd) -> bool {
    let modes = tcgetattr(terminal).unwrap().local_modes;
    assert!(modes.contains(LocalModes::ISIG));
    !modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
}

#[test]
fn keys_size_and_settings() {
    let stage = Stage::new();
    let (mut main, other) = terminal();
    size(&other, 24, 80);
    let (steps, step) = mpsc::channel();
    let (say, said) = mpsc::channel();
    let there = other.try_clone().unwrap();
    let daemon = stage.serve(script(move |mut caller| {
        assert_eq!(caller.job.stdio.terminal, [true; 3]);
        assert!(caller.job.stdio.merged);
        assert_eq!(caller.job.stdio.size, Some(TerminalSize { rows: 24, cols: 80 }));
        assert!(!is_raw(&there), "raw before anybody reads");
        steps.send("size").unwrap();
        let resized = caller.next();
        assert_eq!(resized, Some(ToDaemon::Resize(TerminalSize { rows: 50, cols: 100 })));
        steps.send("keys").unwrap();
        assert_eq!(caller.input(), b"q");
        assert!(is_raw(&there), "not raw while it is read");
        caller.output(1, b"answer");
        caller.exit(0);
        say.send(()).unwrap();
    }));
    let mut command = stage.stub("/bin/x", &["x"]);
    on_terminal(&mut command, &other);
    let mut child = command.spawn().unwrap();
    assert_eq!(step.recv().unwrap(), "size");
    size(&other, 50, 100);
    assert_eq!(step.recv().unwrap(), "keys");
    // One key without a newline: it only arrives at a raw terminal. Typed before that it
    // would wait in the line buffer, so the stub's change must keep it.
    main.write_all(b"q").unwrap();
    said.recv().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!is_raw(&other), "the settings were not restored");
    daemon.join().unwrap();
    // It comes in one piece or in several, behind what was echoed.
    let (mut seen, mut piece) = (Vec::new(), [0; 64]);
    while !seen.ends_with(b"answer") {
        let len = main.read(&mut piece).unwrap();
        assert!(len > 0, "{:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..len]);
    }
}

#[test]
fn ctrl_c_is_the_jobs_and_leaves_the_terminal_sane() {
    let stage = Stage::new();
    let (mut main, other) = terminal();
    let (ready, is_ready) = mpsc::channel();
    let daemon = stage.serve(script(move |mut caller| {
        caller.send(termite_wire::frame::ToCaller::WantInput);
        ready.send(()).unwrap();
        assert_eq!(caller.next(), Some(ToDaemon::Signal(2)));
        caller.send(termite_wire::frame::ToCaller::Signaled {
            signal: 2,
            read_input: 0,
        });
    }));
    let mut command = stage.stub("/bin/x", &["x"]);
    on_terminal(&mut command, &other);
    let mut child = command.spawn().unwrap();
    is_ready.recv().unwrap();
    main.write_all(b"\x03").unwrap();
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    assert!(
        tcgetattr(&other)
            .unwrap()
            .local_modes
            .contains(LocalModes::ICANON | LocalModes::ECHO)
    );
    daemon.join().unwrap();
}
