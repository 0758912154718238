//! Frames between `termite-run` or `termite` and the client daemon (`shim.capnp`): our
//! types, to bytes and back. Knows nothing of sockets: bytes are fed in, frames come out,
//! whether the reader blocks or not.

mod decoder;
mod to_caller;
mod to_daemon;

pub use decoder::{Decoder, FRAME_MAX};

use crate::WireError;
use capnp::message::{Builder, HeapAllocator};
use std::ffi::OsString;
use std::path::PathBuf;
use termite_types::{BuildId, Limit, RequestId, Stdio, TerminalSize};

/// What a caller says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToDaemon {
    /// First frame of `termite-run`.
    Job(CallerJob),
    /// First and only frame of `termite`.
    Control(Control),
    /// A signal for the job.
    Signal(u8),
    /// Answer to [`ToCaller::WantInput`]; empty: end of file.
    Input(Vec<u8>),
    /// The terminal has another size.
    Resize(TerminalSize),
}

/// A command as a driver started it. User and group are the socket's peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallerJob {
    /// Chosen by the caller, the same for each daemon that it asks.
    pub request: RequestId,
    /// The build that it belongs to.
    pub build: BuildId,
    /// File to execute: absolute, or relative to `cwd`. Already looked up in `PATH`.
    pub program: PathBuf,
    /// Arguments with the zeroth.
    pub argv: Vec<OsString>,
    /// `NAME=value` strings, as they are, in their order.
    pub env: Vec<OsString>,
    /// Working directory.
    pub cwd: PathBuf,
    /// File mode creation mask.
    pub umask: u32,
    /// Signals that are ignored, as in [`termite_types::JobSpec::ignored`].
    pub ignored: u64,
    /// As [`termite_types::JobSpec::nice`].
    pub nice: u8,
    /// Resource limits that differ from unlimited, at most one each.
    pub limits: Vec<Limit>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Descriptors 0 to 2.
    pub stdio: Stdio,
    /// Numbers of the others that are open, as in [`termite_types::JobSpec::inherited`].
    pub inherited: Vec<u32>,
    /// Asked for as a job by the user: rules do not apply.
    pub must: bool,
    /// Below a driver that removes the targets of interrupted recipes only once their stubs have
    /// ended, as the preloaded library has it.
    pub is_driven: bool,
}

/// A request of the `termite` command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Control {
    /// What is going on.
    Status,
    /// End.
    Stop,
    /// What the last build under this directory did.
    Last(PathBuf),
    /// `termite-env` starts a build.
    Begin {
        /// Its name.
        build: BuildId,
        /// Where.
        cwd: PathBuf,
        /// With what.
        command: Vec<OsString>,
        /// Addresses; empty: as configured.
        workers: Vec<String>,
    },
    /// The command of `termite-env` ended.
    Finish {
        /// The build that ended.
        build: BuildId,
        /// Its exit status.
        exit: u8,
    },
    /// Try the fleet again for the commands whose line has these words; none: for all.
    Forget(Vec<OsString>),
}

/// What the daemon says to a caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToCaller {
    /// `termite-run` executes the command itself, in its own place.
    Local {
        /// Why, where a fault is the cause; empty: a rule.
        reason: String,
        /// With the shim in it.
        as_driver: bool,
        /// A fault: print the reason once on stderr if nobody else will.
        tell: bool,
        /// Value for `TERMITE__TOOLS`.
        tools: OsString,
    },
    /// Something to write.
    Output {
        /// 1 or 2.
        fd: u8,
        /// At most [`FRAME_MAX`] less a few words; cut longer ones.
        bytes: Vec<u8>,
    },
    /// The job reads its standard input.
    WantInput,
    /// The job exited.
    Exited {
        /// Its status.
        status: u8,
        /// Bytes of its standard input that it read.
        read_input: u64,
    },
    /// A signal ended the job.
    Signaled {
        /// Which.
        signal: u8,
        /// Bytes of its standard input that it read.
        read_input: u64,
    },
    /// Answer to a control request: JSON.
    Report(String),
    /// The request was refused: why, and what to do.
    Error(String),
}

/// Why what arrived is no frame. The connection is of no more use.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FrameError {
    /// More than [`FRAME_MAX`] bytes, or a header that cannot be meant.
    #[error("a frame of {0} bytes is longer than any may be")]
    TooLong(u64),
    /// The first frame is of another release.
    #[error(
        "the caller speaks protocol {theirs}, this daemon {ours}: stop the daemon (termite stop) or use one release"
    )]
    Protocol {
        /// The caller's number.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// What it holds is not acceptable.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// One direction of the conversation.
pub trait Frame: Sized + private::Coded {}

impl Frame for ToDaemon {}
impl Frame for ToCaller {}

/// The bytes of a frame.
pub fn encode<F: Frame>(frame: &F) -> Vec<u8> {
    let words = u32::try_from(frame.size_hint() / 8).unwrap_or(0).saturating_add(64);
    let mut message = Builder::new(HeapAllocator::new().first_segment_words(words));
    frame.write(&mut message);
    capnp::serialize::write_message_to_words(&message)
}

mod private {
    use super::{Builder, FrameError, HeapAllocator};
    use capnp::message::Reader;
    use capnp::serialize::OwnedSegments;

    /// How a frame is written and read.
    pub trait Coded: Sized {
        /// About how many bytes it holds.
        fn size_hint(&self) -> usize;
        /// Makes it the root of a message.
        fn write(&self, to: &mut Builder<HeapAllocator>);
        /// Reads it from a message; `first`: it opens the conversation.
        fn read(from: &Reader<OwnedSegments>, first: bool) -> Result<Self, FrameError>;
    }
}
