//! What a slot's processes were given, read from the spawner's letter. Knows nothing of
//! what is made of it.

use super::Step;
use super::error::{During, Refusal};
use super::plan::{Errand, FdKind};
use super::spawner::Grounds;
use std::os::fd::OwnedFd;

/// Everything that a slot's processes were given.
pub(super) struct Brief {
    pub errand: Errand,
    pub grounds: Grounds,
    /// Opened by workerd when the job may run.
    pub gate: OwnedFd,
    /// The network that the slot is connected to.
    pub network: OwnedFd,
    /// The open ones of the job's descriptors 0 to 2, by number.
    pub stdio: [Option<OwnedFd>; 3],
    /// In the place of each inherited descriptor.
    pub placeholder: Option<OwnedFd>,
    /// Read and write end.
    pub jobserver: Option<(OwnedFd, OwnedFd)>,
    /// The lower layer, where it is a file system of the slot's own.
    pub served: Option<OwnedFd>,
}

/// Reads it from a letter's descriptors; `fds` are those that the plan names.
pub(super) fn read(
    memory: &OwnedFd,
    [gate, network]: [OwnedFd; 2],
    mut fds: impl Iterator<Item = OwnedFd>,
    grounds: &Grounds,
) -> Result<Brief, Refusal> {
    let malformed = Refusal {
        step: Step::Plan,
        errno: libc::EBADMSG,
    };
    let len = rustix::fs::fstat(memory).during(Step::Plan)?.st_size as usize;
    let mut bytes = vec![0; len];
    let mut at = 0;
    while at < len {
        match rustix::io::pread(memory, &mut bytes[at..], at as u64).during(Step::Plan)? {
            0 => return Err(malformed),
            got => at += got,
        }
    }
    let errand = Errand::decode(&bytes).map_err(|_| malformed)?;
    let mut stdio = [None, None, None];
    for (slot, kind) in stdio.iter_mut().zip(errand.stdio) {
        if kind == FdKind::Open {
            *slot = Some(fds.next().ok_or(malformed)?);
        }
    }
    let placeholder = match errand.inherited[..] {
        [] => None,
        _ => Some(fds.next().ok_or(malformed)?),
    };
    let jobserver = match errand.jobserver {
        Some(_) => Some(fds.next().zip(fds.next()).ok_or(malformed)?),
        None => None,
    };
    let served = match errand.served {
        true => Some(fds.next().ok_or(malformed)?),
        false => None,
    };
    Ok(Brief {
        errand,
        grounds: grounds.clone(),
        served,
        gate,
        network,
        stdio,
        placeholder,
        jobserver,
    })
}
