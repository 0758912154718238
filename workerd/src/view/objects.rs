//! Devices, and shared memory and semaphores by name (shm_overview(7), sem_overview(7)). Each slot has
//! its own `/dev`; whoever looks there for something that only the client has is for the client. Knows
//! nothing of objects of System V.

use super::View;
use super::error::FaultError;
use super::mirror::is_absent;
use super::path_use::Blocking;
use super::walk::Stop;
use rustix::fs::AtFlags;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use termite_core::spelling::lexical;
use termite_types::{Abandon, Resource};

/// Where all of them are.
const DIR: &str = "/dev";
/// What is below has numbers of the slot.
const NUMBERED: [&str; 2] = ["/dev/fd", "/dev/pts"];

impl View {
    /// Fails for the name of a device or object that the client has and the slot has not.
    pub(super) fn refuse_object(&self, spelled: &[u8], blocking: Blocking) -> Result<(), Stop> {
        let path = lexical(Path::new(OsStr::from_bytes(spelled)));
        if !path.starts_with(DIR) || NUMBERED.iter().any(|dir| path.starts_with(dir)) || is_absent(&path) {
            return Ok(());
        }
        // Its own, from the root on.
        let own = path.strip_prefix("/").unwrap_or(&path);
        if rustix::fs::statat(self.root(), own, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Ok(());
        }
        if blocking == Blocking::Never {
            return Err(Stop::NeedsFetch);
        }
        let resource = Resource::Name(path);
        match self.machine_has(&resource).map_err(FaultError::from)? {
            true => Err(FaultError::from(Abandon::Needs(resource)).into()),
            false => Ok(()),
        }
    }
}
