//! What can go wrong while a slot is made, step by step. Knows no system calls.

use rustix::io::Errno;
use std::path::PathBuf;

/// Why there is no slot, or why it could not be talked to.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The kernel refused a step.
    #[error("making a slot: could not {step}: {}", std::io::Error::from_raw_os_error(*.errno))]
    Setup {
        /// The step.
        step: Step,
        /// What the kernel said.
        errno: i32,
    },
    /// The plan names a path elsewhere.
    #[error("making a slot: {} is not in the store", .0.display())]
    OutsideStore(PathBuf),
    /// The plan cannot be carried out.
    #[error("making a slot: {0}")]
    Plan(&'static str),
    /// The spawner has ended; workerd has to be started anew.
    #[error("the spawner is gone; start workerd again")]
    SpawnerGone,
    /// The slot's processes ended before it was ready.
    #[error("the slot's processes ended before it was ready (out of memory, or killed?)")]
    Died,
    /// A message could not be sent or received.
    #[error("talking to a slot: {0}")]
    Talk(Errno),
    /// A message that no slot sends.
    #[error("a slot sent a message that was not expected")]
    Nonsense,
}

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident $text:literal)*) => {
        /// The steps of making a slot, in their order.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Step { $($(#[$doc])* $name),* }

        impl Step {
            const ALL: &[(Step, &str)] = &[$((Step::$name, $text)),*];
        }
    };
}

steps! {
    /// Reading the plan.
    Plan "read its plan"
    /// `fork`, into a pid namespace of its own.
    Fork "fork into a pid namespace"
    /// The other namespaces.
    Namespaces "make mount, ipc and uts namespaces"
    /// Directories in the store.
    Directories "make its directories in the store"
    /// The file system below the overlay, where it is one of its own.
    Lower "attach its lower layer (FUSE)"
    /// The overlay.
    Overlay "mount its overlay"
    /// `/proc`.
    Proc "mount its /proc"
    /// `/dev` and what is in it.
    Dev "put its /dev together"
    /// `pivot_root`.
    Pivot "change its root directory"
    /// `sethostname`.
    Hostname "set its host name"
    /// The network namespace, made or entered.
    Network "make or enter its network namespace"
    /// The loopback interface.
    Loopback "bring its loopback interface up"
    /// The pseudo terminal.
    Terminal "make its terminal"
    /// `unshare(CLONE_NEWUSER)` and its maps.
    UserNamespace "make its user namespace"
    /// User, groups, capabilities.
    Identity "take on the owner's identity"
    /// The job's descriptors.
    Stdio "set up the job's descriptors"
    /// Limits of resources.
    Limits "set the job's limits"
    /// The seccomp filter.
    Guard "install the guard (seccomp user notification, Linux 5.19 or newer)"
    /// The seccomp filter of a slot without a guard.
    Refusals "refuse what no job may do (seccomp filters)"
    /// The message that all is ready.
    Announce "announce the job"
}

impl Step {
    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).map(|(step, _)| *step)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Self::ALL[*self as usize].1)
    }
}

/// A step that the kernel refused, on its way out of a slot's process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub step: Step,
    pub errno: i32,
}

/// Names the step in which a call failed.
pub(crate) trait During<T> {
    fn during(self, step: Step) -> Result<T, Refusal>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, step: Step) -> Result<T, Refusal> {
        self.map_err(|errno| Refusal {
            step,
            errno: errno.raw_os_error(),
        })
    }
}

impl<T> During<T> for std::io::Result<T> {
    fn during(self, step: Step) -> Result<T, Refusal> {
        self.map_err(|error| Refusal {
            step,
            errno: error.raw_os_error().unwrap_or(libc::EIO),
        })
    }
}

/// What the system says of something that is needed for a start.
pub fn in_words(what: &str, errno: i32) -> String {
    format!("{what}: {}", std::io::Error::from_raw_os_error(errno))
}
