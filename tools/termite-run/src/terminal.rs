//! The terminal while a job reads it: keys go to the job's own terminal as they come,
//! which echoes and edits. Ctrl-C and Ctrl-Z stay signals here, so that the driver gets
//! them as well. Output processing stays this terminal's.

use crate::sys;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};

/// Descriptor 0 as raw as described; as it was when dropped.
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Makes it so. `None`: descriptor 0 is no terminal, or this process is in the
    /// background, which must not touch it.
    pub(crate) fn enter() -> Option<Self> {
        let stdin = sys::borrow(0);
        let before = tcgetattr(stdin).ok()?;
        if tcgetpgrp(stdin).ok()? != rustix::process::getpgrp() {
            return None;
        }
        let mut raw = before.clone();
        raw.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ECHONL | LocalModes::IEXTEN);
        raw.input_modes
            .remove(InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR | InputModes::IXON);
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(stdin, OptionalActions::Drain, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that hung up needs no settings.
        let _ = tcsetattr(sys::borrow(0), OptionalActions::Drain, &self.before);
    }
}
