//! The first thing that workerd does, while it has one thread: namespaces of its own, a
//! supervisor in front of it, the store's tmpfs, and the spawner of slots.
//!
//! Knows nothing of clients, views or jobs.

mod nodes;
mod root;
mod supervisor;
#[cfg(test)]
mod tests;

use crate::slot::{Spawner, SpawnerContext, channel, serve};
use crate::store::Store;
use rustix::io::Errno;
use std::path::PathBuf;
pub use supervisor::{handles_signals, leave};

/// How large the store may become, and where it is mounted.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// An existing directory to mount the store on; only workerd's own processes see
    /// it there. By default it covers no directory at all.
    pub dir: Option<PathBuf>,
    /// Bytes; default: half of the memory.
    pub bytes: Option<u64>,
    /// Files, directories and symlinks; default: one for 8 KiB of the bytes.
    pub inodes: Option<u64>,
}

/// What workerd has when it is set up.
#[derive(Debug)]
pub struct Entered {
    /// Where everything is kept.
    pub store: Store,
    /// Who makes slots.
    pub spawner: Spawner,
    /// Whether the kernel runs workerd as soon as there is something to do.
    pub prompt: Result<(), termite_sched::Refused>,
}

/// Why workerd cannot start here.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing}: {}; {advice}", std::io::Error::from(*.errno))]
pub struct StartError {
    doing: &'static str,
    errno: Errno,
    advice: &'static str,
}

impl StartError {
    /// What was being done, what the kernel said, and what to do about it.
    pub(crate) fn at(doing: &'static str, advice: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self { doing, errno, advice }
    }
}

/// Makes this process a supervisor and returns in its child, which is pid 1 of a pid
/// namespace of its own, with the store mounted and the spawner running.
///
/// Must be called before there is a second thread. The supervisor passes SIGTERM,
/// SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 on and ends as the child ends; whichever
/// of the two is killed takes everything with it. An error before the child exists is
/// returned in the caller's process, a later one in the child.
pub fn enter(options: StoreOptions) -> Result<Entered, StartError> {
    let prompt = termite_sched::request_short_slice();
    root::own_namespaces()?;
    supervisor::fork_child()?;
    let (store, tree) = root::make(options)?;
    let spawning = || StartError::at("start the spawner", "raise the limit of processes or free memory");
    let (ours, theirs) = channel().map_err(spawning())?;
    if crate::slot::sys::fork().map_err(spawning())?.is_some() {
        return Ok(Entered {
            spawner: Spawner::new(ours, &store),
            store,
            prompt,
        });
    }
    drop(ours);
    match root::retire_to(&tree, theirs) {
        Ok(socket) => serve(
            socket,
            &SpawnerContext {
                root_user: store.root_user,
            },
        ),
        Err(error) => {
            // workerd hears of it when it asks for the first slot.
            eprintln!("workerd: the spawner {error}");
            crate::slot::sys::exit(1)
        }
    }
}
