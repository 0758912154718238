//! What serves the file accesses of this worker's jobs: as asked for, or what the host
//! allows. Knows the order of preference; the rooms behind it know how to try.

use crate::fuse::{self, Absent, Device, FuseTestError};
use crate::slot::{self, GuardAllows, SelfTestError, SlotError, TrialError};
use crate::start::Entered;
use crate::store::Store;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a worker is told to serve file accesses by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BackendChoice {
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
pub enum FaultBackend {
    /// The shim in the process where nothing is missing, else the guard.
    ShimGuard,
    /// The guard alone.
    Guard,
    /// A FUSE file system for each slot.
    Fuse(Device),
}

impl FaultBackend {
    /// As `workerd --fault` names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ShimGuard => "shim,guard",
            Self::Guard => "guard",
            Self::Fuse(_) => "fuse",
        }
    }
}

/// A back end and the reason for it.
#[derive(Debug)]
pub struct ChosenBackend {
    /// What serves.
    pub backend: FaultBackend,
    /// In words.
    pub why: String,
}

/// Why the guard cannot serve jobs here.
#[derive(Debug, thiserror::Error)]
pub enum NoGuard {
    /// It could not be tried.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// By the kernel.
    #[error("the kernel refuses seccomp user notification: {0}")]
    Refused(Errno),
    /// Its overlayfs lacks what views rely on.
    #[error(transparent)]
    Overlay(#[from] SelfTestError),
    /// No slot could be made with it.
    #[error(transparent)]
    Trial(#[from] TrialError),
}

/// Why FUSE cannot serve jobs here.
#[derive(Debug, thiserror::Error)]
pub enum NoFuse {
    /// There is no device that may be opened.
    #[error(transparent)]
    Device(#[from] Absent),
    /// It does not serve a slot as it has to.
    #[error(transparent)]
    Test(#[from] FuseTestError),
}

/// Why no job can be served here.
#[derive(Debug, thiserror::Error)]
pub enum NoFaultBackend {
    /// FUSE was asked for.
    #[error("--fault fuse: {0}; `termite doctor` tells what this host allows")]
    Fuse(NoFuse),
    /// Everything was tried.
    #[error("nothing serves files here: no guard ({guard}), no FUSE ({fuse}); `termite doctor` tells what to do")]
    Nothing {
        /// Why there is no guard.
        guard: NoGuard,
        /// Why there is no FUSE.
        fuse: NoFuse,
    },
}

/// Chooses as asked for. Only what is not known to work is tried. Blocks for some milliseconds.
pub fn choose(wanted: BackendChoice, entered: &Entered) -> Result<ChosenBackend, NoFaultBackend> {
    let asked = |backend| ChosenBackend {
        backend,
        why: "asked for".into(),
    };
    match wanted {
        BackendChoice::ShimGuard => Ok(asked(FaultBackend::ShimGuard)),
        BackendChoice::Guard => Ok(asked(FaultBackend::Guard)),
        BackendChoice::Fuse => try_fuse(entered)
            .map(|device| asked(FaultBackend::Fuse(device)))
            .map_err(NoFaultBackend::Fuse),
        BackendChoice::Auto => match try_guard(entered) {
            Ok(()) => Ok(ChosenBackend {
                backend: FaultBackend::ShimGuard,
                why: "this host allows seccomp user notification, and its overlayfs passes the self-test".into(),
            }),
            Err(guard) => match try_fuse(entered) {
                Ok(device) => Ok(ChosenBackend {
                    backend: FaultBackend::Fuse(device),
                    why: guard.to_string(),
                }),
                Err(fuse) => Err(NoFaultBackend::Nothing { guard, fuse }),
            },
        },
    }
}

/// Whether the guard can serve jobs; if not, why.
fn try_guard(entered: &Entered) -> Result<(), NoGuard> {
    let Entered { store, spawner, .. } = entered;
    let allows = slot::try_guard(spawner)?;
    if let GuardAllows {
        listener: Err(errno), ..
    } = allows
    {
        return Err(NoGuard::Refused(errno));
    }
    slot::self_test(spawner, &store.root)?;
    Ok(slot::trial(spawner, &store.root.join(".trial"), None, |_| ())?)
}

/// Whether FUSE can serve jobs; if not, why.
pub(crate) fn try_fuse(entered: &Entered) -> Result<Device, NoFuse> {
    let device = Device::find(&entered.store)?;
    fuse::self_test(&device, &entered.spawner, &entered.store)?;
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
