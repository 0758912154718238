//! Trials of the built library in real processes. This file is the rig: a directory
//! with an installation in it, and programs run in it with and without the library.
//!
//! Knows no daemon: the stub of the rig writes down what it was told and becomes it.

mod drivers;
mod slots;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The library as it is shipped, built beside this test program.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let dir = test.ancestors().nth(2).unwrap();
        let profile = match dir.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--package",
                "termite-shim",
                "--profile",
                profile,
                "--target-dir",
            ])
            .arg(dir.parent().unwrap())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(built.success());
        dir.join("libtermite.so")
    })
}

/// A directory of its own, removed at the end.
struct Rig {
    dir: tempfile::TempDir,
}

/// How a command ended: status as of `wait`, standard output and error.
#[derive(PartialEq, Eq, Debug)]
struct Ending {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Rig {
    fn new() -> Self {
        let rig = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        // Also for programs that run as somebody else.
        fs::set_permissions(rig.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(rig.path("bin")).unwrap();
        fs::create_dir(rig.path("lib")).unwrap();
        fs::create_dir(rig.path("work")).unwrap();
        fs::copy(library(), rig.path("lib/libtermite.so")).unwrap();
        rig.compile(include_str!("stub.c"), "bin/termite-run");
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn compile(&self, source: &str, name: &str) {
        let file = self.path(&format!("{name}.c"));
        fs::write(&file, source).unwrap();
        let compiled = Command::new("cc")
            .args(["-O1", "-w", "-o"])
            .arg(self.path(name))
            .arg(&file)
            .status()
            .unwrap();
        assert!(compiled.success());
        fs::remove_file(file).unwrap();
    }

    /// A command in the rig's working directory, in an environment that is always the same.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        let path = format!("{}:/usr/bin:/bin", self.path("work").display());
        command
            .args(&words[1..])
            .current_dir(self.path("work"))
            .stdin(Stdio::null());
        command.env_clear().env("PATH", path).env("LC_ALL", "C");
        command
    }

    fn bare(&self, words: &[&str]) -> Ending {
        end(self.command(words))
    }

    fn preloaded(&self, words: &[&str]) -> Command {
        let mut command = self.command(words);
        command.env("LD_PRELOAD", self.path("lib/libtermite.so"));
        command
    }

    /// Runs a command as a driver and checks that it ends as it does bare. Returns
    /// what the stub was told: the programs and arguments of the jobs.
    fn drive(&self, words: &[&str]) -> Vec<String> {
        let bare = self.bare(words);
        let log = self.path("log");
        fs::write(&log, "").unwrap();
        let driven = end(self.preloaded(words));
        assert_eq!(driven, bare, "{words:?}");
        let text = fs::read_to_string(&log).unwrap();
        let mut builds = std::collections::BTreeSet::new();
        let jobs = text.lines().map(|line| {
            let mut parts = line.splitn(3, ' ');
            builds.insert(parts.next().unwrap().to_owned());
            assert_eq!(parts.next(), Some("preload"), "{line}");
            parts.next().unwrap().to_owned()
        });
        let jobs = jobs.collect();
        assert!(
            builds.len() <= 1 && !builds.contains("-"),
            "one build has one id: {builds:?}"
        );
        jobs
    }
}

fn end(mut command: Command) -> Ending {
    let output = command.output().unwrap();
    Ending {
        status: output.status.into_raw(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Whether a program is on this machine.
fn there_is(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}
