//! The programs that a command's drivers started as no jobs, as the library wrote them down.
//! Knows the file for that, which is in memory and goes with this process.

use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// The file.
pub(crate) struct Seen(File);

impl Seen {
    /// An empty one; `None`: the kernel has no room for it, and nothing will be told.
    pub(crate) fn begin() -> Option<Self> {
        let file = memfd_create("termite-seen", MemfdFlags::CLOEXEC).ok()?;
        Some(Self(File::from(file)))
    }

    /// Where other processes find it.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// The names, each once, in the order in which they came first.
    pub(crate) fn names(mut self) -> Vec<String> {
        let mut bytes = Vec::new();
        if self.0.rewind().and_then(|()| self.0.read_to_end(&mut bytes)).is_err() {
            return Vec::new();
        }
        let mut names: Vec<String> = Vec::new();
        for name in String::from_utf8_lossy(&bytes).lines() {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }
}
