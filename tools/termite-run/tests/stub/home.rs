//! The command in the stub's own place: by rule, by fault, and when the daemon dies.

use crate::fake::{Caller, Stage, script, stub, text, with};
use std::io::Write;
use std::process::Stdio;
use termite_wire::frame::ToCaller;

#[test]
fn a_local_command_sees_nothing_of_termite() {
    let stage = Stage::new();
    let daemon = stage.serve(script(|mut caller| caller.local(false, false, "cc:ld")));
    let mut command = stage.stub("/usr/bin/env", &["env"]);
    command.env("LD_PRELOAD", "libtermite.so");
    let output = command.output().unwrap();
    daemon.join().unwrap();
    let env = text(&output.stdout);
    assert!(!env.contains("TERMITE__") && !env.contains("LD_PRELOAD"), "{env}");
    assert!(env.contains("TERMITE_SOCKET="), "{env}");
    assert!(!text(&output.stderr).contains("termite:"), "{output:?}");
}

#[test]
fn where_termite_is_disabled_no_daemon_is_asked() {
    let stage = Stage::new();
    let mut command = stage.stub("/bin/echo", &["echo", "here"]);
    let output = command.env("TERMITE_DISABLE", "1").output().unwrap();
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("here\n".into(), String::new())
    );
}

#[test]
fn a_build_whose_daemon_was_stopped_starts_no_other_one() {
    for (stopped, is_told) in [("00000000000000ab", false), ("00000000000000ac", true)] {
        let stage = Stage::new();
        let list = termite_types::stopped_path(&stage.socket());
        std::fs::write(list, format!("0000000000000001\n{stopped}\n")).unwrap();
        let output = stage.stub("/bin/echo", &["echo", "here"]).output().unwrap();
        assert_eq!(text(&output.stdout), "here\n");
        // There is none that could be started.
        let told = text(&output.stderr);
        assert_eq!(told.contains("the daemon did not start"), is_told, "{told}");
    }
}

#[test]
fn people_are_told_what_the_stub_is() {
    for (arguments, status) in [(&["--help"][..], 0), (&["--version"], 0), (&[], 2)] {
        let output = std::process::Command::new(stub()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(status));
        let told = text(&[output.stdout, output.stderr].concat());
        assert!(told.contains("people use `termite run CMD`"), "{told}");
    }
}

#[test]
fn a_driver_keeps_the_shim() {
    let stage = Stage::new();
    let daemon = stage.serve(script(|mut caller| caller.local(true, false, "cc:ld")));
    let mut command = stage.stub("/usr/bin/env", &["env"]);
    command.env("TERMITE__TOOLS", "old").env("TERMITE__MUST", "1");
    let output = command.output().unwrap();
    daemon.join().unwrap();
    let env = text(&output.stdout);
    assert!(
        env.contains("TERMITE__TOOLS=cc:ld\n") && env.contains("TERMITE__BUILD="),
        "{env}"
    );
    assert!(
        env.contains("/lib/libtermite.so\n") && !env.contains("TERMITE__MUST"),
        "{env}"
    );
}

#[test]
fn what_was_shown_before_is_told_to_come_again() {
    let output = with(&["/bin/echo", "hello"], |mut caller| {
        caller.output(1, b"hello\n");
        caller.local(false, false, "");
    });
    assert_eq!(text(&output.stdout), "hello\nhello\n");
    let told = "termite: echo runs again here, and prints again what is above\n";
    assert_eq!(text(&output.stderr), told);
}

#[test]
fn a_fault_is_told_once_with_its_reason() {
    let output = with(&["/bin/echo", "hello"], |mut caller| caller.local(false, true, ""));
    assert_eq!(text(&output.stdout), "hello\n");
    assert_eq!(text(&output.stderr), "termite: echo ran locally: because\n");
}

#[test]
fn the_zeroth_argument_and_the_status_are_the_commands() {
    let stage = Stage::new();
    let daemon = stage.serve(script(|mut caller| caller.local(false, false, "")));
    let output = stage
        .stub("/bin/sh", &["other", "-c", "echo $0; exit 9"])
        .output()
        .unwrap();
    daemon.join().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(9), "other\n".into())
    );
}

#[test]
fn a_command_that_cannot_be_executed() {
    let stage = Stage::new();
    std::fs::write(stage.dir.path().join("plain"), "x").unwrap();
    let executable = stage.executable("script", "echo script $1\n");
    let local = || Box::new(|mut caller: Caller| caller.local(false, false, "")) as Box<dyn FnOnce(Caller) + Send>;
    let daemon = stage.serve(vec![local(), local(), local()]);
    let missing = stage.stub("/no/such/thing", &["thing"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(127));
    assert_eq!(text(&missing.stderr), "/no/such/thing: No such file or directory\n");
    let plain = stage.dir.path().join("plain").display().to_string();
    let plain = stage.stub(&plain, &["plain"]).output().unwrap();
    assert_eq!(plain.status.code(), Some(126));
    assert!(text(&plain.stderr).contains("Permission denied"), "{plain:?}");
    let script = stage.stub(&executable, &["script", "arg"]).output().unwrap();
    assert_eq!(text(&script.stdout), "script arg\n", "{script:?}");
    daemon.join().unwrap();
}

#[test]
fn a_refusal_lets_the_build_go_on() {
    let refuse = |mut caller: Caller| caller.send(ToCaller::Error("rules.toml:3: bad".into()));
    let output = with(&["/bin/echo", "hello"], refuse);
    assert_eq!(text(&output.stdout), "hello\n");
    assert_eq!(text(&output.stderr), "termite: echo ran locally: rules.toml:3: bad\n");

    let stage = Stage::new();
    let daemon = stage.serve(script(refuse));
    let output = stage
        .stub("/bin/echo", &["echo", "hello"])
        .env("TERMITE__MUST", "1")
        .output()
        .unwrap();
    daemon.join().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
    assert_eq!(text(&output.stderr), "termite: echo: rules.toml:3: bad\n");
}

#[test]
fn a_daemon_that_ends_without_a_word_is_asked_twice() {
    let stage = Stage::new();
    let leave = || Box::new(drop::<Caller>) as Box<dyn FnOnce(Caller) + Send>;
    let daemon = stage.serve(vec![leave(), leave()]);
    let output = stage.stub("/bin/echo", &["echo", "hello"]).output().unwrap();
    daemon.join().unwrap();
    assert_eq!(text(&output.stdout), "hello\n");
    assert!(
        text(&output.stderr).starts_with("termite: echo ran locally: the daemon ended"),
        "{output:?}"
    );
}

#[test]
fn a_daemon_that_ends_in_the_middle_is_told() {
    let output = with(&["/bin/echo", "hello"], |mut caller| caller.output(1, b"half"));
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(255), "half".into()));
    assert!(text(&output.stderr).contains("the daemon ended while"), "{output:?}");
}

#[test]
fn input_that_was_taken_is_put_back() {
    for lines in [3, 200_000] {
        let stage = Stage::new();
        let daemon = stage.serve(script(|mut caller| {
            caller.input();
            caller.local(false, false, "");
        }));
        let mut child = stage
            .stub("/usr/bin/wc", &["wc", "-l"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all("line\n".repeat(lines).as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        daemon.join().unwrap();
        assert_eq!(text(&output.stdout).trim(), lines.to_string(), "{output:?}");
    }
    let stage = Stage::new();
    let list = stage.dir.path().join("list");
    std::fs::write(&list, "a\nb\n").unwrap();
    let daemon = stage.serve(script(|mut caller| {
        assert_eq!(caller.input(), b"a\nb\n");
        caller.local(false, false, "");
    }));
    let file = std::fs::File::open(&list).unwrap();
    let output = stage.stub("/bin/cat", &["cat"]).stdin(file).output().unwrap();
    daemon.join().unwrap();
    assert_eq!(text(&output.stdout), "a\nb\n");
}

#[test]
fn a_directory_that_is_gone() {
    let stage = Stage::new();
    let daemon = stage.serve(Vec::new());
    let mut command = std::process::Command::new("/bin/sh");
    command.args([
        "-c",
        "mkdir gone && cd gone && rmdir ../gone && exec $STUB /bin/echo echo here",
    ]);
    command.current_dir(stage.dir.path());
    stage.surround(&mut command);
    let output = command.output().unwrap();
    daemon.join().unwrap();
    assert_eq!(text(&output.stdout), "here\n");
    assert!(text(&output.stderr).contains("the working directory"), "{output:?}");
}
