//! A daemon that does what a test says, and the stub started beside it.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use termite_wire::frame::{CallerJob, Decoder, ToCaller, ToDaemon, encode};

/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A directory with a socket in it, and a script that serves it.
pub(crate) struct Stage {
    pub dir: TempDir,
}

/// One stub as the daemon sees it.
pub(crate) struct Caller {
    stream: UnixStream,
    decoder: Decoder<ToDaemon>,
    pub job: CallerJob,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        Self { dir }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("s.sock")
    }

    /// Serves callers one after the other, each by one of the scripts. The socket
    /// listens when this returns.
    pub(crate) fn serve(&self, scripts: Vec<Box<dyn FnOnce(Caller) + Send>>) -> JoinHandle<()> {
        self.serve_at(&self.socket(), scripts)
    }

    pub(crate) fn serve_at(&self, path: &Path, scripts: Vec<Box<dyn FnOnce(Caller) + Send>>) -> JoinHandle<()> {
        let listener = UnixListener::bind(path).unwrap();
        std::thread::spawn(move || {
            for script in scripts {
                let (stream, _) = listener.accept().unwrap();
                if let Some(caller) = Caller::accept(stream) {
                    script(caller);
                }
            }
        })
    }

    /// `termite-run PROGRAM ARGV...` in this stage's surroundings.
    pub(crate) fn stub<S: AsRef<OsStr>>(&self, program: &str, argv: &[S]) -> Command {
        let mut command = Command::new(stub());
        command.arg(program).args(argv);
        self.surround(&mut command);
        command
    }

    pub(crate) fn surround(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("STUB", stub())
            .env("TERMITE_SOCKET", self.socket())
            .env("TERMITE_PREFIX", self.dir.path())
            .env("XDG_STATE_HOME", self.dir.path().join("state"))
            .env("TERMITE__BUILD", "00000000000000ab")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    /// Puts a shell script in the place of `bin/termite`.
    pub(crate) fn install(&self, script: &str) {
        self.executable("bin/termite", &format!("#!/bin/sh\n{script}\n"));
    }

    /// Writes an executable file by another process: a descriptor of ours could be open in
    /// a child that another test forks at this moment, and the file would be busy.
    pub(crate) fn executable(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        let mut writer = Command::new("/bin/sh");
        writer
            .args(["-c", "cat >$0; chmod 755 $0"])
            .arg(&path)
            .stdin(Stdio::piped());
        let mut writer = writer.spawn().unwrap();
        writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        path.display().to_string()
    }
}

pub(crate) fn stub() -> &'static str {
    env!("CARGO_BIN_EXE_termite-run")
}

/// One script.
pub(crate) fn script(script: impl FnOnce(Caller) + Send + 'static) -> Vec<Box<dyn FnOnce(Caller) + Send>> {
    vec![Box::new(script)]
}

/// Runs the stub against one script.
pub(crate) fn with(argv: &[&str], serve: impl FnOnce(Caller) + Send + 'static) -> Output {
    let stage = Stage::new();
    let daemon = stage.serve(script(serve));
    let output = stage.stub(argv[0], argv).output().unwrap();
    daemon.join().unwrap();
    output
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Caller {
    fn accept(mut stream: UnixStream) -> Option<Self> {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut decoder = Decoder::new();
        match read(&mut stream, &mut decoder)? {
            ToDaemon::Job(job) => Some(Self { stream, decoder, job }),
            other => panic!("a stub began with {other:?}"),
        }
    }

    /// Tells the stub. One that has gone is none of the script's business.
    pub(crate) fn send(&mut self, frame: ToCaller) {
        if let Err(error) = self.stream.write_all(&encode(&frame)) {
            assert!(
                matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
                "{error}"
            );
        }
    }

    pub(crate) fn output(&mut self, fd: u8, bytes: &[u8]) {
        self.send(ToCaller::Output {
            fd,
            bytes: bytes.to_vec(),
        });
    }

    pub(crate) fn exit(&mut self, status: u8) {
        self.send(ToCaller::Exited { status, read_input: 0 });
    }

    pub(crate) fn local(&mut self, as_driver: bool, tell: bool, tools: &str) {
        self.send(ToCaller::Local {
            reason: "because".into(),
            as_driver,
            tell,
            tools: tools.into(),
        });
    }

    /// What the stub says next; `None`: it has gone.
    pub(crate) fn next(&mut self) -> Option<ToDaemon> {
        read(&mut self.stream, &mut self.decoder)
    }

    /// Asks for one piece of input.
    pub(crate) fn input(&mut self) -> Vec<u8> {
        self.send(ToCaller::WantInput);
        match self.next() {
            Some(ToDaemon::Input(bytes)) => bytes,
            other => panic!("no input but {other:?}"),
        }
    }
}

fn read(stream: &mut UnixStream, decoder: &mut Decoder<ToDaemon>) -> Option<ToDaemon> {
    let mut piece = vec![0; 1 << 16];
    loop {
        if let Some(frame) = decoder.next().unwrap() {
            return Some(frame);
        }
        match stream.read(&mut piece) {
            Ok(0) => return None,
            Ok(len) => decoder.feed(&piece[..len]),
            // It left while something that it was told was on its way.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        }
    }
}
