//! What the kernel opens by itself when a program is executed: the interpreters of `#!`
//! lines and of ELF files. Does not know who starts a program.

use super::act::Act;
use super::confine;
use super::lookup_cache::absolute;
use super::mirror::KnownFile;
use super::path_use::{Intent, Origin, PathUse};
use super::programs::Program;
use super::walk::{FileStat, Stop, Walk, WalkEnd};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use termite_abi::Access;

/// As deep as the kernel goes (`exec_binprm`).
const MAX_DEPTH: usize = 5;

impl Walk<'_> {
    /// Fills a program and everything that the kernel will open to run it.
    pub(super) fn fill_program(&self, path: &Path, looks: FileStat) -> Result<(), Stop> {
        if !looks.runs {
            return Ok(());
        }
        self.fill(looks)?;
        match self.program_at(path, looks) {
            Some(program) => self.fill_interpreters(program),
            // Removed or replaced by another task this moment: the kernel will say.
            None => Ok(()),
        }
    }

    /// Makes ready what is to be done to a file that earlier jobs knew. False: to execute it,
    /// one has to look for it, since the job may have put another in its place.
    pub(super) fn reach_known(&self, file: KnownFile, intent: Intent) -> Result<bool, Stop> {
        if intent != Intent::Exec {
            return Ok(true);
        }
        match self.still(&file) {
            Some((path, looks)) => self.fill_program(&path, looks).map(|()| true),
            None => Ok(false),
        }
    }

    /// The same file where it stands in the job's tree, if it still does.
    fn still(&self, file: &KnownFile) -> Option<(PathBuf, FileStat)> {
        let path = file.path();
        let stat = confine::handle(&self.view.root, &path).and_then(confine::stat).ok()?;
        (stat.stx_ino == file.ino).then(|| (path, FileStat::of(&stat)))
    }

    /// Fills what the kernel will open to run a program that is no file of the view's: one
    /// in memory, without a name, or removed.
    pub(super) fn fill_for_nameless(&self, used: &PathUse<'_>) -> Result<(), Stop> {
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
        program.map_or(Ok(()), |program| {
            self.fill_interpreters(Arc::new(Program::of(&program)))
        })
    }

    /// Fills the interpreters of a program, each of which may need another one.
    fn fill_interpreters(&self, mut program: Arc<Program>) -> Result<(), Stop> {
        for _ in 0..MAX_DEPTH {
            if let Program::Linked { refuses_preload, .. } = *program {
                self.note_preload(refuses_preload);
            }
            let Some(interpreter) = program.interpreter() else {
                return Ok(());
            };
            let used = PathUse {
                origin: Origin::Cwd,
                path: interpreter,
                follow: true,
                intent: Intent::Exec,
                makes: false,
                act: Act::Look,
            };
            let Some(next) = absolute(self, &used) else {
                return Ok(());
            };
            let known = self.view.known_file(&next, &used).and_then(|file| self.still(&file));
            let found = match known {
                Some((path, looks)) => WalkEnd::File(path, looks),
                None => self.locate(&next, true)?,
            };
            let WalkEnd::File(path, looks) = found else {
                self.view.record(Access::Missing, &next);
                return Ok(());
            };
            if !looks.runs {
                return Ok(());
            }
            self.fill(looks)?;
            self.view.record(Access::Read, &next);
            let Some(its) = self.program_at(&path, looks) else {
                return Ok(());
            };
            program = its;
        }
        Ok(())
    }

    /// The program at a canonical path, which has its content. `None`: it is there no more.
    fn program_at(&self, path: &Path, looks: FileStat) -> Option<Arc<Program>> {
        let programs = &self.view.mirror.programs;
        let unchanged = || self.view.unchanged_content(path, looks.ino);
        let content = unchanged();
        if let Some(known) = content.and_then(|content| programs.get(content)) {
            return Some(known);
        }
        let program = Arc::new(Program::of(&confine::file(&self.view.root, path).ok()?));
        if let Some(content) = content.filter(|content| unchanged() == Some(*content)) {
            programs.keep(content, program.clone());
        }
        Some(program)
    }

    fn note_preload(&self, refuses: bool) {
        if let Some(task) = self.task
            && (refuses || self.view.has_refusing())
        {
            self.view.set_refuses_preload(self.leader_of(task), refuses);
        }
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
}

/// The line `Tgid:` of a task's status (`proc_pid_status(5)`).
fn thread_group(status: &[u8]) -> Option<u32> {
    let mut lines = status.split(|byte| *byte == b'\n');
    let number = lines.find_map(|line| line.strip_prefix(b"Tgid:\t"))?;
    std::str::from_utf8(number).ok()?.parse().ok()
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
}
