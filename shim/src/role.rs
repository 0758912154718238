//! What this process is on the client: a driver of one kind or another, which starts jobs, or none.
//!
//! Knows nothing of how jobs are started.

use crate::env::{self, Kept};
use crate::path::last_name;
use crate::sys::{self, PATH_MAX};
use core::ffi::{CStr, c_int};
use core::mem::MaybeUninit;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

/// What kind of driver a program is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Every child is a job, but those whose output it reads itself.
    Make,
    /// Every child is a job; it reads the output of all.
    Ninja,
    /// Children that are build tools are jobs.
    Other,
    /// One of our own programs: nothing that it starts is touched.
    Own,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Make, Self::Ninja, Self::Other, Self::Own];

    /// By the base name of the program.
    pub(crate) fn of(name: &[u8]) -> Self {
        match name {
            b"make" | b"gmake" => Self::Make,
            b"ninja" | b"ninja-build" | b"samu" => Self::Ninja,
            b"termite" | b"termite-run" | b"termite-env" | b"workerd" => Self::Own,
            _ => Self::Other,
        }
    }
}

/// What a driver needs to know about itself.
#[derive(Debug)]
pub(crate) struct Driver {
    /// A [`Kind`] as a number, or [`UNKNOWN`].
    kind: AtomicU8,
    /// The process that ran the constructor; children before their exec have another.
    process: c_int,
    /// Path of termite-run, which may not exist.
    pub stub: &'static CStr,
    /// Base names of build tools.
    pub tools: &'static [u8],
    /// What children have in their environment.
    pub kept: Kept,
}

/// Most processes start nothing, and never ask.
const UNKNOWN: u8 = u8::MAX;

impl Driver {
    /// The process that calls this.
    pub(crate) fn new(stub: &'static CStr, tools: &'static [u8], kept: Kept) -> Self {
        Self {
            kind: AtomicU8::new(UNKNOWN),
            process: sys::getpid(),
            stub,
            tools,
            kept,
        }
    }

    /// Whether the calling process is the one that ran the constructor: no child of it before its exec.
    pub(crate) fn is_this_process(&self) -> bool {
        self.process == sys::getpid()
    }

    /// What it is by its program, looked up once.
    pub(crate) fn kind(&self) -> Kind {
        let known = self.kind.load(Ordering::Relaxed);
        if let Some(kind) = Kind::ALL.into_iter().find(|&kind| kind as u8 == known) {
            return kind;
        }
        let mut buf = [const { MaybeUninit::uninit() }; PATH_MAX];
        let kind = match sys::readlink(c"/proc/self/exe", &mut buf) {
            Some(exe) => Kind::of(last_name(exe)),
            None => Kind::of(env::own_name()),
        };
        self.kind.store(kind as u8, Ordering::Relaxed);
        kind
    }
}

static DRIVER: AtomicPtr<Driver> = AtomicPtr::new(null_mut());

/// From here on this process is a driver.
pub(crate) fn enter(driver: &'static Driver) {
    DRIVER.store((&raw const *driver).cast_mut(), Ordering::Release);
}

/// This process as a driver; `None`: it starts no jobs.
pub(crate) fn current() -> Option<&'static Driver> {
    // SAFETY: null, or set by `enter` for the life of the process.
    let driver = unsafe { DRIVER.load(Ordering::Acquire).as_ref() }?;
    (driver.kind() != Kind::Own).then_some(driver)
}

/// Whether this process is make or the like.
pub(crate) fn is_recipe() -> bool {
    current().is_some_and(|driver| driver.kind() == Kind::Make)
}

/// The same, but not a child of it before its exec, which may share its memory (vfork(2)).
pub(crate) fn is_recipe_itself() -> bool {
    current().is_some_and(|driver| driver.kind() == Kind::Make && driver.is_this_process())
}
