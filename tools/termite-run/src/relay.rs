//! The conversation about one job: one loop over the daemon's socket, signals, and the
//! standard streams. Ends with what the job's end is to look like here; performs it not.

use crate::job::terminal_size;
use crate::journal::{Journal, Known};
use crate::output::Output;
use crate::shared_input::SharedInput;
use crate::signals::{self, Signals};
use crate::terminal::Raw;
use crate::{finish, sys};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SendFlags;
use std::ffi::{OsString, c_int};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use termite_types::journal::{Answer, Ended};
use termite_types::{Stdin, Stdio};
use termite_wire::frame::{CallerJob, Decoder, ToCaller, ToDaemon, encode};

/// Bytes moved at once.
const PIECE: usize = 64 << 10;
/// Input is kept, for a command that has to begin anew here, up to so many bytes.
const KEPT: usize = 8 << 20;
/// So long does a reader of our output have after a signal that asks to end.
const STUCK: Duration = Duration::from_secs(1);
/// So long may the daemon leave unread what it was sent, until the user is told.
const SILENCE: Duration = Duration::from_secs(2);
/// A second signal that asks to end, so long after the first one, ends this process whatever
/// becomes of the job. One that comes sooner may be the same: make passes on what the terminal
/// sent to all.
const INSISTS: Duration = Duration::from_secs(1);

/// Signals that are the job's.
const FORWARDED: [c_int; 9] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGCONT,
    libc::SIGTSTP,
];

/// How the conversation ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The job exited.
    Exited(u8),
    /// A signal ended the job.
    Signaled(c_int),
    /// This process executes the command itself.
    Local {
        reason: String,
        as_driver: bool,
        tell: bool,
        tools: OsString,
    },
    /// The daemon refused the job.
    Refused(String),
    /// The daemon went away, and nothing can have been seen of the job.
    Lost,
    /// The daemon went away after something was shown.
    Torn,
    /// The daemon went away, and some of what the job changed may be in place, in words.
    Half(String),
    /// This process has to die by a signal, whatever becomes of the job.
    Killed(c_int),
}

/// What the command's own place needs to know besides the end.
pub(crate) struct Outcome {
    pub end: End,
    /// Some output could not be written.
    pub output_lost: bool,
    /// Bytes that were read from descriptor 0 and that a job which ended did not read.
    pub unread: u64,
    /// What was read from descriptor 0, for a command that begins anew.
    pub taken: Vec<u8>,
    /// More was taken than is kept.
    pub taken_lost: bool,
    /// Output of the job was shown, which does not count if the command begins anew.
    pub shown: bool,
    /// Blocked when this process started.
    pub mask: Signals,
}

struct Relay {
    /// The command's, for people.
    name: String,
    journal: Journal,
    daemon: UnixStream,
    decoder: Decoder<ToCaller>,
    /// To be sent, from an offset.
    unsent: Vec<u8>,
    sent: usize,
    stdio: Stdio,
    wants_input: bool,
    /// For input that is a pipe.
    shared: Option<SharedInput>,
    /// Bytes that were read from descriptor 0.
    took: u64,
    /// The first of them, see [`KEPT`].
    taken: Vec<u8>,
    taken_lost: bool,
    output: Output,
    signals: OwnedFd,
    raw: Option<Raw>,
    /// Bytes of output that came, of descriptors 1 and 2.
    came: [u64; 2],
    /// The first signal that asks to end was passed on, and when.
    asked_to_end: Option<(c_int, Instant)>,
    /// One that came long after it.
    insists: Option<c_int>,
    /// When the daemon is looked at that has said nothing; `None`: it has, or was looked at.
    suspect: Option<Instant>,
    /// How the job has ended, and bytes of its input that it read; what is left is to write
    /// its output.
    ended: Option<(End, u64)>,
}

impl Outcome {
    /// Nothing was begun: the kernel refuses what a relay needs.
    fn refused(error: &io::Error, mask: Signals) -> Self {
        Self {
            end: End::Local {
                reason: format!("termite-run: {}", sys::words(error)),
                as_driver: false,
                tell: true,
                tools: OsString::new(),
            },
            output_lost: false,
            unread: 0,
            taken: Vec::new(),
            taken_lost: false,
            shown: false,
            mask,
        }
    }
}

/// Hands the job to the daemon that listens on `socket`, and stands in for it until it
/// ends.
pub(crate) fn relay(daemon: UnixStream, job: CallerJob, socket: &Path) -> Outcome {
    let ours = FORWARDED.into_iter().filter(|signal| !signals::is_ignored(*signal));
    // SIGPIPE is only held back until the terminal is as it was.
    let mask = Signals::of(ours.chain([libc::SIGPIPE])).block();
    let forwarded = FORWARDED
        .into_iter()
        .filter(|signal| !signals::is_ignored(*signal) && !mask.contains(*signal));
    let signals = Signals::of(forwarded).descriptor();
    let prepared = signals.and_then(|signals| daemon.set_nonblocking(true).map(|()| signals));
    let signals = match prepared {
        Ok(signals) => signals,
        Err(error) => return Outcome::refused(&error, mask),
    };
    let shared = match job.stdio.stdin {
        Stdin::Shared => SharedInput::new().ok(),
        _ => None,
    };
    let journal = Journal::new(socket, job.request, &daemon);
    let mut relay = Relay {
        name: finish::short_name(&job.argv, &job.program),
        journal,
        daemon,
        decoder: Decoder::new(),
        sent: 0,
        stdio: job.stdio.clone(),
        unsent: encode(&ToDaemon::Job(job)),
        wants_input: false,
        shared,
        took: 0,
        taken: Vec::new(),
        taken_lost: false,
        output: Output::default(),
        signals,
        raw: None,
        came: [0; 2],
        asked_to_end: None,
        insists: None,
        suspect: Some(Instant::now() + SILENCE),
        ended: None,
    };
    let (end, read) = relay.live();
    relay.raw = None;
    relay.leave_unread(read);
    Outcome {
        end,
        output_lost: relay.output.is_lost(),
        // The daemon may not have seen what was sent last.
        unread: relay.took.saturating_sub(read),
        taken: relay.taken,
        taken_lost: relay.taken_lost,
        shown: relay.came != [0; 2],
        mask,
    }
}

impl Relay {
    /// Relays until the job has ended, the daemon is lost, or a signal or closed output ends this process.
    fn live(&mut self) -> (End, u64) {
        loop {
            if self.output.waits_for().is_none()
                && let Some(ended) = self.ended.take()
            {
                return ended;
            }
            let ready = self.wait();
            if ready.stuck
                && let Some((signal, _)) = self.asked_to_end
            {
                return (End::Killed(signal), 0);
            }
            if self.suspect.is_some_and(|time| time <= Instant::now()) {
                self.suspect = None;
                self.tell_of_silence();
            }
            while ready.signals
                && let Some(arrival) = signals::next_signal(&self.signals)
            {
                self.signal(arrival.signal);
            }
            if let Some(signal) = self.insists {
                return (End::Killed(signal), 0);
            }
            if ready.send {
                self.send();
            }
            if ready.output && self.output.write().is_err() {
                return (End::Killed(libc::SIGPIPE), 0);
            }
            if ready.input {
                self.take_input();
            }
            if ready.receive
                && let Some(end) = self.receive()
            {
                self.ended = Some(end);
            }
        }
    }

    /// Waits until something can be done, and says what.
    fn wait(&self) -> Ready {
        let [stdin, stdout, stderr] = [0, 1, 2].map(sys::borrow);
        let alive = self.ended.is_none();
        let unsent = self.sent < self.unsent.len();
        let mut socket = PollFlags::empty();
        socket.set(PollFlags::IN, alive && !self.output.is_full());
        socket.set(PollFlags::OUT, alive && unsent);
        let mut fds = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.daemon, socket),
        ];
        let output = self.output.waits_for();
        if let Some(fd) = output {
            fds.push(PollFd::new(if fd == 2 { &stderr } else { &stdout }, PollFlags::OUT));
        }
        let input = alive && self.wants_input && !unsent;
        if input {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        if socket.is_empty() {
            // It would report a hang-up for ever.
            fds.remove(1);
        }
        // A job that was asked to end may not be waited for while nobody reads our output.
        let waits_for_reader = output.is_some() && (!alive || self.output.is_full());
        let patience = (waits_for_reader && self.asked_to_end.is_some()).then_some(STUCK);
        let suspect = self.suspect.map(|time| time.saturating_duration_since(Instant::now()));
        let shortest = patience.into_iter().chain(suspect).min();
        // Some seconds always fit.
        let timeout = shortest.and_then(|duration| Timespec::try_from(duration).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => {
                return Ready {
                    stuck: patience.is_some() && patience <= suspect.or(patience),
                    ..Ready::default()
                };
            }
            Ok(_) => {}
            // Interrupted: nothing is ready, and the loop asks again.
            Err(_) => return Ready::default(),
        }
        let mut ready = fds.iter().map(|fd| fd.revents());
        let mut next = || ready.next().unwrap_or(PollFlags::empty());
        let signals = !next().is_empty();
        let socket = if socket.is_empty() { PollFlags::empty() } else { next() };
        let closing = PollFlags::HUP | PollFlags::ERR;
        Ready {
            stuck: false,
            signals,
            receive: socket.intersects(PollFlags::IN | closing) && !self.output.is_full(),
            send: socket.contains(PollFlags::OUT),
            output: output.is_some() && !next().is_empty(),
            input: input && !next().is_empty(),
        }
    }

    /// Names the daemon if it has not even read what it was sent. It may be stopped, or hang.
    fn tell_of_silence(&self) {
        if self.sent == self.unsent.len() && !sys::is_unread(&self.daemon) {
            return;
        }
        let peer = rustix::net::sockopt::socket_peercred(&self.daemon);
        let who = peer.map_or_else(
            |_| "the daemon".to_owned(),
            |peer| format!("the daemon (pid {})", peer.pid.as_raw_nonzero()),
        );
        finish::complain(&format!(
            "{}: {who} has not answered for {} s; it is waited for, and a second interrupt ends that",
            self.name,
            SILENCE.as_secs()
        ));
    }

    fn say(&mut self, frame: &ToDaemon) {
        if self.sent == self.unsent.len() {
            self.unsent.clear();
            self.sent = 0;
        }
        self.unsent.extend(encode(frame));
    }

    /// Sends what the socket takes. A daemon that went away shows when it is read from.
    fn send(&mut self) {
        let rest = &self.unsent[self.sent..];
        if let Ok(len) = rustix::net::send(self.daemon.as_fd(), rest, SendFlags::NOSIGNAL) {
            self.sent += len;
        }
    }

    /// One piece of input for one time that it was wanted; none of it is the end.
    fn take_input(&mut self) {
        let mut piece = vec![0; PIECE];
        let read = match &mut self.shared {
            Some(shared) => shared.show(&mut piece),
            None => rustix::io::read(sys::borrow(0), &mut piece[..]),
        };
        let len = match read {
            Ok(len) => len,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return,
            // A descriptor that cannot be read has nothing for the job.
            Err(_) => 0,
        };
        piece.truncate(len);
        self.wants_input = false;
        self.took += len as u64;
        self.taken_lost |= self.taken.len() + len > KEPT;
        if !self.taken_lost {
            self.taken.extend_from_slice(&piece);
        }
        self.say(&ToDaemon::Input(piece));
    }

    /// Reads what the daemon says. `Some`: the job has ended, and read so many bytes of its input.
    fn receive(&mut self) -> Option<(End, u64)> {
        let mut piece = vec![0; PIECE];
        self.suspect = None;
        match rustix::io::read(&self.daemon, &mut piece[..]) {
            Ok(len) if len > 0 => self.decoder.feed(&piece[..len]),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return None,
            Ok(_) | Err(_) => return Some(self.lost()),
        }
        loop {
            let frame = match self.decoder.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(_) => return Some(self.lost()),
            };
            match frame {
                ToCaller::Output { fd, bytes } => {
                    self.came[usize::from(fd == 2)] += bytes.len() as u64;
                    self.show(fd, bytes);
                }
                ToCaller::WantInput => self.want_input(),
                ToCaller::Exited { status, read_input } => return Some((End::Exited(status), read_input)),
                ToCaller::Signaled { signal, read_input } => {
                    return Some((End::Signaled(signal.into()), read_input));
                }
                ToCaller::Local {
                    reason,
                    as_driver,
                    tell,
                    tools,
                } => {
                    return Some((
                        End::Local {
                            reason,
                            as_driver,
                            tell,
                            tools,
                        },
                        0,
                    ));
                }
                ToCaller::Error(why) => return Some((End::Refused(why), 0)),
                // Answers to requests that nobody made here.
                ToCaller::Report(_) => return Some(self.lost()),
            }
        }
    }

    fn show(&mut self, fd: u8, bytes: Vec<u8>) {
        if (fd == 1 && self.stdio.stdout) || (fd == 2 && self.stdio.stderr) {
            self.output.push(fd, bytes);
        }
    }

    /// The daemon went away. Its journal knows whether the job counts nevertheless.
    fn lost(&mut self) -> (End, u64) {
        match self.journal.look_up() {
            Known::Done(answer) => self.ended_as(answer),
            Known::Half(what) => (End::Half(what), 0),
            Known::Nothing if self.came != [0; 2] => (End::Torn, 0),
            Known::Nothing => (End::Lost, 0),
        }
    }

    /// Ends as the daemon was about to say, and shows what did not come.
    fn ended_as(&mut self, answer: Answer) -> (End, u64) {
        let mut is_lost = answer.is_output_lost;
        let mut skip = [0, 1].map(|at| {
            is_lost |= self.came[at] < answer.sent[at];
            usize::try_from(self.came[at].saturating_sub(answer.sent[at])).unwrap_or(usize::MAX)
        });
        for (fd, mut bytes) in answer.output {
            let skip = &mut skip[usize::from(fd == 2)];
            let came = bytes.len().min(*skip);
            *skip -= came;
            bytes.drain(..came);
            self.show(fd, bytes);
        }
        if is_lost {
            let note = b"termite: the daemon ended, and some of the command's output is lost\n";
            self.show(2, note.to_vec());
        }
        let end = match answer.end {
            Ended::Exited(status) => End::Exited(status),
            Ended::Signaled(signal) => End::Signaled(signal.into()),
        };
        (end, answer.read_input)
    }

    /// The job has ended and read so many bytes. Of a pipe, what it left of the last piece stays.
    fn leave_unread(&mut self, read: u64) {
        let Some(shared) = &mut self.shared else { return };
        let shown = shared.shown();
        let unread = usize::try_from(self.took.saturating_sub(read)).unwrap_or(usize::MAX);
        let left = shown.min(unread);
        shared.take(shown - left);
        self.took -= left as u64;
        self.taken.truncate(self.taken.len().saturating_sub(left));
    }

    fn want_input(&mut self) {
        if let Some(shared) = &mut self.shared {
            // It has read the last piece.
            shared.take(shared.shown());
        }
        self.wants_input = true;
        if self.stdio.terminal[0] && self.raw.is_none() {
            self.raw = Raw::enter();
        }
    }

    /// Passes a signal on.
    fn signal(&mut self, signal: c_int) {
        if matches!(signal, libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT) {
            let (_, first) = *self.asked_to_end.get_or_insert((signal, Instant::now()));
            self.insists = (first.elapsed() >= INSISTS).then_some(signal);
        }
        match signal {
            libc::SIGWINCH => {
                let terminal = (0..).zip(self.stdio.terminal).find(|(_, is)| *is);
                if let Some(size) = terminal.and_then(|(fd, _)| terminal_size(fd)) {
                    self.say(&ToDaemon::Resize(size));
                }
            }
            libc::SIGTSTP => {
                self.say(&ToDaemon::Signal(libc::SIGSTOP as u8));
                self.send();
                let was_raw = self.raw.take().is_some();
                signals::raise(libc::SIGSTOP);
                // Continued: the signal for that is read next, and tells the job.
                if was_raw {
                    self.raw = Raw::enter();
                }
            }
            other => self.say(&ToDaemon::Signal(other as u8)),
        }
    }
}

/// What can be done without waiting.
#[derive(Default)]
struct Ready {
    /// Nothing can, for too long a time.
    stuck: bool,
    signals: bool,
    receive: bool,
    send: bool,
    output: bool,
    input: bool,
}
