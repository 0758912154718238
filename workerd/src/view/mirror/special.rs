//! Devices, FIFOs and sockets of the client: a view shows their names. Whoever looks for one is
//! for the client. Knows nothing of who looks.

use super::Mirror;
use super::place::{Workplace, stand_in};
use super::tables::Tables;
use crate::view::error::FaultError;
use rustix::fd::AsFd;
use rustix::fs::Mode;
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use termite_types::{Abandon, Attr, Special};

/// Services of the machine that no job is sent home for: programs ask them if they are there, and
/// do without them (nscd(8), nss-systemd(8), syslog(3), dbus-daemon(1)).
const ABSENT: [&str; 7] = [
    "/dev/log",
    "/run/dbus",
    "/run/nscd",
    "/run/systemd",
    "/var/run/dbus",
    "/var/run/nscd",
    "/var/run/systemd",
];

/// Whether a path is a socket of one of those services.
pub fn is_absent(path: &Path) -> bool {
    ABSENT.iter().any(|absent| path.starts_with(absent))
}

/// In words that follow "it needs".
fn needed(path: &Path) -> Abandon {
    Abandon::Machine(format!("a FIFO, socket or device at {}", path.display()))
}

impl Tables {
    /// Takes in the names of all special files of a directory that is being listed.
    pub(super) fn set_specials(&mut self, dir: &Path, names: &[&OsString]) {
        if let Some(known) = self.specials.get_mut(dir) {
            let names: HashSet<_> = names.iter().copied().collect();
            known.retain(|name| names.contains(name));
        }
        for name in names {
            self.set_special(dir, name, true);
        }
        if self.specials.get(dir).is_some_and(HashSet::is_empty) {
            self.specials.remove(dir);
        }
    }

    /// Takes in whether a name of a directory is that of a special file.
    pub(super) fn set_special(&mut self, dir: &Path, name: &OsStr, is_special: bool) {
        if is_special && !is_absent(&dir.join(name)) {
            let Some(dir) = self.interned(dir) else { return };
            if self.specials.entry(dir).or_default().insert(name.to_os_string()) {
                // Spellings may be known to need nothing, and running jobs were told so.
                self.resolved.void();
                self.end_epochs();
            }
        } else if let Some(names) = self.specials.get_mut(dir) {
            names.remove(name);
            if names.is_empty() {
                self.specials.remove(dir);
            }
        }
    }

    /// Whether a directory has special files.
    pub(super) fn has_specials(&self, dir: &Path) -> bool {
        self.specials.contains_key(dir)
    }

    pub(super) fn is_special(&self, dir: &Path, name: &OsStr) -> bool {
        self.specials.get(dir).is_some_and(|names| names.contains(name))
    }
}

impl Mirror {
    /// Makes the name of a special file.
    pub(super) fn make_special(
        &self,
        dir: &Workplace,
        name: &OsStr,
        special: Special,
        attr: &Attr,
    ) -> Result<(), Errno> {
        if is_absent(&dir.child(name)) {
            return Ok(());
        }
        rustix::fs::mknodat(&dir.fd, name, stand_in(special), Mode::empty(), 0)?;
        self.apply_attrs(dir.fd.as_fd(), name, attr)
    }

    /// Fails for a name of a directory that was listed where that is a special file's.
    pub(in crate::view) fn refuse_special(&self, dir: &Path, name: &OsStr) -> Result<(), FaultError> {
        match self.tables.lock().is_special(dir, name) {
            true => Err(needed(&dir.join(name)).into()),
            false => Ok(()),
        }
    }
}
