//! The ways in which files change between jobs. Each is carried out whole before it
//! returns. Knows how to find something to change, and nothing of how that is checked.

use crate::fixture::{FILES, Fixture, Names};
use anyhow::{Context, Result};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rustix::fs::{AtFlags, CWD, RenameFlags, Timespec, Timestamps, renameat_with, utimensat};
use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use termite_e2e::Client;

/// A time long before any file was made.
const LONG_AGO: i64 = 1_400_000_000;

/// One way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Mutation {
    /// In place, the same size.
    Write,
    /// In place, the same size, and the time put back: only the ctime tells.
    WriteUnseen,
    /// Through a descriptor that stays open from one time to the next.
    Held,
    Append,
    Truncate,
    /// In place, and the time is set to long ago, as by a clock that was set back.
    SetBack,
    Chmod,
    /// As editors do: write beside it, rename over it.
    Replace,
    /// The same with the old size and time.
    ReplaceUnseen,
    Remove,
    Create,
    /// Removed and made again at once.
    Renew,
    Move,
    ExchangeFiles,
    /// Through a name in another directory of the tree, which is made for it.
    LinkInside,
    /// Through a name that was there from the beginning, where no job looks.
    LinkOutside,
    MakeDir,
    MoveDir,
    ExchangeDirs,
    RemoveDir,
    /// A symbolic link gets another target, or another one is made.
    Retarget,
    FileToDir,
    DirToFile,
    /// A directory is moved away, and a symbolic link to it takes its place.
    DirToLink,
    /// By a program that is linked statically.
    Static,
    /// The same: `cp -p` of one file over another.
    StaticCopy,
    /// By a job.
    ByJob,
    /// By a job, and then here at once, in place and with the same size.
    ByJobThenHere,
    /// A job removes a file.
    RemovedByJob,
    /// A job moves a file into another directory.
    MovedByJob,
}

const ALL: &[Mutation] = &[
    Mutation::Write,
    Mutation::WriteUnseen,
    Mutation::Held,
    Mutation::Append,
    Mutation::Truncate,
    Mutation::SetBack,
    Mutation::Chmod,
    Mutation::Replace,
    Mutation::ReplaceUnseen,
    Mutation::Remove,
    Mutation::Create,
    Mutation::Renew,
    Mutation::Move,
    Mutation::ExchangeFiles,
    Mutation::LinkInside,
    Mutation::LinkOutside,
    Mutation::MakeDir,
    Mutation::MoveDir,
    Mutation::ExchangeDirs,
    Mutation::RemoveDir,
    Mutation::Retarget,
    Mutation::FileToDir,
    Mutation::DirToFile,
    Mutation::DirToLink,
    Mutation::Static,
    Mutation::StaticCopy,
    Mutation::ByJob,
    Mutation::ByJobThenHere,
    Mutation::RemovedByJob,
    Mutation::MovedByJob,
];

/// One change, and what is looked at after it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub mutation: Mutation,
    /// What is changed.
    at: Index,
    /// What else it takes: the other name, the other directory.
    to: Index,
    /// More happens just before than the event queue holds.
    pub flood: bool,
    /// Picks the names that are looked at, and how they are spelled.
    pub reads: u64,
}

/// Any of them.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let flood = prop::bool::weighted(0.02);
    let places = (any::<Index>(), any::<Index>());
    (select(ALL), places, flood, any::<u64>()).prop_map(|(mutation, (at, to), flood, reads)| Step {
        mutation,
        at,
        to,
        flood,
        reads,
    })
}

/// What mutations need.
pub(crate) struct Tools<'a> {
    pub fixture: &'a Fixture,
    pub client: &'a Client<'a>,
    /// Where jobs of the one and the other worker are started.
    pub desks: &'a [PathBuf],
    /// No call is seen on one of the workers.
    pub is_unseen: bool,
}

/// Descriptors that stay open, by the name under which they were opened.
pub(crate) type Held = HashMap<PathBuf, File>;

impl Step {
    /// Makes the change. Returns the paths that it concerned.
    pub(crate) fn carry_out(&self, tools: &Tools<'_>, held: &mut Held) -> Result<Vec<PathBuf>> {
        let names = tools.fixture.names()?;
        let files: Vec<_> = names.files.iter().collect();
        let touched = match (self.mutation, files.is_empty()) {
            (Mutation::Create, _) | (_, true) => self.create(tools.fixture, &names)?,
            (Mutation::Held, _) => self.hold(tools.fixture, &names, held)?,
            (Mutation::Static | Mutation::StaticCopy, _) => self.by_program(tools, &names)?,
            (Mutation::ByJob | Mutation::ByJobThenHere | Mutation::RemovedByJob | Mutation::MovedByJob, _) => {
                self.by_job(tools, &names)?
            }
            (mutation, _) if mutation.is_of_dirs() => self.change_dir(tools.fixture, &names)?,
            (mutation, _) if mutation.is_of_names() => self.change_name(tools.fixture, &names)?,
            _ => self.write(tools.fixture, &names)?,
        };
        tools.fixture.settle()?;
        Ok(touched)
    }

    fn file(&self, names: &Names) -> PathBuf {
        self.at.get(&names.files).clone()
    }

    /// A place for a name in a directory that is there.
    fn place(&self, fixture: &Fixture, names: &Names) -> PathBuf {
        let mut dirs = names.dirs.clone();
        dirs.push(fixture.tree.clone());
        self.to.get(&dirs).join(self.at.get(&FILES))
    }

    fn create(&self, fixture: &Fixture, names: &Names) -> Result<Vec<PathBuf>> {
        let path = self.place(fixture, names);
        let is_taken = path.symlink_metadata().is_ok();
        let path = if is_taken { beside(&path) } else { path };
        fs::write(&path, fixture.fresh(100))?;
        Ok(vec![path])
    }

    fn write(&self, fixture: &Fixture, names: &Names) -> Result<Vec<PathBuf>> {
        let path = self.file(names);
        let before = fs::metadata(&path)?;
        let size = before.len() as usize;
        match self.mutation {
            Mutation::Write => in_place(&path, &fixture.fresh(size))?,
            Mutation::WriteUnseen => {
                in_place(&path, &fixture.fresh(size))?;
                set_time(&path, before.mtime(), before.mtime_nsec())?;
            }
            Mutation::SetBack => {
                in_place(&path, &fixture.fresh(size))?;
                set_time(&path, LONG_AGO + self.to.index(1000) as i64, 0)?;
            }
            Mutation::Append => File::options()
                .append(true)
                .open(&path)?
                .write_all(&fixture.fresh(20))?,
            Mutation::Truncate => File::options()
                .write(true)
                .open(&path)?
                .set_len(self.to.index(size + 1) as u64)?,
            Mutation::Chmod => {
                let mode = if before.mode() & 0o100 == 0 { 0o755 } else { 0o644 };
                fs::set_permissions(&path, Permissions::from_mode(mode))?;
            }
            Mutation::LinkInside => {
                let other = beside(&self.place(fixture, names));
                fs::hard_link(&path, &other)?;
                in_place(&other, &fixture.fresh(size))?;
                return Ok(vec![path, other]);
            }
            Mutation::LinkOutside => {
                let other = fixture.outside.join(["1", "2"][self.at.index(2)]);
                let size = fs::metadata(&other)?.len() as usize;
                in_place(&other, &fixture.fresh(size))?;
                return Ok(names.files.clone());
            }
            other => anyhow::bail!("{other:?} does not write"),
        }
        Ok(vec![path])
    }

    fn hold(&self, fixture: &Fixture, names: &Names, held: &mut Held) -> Result<Vec<PathBuf>> {
        let path = self.file(names);
        let file = match held.entry(path) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let file = File::options().append(true).open(entry.key())?;
                entry.insert(file)
            }
        };
        file.write_all(&fixture.fresh(20))?;
        // It may have another name by now.
        Ok(names.files.clone())
    }

    fn change_name(&self, fixture: &Fixture, names: &Names) -> Result<Vec<PathBuf>> {
        let path = self.file(names);
        let before = fs::metadata(&path)?;
        let other = self.to.get(&names.files).clone();
        match self.mutation {
            Mutation::Remove => fs::remove_file(&path)?,
            Mutation::Renew => {
                fs::remove_file(&path)?;
                fs::write(&path, fixture.fresh(before.len() as usize))?;
            }
            Mutation::Replace | Mutation::ReplaceUnseen => {
                let new = beside(&path);
                fs::write(&new, fixture.fresh(before.len() as usize))?;
                if self.mutation == Mutation::ReplaceUnseen {
                    set_time(&new, before.mtime(), before.mtime_nsec())?;
                }
                fs::rename(&new, &path)?;
            }
            Mutation::Move => {
                fs::rename(&path, &other)?;
                return Ok(vec![path, other]);
            }
            Mutation::ExchangeFiles => {
                exchange(&path, &other)?;
                return Ok(vec![path, other]);
            }
            Mutation::FileToDir => {
                fs::remove_file(&path)?;
                fs::create_dir(&path)?;
                fs::write(path.join(FILES[0]), fixture.fresh(100))?;
                return Ok(vec![path.join(FILES[0]), path]);
            }
            Mutation::Retarget => {
                let all: Vec<_> = names.all().collect();
                let target = self.to.get(&all);
                let link = match names.links.is_empty() {
                    true => beside(&path),
                    false => self.at.get(&names.links).clone(),
                };
                let new = beside(&link);
                symlink(target, &new)?;
                fs::rename(&new, &link)?;
                return Ok(vec![link]);
            }
            other => anyhow::bail!("{other:?} changes no name"),
        }
        Ok(vec![path])
    }

    fn change_dir(&self, fixture: &Fixture, names: &Names) -> Result<Vec<PathBuf>> {
        if names.dirs.is_empty() || self.mutation == Mutation::MakeDir {
            let dir = beside(&self.place(fixture, names).with_extension("d"));
            fs::create_dir_all(dir.join("in"))?;
            fs::write(dir.join("in").join(FILES[0]), fixture.fresh(100))?;
            return Ok(vec![dir]);
        }
        let dir = self.at.get(&names.dirs).clone();
        let apart: Vec<_> = names
            .dirs
            .iter()
            .filter(|other| !other.starts_with(&dir) && !dir.starts_with(other))
            .collect();
        let elsewhere = match apart.is_empty() {
            true => fixture.tree.clone(),
            false => (*self.to.get(&apart)).clone(),
        };
        match self.mutation {
            Mutation::RemoveDir => fs::remove_dir_all(&dir)?,
            Mutation::DirToFile => {
                fs::remove_dir_all(&dir)?;
                fs::write(&dir, fixture.fresh(100))?;
            }
            Mutation::ExchangeDirs if !apart.is_empty() => exchange(&dir, &elsewhere)?,
            Mutation::MoveDir | Mutation::DirToLink | Mutation::ExchangeDirs => {
                let to = beside(&elsewhere.join("moved"));
                fs::rename(&dir, &to)?;
                if self.mutation == Mutation::DirToLink {
                    symlink(&to, &dir)?;
                }
                return Ok(vec![dir, to]);
            }
            other => anyhow::bail!("{other:?} changes no directory"),
        }
        Ok(vec![dir, elsewhere])
    }

    fn by_program(&self, tools: &Tools<'_>, names: &Names) -> Result<Vec<PathBuf>> {
        let (path, other) = (self.file(names), self.to.get(&names.files).clone());
        let program = tools.client.bare(&tools.fixture.outside, "busybox");
        let text = tools.fixture.fresh(99);
        let program = match self.mutation {
            Mutation::Static => program.args(["sh", "-c", "cat > \"$0\""]).arg(&path).input(&text),
            _ if fs::metadata(&path)?.ino() == fs::metadata(&other)?.ino() => program.arg("touch").arg(&path),
            _ => program.args(["cp", "-p"]).arg(&other).arg(&path),
        };
        program.run()?.success().context("busybox-static")?;
        Ok(vec![path])
    }

    fn by_job(&self, tools: &Tools<'_>, names: &Names) -> Result<Vec<PathBuf>> {
        let (path, to) = (self.file(names), beside(&self.place(tools.fixture, names)));
        let metadata = fs::metadata(&path)?;
        let (size, links) = (metadata.len() as usize, metadata.nlink());
        let text = String::from_utf8(tools.fixture.fresh(size.min(1000)))?;
        let script = match self.mutation {
            Mutation::RemovedByJob => "rm -f \"$0\"",
            Mutation::MovedByJob => "mv \"$0\" \"$1\"",
            _ => "printf %s \"$2\" > \"$0\"",
        };
        let desk: &PathBuf = self.to.get(tools.desks);
        let outcome = tools
            .client
            .termite(desk, ["run", "--", "sh", "-c", script])
            .arg(&path)
            .arg(&to)
            .arg(text)
            .run()?
            .success()?;
        // Without seen calls the file in the place of one that has other names may be another.
        let may_be_home = tools.is_unseen && links > 1;
        let is_silent = outcome.err().is_empty() || may_be_home && outcome.err().contains("has another name");
        anyhow::ensure!(is_silent, "{}", outcome.describe());
        if self.mutation == Mutation::ByJobThenHere {
            in_place(&path, &tools.fixture.fresh(size.min(1000)))?;
        }
        Ok(vec![path, to])
    }
}

impl Mutation {
    fn is_of_dirs(self) -> bool {
        use Mutation::*;
        matches!(
            self,
            MakeDir | MoveDir | ExchangeDirs | RemoveDir | DirToFile | DirToLink
        )
    }

    fn is_of_names(self) -> bool {
        use Mutation::*;
        matches!(
            self,
            Remove | Renew | Replace | ReplaceUnseen | Move | ExchangeFiles | FileToDir | Retarget
        )
    }
}

/// A name in the same directory that is free.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = (0..).map(|number| path.with_file_name(format!("{}{number}", name.trim_end_matches(char::is_numeric))));
    names
        .into_iter()
        .find(|path| path.symlink_metadata().is_err())
        .unwrap_or_default()
}

fn in_place(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::options().write(true).open(path)?;
    Ok(file.write_all(bytes)?)
}

fn exchange(one: &Path, other: &Path) -> Result<()> {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
        .with_context(|| format!("exchanging {} with {}", one.display(), other.display()))
}

/// Sets both times.
pub(crate) fn set_time(path: &Path, sec: i64, nsec: i64) -> Result<()> {
    let time = Timespec {
        tv_sec: sec,
        tv_nsec: nsec,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::empty()).with_context(|| format!("setting the time of {}", path.display()))
}
