//! Output, input and signals.

use crate::fake::{Caller, PATIENCE, Stage, script, text, with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::io::{BufRead, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use termite_wire::frame::{ToCaller, ToDaemon};

#[test]
fn output_keeps_its_order_and_its_bytes() {
    let big: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let expected = big.clone();
    let output = with(&["x"], move |mut caller| {
        caller.output(2, b"first\n");
        for piece in big.chunks(70_000) {
            caller.output(1, piece);
        }
        caller.output(2, b"last\n");
        caller.exit(0);
    });
    assert_eq!(output.stdout, expected);
    assert_eq!(text(&output.stderr), "first\nlast\n");
}

#[test]
fn merged_output_is_interleaved_as_it_came() {
    let stage = Stage::new();
    let daemon = stage.serve(script(|mut caller| {
        for number in 0..50 {
            caller.output(1 + number % 2, format!("{number}\n").as_bytes());
        }
        caller.exit(0);
    }));
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "$STUB /bin/x x 2>&1"]);
    stage.surround(&mut command);
    let output = command.output().unwrap();
    daemon.join().unwrap();
    let expected: String = (0..50).map(|n| format!("{n}\n")).collect();
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn input_is_not_touched_unless_it_is_wanted() {
    let stage = Stage::new();
    let daemon = stage.serve(script(|mut caller| caller.exit(0)));
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "$STUB /bin/x x; cat"]).stdin(Stdio::piped());
    stage.surround(&mut command);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"all of it").unwrap();
    assert_eq!(text(&child.wait_with_output().unwrap().stdout), "all of it");
    daemon.join().unwrap();
}

/// A job that reads one line of its input, having been sent all of the rest.
fn one_line() -> Box<dyn FnOnce(Caller) + Send> {
    Box::new(|mut caller: Caller| {
        let sent = caller.input();
        let line = sent.iter().position(|b| *b == b'\n').unwrap() + 1;
        caller.output(1, &sent[..line]);
        caller.send(ToCaller::Exited {
            status: 0,
            read_input: line as u64,
        });
    })
}

#[test]
fn a_pipe_advances_by_what_the_job_read() {
    let stage = Stage::new();
    let daemon = stage.serve(vec![one_line(), one_line()]);
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        "printf '1\\n2\\nrest\\n' | { $STUB /bin/x x; $STUB /bin/x x; cat; }",
    ]);
    stage.surround(&mut command);
    let output = command.output().unwrap();
    daemon.join().unwrap();
    assert_eq!(text(&output.stdout), "1\n2\nrest\n", "{output:?}");
}

#[test]
fn a_file_advances_by_what_the_job_read() {
    let stage = Stage::new();
    let list = stage.dir.path().join("list");
    std::fs::write(&list, "one\njob 1\ntwo\njob 2\n").unwrap();
    let daemon = stage.serve(vec![one_line(), one_line()]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "while read -r line; do echo \"loop $line\"; $STUB /bin/x x; done"]);
    stage.surround(&mut command);
    let output = command.stdin(std::fs::File::open(&list).unwrap()).output().unwrap();
    daemon.join().unwrap();
    assert_eq!(text(&output.stdout), "loop one\njob 1\nloop two\njob 2\n", "{output:?}");
}

#[test]
fn input_that_was_sent_ahead_is_given_back() {
    let stage = Stage::new();
    let list = stage.dir.path().join("list");
    let rest = "x".repeat(100_000);
    std::fs::write(&list, format!("job\n{rest}\n")).unwrap();
    let daemon = stage.serve(script(|mut caller| {
        let pieces = [caller.input(), caller.input()];
        assert!(pieces.iter().all(|piece| piece.len() > 4), "{}", pieces[1].len());
        caller.send(ToCaller::Exited {
            status: 0,
            read_input: 4,
        });
    }));
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "$STUB /bin/x x; cat"]);
    stage.surround(&mut command);
    let output = command.stdin(std::fs::File::open(&list).unwrap()).output().unwrap();
    daemon.join().unwrap();
    assert!(output.stdout == [rest.as_bytes(), b"\n"].concat(), "{output:?}");
}

#[test]
fn a_long_input_comes_in_pieces_to_its_end() {
    let stage = Stage::new();
    let daemon = stage.serve(script(|mut caller| {
        let mut all = 0;
        loop {
            match caller.input().len() {
                0 => break,
                len => all += len,
            }
        }
        assert!(caller.input().is_empty(), "the end stays the end");
        caller.output(1, all.to_string().as_bytes());
        caller.exit(0);
    }));
    let mut child = stage.stub("/bin/x", &["x"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&vec![b'y'; 1_000_000]).unwrap();
    drop(stdin);
    assert_eq!(text(&child.wait_with_output().unwrap().stdout), "1000000");
    daemon.join().unwrap();
}

#[test]
fn nobody_reads_the_output() {
    let stage = Stage::new();
    let daemon = stage.serve(script(|mut caller| {
        caller.output(1, b"into the void");
        caller.exit(0);
    }));
    // The reader is gone before the stub begins: it may be quicker than this thread.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = stage.stub("/bin/x", &["x"]);
    let mut child = command.stdin(Stdio::piped()).stdout(writer).spawn().unwrap();
    let status = child.wait().unwrap();
    daemon.join().unwrap();
    // Rust's own children begin with SIGPIPE at its default.
    assert_eq!(status.signal(), Some(libc::SIGPIPE));
}

#[test]
fn a_full_disk_is_no_success() {
    let stage = Stage::new();
    let daemon = stage.serve(script(|mut caller| {
        caller.output(1, b"lost");
        caller.exit(0);
    }));
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = stage.stub("/bin/x", &["x"]).stdout(full).output().unwrap();
    daemon.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("write error: No space left"),
        "{output:?}"
    );
}

#[test]
fn signals_reach_the_job_and_its_end_comes_back() {
    for (signal, number) in [
        (Signal::INT, 2),
        (Signal::TERM, 15),
        (Signal::HUP, 1),
        (Signal::USR1, 10),
    ] {
        let stage = Stage::new();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let daemon = stage.serve(script(move |mut caller| {
            ready.send(()).unwrap();
            // The input shows that the stub is past its preparations.
            assert_eq!(caller.next(), Some(ToDaemon::Signal(number)));
            caller.send(ToCaller::Signaled {
                signal: number,
                read_input: 0,
            });
        }));
        let mut child = stage.stub("/bin/x", &["x"]).spawn().unwrap();
        is_ready.recv().unwrap();
        // The signals are blocked before the first byte is sent, so none can be early.
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(number.into()));
        daemon.join().unwrap();
    }
}

#[test]
fn a_daemon_that_does_not_answer_is_named_and_a_second_signal_ends_the_wait() {
    let stage = Stage::new();
    // It is connected to, and nobody accepts.
    let _listener = std::os::unix::net::UnixListener::bind(stage.socket()).unwrap();
    let mut child = stage.stub("/bin/x", &["x"]).spawn().unwrap();
    let mut told = String::new();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut told).unwrap();
    let me = std::process::id();
    assert!(
        told.contains(&format!("x: the daemon (pid {me}) has not answered for 2 s")),
        "{told}"
    );
    let pid = Pid::from_child(&child);
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        kill_process(pid, Signal::TERM).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "the first one is the job's");
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
}

#[test]
fn stop_and_continue() {
    let stage = Stage::new();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let daemon = stage.serve(script(move |mut caller| {
        ready.send(()).unwrap();
        assert_eq!(caller.next(), Some(ToDaemon::Signal(libc::SIGSTOP as u8)));
        assert_eq!(caller.next(), Some(ToDaemon::Signal(libc::SIGCONT as u8)));
        caller.exit(4);
    }));
    let mut child = stage.stub("/bin/x", &["x"]).spawn().unwrap();
    let pid = Pid::from_child(&child);
    is_ready.recv().unwrap();
    kill_process(pid, Signal::TSTP).unwrap();
    let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped(), "{status:?}");
    kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    daemon.join().unwrap();
}

#[test]
fn a_killed_stub_is_gone_for_the_daemon() {
    let stage = Stage::new();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let daemon = stage.serve(script(move |mut caller| {
        ready.send(()).unwrap();
        assert_eq!(caller.next(), None);
    }));
    let mut child = stage.stub("/bin/x", &["x"]).spawn().unwrap();
    is_ready.recv().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    daemon.join().unwrap();
}

#[test]
fn an_interrupt_gets_through_while_nobody_reads() {
    let stage = Stage::new();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let daemon = stage.serve(script(move |mut caller| {
        for _ in 0..40 {
            caller.output(1, &[b'z'; 50_000]);
        }
        ready.send(()).unwrap();
        assert!(matches!(caller.next(), None | Some(ToDaemon::Signal(2))));
    }));
    let mut child = stage.stub("/bin/x", &["x"]).spawn().unwrap();
    let mut first = [0; 1];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGINT));
    drop(child);
    is_ready.recv().unwrap();
    daemon.join().unwrap();
}
