//! What serves the file accesses of this worker's jobs: as asked for, or what the host
//! allows. Knows the order of preference; the rooms behind it know how to try.

use crate::fuse::{self, Device};
use crate::slot::{self, GuardAllows};
use crate::start::{Entered, Store};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a worker is told to serve file accesses by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// The fastest that this host allows.
    Auto,
    /// In the process where nothing is missing, else by seccomp notification.
    ShimGuard,
    /// By seccomp notification alone.
    Guard,
    /// By FUSE.
    Fuse,
}

/// What serves a job's file accesses.
#[derive(Clone, Debug)]
pub enum Front {
    /// The shim in the process where nothing is missing, else the guard.
    ShimGuard,
    /// The guard alone.
    Guard,
    /// A FUSE file system for each slot.
    Fuse(Device),
}

impl Front {
    /// As `workerd --fault` names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ShimGuard => "shim,guard",
            Self::Guard => "guard",
            Self::Fuse(_) => "fuse",
        }
    }
}

/// A front end and the reason for it.
#[derive(Debug)]
pub struct Choice {
    /// What serves.
    pub front: Front,
    /// In words.
    pub why: String,
}

/// Why no job can be served here.
#[derive(Debug, thiserror::Error)]
pub enum NoFront {
    /// FUSE was asked for.
    #[error("--fault fuse: {0}; `termite doctor` tells what this host allows")]
    Fuse(String),
    /// Everything was tried.
    #[error("nothing serves files here: no guard ({guard}), no FUSE ({fuse}); `termite doctor` tells what to do")]
    Nothing {
        /// Why there is no guard.
        guard: String,
        /// Why there is no FUSE.
        fuse: String,
    },
}

/// Follows a wish. Only what is not known to work is tried. Blocks for some milliseconds.
pub fn choose(wish: Wish, entered: &Entered) -> Result<Choice, NoFront> {
    let asked = |front| Choice {
        front,
        why: "asked for".into(),
    };
    match wish {
        Wish::ShimGuard => Ok(asked(Front::ShimGuard)),
        Wish::Guard => Ok(asked(Front::Guard)),
        Wish::Fuse => try_fuse(entered)
            .map(|device| asked(Front::Fuse(device)))
            .map_err(NoFront::Fuse),
        Wish::Auto => match try_guard(entered) {
            Ok(()) => Ok(Choice {
                front: Front::ShimGuard,
                why: "this host allows seccomp user notification, and its overlayfs passes the self-test".into(),
            }),
            Err(guard) => match try_fuse(entered) {
                Ok(device) => Ok(Choice {
                    front: Front::Fuse(device),
                    why: guard,
                }),
                Err(fuse) => Err(NoFront::Nothing { guard, fuse }),
            },
        },
    }
}

/// Whether the guard can serve jobs; if not, why.
fn try_guard(entered: &Entered) -> Result<(), String> {
    let Entered { store, spawner, .. } = entered;
    let allows = slot::try_guard(spawner).map_err(|error| error.to_string())?;
    if let GuardAllows {
        listener: Err(errno), ..
    } = allows
    {
        return Err(format!("the kernel refuses seccomp user notification: {errno}"));
    }
    slot::self_test(spawner, &store.root).map_err(|error| error.to_string())?;
    slot::trial(spawner, &store.root.join(".trial"), None, |_| ()).map_err(|error| error.to_string())
}

/// Whether FUSE can serve jobs; if not, why.
pub(crate) fn try_fuse(entered: &Entered) -> Result<Device, String> {
    let device = Device::find(&entered.store).map_err(|error| error.to_string())?;
    fuse::self_test(&device, &entered.spawner, &entered.store).map_err(|error| error.to_string())?;
    raise_file_limit(&entered.store);
    Ok(device)
}

/// Lets workerd have as many files open as it can get leave for, and tells how many that
/// are (`None`: no limit): root may be bound by the kernel's own limit alone. With FUSE, it
/// holds a descriptor for each name that a running job has looked up. Slots come from a
/// process that has the limit as it was.
pub(crate) fn raise_file_limit(store: &Store) -> Option<u64> {
    let kernels = std::fs::read_to_string(store.proc.join("sys/fs/nr_open")).ok();
    let kernels: Option<u64> = kernels.and_then(|text| text.trim().parse().ok());
    let hard = getrlimit(Resource::Nofile).maximum;
    for most in [kernels.max(hard), hard] {
        let limit = Rlimit {
            current: most,
            maximum: most,
        };
        // Only who may do so raises the hard limit.
        if setrlimit(Resource::Nofile, limit).is_ok() {
            break;
        }
    }
    getrlimit(Resource::Nofile).current
}
