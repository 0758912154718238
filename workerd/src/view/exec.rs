//! What the kernel opens by itself when a program is executed: the interpreters of `#!`
//! lines and of ELF files. Knows the head of a program, not who starts it.

use super::confine;
use super::elf::Elf;
use super::fault::PathUse;
use super::spelling::absolute;
use super::walk::{Looks, Stop, Walk, Walked};
use super::{Intent, Origin};
use std::path::Path;
use termite_abi::Access;

/// As deep as the kernel goes (`exec_binprm`).
const MAX_DEPTH: usize = 5;
/// Bytes that the kernel looks at (`BINPRM_BUF_SIZE`).
const HEAD: usize = 256;

impl Walk<'_> {
    /// Fills a program and everything that the kernel will open to run it.
    pub fn fill_program(&self, path: &Path, looks: Looks, spelled: &[u8]) -> Result<(), Stop> {
        let (mut path, mut looks) = (path.to_path_buf(), looks);
        let mut spelled = spelled.to_vec();
        for depth in 0..MAX_DEPTH {
            if !looks.runs {
                return Ok(());
            }
            self.fill(looks)?;
            if depth > 0 {
                self.view.record(Access::Read, &spelled);
            }
            let Some(interpreter) = self.interpreter(&path) else {
                return Ok(());
            };
            let used = PathUse {
                origin: Origin::Cwd,
                path: &interpreter,
                follow: true,
                intent: Intent::Exec,
                makes: false,
            };
            let Some(next) = absolute(self, &used) else {
                return Ok(());
            };
            match self.locate(&next, true)? {
                Walked::File(found, its) => (path, looks, spelled) = (found, its, next),
                _ => {
                    self.view.record(Access::Missing, &next);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The path that a program's head names.
    fn interpreter(&self, program: &Path) -> Option<Vec<u8>> {
        let program = confine::file(&self.view.root, program).ok()?;
        let mut head = [0; HEAD];
        let len = rustix::io::pread(&program, &mut head, 0).ok()?;
        if let Some(line) = head[..len].strip_prefix(b"#!") {
            return script_interpreter(line);
        }
        let elf = Elf::read(&program)?;
        let loader = elf.interpreter()?;
        if let Some(task) = self.task {
            self.view.set_refuses_preload(task, elf.refuses_preload());
        }
        Some(loader)
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
