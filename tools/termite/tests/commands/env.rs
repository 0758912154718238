//! `termite-env`: surroundings, status, signals, summary.

use crate::stage::{Stage, text};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use termite_wire::frame::Control;

const LAST: &str = r#"{"exit":0,"wall_s":1.5,"jobs":{"total":3,"remote":2,"local":1},"local_reasons":{"rule: git":1},"client_cpu_s":0,"bytes":{"sent":0,"received":0},"reruns":0,"rollbacks":0}"#;

#[test]
fn a_command_in_its_surroundings_and_one_line_at_the_end() {
    let stage = Stage::new();
    let daemon = stage.answer(vec![Ok("{}"), Ok(LAST)]);
    let output = stage.env(&["--workers", "unix:w.sock", "env"]).output().unwrap();
    let env = text(&output.stdout);
    let library = stage.path("prefix/lib/libtermite.so");
    assert!(env.contains(&format!("LD_PRELOAD={}\n", library.display())), "{env}");
    assert!(env.contains("PATH=/usr/bin:/bin\n"), "{env}");
    assert!(output.status.success());
    let summary = "termite: 3 jobs, 2 on the fleet, 1 local (rule: git: 1); 1.5 s\n";
    assert!(text(&output.stderr).ends_with(summary), "{output:?}");
    let asked = daemon.join().unwrap();
    let Control::Begin {
        build,
        cwd,
        command,
        workers,
    } = &asked[0]
    else {
        panic!("{asked:?}")
    };
    let work = stage.path("work").canonicalize().unwrap();
    assert_eq!((cwd, command.as_slice()), (&work, &["env".into()][..]));
    assert_eq!(*workers, [format!("unix:{}/w.sock", work.display())]);
    assert!(env.contains(&format!("TERMITE__BUILD={build}\n")), "{env}");
    assert_eq!(asked[1], Control::Finish { build: *build, exit: 0 });
}

#[test]
fn a_tool_or_what_a_rule_names_is_itself_a_job() {
    const RULE: &str =
        "[[rule]]\nnames = [\"true\"]\nrun = \"remote\"\n[[rule]]\nregex = \"^false\"\nrun = \"local\"\n";
    for (command, is_job) in [("gcc -v", true), ("true a", true), ("false", true), ("echo gcc", false)] {
        let stage = Stage::new();
        std::fs::write(stage.path("work/.termite.toml"), RULE).unwrap();
        stage.script(
            "prefix/bin/termite-run",
            "echo \"job $TERMITE__BUILD $TERMITE__TOOLS $*\"",
        );
        let daemon = stage.answer(vec![Ok("{}"), Ok(LAST)]);
        let words: Vec<&str> = command.split(' ').collect();
        let output = stage.env(&words).output().unwrap();
        let asked = daemon.join().unwrap();
        let Control::Begin { build, .. } = &asked[0] else {
            panic!("{asked:?}")
        };
        let program = format!("/usr/bin/{}", words[0]);
        let told = format!("job {build} +:true {program} {command}\n");
        let wanted = if is_job { told.as_str() } else { "gcc\n" };
        assert_eq!(text(&output.stdout), wanted, "{output:?}");
    }
}

#[test]
fn where_there_was_no_job_the_summary_names_what_was_started() {
    const NONE: &str = r#"{"exit":0,"wall_s":1.5,"jobs":{"total":0,"remote":0,"local":0},"local_reasons":{},"client_cpu_s":0,"bytes":{"sent":0,"received":0},"reruns":0,"rollbacks":0}"#;
    let stage = Stage::new();
    let daemon = stage.answer(vec![Ok("{}"), Ok(NONE)]);
    let script = "echo pdflatex >> $TERMITE__SEEN; echo bibtex >> $TERMITE__SEEN; echo pdflatex >> $TERMITE__SEEN";
    let output = stage.env(&["sh", "-c", script]).output().unwrap();
    daemon.join().unwrap();
    let told = text(&output.stderr);
    assert!(
        told.contains("local; 1.5 s; no program that was started is a known build tool (pdflatex, bibtex): "),
        "{told}"
    );
}

#[test]
fn where_termite_is_disabled_the_command_is_alone() {
    let stage = Stage::new();
    let mut command = stage.env(&["sh", "-c", "echo here $LD_PRELOAD"]);
    let output = command.env("TERMITE_DISABLE", "1").output().unwrap();
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("here\n".into(), String::new())
    );
}

#[test]
fn a_variable_that_nobody_reads_is_named() {
    let stage = Stage::new();
    let daemon = stage.answer(vec![Ok("{}"), Ok(LAST)]);
    let output = stage.env(&["true"]).env("TERMITE_WORKER", "x").output().unwrap();
    daemon.join().unwrap();
    let told = text(&output.stderr);
    assert!(
        told.contains("nothing reads the variable TERMITE_WORKER; did you mean TERMITE_WORKERS?"),
        "{told}"
    );
}

#[test]
fn a_summary_that_a_stopped_daemon_owes() {
    let stage = Stage::new();
    let daemon = stage.answer(vec![Ok("{}")]);
    let socket = stage.path("run/s.sock");
    let script = format!("echo $TERMITE__BUILD > {0}.stopped; rm {0}", socket.display());
    let output = stage.env(&["sh", "-c", &script]).output().unwrap();
    daemon.join().unwrap();
    let told = text(&output.stderr);
    assert!(told.contains("no summary: the daemon was stopped;"), "{told}");
}

#[test]
fn other_preloaded_libraries_stay() {
    let stage = Stage::new();
    let daemon = stage.answer(vec![Ok("{}"), Ok(LAST)]);
    let mut command = stage.env(&["--", "sh", "-c", "echo $LD_PRELOAD"]);
    let output = command.env("LD_PRELOAD", "/none/other.so").output().unwrap();
    assert!(
        text(&output.stdout).ends_with("/lib/libtermite.so:/none/other.so\n"),
        "{output:?}"
    );
    daemon.join().unwrap();
}

#[test]
fn status_and_signal_are_the_commands() {
    for (script, exit) in [("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143)] {
        let stage = Stage::new();
        let daemon = stage.answer(vec![Ok("{}"), Ok(LAST)]);
        let output = stage.env(&["sh", "-c", script]).output().unwrap();
        let status = output.status.code().or(output.status.signal().map(|s| 128 + s));
        assert_eq!(status, Some(exit.into()), "{script}");
        let asked = daemon.join().unwrap();
        assert!(
            matches!(asked[1], Control::Finish { exit: told, .. } if told == exit),
            "{asked:?}"
        );
    }
}

#[test]
fn signals_are_passed_on() {
    let stage = Stage::new();
    let daemon = stage.answer(vec![Ok("{}"), Ok(LAST)]);
    let script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = stage.env(&["sh", "-c", script]).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut ready = [0; 6];
    out.read_exact(&mut ready).unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "caught\n");
    daemon.join().unwrap();
}

#[test]
fn mistakes_are_told_before_anything_runs() {
    let table: &[(&[&str], i32, &str)] = &[
        (
            &["no-such-command"],
            127,
            "termite-env: no-such-command: No such file or directory",
        ),
        (&["/etc/passwd"], 126, "Permission denied"),
        (&["--serial", "true"], 2, "serial mode is not built yet"),
        (&["--workers", "10.1.1.1:9", "true"], 2, "is not on this machine"),
        (&["--workers", "dns:fleet:9", "true"], 2, "not built yet"),
        (&["--nonsense", "true"], 2, "--nonsense"),
    ];
    for (arguments, status, why) in table {
        let output = Stage::new().env(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(*status), "{arguments:?}");
        assert!(text(&output.stderr).contains(why), "{output:?}");
    }
    let stage = Stage::new();
    let daemon = stage.answer(vec![Err("no")]);
    let output = stage.env(&["echo", "x"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
    daemon.join().unwrap();
}

#[test]
fn options_of_the_command_are_the_commands() {
    let stage = Stage::new();
    let daemon = stage.answer(vec![Ok("{}"), Ok(LAST)]);
    let output = stage.env(&["echo", "--workers", "x", "--", "-y"]).output().unwrap();
    assert_eq!(text(&output.stdout), "--workers x -- -y\n");
    daemon.join().unwrap();
}

#[test]
fn a_build_in_a_build_is_part_of_it() {
    let stage = Stage::new();
    let mut command = stage.env(&["sh", "-c", "echo $TERMITE__BUILD"]);
    let output = command.env("TERMITE__BUILD", "00000000000000ab").output().unwrap();
    assert_eq!(text(&output.stdout), "00000000000000ab\n");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn without_a_daemon_everything_runs_here() {
    let stage = Stage::new();
    std::fs::remove_file(stage.path("prefix/bin/termite")).unwrap();
    let output = stage.env(&["sh", "-c", "echo here $LD_PRELOAD"]).output().unwrap();
    assert_eq!(text(&output.stdout), "here\n");
    let told = text(&output.stderr);
    assert!(
        told.contains("the daemon did not start") && told.contains("everything runs here"),
        "{told}"
    );
}

#[test]
fn an_interactive_shell_shows_where_it_is() {
    for shell in ["/bin/bash", "/bin/sh"] {
        let stage = Stage::new();
        let daemon = stage.answer(vec![Ok("{}"), Ok(LAST)]);
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&main).unwrap();
        unlockpt(&main).unwrap();
        let name = ptsname(&main, Vec::new()).unwrap();
        let other = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let stream = || Stdio::from(other.try_clone().unwrap());
        let mut command = stage.env(&[]);
        command
            .env("SHELL", shell)
            .env("HOME", stage.path("home"))
            .stdin(stream())
            .stdout(stream())
            .stderr(stream());
        let mut child = command.spawn().unwrap();
        drop((command, other));
        let mut main = std::fs::File::from(main);
        main.write_all(b"exit 3\n").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3), "{shell}");
        let mut seen = Vec::new();
        // A terminal whose other side is closed ends with EIO.
        let _ = main.read_to_end(&mut seen);
        assert!(text(&seen).contains("[termite] "), "{shell}: {}", text(&seen));
        daemon.join().unwrap();
    }
}
