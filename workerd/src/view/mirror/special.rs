//! Devices, FIFOs and sockets of the client: no view holds them. Whoever looks for one is for the
//! client. Knows nothing of who looks.

use super::Mirror;
use super::tables::Tables;
use crate::view::trouble::Trouble;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use termite_types::Abandon;

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
    pub fn set_specials(&mut self, dir: &Path, names: &[&OsString]) {
        self.specials.remove(dir);
        for name in names {
            self.set_special(dir, name, true);
        }
    }

    /// Takes in whether a name of a directory is that of a special file.
    pub fn set_special(&mut self, dir: &Path, name: &OsStr, is_special: bool) {
        if is_special && !is_absent(&dir.join(name)) {
            let Some(dir) = self.interned(dir) else { return };
            if self.specials.entry(dir).or_default().insert(name.to_os_string()) {
                // Spellings may be known to need nothing.
                self.leads.void();
            }
        } else if let Some(names) = self.specials.get_mut(dir) {
            names.remove(name);
            if names.is_empty() {
                self.specials.remove(dir);
            }
        }
    }

    /// Whether a directory has special files.
    pub fn has_specials(&self, dir: &Path) -> bool {
        self.specials.contains_key(dir)
    }

    pub fn is_special(&self, dir: &Path, name: &OsStr) -> bool {
        self.specials.get(dir).is_some_and(|names| names.contains(name))
    }
}

impl Mirror {
    /// Fails for a name of a directory that was listed where that is a special file's.
    pub(in crate::view) fn refuse_special(&self, dir: &Path, name: &OsStr) -> Result<(), Trouble> {
        match self.tables.lock().is_special(dir, name) {
            true => Err(needed(&dir.join(name)).into()),
            false => Ok(()),
        }
    }
}
