//! An installation in a temporary directory, and a daemon that answers as told.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use termite_wire::frame::{Control, Decoder, ToCaller, ToDaemon, encode};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Stage {
    pub dir: TempDir,
}

impl Stage {
    /// With `bin/termite`, `bin/termite-env`, a library that is none, and a stub that
    /// prints its arguments.
    pub(crate) fn new() -> Self {
        let stage = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for dir in ["prefix/bin", "prefix/lib", "work", "run"] {
            std::fs::create_dir_all(stage.path(dir)).unwrap();
        }
        std::fs::write(stage.path("prefix/lib/libtermite.so"), "").unwrap();
        let programs = [env!("CARGO_BIN_EXE_termite"), env!("CARGO_BIN_EXE_termite-env")];
        assert!(
            Command::new("cp")
                .args(programs)
                .arg(stage.path("prefix/bin"))
                .status()
                .unwrap()
                .success()
        );
        stage.script("prefix/bin/termite-run", "echo \"$TERMITE__MUST $*\"");
        stage
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // By another process: a descriptor of ours could be open in a child that another
        // test forks at this moment, and the file would be busy.
        let mut writer = Command::new("/bin/sh");
        writer
            .args(["-c", "cat >$0; chmod 755 $0"])
            .arg(&path)
            .stdin(Stdio::piped());
        let mut writer = writer.spawn().unwrap();
        writer
            .stdin
            .take()
            .unwrap()
            .write_all(format!("#!/bin/sh\n{text}\n").as_bytes())
            .unwrap();
        assert!(writer.wait().unwrap().success());
        path
    }

    /// A program of the installation, with nothing of the tester's surroundings.
    pub(crate) fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path("home"))
            .env("TERMITE_SOCKET", self.path("run/s.sock"))
            .current_dir(self.path("work"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn termite(&self, arguments: &[&str]) -> Command {
        self.command(&self.path("prefix/bin/termite"), arguments)
    }

    pub(crate) fn env(&self, arguments: &[&str]) -> Command {
        self.command(&self.path("prefix/bin/termite-env"), arguments)
    }

    /// Answers so many requests; returns them.
    pub(crate) fn answer(&self, answers: Vec<Result<&str, &str>>) -> JoinHandle<Vec<Control>> {
        let listener = UnixListener::bind(self.path("run/s.sock")).unwrap();
        let answers: Vec<ToCaller> = answers
            .into_iter()
            .map(|answer| match answer {
                Ok(json) => ToCaller::Report(json.to_owned()),
                Err(why) => ToCaller::Error(why.to_owned()),
            })
            .collect();
        std::thread::spawn(move || answers.iter().map(|answer| converse(&listener, answer)).collect())
    }
}

fn converse(listener: &UnixListener, answer: &ToCaller) -> Control {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut decoder = Decoder::new();
    let mut piece = vec![0; 1 << 16];
    let asked = loop {
        match decoder.next().unwrap() {
            Some(ToDaemon::Control(control)) => break control,
            Some(other) => panic!("no request but {other:?}"),
            None => match stream.read(&mut piece).unwrap() {
                0 => panic!("half a request"),
                len => decoder.feed(&piece[..len]),
            },
        }
    };
    stream.write_all(&encode(answer)).unwrap();
    asked
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
