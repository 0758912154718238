//! The back end that stops a job's path system calls: has the view make ready what a
//! call names, then lets the kernel go on.
//!
//! One thread receives and answers whatever needs no waiting; calls that need the client
//! go to a small pool, and their answers leave by id, in any order. Knows the calls'
//! shapes by `slot::calls`; knows neither how files arrive nor what a mount is.

mod answer;
mod input;
mod machine;
mod objects;
mod program;
mod request;
mod sys;
#[cfg(test)]
mod tests;
mod times;
mod users;

pub(crate) use sys::read_memory as memory_of;

use crate::inherited::Placeholder;
use crate::view::{Act, Blocking, Intent, Origin, PathUse, Reply, View};
use answer::{CallHandler, Verdict};
use input::InputWatch;
use objects::Objects;
use parking_lot::Mutex;
use request::Request;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use termite_types::{Abandon, PidRange};
use users::Conversations;

/// Calls of one job that wait for the client at the same time.
const POOL: usize = 8;

/// What a back end tells its owner, from its own threads. Each is called at most once.
pub trait Events: Send + Sync {
    /// The job wants its standard input.
    fn want_input(&self);

    /// The job cannot go on here. Every further call of it fails until its slot is
    /// killed, which is for the owner to do.
    fn abandon(&self, why: Abandon);
}

/// What a guard goes by.
pub struct GuardSpec {
    /// The job's tree.
    pub view: Arc<View>,
    /// What `ld.so` is given as its preload file; `None`: there is none.
    pub preload: Option<PathBuf>,
    /// Base names of programs that end the job here.
    pub drivers: Vec<OsString>,
    /// The job's standard input is its terminal.
    pub terminal_input: bool,
    /// The numbers of its processes; `None`: any.
    pub pids: Option<PidRange>,
    /// In the place of descriptors that it inherited.
    pub placeholder: Option<Placeholder>,
}

/// Makes ready what a job's first process does before it is one: enter its directory and
/// execute its program, which may be relative to that, by calls that pass the guard. `task`:
/// its number in the view's proc. Blocks.
pub fn make_ready(spec: &GuardSpec, task: u32, cwd: &Path, program: &Path) -> Result<(), Abandon> {
    let program = cwd.join(program);
    answer::refuse_drivers(&spec.drivers, program.as_os_str().as_bytes())?;
    let steps = [
        (cwd, Intent::Stat, "its working directory"),
        (program.as_path(), Intent::Exec, "its program"),
    ];
    for (path, intent, what) in steps {
        let used = PathUse {
            origin: Origin::Cwd,
            path: path.as_os_str().as_bytes(),
            follow: true,
            intent,
            makes: false,
            act: Act::Look,
        };
        if let Reply::Errno(errno) = spec.view.fault(task, &used, Blocking::Allowed)? {
            return Err(Abandon::Start(crate::slot::in_words(what, errno)));
        }
    }
    Ok(())
}

/// A running guard.
pub struct Guard {
    thread: Mutex<Option<JoinHandle<()>>>,
    faults: Arc<AtomicU64>,
    waiting: Arc<AtomicUsize>,
}

/// Begins to serve a job's calls, which arrive at `listener`.
pub fn serve(listener: OwnedFd, spec: GuardSpec, events: Arc<dyn Events>) -> io::Result<Guard> {
    let GuardSpec {
        view,
        preload,
        drivers,
        terminal_input,
        pids,
        placeholder,
    } = spec;
    let handler = Arc::new(CallHandler {
        view,
        preload,
        drivers,
        pids,
        placeholder,
        input: InputWatch::new(terminal_input),
        objects: Objects::default(),
        users: Conversations::default(),
        events,
        over: AtomicBool::new(false),
    });
    let faults = Arc::new(AtomicU64::new(0));
    let calls = Loop::new(listener, handler, faults.clone());
    let waiting = calls.waiting.clone();
    let thread = std::thread::Builder::new()
        .name("guard".into())
        .spawn(move || calls.run())?;
    Ok(Guard {
        thread: Mutex::new(Some(thread)),
        faults,
        waiting,
    })
}

impl Guard {
    /// Waits until the last process of the job is gone and every answer is out.
    pub fn join(&self) {
        if let Some(thread) = self.thread.lock().take() {
            // A panic ends the whole program, so there is no thread that failed.
            let _ = thread.join();
        }
    }

    /// How many calls were stopped so far.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Whether a call waits for files that are on their way.
    pub fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

struct Loop {
    listener: Arc<OwnedFd>,
    handler: Arc<CallHandler>,
    pool: Vec<JoinHandle<()>>,
    slow: mpsc::Sender<Request>,
    slow_end: Arc<Mutex<mpsc::Receiver<Request>>>,
    /// Requests handed to the pool and not yet answered.
    waiting: Arc<AtomicUsize>,
    stopped: Arc<AtomicU64>,
}

impl Loop {
    fn new(listener: OwnedFd, handler: Arc<CallHandler>, stopped: Arc<AtomicU64>) -> Self {
        let (slow, slow_end) = mpsc::channel();
        let (listener, slow_end) = (Arc::new(listener), Arc::new(Mutex::new(slow_end)));
        Self {
            listener,
            handler,
            pool: Vec::new(),
            slow,
            slow_end,
            waiting: Arc::default(),
            stopped,
        }
    }

    fn run(mut self) {
        while wait(&self.listener) {
            let notification = match sys::receive(self.listener.as_fd()) {
                Ok(notification) => notification,
                // Its task was killed before it was received, or a signal came.
                Err(Errno::NOENT | Errno::INTR) => continue,
                Err(errno) => {
                    tracing::error!("the guard cannot receive any more: {errno}");
                    break;
                }
            };
            self.stopped.fetch_add(1, Ordering::Relaxed);
            self.handler.view.end_namespace_change(notification.pid);
            self.one(&notification);
        }
        drop(self.slow);
        for thread in self.pool {
            // A panic ends the whole program.
            let _ = thread.join();
        }
    }

    fn one(&mut self, notification: &libc::seccomp_notif) {
        let request = Request::read(notification);
        // Until here a number may have been given to another task.
        if !sys::is_waiting(self.listener.as_fd(), notification.id) {
            return;
        }
        let Some(request) = request else {
            return send(&self.listener, notification.id, Verdict::Continue);
        };
        match self.handler.handle(&request, Blocking::Never) {
            Verdict::NeedsFetch => self.hand_over(request),
            verdict => send(&self.listener, request.id, verdict),
        }
    }

    /// Gives a call that has to wait to a thread of its own.
    fn hand_over(&mut self, request: Request) {
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel) + 1;
        if waiting > self.pool.len() && self.pool.len() < POOL {
            let (listener, handler) = (self.listener.clone(), self.handler.clone());
            let (slow, waiting) = (self.slow_end.clone(), self.waiting.clone());
            let thread = std::thread::Builder::new().name("guard-fetch".into()).spawn(move || {
                loop {
                    let next = slow.lock().recv();
                    let Ok(request) = next else { return };
                    let verdict = handler.handle(&request, Blocking::Allowed);
                    send(&listener, request.id, verdict);
                    waiting.fetch_sub(1, Ordering::AcqRel);
                }
            });
            match thread {
                Ok(thread) => self.pool.push(thread),
                Err(error) => tracing::warn!("one thread less to fetch files: {error}"),
            }
        }
        if self.pool.is_empty() {
            let verdict = self.handler.handle(&request, Blocking::Allowed);
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            return send(&self.listener, request.id, verdict);
        }
        // The receiver lives as long as this loop.
        let _ = self.slow.send(request);
    }
}

/// True: there is something to receive. False: the last task of the filter is gone.
fn wait(listener: &OwnedFd) -> bool {
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) if fds[0].revents().contains(PollFlags::IN) => return true,
            Ok(_)
                if fds[0]
                    .revents()
                    .intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) =>
            {
                return false;
            }
            Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => {
                tracing::error!("the guard cannot wait any more: {errno}");
                return false;
            }
        }
    }
}

fn send(listener: &OwnedFd, id: u64, verdict: Verdict) {
    let listener = listener.as_fd();
    let sent = match verdict {
        Verdict::Continue | Verdict::NeedsFetch => sys::let_go(listener, id),
        Verdict::Finish(errno) => sys::finish(listener, id, errno),
        Verdict::Opened(file) => sys::finish_with(listener, id, file),
        Verdict::Connected(socket, place) => {
            sys::replace(listener, id, socket, place).and_then(|()| sys::finish(listener, id, 0))
        }
    };
    match sent {
        // The task was killed while it waited.
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => {
            tracing::error!("the guard's answer was refused: {errno}");
            if let Err(errno) = sys::finish(listener, id, libc::EIO) {
                tracing::error!("and so was an error in its place: {errno}");
            }
        }
    }
}
