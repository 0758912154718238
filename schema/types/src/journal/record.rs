//! One record of the journal, and its bytes: its length and a checksum (32 bits each,
//! little-endian), then that many bytes. Knows one record at a time.

use crate::RequestId;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The longest record in bytes. A longer one is not written and not believed.
pub const RECORD_MAX: usize = 16 << 20;
/// Bytes of output that an answer keeps.
pub const OUTPUT_MAX: usize = 1 << 20;
/// Bytes in front of each record.
pub(super) const HEAD: usize = 8;

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// The first one of a file.
    Opened {
        /// [`crate::PROTOCOL`] of the daemon.
        protocol: u32,
        /// Part of the names of all temporary files of this daemon.
        mark: u64,
    },
    /// Temporary files are about to be made.
    Staging {
        /// Of this job.
        request: RequestId,
        /// Process of the stub; 0: unknown.
        caller: u32,
        /// In these directories.
        dirs: Vec<PathBuf>,
    },
    /// The client's files are about to be changed.
    Begun {
        /// By the commit of this job.
        request: RequestId,
        /// As in `Staging`.
        caller: u32,
        /// One of the changed files.
        path: PathBuf,
        /// How many more there are.
        others: u32,
        /// What the stub is told once the commit is done.
        answer: Answer,
    },
    /// A file of the client's is about to get a temporary name on its way to another one.
    Moving {
        /// By the commit of this job.
        request: RequestId,
        /// Where it comes from.
        from: PathBuf,
        /// The temporary name.
        temporary: PathBuf,
        /// Where it goes.
        to: PathBuf,
    },
    /// The commit ended without any change, and its temporary files are gone.
    Undone(RequestId),
    /// The commit ended with all changes made, and its temporary files are gone.
    Done(RequestId),
}

/// How a job ended, as its stub is to show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Exit status or signal.
    pub end: Ended,
    /// Bytes of its standard input that the job read.
    pub read_input: u64,
    /// Bytes of output that the stub was sent before the commit, of descriptors 1 and 2.
    pub sent: [u64; 2],
    /// Output that comes after them, in order, each piece with its descriptor.
    pub output: Vec<(u8, Vec<u8>)>,
    /// There was more of it than [`OUTPUT_MAX`], and none is in `output`.
    pub is_output_lost: bool,
}

/// Exit status or signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Exit status.
    Exited(u8),
    /// Signal.
    Signaled(u8),
}

impl Answer {
    /// One without output.
    pub fn new(end: Ended, read_input: u64) -> Self {
        Self {
            end,
            read_input,
            sent: [0; 2],
            output: Vec::new(),
            is_output_lost: false,
        }
    }

    fn encode(&self, to: &mut Vec<u8>) {
        let (kind, number) = match self.end {
            Ended::Exited(status) => (0, status),
            Ended::Signaled(signal) => (1, signal),
        };
        to.extend([kind, number, self.is_output_lost.into()]);
        for number in [self.read_input, self.sent[0], self.sent[1]] {
            to.extend(number.to_le_bytes());
        }
        put_number(to, self.output.len());
        for (fd, bytes) in &self.output {
            to.push(*fd);
            put_bytes(to, bytes);
        }
    }

    fn decode(from: &mut Fields<'_>) -> Option<Self> {
        let end = match from.array()? {
            [0, status] => Ended::Exited(status),
            [1, signal @ 1..=64] => Ended::Signaled(signal),
            _ => return None,
        };
        let [is_output_lost] = from.array()?;
        let read_input = from.long()?;
        let sent = [from.long()?, from.long()?];
        let pieces = from.number()?;
        let mut output = Vec::new();
        for _ in 0..pieces {
            let [fd @ 1..=2] = from.array()? else { return None };
            output.push((fd, from.bytes()?.to_vec()));
        }
        Some(Self {
            end,
            read_input,
            sent,
            output,
            is_output_lost: is_output_lost != 0,
        })
    }
}

impl Record {
    /// Its bytes with length and checksum. `None`: it is longer than [`RECORD_MAX`].
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut to = vec![0; HEAD];
        match self {
            Self::Opened { protocol, mark } => {
                to.push(0);
                to.extend(protocol.to_le_bytes());
                to.extend(mark.to_le_bytes());
            }
            Self::Staging { request, caller, dirs } => {
                put_request(&mut to, 1, *request);
                to.extend(caller.to_le_bytes());
                put_number(&mut to, dirs.len());
                dirs.iter().for_each(|dir| put_path(&mut to, dir));
            }
            Self::Begun {
                request,
                caller,
                path,
                others,
                answer,
            } => {
                put_request(&mut to, 2, *request);
                to.extend(caller.to_le_bytes());
                put_path(&mut to, path);
                to.extend(others.to_le_bytes());
                answer.encode(&mut to);
            }
            Self::Moving {
                request,
                from,
                temporary,
                to: target,
            } => {
                put_request(&mut to, 3, *request);
                for path in [from, temporary, target] {
                    put_path(&mut to, path);
                }
            }
            Self::Undone(request) => put_request(&mut to, 4, *request),
            Self::Done(request) => put_request(&mut to, 5, *request),
        }
        let length = to.len() - HEAD;
        let sum = checksum(&to[HEAD..]);
        to[..4].copy_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
        to[4..HEAD].copy_from_slice(&sum.to_le_bytes());
        (length <= RECORD_MAX).then_some(to)
    }

    /// From its bytes without length and checksum. `None`: they are no record.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut from = Fields(body);
        let [kind] = from.array()?;
        if kind == 0 {
            let (protocol, mark) = (from.int()?, from.long()?);
            return from.0.is_empty().then_some(Self::Opened { protocol, mark });
        }
        let request = RequestId(u128::from_le_bytes(from.array()?));
        let record = match kind {
            1 => {
                let (caller, count) = (from.int()?, from.number()?);
                let dirs = (0..count).map(|_| from.path()).collect::<Option<_>>()?;
                Self::Staging { request, caller, dirs }
            }
            2 => Self::Begun {
                request,
                caller: from.int()?,
                path: from.path()?,
                others: from.int()?,
                answer: Answer::decode(&mut from)?,
            },
            3 => Self::Moving {
                request,
                from: from.path()?,
                temporary: from.path()?,
                to: from.path()?,
            },
            4 => Self::Undone(request),
            5 => Self::Done(request),
            _ => return None,
        };
        from.0.is_empty().then_some(record)
    }
}

/// What is in front.
pub(super) enum Cut<'a> {
    Whole(&'a [u8]),
    Torn,
    Bad,
}

pub(super) fn cut(bytes: &[u8]) -> Cut<'_> {
    let mut head = Fields(bytes);
    let (Some(length), Some(sum)) = (head.number(), head.int()) else {
        return Cut::Torn;
    };
    if length > RECORD_MAX {
        return Cut::Bad;
    }
    match head.0.get(..length) {
        None => Cut::Torn,
        Some(body) if checksum(body) == sum => Cut::Whole(body),
        Some(_) => Cut::Bad,
    }
}

/// FNV-1a of 32 bits: against accidents, not against forgers.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, step)
}

fn put_request(to: &mut Vec<u8>, kind: u8, request: RequestId) {
    to.push(kind);
    to.extend(request.0.to_le_bytes());
}

/// A length. One beyond 32 bits makes the record too long in any case.
fn put_number(to: &mut Vec<u8>, number: usize) {
    to.extend(u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put_number(to, bytes.len());
    to.extend(bytes);
}

fn put_path(to: &mut Vec<u8>, path: &Path) {
    put_bytes(to, path.as_os_str().as_bytes());
}

/// What is left to read of a record.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn int(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn number(&mut self) -> Option<usize> {
        self.int().map(|number| number as usize)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn path(&mut self) -> Option<PathBuf> {
        Some(OsString::from_vec(self.bytes()?.to_vec()).into())
    }
}
