//! The spawner's own process: forks a slot's first process, or one that tries something, whenever
//! workerd asks. Knows nothing of how a slot is made.

use super::context::SpawnerContext;
use super::ipc::{self, GUARD_PROBE, NETWORK, PID_PROBE, Report, SELF_TEST, SLOT};
use super::{Step, filter, init, network, pids, probe, selftest, sys};
use std::os::fd::{AsFd, OwnedFd};

/// The spawner's process: answers until workerd closes its end. The caller is a
/// freshly forked process with one thread, whose root directory is the store's tmpfs.
pub(crate) fn serve(socket: OwnedFd, context: &SpawnerContext) -> ! {
    sys::reap_children_unseen();
    filter::prepare();
    loop {
        let message = match ipc::receive(socket.as_fd(), true) {
            Ok(Some(message)) => message,
            Ok(None) | Err(_) => sys::exit(0),
        };
        // Without a process there is nobody to take the message's descriptors: they are
        // closed here, and who asked sees the end of its channel.
        let fork = match message.bytes.first() {
            Some(&(SLOT | PID_PROBE)) => sys::fork_into_pid_namespace,
            _ => sys::fork,
        };
        match fork() {
            Ok(Some(_)) => {}
            Ok(None) => {
                drop(socket);
                match message.bytes.first() {
                    Some(&SLOT) => init::run(message.fds, context),
                    Some(&SELF_TEST) => selftest::run(message.fds, context),
                    Some(&GUARD_PROBE) => probe::run(message.fds),
                    Some(&NETWORK) => network::run(message.fds),
                    Some(&PID_PROBE) => pids::run(message.fds),
                    _ => sys::exit(2),
                }
            }
            Err(errno) => {
                if let Some(control) = message.fds.get(1) {
                    let report = Report::Failed(Step::Fork, errno.raw_os_error());
                    // Who asked may be gone; there is nobody else to tell.
                    let _ = ipc::send(control.as_fd(), &report.encode(), &[]);
                }
            }
        }
    }
}
