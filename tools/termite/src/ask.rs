//! One request to the daemon and its answer. Knows the socket; knows nothing of what is
//! asked.

use crate::complain;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;
use termite_client::config::{Config, ConfigError};
use termite_run::connect::{DaemonEndpoint, NoDaemon};
use termite_run::environment;
use termite_wire::frame::{Control, Decoder, ToCaller, ToDaemon, encode};

/// How long an answer may take until the user is told, and how long after that.
const SILENCE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(28);
/// How long a daemon may take to end: its worker's jobs have to end first.
const STOPPING: Timespec = Timespec { tv_sec: 15, tv_nsec: 0 };

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// None listens.
    #[error(transparent)]
    NoDaemon(NoDaemon),
    /// It refused, with this sentence.
    #[error("{0}")]
    Refused(String),
    /// The conversation broke.
    #[error("the daemon did not answer: {0}; see its log, or end it with `termite stop`")]
    Broken(io::Error),
    /// It was asked to end and did not.
    #[error("the daemon (pid {0}) does not end; its jobs may be stuck: end it with kill")]
    Stays(i32),
    /// The settings cannot be used.
    #[error(transparent)]
    Config(ConfigError),
    /// The installation is not whole.
    #[error("there is no {}; install it or set TERMITE_PREFIX", .0.display())]
    NoLibrary(PathBuf),
}

/// The daemon's place: the socket by all settings, not only the environment.
pub(crate) fn place() -> Result<DaemonEndpoint, ConfigError> {
    Ok(place_of(&Config::load(&[])?))
}

/// The same for settings that are known.
pub(crate) fn place_of(config: &Config) -> DaemonEndpoint {
    let mut variables: Vec<OsString> = std::env::vars_os().map(|(name, value)| join(name, &value)).collect();
    variables.retain(|entry| environment::value(std::slice::from_ref(entry), termite_abi::ENV_SOCKET).is_none());
    variables.push(environment::entry(
        termite_abi::ENV_SOCKET,
        config.socket_path().as_os_str(),
    ));
    DaemonEndpoint::of(&variables)
}

fn join(mut name: OsString, value: &std::ffi::OsStr) -> OsString {
    name.push("=");
    name.push(value);
    name
}

/// The daemon's answer, JSON; `start`: a daemon is started where none listens.
pub(crate) fn daemon(start: bool, control: Control) -> Result<String, AskError> {
    let place = place().map_err(AskError::Config)?;
    let stream = if start {
        place.connect_or_start()
    } else {
        place.connect()
    };
    request(stream.map_err(AskError::NoDaemon)?, control)
}

/// One conversation.
pub(crate) fn request(mut stream: UnixStream, control: Control) -> Result<String, AskError> {
    let answer = converse(&mut stream, &ToDaemon::Control(control)).map_err(AskError::Broken)?;
    match answer {
        ToCaller::Report(json) => Ok(json),
        ToCaller::Error(why) => Err(AskError::Refused(why)),
        other => Err(AskError::Broken(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("unexpected {other:?}"),
        ))),
    }
}

fn converse(stream: &mut UnixStream, frame: &ToDaemon) -> io::Result<ToCaller> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.write_all(&encode(frame))?;
    let mut decoder = Decoder::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        if let Some(frame) = decoder.next().map_err(io::Error::other)? {
            return Ok(frame);
        }
        match stream.read(&mut piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => decoder.feed(&piece[..len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && stream.read_timeout()? == Some(SILENCE) => {
                let pid = rustix::net::sockopt::socket_peercred(&*stream)?.pid;
                complain(format_args!(
                    "the daemon (pid {}) has not answered for {} s; it is waited for",
                    pid.as_raw_nonzero(),
                    SILENCE.as_secs()
                ));
                stream.set_read_timeout(Some(PATIENCE))?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Ends the daemon and waits until it is gone; `false`: there is none.
pub(crate) fn stop() -> Result<bool, AskError> {
    let stream = match place().map_err(AskError::Config)?.connect() {
        Ok(stream) => stream,
        Err(NoDaemon::Absent(_)) => return Ok(false),
        Err(other) => return Err(AskError::NoDaemon(other)),
    };
    let broken = |error: rustix::io::Errno| AskError::Broken(error.into());
    let peer = rustix::net::sockopt::socket_peercred(&stream).map_err(broken)?;
    let process = match pidfd_open(peer.pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(true),
        process => process.map_err(broken)?,
    };
    match request(stream, Control::Stop) {
        // It may be gone before it has said so.
        Ok(_) | Err(AskError::Broken(_)) => {}
        Err(other) => return Err(other),
    }
    let mut fds = [PollFd::new(&process, PollFlags::IN)];
    match poll(&mut fds, Some(&STOPPING)).map_err(broken)? {
        0 => Err(AskError::Stays(peer.pid.as_raw_nonzero().get())),
        _ => Ok(true),
    }
}
