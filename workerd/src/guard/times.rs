//! Which modification time a call sets by its own will, read from the task's memory.
//! Knows the layouts of the calls that set times (`utime(2)`, `utimensat(2)`).

use super::request::Request;
use super::sys::read_memory;
use crate::slot::calls::{Arch, Effect};
use rustix::fs::{UTIME_NOW, UTIME_OMIT};
use termite_types::FileTime;

impl Request {
    /// The modification time that the call names; `None`: the current one, or none at all.
    pub(super) fn explicit_mtime(&self) -> Option<FileTime> {
        if self.call.effect != Effect::Times {
            return None;
        }
        let wide = self.arch == Arch::X86_64 || self.call.name == "utimensat_time64";
        let word = if wide { 8 } else { 4 };
        // Access time first; each is two words, but for `utime`, whose times are seconds.
        let (position, skipped, unit) = match self.call.name {
            "utime" => (1, word, None),
            "utimes" => (1, 2 * word, Some(1000)),
            "futimesat" => (2, 2 * word, Some(1000)),
            _ => (2, 2 * word, Some(1)),
        };
        let address = self.args[position];
        if address == 0 {
            return None;
        }
        let bytes = read_memory(self.task, address + skipped as u64, 2 * word).ok()?;
        let at = |at: usize| -> Option<i64> {
            let bytes = bytes.get(at..at + word)?;
            Some(if wide {
                i64::from_le_bytes(bytes.try_into().ok()?)
            } else {
                i32::from_le_bytes(bytes.try_into().ok()?).into()
            })
        };
        let nsec = match unit {
            None => 0,
            Some(_) => at(word)?,
        };
        if unit == Some(1) && (nsec == UTIME_NOW || nsec == UTIME_OMIT) {
            return None;
        }
        let nsec = u32::try_from(nsec * unit.unwrap_or(0))
            .ok()
            .filter(|nsec| *nsec < 1_000_000_000)?;
        Some(FileTime { sec: at(0)?, nsec })
    }
}
