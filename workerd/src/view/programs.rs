//! Programs by content, and what their heads say of how the kernel runs them. Knows no paths but
//! those of interpreters.

use super::elf::Elf;
use parking_lot::Mutex;
use rustix::fd::OwnedFd;
use std::collections::HashMap;
use std::sync::Arc;
use termite_types::BlobHash;

/// Bytes that the kernel looks at (`BINPRM_BUF_SIZE`).
const HEAD: usize = 256;
/// Programs beyond that are not kept.
const MOST: usize = 1 << 12;

/// What the head of a program says of who runs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Program {
    /// `#!`, with the interpreter's path.
    Script(Vec<u8>),
    /// ELF with a loader.
    Linked {
        /// The loader's path.
        loader: Vec<u8>,
        /// It does not bear a preloaded library.
        refuses_preload: bool,
    },
    /// The kernel opens nothing more.
    Plain,
}

/// Programs by content, which jobs have executed.
#[derive(Default)]
pub(super) struct Programs(Mutex<HashMap<BlobHash, Arc<Program>>>);

impl Programs {
    pub(super) fn get(&self, content: BlobHash) -> Option<Arc<Program>> {
        self.0.lock().get(&content).cloned()
    }

    pub(super) fn keep(&self, content: BlobHash, program: Arc<Program>) {
        let mut programs = self.0.lock();
        if programs.len() < MOST {
            programs.insert(content, program);
        }
    }
}

impl Program {
    /// By the head of a file.
    pub(super) fn of(file: &OwnedFd) -> Self {
        let mut head = [0; HEAD];
        let len = rustix::io::pread(file, &mut head, 0).unwrap_or(0);
        if let Some(line) = head[..len].strip_prefix(b"#!") {
            return script_interpreter(line).map_or(Self::Plain, Self::Script);
        }
        let linked = Elf::read(file).and_then(|elf| {
            Some(Self::Linked {
                loader: elf.interpreter()?,
                refuses_preload: elf.refuses_preload(),
            })
        });
        linked.unwrap_or(Self::Plain)
    }

    /// The path of what runs it; `None`: it runs by itself.
    pub(super) fn interpreter(&self) -> Option<&[u8]> {
        match self {
            Self::Script(path) | Self::Linked { loader: path, .. } => Some(path),
            Self::Plain => None,
        }
    }
}

fn script_interpreter(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    let mut words = line
        .split(|byte| matches!(byte, b' ' | b'\t' | 0))
        .filter(|word| !word.is_empty());
    words.next().map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_line_as_the_kernel_does() {
        let interpreter = |line: &[u8]| script_interpreter(line);
        assert_eq!(interpreter(b"/bin/sh\nrest"), Some(b"/bin/sh".to_vec()));
        assert_eq!(
            interpreter(b" \t/usr/bin/env -S python3\n"),
            Some(b"/usr/bin/env".to_vec())
        );
        assert_eq!(interpreter(b"\n/bin/sh"), None);
        assert_eq!(interpreter(b"relative/sh"), Some(b"relative/sh".to_vec()));
    }
}
