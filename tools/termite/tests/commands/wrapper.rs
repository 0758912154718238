//! `termite run`, `termite gcc`, and links named like compilers.

use crate::stage::{Stage, text};
use std::os::unix::fs::symlink;

#[test]
fn run_hands_over_to_the_stub() {
    let stage = Stage::new();
    let output = stage.termite(&["run", "--", "sh", "-c", "x"]).output().unwrap();
    assert_eq!(text(&output.stdout), "1 /usr/bin/sh sh -c x\n", "{output:?}");
    let output = stage.termite(&["run", "/bin/ls", "--json", "-l"]).output().unwrap();
    assert_eq!(text(&output.stdout), "1 /bin/ls /bin/ls --json -l\n", "{output:?}");
}

#[test]
fn a_word_that_is_no_command_of_ours_is_a_compiler() {
    let stage = Stage::new();
    let gcc = stage.script("tools/gcc", "").display().to_string();
    let mut command = stage.termite(&["gcc", "-c", "x.c", "-o", "x.o"]);
    let output = command.env("PATH", stage.path("tools")).output().unwrap();
    assert_eq!(
        text(&output.stdout),
        format!("1 {gcc} {gcc} -c x.c -o x.o\n"),
        "{output:?}"
    );
    let missing = stage.termite(&["no-such-cc", "-c"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(127));
    assert_eq!(
        text(&missing.stderr),
        "termite: no-such-cc: No such file or directory\n"
    );
}

#[test]
fn a_link_named_gcc_finds_the_real_one() {
    let stage = Stage::new();
    let gcc = stage.script("tools/gcc", "").display().to_string();
    std::fs::create_dir(stage.path("links")).unwrap();
    let link = stage.path("links/gcc");
    symlink(stage.path("prefix/bin/termite"), &link).unwrap();
    let path = std::env::join_paths([stage.path("links"), stage.path("tools"), "/usr/bin".into()]).unwrap();
    let output = stage
        .command(&link, &["-c", "--help"])
        .env("PATH", &path)
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), format!("1 {gcc} {gcc} -c --help\n"), "{output:?}");
    let alone = stage
        .command(&link, &["-c"])
        .env("PATH", stage.path("links"))
        .output()
        .unwrap();
    assert_eq!(alone.status.code(), Some(127), "{alone:?}");
}

#[test]
fn a_script_that_calls_us_again_does_not_go_round() {
    let stage = Stage::new();
    // The stub runs what it is given, as the daemon's `local` would have it.
    stage.script(
        "prefix/bin/termite-run",
        "program=$1; shift 2; exec \"$program\" \"$@\"",
    );
    let termite = stage.path("prefix/bin/termite").display().to_string();
    stage.script("first/gcc", &format!("exec {termite} gcc \"$@\""));
    stage.script("second/gcc", "echo real \"$@\"");
    let path = std::env::join_paths([stage.path("first"), stage.path("second"), "/usr/bin".into()]).unwrap();
    let output = stage.termite(&["gcc", "-c"]).env("PATH", &path).output().unwrap();
    assert_eq!(text(&output.stdout), "real -c\n", "{output:?}");
}

#[test]
fn without_the_stub_the_command_still_runs() {
    let stage = Stage::new();
    std::fs::remove_file(stage.path("prefix/bin/termite-run")).unwrap();
    let output = stage.termite(&["run", "echo", "here"]).output().unwrap();
    assert_eq!(text(&output.stdout), "here\n");
    assert!(text(&output.stderr).contains("bin/termite-run"), "{output:?}");
}
