//! Conversations over a real socket, honest and hostile.

use super::*;
use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Blocking;
use std::path::Path;
use termite_types::{BuildId, RequestId, Stdio};
use termite_wire::frame::encode;
use tokio::sync::Notify;
use tokio::task::LocalSet;

/// Answers each kind of request, and notes what callers said.
#[derive(Default)]
struct Script {
    heard: RefCell<Vec<ToDaemon>>,
    left: Notify,
}

impl Requests for Script {
    type Error = std::io::Error;

    async fn job(self: Rc<Self>, job: CallerJob, caller: Caller) {
        if job.must {
            caller.gone().await;
            self.left.notify_one();
            return;
        }
        caller.send(ToCaller::WantInput).await;
        let said = caller.next().await;
        self.heard.borrow_mut().extend(said);
        caller
            .send(ToCaller::Output {
                fd: 1,
                bytes: vec![b'x'; 1 << 20],
            })
            .await;
        caller
            .send(ToCaller::Exited {
                status: 3,
                read_input: 0,
            })
            .await;
    }

    async fn control(self: Rc<Self>, control: Control) -> std::io::Result<String> {
        match control {
            Control::Status => Ok("{}".into()),
            _ => Err(std::io::Error::other("no")),
        }
    }
}

fn job(must: bool) -> CallerJob {
    CallerJob {
        request: RequestId(1),
        build: BuildId(1),
        program: "/bin/true".into(),
        argv: vec!["true".into()],
        env: Vec::new(),
        cwd: "/".into(),
        umask: 0o22,
        ignored: 0,
        nice: 0,
        limits: Vec::new(),
        groups: Vec::new(),
        stdio: Stdio::without_input(),
        inherited: Vec::new(),
        must,
        is_driven: false,
    }
}

/// Says the bytes, leaves nothing unsaid and returns every frame until the end.
fn speak(path: &Path, bytes: &[u8]) -> Vec<ToCaller> {
    let mut stream = Blocking::connect(path).unwrap();
    stream.write_all(bytes).unwrap();
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match decoder.next().unwrap() {
            Some(frame) => frames.push(frame),
            None => match stream.read(&mut piece).unwrap() {
                0 => return frames,
                len => decoder.feed(&piece[..len]),
            },
        }
    }
}

/// Runs `callers` on a thread against a serving daemon.
fn with_daemon<T: Send + 'static>(callers: impl FnOnce(&Path) -> T + Send + 'static) -> (T, Rc<Script>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("termite/daemon.sock");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let outcome = LocalSet::new().block_on(&runtime, async {
        let script = Rc::new(Script::default());
        let (listener, _lock) = bind(&path).unwrap();
        let serving = serve(listener, script.clone());
        let asking = path.clone();
        let asked = tokio::task::spawn_blocking(move || callers(&asking));
        let answer = tokio::select! {
            _ = serving => unreachable!("the socket broke"),
            answer = asked => answer.unwrap(),
        };
        (answer, script)
    });
    assert!(
        !path.exists() && !path.parent().unwrap().exists(),
        "something stayed behind"
    );
    outcome
}

#[test]
fn a_job_hears_everything_in_order() {
    let (frames, script) = with_daemon(|path| {
        let mut bytes = encode(&ToDaemon::Job(job(false)));
        bytes.extend(encode(&ToDaemon::Input(b"hello".to_vec())));
        speak(path, &bytes)
    });
    assert!(matches!(frames[0], ToCaller::WantInput));
    assert!(matches!(&frames[1], ToCaller::Output { fd: 1, bytes } if bytes.len() == 1 << 20));
    assert_eq!(
        frames[2],
        ToCaller::Exited {
            status: 3,
            read_input: 0
        }
    );
    assert_eq!(*script.heard.borrow(), [ToDaemon::Input(b"hello".to_vec())]);
}

#[test]
fn control_is_answered() {
    let (frames, _) = with_daemon(|path| {
        let mut frames = speak(path, &encode(&ToDaemon::Control(Control::Status)));
        frames.extend(speak(path, &encode(&ToDaemon::Control(Control::Stop))));
        frames
    });
    assert_eq!(frames, [ToCaller::Report("{}".into()), ToCaller::Error("no".into())]);
}

#[test]
fn nonsense_is_answered_with_an_error() {
    let (answers, _) = with_daemon(|path| {
        let noise: Vec<u8> = (0..1000u32).map(|n| (n * 7 + 1) as u8).collect();
        let mut after_job = encode(&ToDaemon::Job(job(true)));
        after_job.extend([0xff; 64]);
        let mut two_jobs = encode(&ToDaemon::Job(job(true)));
        two_jobs.extend(encode(&ToDaemon::Job(job(true))));
        let early = encode(&ToDaemon::Signal(2));
        [noise, after_job, two_jobs, early].map(|bytes| speak(path, &bytes))
    });
    for answer in answers {
        assert!(matches!(&answer[..], [ToCaller::Error(_)]), "{answer:?}");
    }
}

#[test]
fn half_a_frame_and_silence_do_no_harm() {
    let (frames, _) = with_daemon(|path| {
        let bytes = encode(&ToDaemon::Job(job(false)));
        let mut half = Blocking::connect(path).unwrap();
        half.write_all(&bytes[..bytes.len() / 2]).unwrap();
        let silent = Blocking::connect(path).unwrap();
        drop(half);
        let frames = speak(path, &encode(&ToDaemon::Control(Control::Status)));
        drop(silent);
        frames
    });
    assert_eq!(frames.len(), 1);
}

#[test]
fn a_caller_that_dies_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let script = Rc::new(Script::default());
        let (listener, _lock) = bind(&path).unwrap();
        let serving = tokio::task::spawn_local(serve(listener, script.clone()));
        let mut stream = Blocking::connect(&path).unwrap();
        stream.write_all(&encode(&ToDaemon::Job(job(true)))).unwrap();
        tokio::task::yield_now().await;
        drop(stream);
        script.left.notified().await;
        serving.abort();
    });
}

#[test]
fn one_daemon_at_a_time_and_a_dead_one_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let first = bind(&path).unwrap();
    assert!(matches!(bind(&path), Err(BindError::Running(_))));
    drop(first);
    drop(bind(&path).unwrap());
}

#[test]
fn a_directory_of_others_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    assert!(matches!(bind(&open.join("s.sock")), Err(BindError::Unsafe { .. })));
    assert!(matches!(bind(Path::new("s.sock")), Err(BindError::Refused { .. })));
}
