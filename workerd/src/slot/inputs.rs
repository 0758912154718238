//! What a slot's processes were given, read from the spawner's message. Knows nothing of
//! what is made of it.

use super::Step;
use super::context::SpawnerContext;
use super::error::{During, Refusal};
use super::plan::{EncodedSlotPlan, FdKind};
use std::os::fd::OwnedFd;

/// Everything that a slot's processes were given.
pub(super) struct SlotInputs {
    pub plan: EncodedSlotPlan,
    pub context: SpawnerContext,
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

/// What the job shows to workerd when it is ready.
pub(super) struct SlotHandles {
    pub root: OwnedFd,
    pub init: OwnedFd,
    /// Both ends of the slot's terminal: workerd's, the job's.
    pub terminal: Option<(OwnedFd, OwnedFd)>,
}

/// Reads it from a message's descriptors; `fds` are those that the plan names.
pub(super) fn read(
    memory: &OwnedFd,
    [gate, network]: [OwnedFd; 2],
    mut fds: impl Iterator<Item = OwnedFd>,
    context: &SpawnerContext,
) -> Result<SlotInputs, Refusal> {
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
    let plan = EncodedSlotPlan::decode(&bytes).map_err(|_| malformed)?;
    let mut stdio = [None, None, None];
    for (slot, kind) in stdio.iter_mut().zip(plan.stdio) {
        if kind == FdKind::Open {
            *slot = Some(fds.next().ok_or(malformed)?);
        }
    }
    let placeholder = match plan.inherited[..] {
        [] => None,
        _ => Some(fds.next().ok_or(malformed)?),
    };
    let jobserver = match plan.jobserver {
        Some(_) => Some(fds.next().zip(fds.next()).ok_or(malformed)?),
        None => None,
    };
    let served = match plan.served {
        true => Some(fds.next().ok_or(malformed)?),
        false => None,
    };
    Ok(SlotInputs {
        plan,
        context: context.clone(),
        served,
        gate,
        network,
        stdio,
        placeholder,
        jobserver,
    })
}
