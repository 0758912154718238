//! Objects of System V IPC (sysvipc(7)): a slot has those that its job made, and whoever uses
//! others means the client's. Knows the calls' arguments, and does not ask the client.

use super::request::Request;
use crate::slot::calls::Effect;
use std::sync::atomic::{AtomicBool, Ordering};
use termite_types::{ObjectKind, ObjectName, Resource};

/// The lists of all objects.
const LISTS: [(&[u8], ObjectKind); 3] = [
    (b"/proc/sysvipc/shm", ObjectKind::Memory),
    (b"/proc/sysvipc/sem", ObjectKind::Semaphores),
    (b"/proc/sysvipc/msg", ObjectKind::Queue),
];

/// Commands of the control calls that take no identifier, but a place in the kernel's table or nothing
/// (shmctl(2), semctl(2), msgctl(2)).
const LISTING: [u64; 9] = [3, 11, 12, 13, 14, 15, 18, 19, 20];

/// What a job has made so far.
#[derive(Default)]
pub(super) struct Objects {
    /// It has some of its own, and numbers may be theirs.
    are_made: AtomicBool,
}

impl Objects {
    /// What a call is about that the slot may not have and the client's machine may.
    pub(super) fn looked_for(&self, request: &Request) -> Option<Resource> {
        let number = request.args[0] as i32;
        let (kind, name) = match request.call.effect {
            Effect::Object(kind, flags) => {
                let makes = number == libc::IPC_PRIVATE || request.args[flags as usize] as i32 & libc::IPC_CREAT != 0;
                self.are_made.fetch_or(makes, Ordering::Relaxed);
                if number == libc::IPC_PRIVATE {
                    return None;
                }
                (kind, ObjectName::Key(number))
            }
            Effect::ObjectUse(kind, command) => match command.map(|at| request.args[at as usize]) {
                Some(command) if LISTING.contains(&command) => (kind, ObjectName::Any),
                _ => (kind, ObjectName::Id(number)),
            },
            _ => {
                let listed = |(path, _): &&(&[u8], _)| request.paths.iter().any(|named| named.path == *path);
                (LISTS.iter().find(listed)?.1, ObjectName::Any)
            }
        };
        // One with the client's key is the client's, whatever else the job made.
        let is_own = !matches!(name, ObjectName::Key(_)) && self.are_made.load(Ordering::Relaxed);
        (!is_own).then_some(Resource::Object(kind, name))
    }
}
