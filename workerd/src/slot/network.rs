//! The network that the slots of one client share: a namespace with nothing but a loopback
//! interface, made by a process of its own. Jobs of one client reach each other through it,
//! as they do at home. Knows nothing of slots.

use super::context::PROC;
use super::error::{During, Refusal};
use super::ipc::{self, NETWORK, Report};
use super::spawner::Spawner;
use super::{SlotError, Step, sys};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A network namespace. It goes with its last user.
#[derive(Clone, Debug)]
pub struct Network(Arc<OwnedFd>);

impl Network {
    /// Makes one. Blocks for about a millisecond.
    pub fn new(spawner: &Spawner) -> Result<Self, SlotError> {
        let message = spawner.question(NETWORK)?;
        match (Report::decode(&message.bytes), message.fds.into_iter().next()) {
            (Some(Report::Ready), Some(namespace)) => Ok(Self(Arc::new(namespace))),
            (Some(Report::Failed(step, errno)), _) => Err(SlotError::Setup { step, errno }),
            _ => Err(SlotError::Nonsense),
        }
    }
}

impl AsFd for Network {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The spawner's child that makes a network: the descriptor of the channel to answer by.
pub(super) fn run(fds: Vec<OwnedFd>) -> ! {
    let Some(control) = fds.into_iter().next() else {
        sys::exit(2)
    };
    match make() {
        Ok(namespace) => {
            // Who asked may be gone; there is nobody else to tell.
            let _ = ipc::send(control.as_fd(), &Report::Ready.encode(), &[namespace.as_fd()]);
            sys::exit(0)
        }
        Err(refusal) => ipc::fail(control.as_fd(), refusal),
    }
}

fn make() -> Result<OwnedFd, Refusal> {
    sys::new_namespaces(UnshareFlags::NEWNET).during(Step::Network)?;
    sys::loopback_up().during(Step::Loopback)?;
    let path = format!("{PROC}/self/ns/net");
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).during(Step::Network)
}

/// Moves this process into a network.
pub(super) fn enter(network: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::thread::move_into_link_name_space(network, Some(LinkNameSpaceType::Network))
}
