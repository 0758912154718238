//! Driver mode under real make, ninja and shells: what becomes a job, and that every
//! command ends exactly as it does without the library.

use super::{Rig, end, there_is};
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn rig_with_tool() -> Rig {
    let rig = Rig::new();
    rig.compile(include_str!("target.c"), "work/cc");
    rig
}

#[test]
fn every_recipe_of_make_is_one_job_and_what_make_reads_itself_is_not() {
    let rig = rig_with_tool();
    rig.write(
        "work/Makefile",
        "WORDS := $(shell echo read; echo by make)\n\
         all: one two\n\
         one:\n\t@/bin/echo simple $(WORDS)\n\t@echo 'with a shell' && /bin/echo x\n\
         two:\n\t-cc a 'b c'\n\t-@cc a >/dev/null; exit 3\n\t-@kill -TERM $$$$\n",
    );
    let jobs = rig.drive(&["make"]);
    let cc = rig.path("work/cc");
    let want = [
        "/bin/echo /bin/echo simple read by make".to_owned(),
        "/bin/sh /bin/sh -c echo 'with a shell' && /bin/echo x".to_owned(),
        format!("{} cc a b c", cc.display()),
        "/bin/sh /bin/sh -c cc a >/dev/null; exit 3".to_owned(),
        "/bin/sh /bin/sh -c kill -TERM $$".to_owned(),
    ];
    assert_eq!(jobs, want);
}

#[test]
fn a_tool_is_a_job_also_where_make_reads_its_output() {
    let rig = rig_with_tool();
    rig.write(
        "work/Makefile",
        "X := $(shell cc 1)\nY := $(shell cc 2; :)\nall:\n\t@/bin/echo '$(X) $(Y)'\n",
    );
    let jobs = rig.drive(&["make"]);
    assert_eq!(jobs.len(), 3, "{jobs:?}");
    assert!(jobs[0].ends_with("cc 1") && jobs[1].ends_with("cc 2") && jobs[2].contains("/bin/echo"));
}

#[test]
fn make_that_starts_itself_again_is_no_job() {
    let rig = Rig::new();
    rig.write(
        "work/Makefile",
        "all:\n\t@/bin/echo $(V)\nmade: \n\t@/bin/echo V := 5 > made\n-include made\n",
    );
    let bare = rig.bare(&["make"]);
    fs::remove_file(rig.path("work/made")).unwrap();
    assert_eq!(end(rig.preloaded(&["make"])), bare);
    let log = fs::read_to_string(rig.path("log")).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[test]
fn a_failing_recipe_fails_alike() {
    let rig = rig_with_tool();
    for recipe in [
        "exit 7",
        "./not-there",
        "kill -9 $$$$",
        "not-there",
        "./Makefile",
        "false | true; false",
    ] {
        rig.write("work/Makefile", &format!("all:\n\t{recipe}\n"));
        rig.drive(&["make"]);
    }
}

#[test]
fn shells_start_tools_as_jobs_and_nothing_else() {
    let rig = rig_with_tool();
    let cc = rig.path("work/cc");
    let script = "cc 1; /bin/echo no; cc 2 | cat; x=$(cc 3); echo \"$x\"; (cd / && cc 4 && :); exec cc 5";
    for shell in ["dash", "bash"].into_iter().filter(|shell| there_is(shell)) {
        let jobs = rig.drive(&[shell, "-c", script]);
        let want: Vec<_> = (1..6).map(|n| format!("{} cc {n}", cc.display())).collect();
        assert_eq!(jobs, want, "{shell}");
    }
}

#[test]
fn what_a_shell_starts_besides_is_written_down() {
    let rig = rig_with_tool();
    rig.write("seen", "");
    let script = "cc 1; /bin/echo 2; /bin/echo 3; make --version; ./none; exec env true";
    let status = rig
        .preloaded(&["sh", "-c", script])
        .env("TERMITE__SEEN", rig.path("seen"))
        .status()
        .unwrap();
    assert!(status.success());
    let seen = fs::read_to_string(rig.path("seen")).unwrap();
    assert_eq!(
        seen, "echo\necho\nenv\ntrue\n",
        "neither jobs, drivers nor what is not there"
    );
}

#[test]
fn where_termite_is_disabled_nothing_becomes_a_job() {
    let rig = rig_with_tool();
    for (value, jobs) in [("1", 0), ("yes", 0), ("0", 1), ("", 1)] {
        let log = rig.path("log");
        // Made by the stub, if that is started.
        let _ = fs::remove_file(&log);
        let mut command = rig.preloaded(&["sh", "-c", "cc 1; :"]);
        command.env("TERMITE_DISABLE", value);
        assert!(command.status().unwrap().success());
        let told = fs::read_to_string(&log).unwrap_or_default();
        assert_eq!(told.lines().count(), jobs, "{value:?}: {told}");
    }
}

#[test]
fn errors_of_exec_are_the_true_ones() {
    let rig = Rig::new();
    // A name that no other directory of PATH has.
    rig.write("work/gcc-99", "echo a script without a first line $0 $*\n");
    for shell in ["dash", "bash"].into_iter().filter(|shell| there_is(shell)) {
        assert_eq!(
            rig.drive(&[shell, "-c", "gcc-99 1; ./gcc-99 2; ./gcc; /gcc/gcc; echo $?"]),
            [""; 0],
            "not executable"
        );
        fs::set_permissions(rig.path("work/gcc-99"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(
            rig.drive(&[shell, "-c", "gcc-99 1; ./gcc-99 2; echo $?"]),
            [""; 0],
            "no format"
        );
        fs::set_permissions(rig.path("work/gcc-99"), fs::Permissions::from_mode(0o644)).unwrap();
    }
}

#[test]
fn a_script_with_an_interpreter_is_a_tool_like_any_other() {
    let rig = Rig::new();
    rig.write("work/gcc-12", "#!/bin/sh\necho script $0 $*\nexit 5\n");
    fs::set_permissions(rig.path("work/gcc-12"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(rig.drive(&["sh", "-c", "gcc-12 a; ./gcc-12 b; exit $?"]).len(), 2);
}

#[test]
fn an_emptied_environment_does_not_end_the_build() {
    let rig = rig_with_tool();
    let cc = rig.path("work/cc");
    let cc = cc.to_str().unwrap();
    let nested = format!("env -i sh -c '{cc} 2; env -u LD_PRELOAD {cc} 3'");
    let jobs = rig.drive(&["sh", "-c", &format!("env -i {cc} 1; {nested}; LD_PRELOAD= {cc} 4")]);
    let want: Vec<_> = (1..5).map(|n| format!("{cc} {cc} {n}")).collect();
    assert_eq!(jobs, want);
}

#[test]
fn ninja_starts_every_edge_as_a_job() {
    if !there_is("ninja") {
        return;
    }
    let rig = Rig::new();
    rig.write(
        "work/build.ninja",
        "rule copy\n  command = cp $in $out && echo done\nbuild a: copy build.ninja\nbuild b: copy a\n",
    );
    let bare = rig.bare(&["ninja"]);
    for name in ["a", "b", ".ninja_log", ".ninja_deps"] {
        let _ = fs::remove_file(rig.path("work").join(name));
    }
    assert_eq!(end(rig.preloaded(&["ninja"])), bare);
    let log = fs::read_to_string(rig.path("log")).unwrap();
    let jobs: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once("preload "))
        .map(|(_, job)| job)
        .collect();
    assert_eq!(
        jobs,
        [
            "/bin/sh /bin/sh -c cp build.ninja a && echo done",
            "/bin/sh /bin/sh -c cp a b && echo done"
        ]
    );
}

#[test]
fn every_function_that_starts_programs_is_one_way_to_a_job() {
    let rig = rig_with_tool();
    rig.compile(include_str!("starts.c"), "work/starts");
    let cc = rig.path("work/cc");
    let jobs = rig.drive(&["./starts", cc.to_str().unwrap()]);
    // fexecve has no path to offer: 9 of 10 from two kinds of children, and 4 spawns.
    assert_eq!(jobs.len(), 9 * 2 + 4, "{jobs:#?}");
    assert!(jobs.iter().all(|job| job.starts_with(cc.to_str().unwrap())));
}

#[test]
fn without_a_stub_everything_runs_as_ever() {
    let rig = rig_with_tool();
    rig.compile(include_str!("starts.c"), "work/starts");
    fs::remove_file(rig.path("bin/termite-run")).unwrap();
    rig.write("work/Makefile", "all:\n\t@/bin/echo $(shell echo x)\n\t-cc 1\n");
    assert_eq!(rig.drive(&["make"]), [""; 0]);
    assert_eq!(rig.drive(&["./starts", rig.path("work/cc").to_str().unwrap()]), [""; 0]);
}

#[test]
fn the_mode_off_touches_nothing() {
    let rig = rig_with_tool();
    let words = ["sh", "-c", "cc 1; env -i env"];
    let mut command = rig.preloaded(&words);
    command.env("TERMITE_MODE", "off");
    assert_eq!(end(command), rig.bare(&words));
    assert!(!rig.path("log").exists());
}

#[test]
fn commands_at_the_limit_of_the_kernel_run_unchanged() {
    let rig = rig_with_tool();
    rig.compile(include_str!("limit.c"), "work/limit");
    let words = ["./limit", rig.path("work/cc").to_str().unwrap()].map(str::to_owned);
    let words = [words[0].as_str(), words[1].as_str()];
    let mut bare = rig.command(&words);
    // LD_PRELOAD itself takes room, whether the library does anything or not.
    bare.env("NO_PRELOAD", rig.path("lib/libtermite.so"));
    let driven = end(rig.preloaded(&words));
    assert_eq!(driven, end(bare));
    // Nearly all of them fit with the stub in front.
    assert!(fs::read_to_string(rig.path("log")).unwrap().lines().count() > 5);
}

#[test]
fn a_list_of_tools_of_ones_own_counts() {
    let rig = rig_with_tool();
    let mut command = rig.preloaded(&["sh", "-c", "/bin/echo 1; env -i /bin/echo 2; cc 3"]);
    command.env("TERMITE__TOOLS", "echo");
    end(command);
    let log = fs::read_to_string(rig.path("log")).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[test]
fn programs_that_refuse_a_preload_are_spared_it() {
    let rig = Rig::new();
    rig.write(
        "work/clean.c",
        "#include <stdio.h>\nint main(void) { return puts(\"clean\") < 0; }\n",
    );
    let made = rig.bare(&["cc", "-fsanitize=address", "clean.c", "-o", "clean"]);
    if made.status != 0 {
        // A compiler without the runtime of the sanitizer.
        return;
    }
    let direct = end(rig.preloaded(&["./clean"]));
    assert!(
        direct.stderr.contains("ASan runtime does not come first"),
        "then this care is not needed: {direct:?}"
    );
    for shell in ["dash", "bash"].into_iter().filter(|shell| there_is(shell)) {
        assert_eq!(rig.drive(&[shell, "-c", "./clean; exec ./clean"]), [""; 0]);
    }
}
