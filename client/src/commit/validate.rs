//! Whether a list of changes can be done as the job did it, on what is there by now. Only
//! looks; runs while no other commit does.

use super::joinable::JoinableDirs;
use super::links::{check_links, check_renamed_over, check_written, linked_file};
use super::permit::{Permit, check_kind, check_unmarked};
use super::plan::{Plan, is_directory};
use super::premise::check_premises;
use super::present::{Present, in_words, open_file};
use super::stage::{Staged, StagedByChange};
use super::{CommitError, CommitRequest};
use crate::tree::{Kind, Stamp, open_canonical};
use rustix::fs::OFlags;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use termite_core::overlap::FileName;
use termite_types::{Alter, BlobHash, ChangeKind, Edit, FileTime, IfPresent, Seen, TraceItem};

/// What was found that the changes themselves need.
pub(super) struct Validated {
    /// Times of what was there: a file that has such a time on the worker was not written by
    /// the job, and the time is the client's.
    pub times: HashSet<FileTime>,
    /// Appended contents, by index of the change, that meet the very content that the job
    /// saw: together they are the content that the job left.
    pub whole: HashSet<usize>,
    /// What is put where nothing is, by index of the change.
    pub created: HashSet<usize>,
    /// Directories that are changed, by index of the change.
    pub dirs: HashSet<usize>,
    /// Files that are changed in place, and where.
    pub changed: Vec<FileName>,
    /// Names of files with several that are removed, or where something is put.
    pub parted: Vec<FileName>,
}

struct Validate<'a> {
    plan: &'a Plan<'a>,
    trace: &'a [TraceItem],
    staged: &'a StagedByChange,
    joinable: &'a mut JoinableDirs,
    present: Present,
    permit: Permit,
    whole: HashSet<usize>,
    dirs: HashSet<usize>,
}

/// Finds the first thing that stands against the commit.
pub(super) fn validate(
    request: &CommitRequest,
    plan: &Plan<'_>,
    staged: &StagedByChange,
    joinable: &mut JoinableDirs,
) -> Result<Validated, CommitError> {
    let mut validate = Validate {
        plan,
        trace: &request.trace,
        staged,
        joinable,
        present: Present::default(),
        permit: Permit::new(),
        whole: HashSet::new(),
        dirs: HashSet::new(),
    };
    check_premises(&request.premises, plan, &mut validate.present)?;
    check_links(&request.trace, &request.cwd)?;
    check_written(&request.trace, plan, &mut validate.present)?;
    if request.premises.unseen {
        check_renamed_over(&request.trace, plan, &mut validate.present)?;
        let removed = plan.removes.iter().filter(|(_, is_dir)| !**is_dir);
        let uncertain = request
            .premises
            .checks
            .iter()
            .filter(|check| check.seen == Seen::OnlyName);
        let replaced = uncertain.map(|check| check.path.as_path());
        removed
            .map(|(path, _)| *path)
            .chain(replaced)
            .try_for_each(check_unmarked)?;
    }
    for (path, is_dir) in &plan.removes {
        validate.check_removal(path, *is_dir)?;
    }
    for (path, index) in &plan.puts {
        validate.check_put(path, &plan.changes[*index].kind)?;
    }
    for (index, path, alter) in plan.alters() {
        validate.check_alter(index, path, alter)?;
    }
    for path in plan.xattrs.keys() {
        validate.check_xattrs(path)?;
    }
    Ok(Validated {
        times: validate.present.times().collect(),
        changed: validate.changed()?,
        parted: validate.parted()?,
        created: validate.created()?,
        whole: validate.whole,
        dirs: validate.dirs,
    })
}

impl Validate<'_> {
    /// The files that are changed in place, and where.
    fn changed(&mut self) -> Result<Vec<FileName>, CommitError> {
        let mut changed = Vec::new();
        for (_, path, _) in self.plan.alters() {
            changed.extend(self.present.at(path)?.map(|stamp| stamp.named(path)));
        }
        Ok(changed)
    }

    /// What is put where nothing is.
    fn created(&mut self) -> Result<HashSet<usize>, CommitError> {
        let mut created = HashSet::new();
        for (path, index) in &self.plan.puts {
            if self.present.at(path)?.is_none() {
                created.insert(*index);
            }
        }
        Ok(created)
    }

    /// The names of files with several that are removed, or where something is put.
    fn parted(&mut self) -> Result<Vec<FileName>, CommitError> {
        let mut parted = Vec::new();
        for path in self.plan.removes.keys().chain(self.plan.puts.keys()) {
            parted.extend(self.present.linked_at(path)?.map(|stamp| stamp.named(path)));
        }
        Ok(parted)
    }

    /// Whether what a job removed still stands there, and is of the kind that it removed.
    fn check_removal(&mut self, path: &Path, is_dir: bool) -> Result<(), CommitError> {
        let here = self.present.at(path)?;
        if let Some(stamp) = &here {
            check_kind(path, stamp)?;
        }
        if here.is_none_or(|stamp| (stamp.kind == Kind::Dir) != is_dir) {
            let seen = if is_dir {
                "a directory"
            } else {
                "something that is no directory"
            };
            return Err(CommitError::conflict(path, seen, in_words(here.as_ref())));
        }
        if let Some(parent) = path.parent()
            && let Some(holder) = self.present.at(parent)?
        {
            self.permit.check_name(path, parent, &holder, here.as_ref())?;
        }
        match here {
            Some(here) if is_dir => {
                if self.plan.makes_directories() {
                    self.permit.check_moved(path, &here)?;
                }
                self.check_emptied(path)
            }
            _ => Ok(()),
        }
    }

    /// All that is in a directory goes before it.
    fn check_emptied(&self, path: &Path) -> Result<(), CommitError> {
        let forbidden = || CommitError::forbidden(path);
        let dir = open_canonical(path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(forbidden())?;
        for entry in rustix::fs::Dir::new(dir).map_err(CommitError::at("list", path))? {
            let entry = entry.map_err(CommitError::at("list", path))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let is_kept = name != "." && name != ".." && !self.plan.removes.contains_key(&*path.join(name));
            if is_kept {
                let found = format!("also {}", name.display());
                return Err(CommitError::conflict(path, "nothing else in it", found));
            }
        }
        Ok(())
    }

    /// What is at a path once all removals are done.
    fn left_at(&mut self, path: &Path) -> Result<Option<Stamp>, CommitError> {
        if self.plan.is_removed(path) {
            return Ok(None);
        }
        self.present.at(path)
    }

    /// Whether a path can take what a job put there: by what is there as this commit leaves it.
    fn check_put(&mut self, path: &Path, kind: &ChangeKind) -> Result<(), CommitError> {
        let left = self.left_at(path)?;
        let is_made = match kind {
            ChangeKind::Name { .. } | ChangeKind::Link { .. } => false,
            ChangeKind::File { if_present, .. } => left.is_none() || *if_present == IfPresent::Replace,
            _ => left.is_none_or(|stamp| stamp.kind != Kind::Dir),
        };
        self.check_holder(path, left.as_ref(), is_made)?;
        let conflict = |seen: &str| Err(CommitError::conflict(path, seen, in_words(left.as_ref())));
        let left_kind = left.map(|stamp| stamp.kind);
        match kind {
            ChangeKind::MakeDir { attr, plain, .. } => match &left {
                Some(stamp) if stamp.kind != Kind::Dir || (*plain && !self.joinable.contains(path, stamp)) => {
                    return conflict("nothing");
                }
                Some(stamp) if (stamp.mode, stamp.uid, stamp.gid) != (attr.mode, attr.uid, attr.gid) => {
                    let attributes = |mode, uid, gid| format!("a directory of {uid}:{gid} with mode {mode:o}");
                    return Err(CommitError::conflict(
                        path,
                        format!("nothing, and made {}", attributes(attr.mode, attr.uid, attr.gid)),
                        attributes(stamp.mode, stamp.uid, stamp.gid),
                    ));
                }
                Some(_) | None => {}
            },
            _ if left_kind == Some(Kind::Dir) => return conflict("no directory"),
            ChangeKind::Name { from, .. } => {
                let source = self.present.at(from)?;
                if source.is_none_or(|stamp| stamp.kind == Kind::Dir) {
                    let seen = "something that is no directory";
                    return Err(CommitError::conflict(from, seen, in_words(source.as_ref())));
                }
                if let Some(stamp) = &source {
                    check_kind(from, stamp)?;
                    self.check_device(path, from)?;
                    if !self.plan.is_removed(from) {
                        self.permit.check_link(path, stamp)?;
                    }
                }
                if let (Some(source), Some(left)) = (source, &left)
                    && source.same_inode(left)
                    && (self.plan.is_removed(from) || self.plan.is_replaced(from))
                {
                    // rename(2) does nothing between two names of one file, which a view does not tell.
                    return Err(CommitError::refused(
                        path,
                        format!("it is the same file as {}", from.display()),
                    ));
                }
            }
            ChangeKind::Link { to } => self.check_device(path, to)?,
            ChangeKind::File {
                if_present: IfPresent::Append | IfPresent::Overwrite,
                ..
            } => match &left {
                Some(stamp) if stamp.kind == Kind::File => self.permit.check_write(path, stamp)?,
                // The job's own call would have followed it.
                Some(stamp) if stamp.kind == Kind::Symlink => return conflict("nothing"),
                Some(_) | None => {}
            },
            _ => {}
        }
        Ok(())
    }

    /// No call gives a file a name in another file system (EXDEV), as a view would.
    fn check_device(&mut self, path: &Path, other: &Path) -> Result<(), CommitError> {
        let mut device = |path: &Path| -> Result<_, CommitError> {
            let holder = path.parent().map(|parent| self.present.at(parent)).transpose()?;
            Ok(holder.flatten().map(|stamp| stamp.dev))
        };
        match (device(path)?, device(other)?) {
            (Some(one), Some(two)) if one != two => {
                let why = format!("{} is in another file system", other.display());
                Err(CommitError::refused(path, why))
            }
            _ => Ok(()),
        }
    }

    /// A name is put in place: its directory is there or made, and may be written.
    fn check_holder(&mut self, path: &Path, left: Option<&Stamp>, is_made: bool) -> Result<(), CommitError> {
        let Some(parent) = path.parent() else {
            return Err(CommitError::refused(path, "the root cannot be replaced"));
        };
        let holder = self.left_at(parent)?;
        match (self.plan.put(parent), holder) {
            (Some(kind), _) if !is_directory(kind) => Err(CommitError::refused(path, "its parent is no directory")),
            (_, Some(holder)) if holder.kind == Kind::Dir => {
                if is_made {
                    self.permit.check_made(path, parent, &holder)?;
                }
                self.permit.check_name(path, parent, &holder, left)
            }
            (Some(_), _) => Ok(()),
            (None, found) => Err(CommitError::conflict(path, "its directory", in_words(found.as_ref()))),
        }
    }

    /// What gets extended attributes is put in place, or is there to be changed.
    fn check_xattrs(&mut self, path: &Path) -> Result<(), CommitError> {
        if self.plan.put(path).is_some() {
            return Ok(());
        }
        match self.left_at(path)? {
            Some(stamp) if matches!(stamp.kind, Kind::File | Kind::Dir) => self.permit.check_write(path, &stamp),
            found => Err(CommitError::conflict(
                path,
                "a file or a directory",
                in_words(found.as_ref()),
            )),
        }
    }

    /// Whether what a job changed in place still stands there.
    fn check_alter(&mut self, index: usize, path: &Path, alter: &Alter) -> Result<(), CommitError> {
        let here = self.present.at(path)?;
        let is_right = |stamp: &Stamp| match stamp.kind {
            Kind::File => true,
            Kind::Dir => alter.content.is_none(),
            Kind::Symlink | Kind::Special(_) => false,
        };
        if let Some(stamp) = &here {
            check_kind(path, stamp)?;
        }
        let Some(stamp) = here.filter(is_right) else {
            let seen = match alter.content {
                Some(_) => "a file",
                None => "a file or a directory",
            };
            return Err(CommitError::conflict(path, seen, in_words(here.as_ref())));
        };
        if stamp.kind == Kind::Dir {
            self.dirs.insert(index);
        }
        self.permit.check_alter(path, &stamp, alter)?;
        if stamp.kind == Kind::File && stamp.links > 1 {
            self.check_other_names(path, &stamp)?;
        }
        if let Some(edit) = alter.content.as_ref().filter(|edit| edit.appended)
            && let Some(staged) = self.staged.get(&index)
            && stamp.size == edit.base.size
            && meets_its_base(path, edit, staged)?
        {
            self.whole.insert(index);
        }
        Ok(())
    }
}

impl Validate<'_> {
    /// In a view each name of a file of the client's is a file of its own. A job that changed
    /// it by one name and used another of them has not seen what it would have seen here.
    fn check_other_names(&self, path: &Path, stamp: &Stamp) -> Result<(), CommitError> {
        // A spelling may lead there through symlinks.
        let is_other_name = |item: &&TraceItem| {
            let used = linked_file(&item.path);
            used.is_some_and(|(at, file)| at != path && (file.dev(), file.ino()) == (stamp.dev, stamp.ino))
        };
        match self.trace.iter().find(is_other_name) {
            Some(other) => {
                let why = format!(
                    "it is the same file as {}, which the job used too",
                    other.path.display()
                );
                Err(CommitError::refused(path, why))
            }
            None => Ok(()),
        }
    }
}

/// Whether the content that the job appended to is the one that is there. If so, both
/// together have to be what the job left.
fn meets_its_base(path: &Path, edit: &Edit, staged: &Staged) -> Result<bool, CommitError> {
    let Ok(file) = open_file(path) else {
        // Its mode keeps its owner out.
        return Ok(false);
    };
    let mut hasher = blake3::Hasher::new();
    let doing = "read";
    hasher
        .update_reader(file.take(edit.base.size))
        .map_err(CommitError::at(doing, path))?;
    if BlobHash(*hasher.finalize().as_bytes()) != edit.base.hash {
        return Ok(false);
    }
    let tail = staged.file.open().map_err(CommitError::at(doing, path))?;
    hasher.update_reader(tail).map_err(CommitError::at(doing, path))?;
    let found = BlobHash(*hasher.finalize().as_bytes());
    if found != edit.hash {
        let why = format!("hash {found} in the place of {}", edit.hash);
        return Err(CommitError::Content {
            path: path.to_owned(),
            why,
        });
    }
    Ok(true)
}
