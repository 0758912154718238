//! Names of builds, jobs, snapshots and blobs. Knows how they print, not who makes them.

use std::fmt;

/// One run of the outermost driver: 64 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct BuildId(pub u64);

/// One job of a build, numbered in order of arrival from 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct JobId {
    /// The build that the job belongs to.
    pub build: BuildId,
    /// Its number in the build.
    pub number: u32,
}

/// One run of the stub, from its start to its end: 128 random bits. Names its job in the
/// daemon's journal, also to a later daemon.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct RequestId(pub u128);

/// A version of the client's tree. Snapshots of one epoch are ordered by `count`;
/// another epoch (the daemon was started anew) makes everything before it void.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Snapshot {
    /// Random number of the daemon's run.
    pub epoch: u64,
    /// Grows with each observed change.
    pub count: u64,
}

/// Bytes of a blob that are asked for at once, at most.
pub const BLOB_PIECE: u32 = 1 << 20;

/// The BLAKE3 hash of a file's content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobHash(pub [u8; 32]);

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::str::FromStr for BuildId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

impl std::str::FromStr for JobId {
    type Err = std::num::ParseIntError;

    /// `BUILD.N`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (build, number) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self {
            build: build.parse()?,
            number: number.parse()?,
        })
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.build, self.number)
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As two numbers: traces are full of hashes.
        let (halves, _) = self.0.as_chunks();
        halves
            .iter()
            .try_for_each(|half| write!(f, "{:032x}", u128::from_be_bytes(*half)))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
