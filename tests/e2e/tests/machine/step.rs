//! One call of one job on a modelled file system: its answer as `calls.c` prints it, and
//! what it changes. What is right is what Linux does on a tmpfs; a test compares the two.

use crate::language::{Call, Rename};
use crate::model::{Errno, Found, Ino, Inode, Kind, Open, State};
use std::collections::BTreeMap;

/// How a call went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// It has ended with this answer.
    Ended(String),
    /// It has made the first of its system calls, between which others may come.
    Begun,
    /// It waits for a lock.
    Waits,
}

/// What a call that ends answers beside its number.
type Answer = Result<(usize, String), Errno>;

fn plain(done: Result<(), Errno>) -> Answer {
    done.map(|()| (0, String::new()))
}

impl State {
    /// Makes the call, as far as one system call goes. `fresh` is the number of the inode
    /// that it makes, if it makes one: the same one whenever this call is made.
    pub(crate) fn step(&mut self, job: usize, fresh: Ino, call: &Call) -> Step {
        if let Call::List(path) = call
            && self.jobs[job].listing.is_none()
        {
            match self.find(path, true) {
                Ok(ino) if self.inode(ino).is_dir() => {
                    self.jobs[job].listing = Some(ino);
                    return Step::Begun;
                }
                Ok(_) => return Step::Ended("ENOTDIR".to_owned()),
                Err(error) => return Step::Ended(error.to_owned()),
            }
        }
        if self.must_wait(job, call) {
            return Step::Waits;
        }
        Step::Ended(match self.answer(job, fresh, call) {
            Ok((number, text)) if text.is_empty() => number.to_string(),
            Ok((number, text)) => format!("{number} {text}"),
            Err(error) => error.to_owned(),
        })
    }

    fn answer(&mut self, job: usize, fresh: Ino, call: &Call) -> Answer {
        let at = |slot: &u8| usize::from(*slot);
        match call {
            Call::Open(slot, path, how, mode) => plain(self.open(job, at(slot), fresh, (path, how, *mode))),
            Call::Close(slot) => plain(self.close(job, at(slot))),
            Call::Read(slot, count) => self.read(job, at(slot), *count, None),
            Call::Pread(slot, count, offset) => self.read(job, at(slot), *count, Some(*offset)),
            Call::Write(slot, text) => self.write(job, at(slot), text, None),
            Call::Pwrite(slot, text, offset) => self.write(job, at(slot), text, Some(*offset)),
            Call::Ftruncate(slot, size) => plain(self.ftruncate(job, at(slot), *size)),
            Call::Fstat(slot) => self
                .slot(job, at(slot))
                .map(|open| (0, self.stat_text(open.ino, false))),
            Call::Flock(slot, how) => plain(self.flock(job, at(slot), *how)),
            Call::Record(slot, how) => plain(self.record(job, at(slot), *how)),
            Call::Stat(path) => self.find(path, true).map(|ino| (0, self.stat_text(ino, true))),
            Call::Lstat(path) => self.find(path, false).map(|ino| (0, self.stat_text(ino, true))),
            Call::List(_) => Ok(self.names(job)),
            Call::Readlink(path) => match &self.inode(self.find(path, false)?).kind {
                Kind::Link(target) => Ok((0, target.clone())),
                _ => Err("EINVAL"),
            },
            Call::Rename(how, from, to) => plain(self.rename(*how, from, to)),
            Call::Link(path, name) => plain(self.link(path, name)),
            Call::Symlink(target, path) => plain(self.create(path, fresh, Kind::Link(target.clone()), 0o777)),
            Call::Mkdir(path, mode) => plain(self.create(path, fresh, Kind::Dir(BTreeMap::new()), *mode)),
            Call::Unlink(path) => plain(self.unlink(path)),
            Call::Rmdir(path) => plain(self.rmdir(path)),
            Call::Chmod(path, mode) => self.find(path, true).map(|ino| {
                self.inode_mut(ino).mode = *mode;
                (0, String::new())
            }),
            Call::Utimens(path, time) => self.find(path, true).map(|ino| {
                self.inode_mut(ino).time = Some(*time);
                (0, String::new())
            }),
            Call::Setxattr(path, value) => self.find(path, true).map(|ino| {
                self.inode_mut(ino).xattr = Some(value.clone());
                (0, String::new())
            }),
            Call::Truncate(path, size) => plain(self.truncate(path, *size)),
        }
    }

    fn slot(&self, job: usize, slot: usize) -> Result<&Open, Errno> {
        self.jobs[job].slots[slot].as_ref().ok_or("EBADF")
    }

    fn open(&mut self, job: usize, slot: usize, fresh: Ino, (path, how, mode): (&str, &str, u16)) -> Result<(), Errno> {
        // A slot that is taken is closed first.
        let _ = self.close(job, slot);
        let (creates, excludes) = (how.contains('c'), how.contains('x'));
        let writes = how.contains(['w', '+']);
        let found = self.walk(path, !excludes)?;
        let ino = match found.ino {
            None if !creates => return Err("ENOENT"),
            None => {
                self.make(fresh, &found, Inode::new(Kind::File(Vec::new()), mode));
                fresh
            }
            Some(_) if excludes => return Err("EEXIST"),
            Some(ino) if self.inode(ino).is_dir() && (creates || writes) => return Err("EISDIR"),
            Some(ino) => ino,
        };
        if how.contains('t') {
            self.resize(ino, 0);
        }
        self.jobs[job].slots[slot] = Some(Open {
            ino,
            offset: 0,
            reads: how.contains(['r', '+']),
            writes,
            appends: how.contains('a'),
            flock: None,
        });
        Ok(())
    }

    fn read(&mut self, job: usize, slot: usize, count: usize, at: Option<usize>) -> Answer {
        let open = self.slot(job, slot)?;
        if !open.reads {
            return Err("EBADF");
        }
        let Kind::File(bytes) = &self.inode(open.ino).kind else {
            return Err("EISDIR");
        };
        let from = at.unwrap_or(open.offset).min(bytes.len());
        let part = &bytes[from..bytes.len().min(from + count)];
        let text = part
            .iter()
            .map(|byte| if *byte == 0 { '.' } else { char::from(*byte) })
            .collect();
        let count = part.len();
        self.advance(job, slot, at, count);
        Ok((count, text))
    }

    fn advance(&mut self, job: usize, slot: usize, at: Option<usize>, count: usize) {
        if let (None, Some(open)) = (at, &mut self.jobs[job].slots[slot]) {
            open.offset += count;
        }
    }

    fn write(&mut self, job: usize, slot: usize, text: &str, at: Option<usize>) -> Answer {
        let open = self.slot(job, slot)?.clone();
        if !open.writes {
            return Err("EBADF");
        }
        let inode = self.inode_mut(open.ino);
        let Kind::File(bytes) = &mut inode.kind else {
            return Err("EBADF");
        };
        // Linux appends by pwrite(2) too, and says so there under BUGS.
        let from = if open.appends {
            bytes.len()
        } else {
            at.unwrap_or(open.offset)
        };
        bytes.resize(bytes.len().max(from + text.len()), 0);
        bytes[from..from + text.len()].copy_from_slice(text.as_bytes());
        inode.time = None;
        if let (None, Some(open)) = (at, &mut self.jobs[job].slots[slot]) {
            open.offset = from + text.len();
        }
        Ok((text.len(), String::new()))
    }

    /// The time is that of the clock afterwards.
    fn resize(&mut self, ino: Ino, size: usize) {
        let inode = self.inode_mut(ino);
        if let Kind::File(bytes) = &mut inode.kind {
            bytes.resize(size, 0);
            inode.time = None;
        }
    }

    fn ftruncate(&mut self, job: usize, slot: usize, size: usize) -> Result<(), Errno> {
        let open = self.slot(job, slot)?;
        let (ino, writes) = (open.ino, open.writes);
        if !writes {
            return Err("EINVAL");
        }
        self.resize(ino, size);
        Ok(())
    }

    fn truncate(&mut self, path: &str, size: usize) -> Result<(), Errno> {
        let ino = self.find(path, true)?;
        if self.inode(ino).is_dir() {
            return Err("EISDIR");
        }
        self.resize(ino, size);
        Ok(())
    }

    /// Whether the call is for a lock that another job holds.
    fn must_wait(&self, job: usize, call: &Call) -> bool {
        let (Call::Flock(slot, _) | Call::Record(slot, _)) = call else {
            return false;
        };
        let Some(open) = &self.jobs[job].slots[usize::from(*slot)] else {
            return false;
        };
        let mut others = self.jobs.iter().enumerate().filter(|(other, _)| *other != job);
        match call {
            Call::Flock(_, how @ ('x' | 's')) => others.any(|(_, other)| {
                let mut held = other.slots.iter().flatten().filter(|held| held.ino == open.ino);
                held.any(|held| held.flock.is_some_and(|exclusive| exclusive || *how == 'x'))
            }),
            Call::Record(_, 'w') => open.writes && others.any(|(_, other)| other.record == Some(open.ino)),
            _ => false,
        }
    }

    fn flock(&mut self, job: usize, slot: usize, how: char) -> Result<(), Errno> {
        let open = self.jobs[job].slots[slot].as_mut().ok_or("EBADF")?;
        open.flock = (how != 'u').then_some(how == 'x');
        Ok(())
    }

    fn record(&mut self, job: usize, slot: usize, how: char) -> Result<(), Errno> {
        let open = self.slot(job, slot)?;
        let (ino, writes) = (open.ino, open.writes);
        let holder = &mut self.jobs[job];
        match how {
            'u' => holder.record = holder.record.filter(|held| *held != ino),
            _ if !writes => return Err("EBADF"),
            _ => holder.record = Some(ino),
        }
        Ok(())
    }

    fn stat_text(&self, ino: Ino, with_names: bool) -> String {
        let inode = self.inode(ino);
        let mut text = match &inode.kind {
            Kind::Link(_) => "link".to_owned(),
            Kind::Dir(_) => format!("dir {:04o}", inode.mode),
            Kind::File(bytes) => {
                let time = inode.time.map(|time| format!(" at {time}")).unwrap_or_default();
                format!("file {:04o} {}b{time}", inode.mode, bytes.len())
            }
        };
        if with_names && !inode.is_dir() {
            text += &format!(" {}n", inode.names);
        }
        text
    }

    /// The names of the directory that the job has opened to list it.
    fn names(&mut self, job: usize) -> (usize, String) {
        let dir = self.jobs[job].listing.take();
        let names: Vec<_> = match dir.map(|ino| &self.inode(ino).kind) {
            Some(Kind::Dir(names)) => names.keys().cloned().collect(),
            _ => Vec::new(),
        };
        self.forget_unused();
        (names.len(), names.join(" "))
    }

    fn create(&mut self, path: &str, fresh: Ino, kind: Kind, mode: u16) -> Result<(), Errno> {
        let found = self.walk(path, false)?;
        if found.ino.is_some() {
            return Err("EEXIST");
        }
        self.make(fresh, &found, Inode::new(kind, mode));
        Ok(())
    }

    fn link(&mut self, path: &str, name: &str) -> Result<(), Errno> {
        let ino = self.find(path, false)?;
        let found = self.walk(name, false)?;
        if found.ino.is_some() {
            return Err("EEXIST");
        }
        if self.inode(ino).is_dir() {
            return Err("EPERM");
        }
        self.add_name(&found, ino);
        Ok(())
    }

    fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        let found = self.walk(path, false)?;
        if self.inode(found.ino.ok_or("ENOENT")?).is_dir() {
            return Err("EISDIR");
        }
        self.remove_name(&found);
        Ok(())
    }

    fn rmdir(&mut self, path: &str) -> Result<(), Errno> {
        let found = self.walk(path, false)?;
        self.check_empty(found.ino.ok_or("ENOENT")?)?;
        self.remove_name(&found);
        Ok(())
    }

    fn check_empty(&self, ino: Ino) -> Result<(), Errno> {
        match &self.inode(ino).kind {
            Kind::Dir(names) if names.is_empty() => Ok(()),
            Kind::Dir(_) => Err("ENOTEMPTY"),
            _ => Err("ENOTDIR"),
        }
    }

    fn rename(&mut self, how: Rename, from: &str, to: &str) -> Result<(), Errno> {
        let (old, new) = (self.walk(from, false)?, self.walk(to, false)?);
        let ino = old.ino.ok_or("ENOENT")?;
        self.check_rename(how, (&old, ino), &new)?;
        if new.ino == Some(ino) {
            return Ok(());
        }
        if let (Rename::Exchange, Some(other)) = (how, new.ino) {
            self.swap_names((&old, ino), (&new, other));
            return Ok(());
        }
        self.remove_name(&new);
        self.add_name(&new, ino);
        self.remove_name(&old);
        Ok(())
    }

    /// The checks in the order of the kernel (do_renameat2 and vfs_rename in fs/namei.c).
    fn check_rename(&self, how: Rename, (old, ino): (&Found, Ino), new: &Found) -> Result<(), Errno> {
        match (how, new.ino) {
            (Rename::NoReplace, Some(_)) => return Err("EEXIST"),
            (Rename::Exchange, None) => return Err("ENOENT"),
            _ => {}
        }
        if self.is_below(new.dir, ino) {
            return Err("EINVAL");
        }
        let Some(target) = new.ino else { return Ok(()) };
        if self.is_below(old.dir, target) {
            return Err(if how == Rename::Exchange { "EINVAL" } else { "ENOTEMPTY" });
        }
        if target == ino || how == Rename::Exchange {
            return Ok(());
        }
        match (self.inode(ino).is_dir(), self.inode(target).is_dir()) {
            (true, true) => self.check_empty(target),
            (true, false) => Err("ENOTDIR"),
            (false, true) => Err("EISDIR"),
            (false, false) => Ok(()),
        }
    }
}
