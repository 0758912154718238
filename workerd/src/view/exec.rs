//! What the kernel opens by itself when a program is executed: the interpreters of `#!`
//! lines and of ELF files. Knows the head of a program, not who starts it.

use super::confine;
use super::elf::Elf;
use super::fault::PathUse;
use super::spelling::absolute;
use super::walk::{Looks, Stop, Walk, Walked};
use super::{Intent, Origin};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::path::Path;
use termite_abi::Access;

/// As deep as the kernel goes (`exec_binprm`).
const MAX_DEPTH: usize = 5;
/// Bytes that the kernel looks at (`BINPRM_BUF_SIZE`).
const HEAD: usize = 256;

impl Walk<'_> {
    /// Fills a program and everything that the kernel will open to run it.
    pub fn fill_program(&self, path: &Path, looks: Looks) -> Result<(), Stop> {
        if !looks.runs {
            return Ok(());
        }
        self.fill(looks)?;
        match confine::file(&self.view.root, path) {
            Ok(program) => self.fill_interpreters(program),
            // Removed or replaced by another task this moment: the kernel will say.
            Err(_) => Ok(()),
        }
    }

    /// Fills what the kernel will open to run a program that is no file of the view's: one
    /// in memory, without a name, or removed.
    pub fn fill_for_nameless(&self, used: &PathUse<'_>) -> Result<(), Stop> {
        let fd = match (used.origin, used.path) {
            (Origin::Descriptor(fd), b"") => Some(fd),
            (_, path) => [&b"/proc/self/fd/"[..], b"/dev/fd/"]
                .iter()
                .find_map(|dir| std::str::from_utf8(path.strip_prefix(*dir)?).ok()?.parse().ok()),
        };
        let program = fd.zip(self.task).and_then(|(fd, task)| {
            let link = format!("{task}/fd/{fd}");
            let stat = rustix::fs::statat(&self.view.proc, &link, AtFlags::empty()).ok()?;
            let is_file = stat.st_mode & libc::S_IFMT == libc::S_IFREG;
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            is_file.then(|| rustix::fs::openat(&self.view.proc, link, flags, Mode::empty()).ok())?
        });
        program.map_or(Ok(()), |program| self.fill_interpreters(program))
    }

    fn fill_interpreters(&self, mut program: OwnedFd) -> Result<(), Stop> {
        for _ in 0..MAX_DEPTH {
            let Some(interpreter) = self.interpreter(&program) else {
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
            let Walked::File(found, looks) = self.locate(&next, true)? else {
                self.view.record(Access::Missing, &next);
                return Ok(());
            };
            if !looks.runs {
                return Ok(());
            }
            self.fill(looks)?;
            self.view.record(Access::Read, &next);
            let Ok(file) = confine::file(&self.view.root, &found) else {
                return Ok(());
            };
            program = file;
        }
        Ok(())
    }

    /// The task that a program executed by `task` will run as: whichever thread executes,
    /// the process keeps the number of its first one (`execve(2)`).
    fn leader_of(&self, task: u32) -> u32 {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let status = rustix::fs::openat(&self.view.proc, format!("{task}/status"), flags, Mode::empty());
        let mut text = [0; 512];
        let len = status
            .and_then(|status| rustix::io::read(status, &mut text))
            .unwrap_or(0);
        // A task that is gone executes nothing.
        thread_group(&text[..len]).unwrap_or(task)
    }

    /// The path that a program's head names.
    fn interpreter(&self, program: &OwnedFd) -> Option<Vec<u8>> {
        let mut head = [0; HEAD];
        let len = rustix::io::pread(program, &mut head, 0).ok()?;
        if let Some(line) = head[..len].strip_prefix(b"#!") {
            return script_interpreter(line);
        }
        let elf = Elf::read(program)?;
        let loader = elf.interpreter()?;
        if let Some(task) = self.task {
            self.view
                .set_refuses_preload(self.leader_of(task), elf.refuses_preload());
        }
        Some(loader)
    }
}

/// The line `Tgid:` of a task's status (`proc_pid_status(5)`).
fn thread_group(status: &[u8]) -> Option<u32> {
    let mut lines = status.split(|byte| *byte == b'\n');
    let number = lines.find_map(|line| line.strip_prefix(b"Tgid:\t"))?;
    std::str::from_utf8(number).ok()?.parse().ok()
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
    fn finds_the_first_thread_in_a_status() {
        let status = b"Name:\tx\nUmask:\t0022\nTgid:\t3421\nNgid:\t0\n";
        assert_eq!(thread_group(status), Some(3421));
        assert_eq!(thread_group(b"Name:\tx\n"), None);
    }

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
