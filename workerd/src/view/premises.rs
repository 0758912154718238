//! What has to hold for a job's changes when they are committed: what its calls were told
//! of the names that it changed, and what it read before it changed it.
//!
//! Knows the changes and the trace; knows nothing of the client's tree as it is by then.

use super::View;
use super::acts::{Before, ClientFile, NameActs, Written};
use super::inode::content_of;
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use termite_abi::Access;
use termite_core::spelling::lexical;
use termite_types::{Attr, Change, ChangeKind, Check, IfPresent, Node, Premises, Seen};

impl View {
    /// What has to hold for these changes, and of the client's files that the job changed.
    pub(super) fn premises(&self, changes: &[Change], of_files: Vec<Check>) -> Result<Premises, Errno> {
        let mut checks = of_files;
        let mut acts = Vec::with_capacity(changes.len());
        for change in changes {
            acts.push(self.name_acts(&change.path)?);
        }
        let used = self.used_among(changes, &acts);
        let renamed = self.renamed(changes, used.renamed)?;
        let recorded = self.acts.lock();
        let leaves = |change: &&Change| !matches!(change.kind, ChangeKind::Remove { .. });
        let left: HashSet<_> = changes
            .iter()
            .filter(leaves)
            .map(|change| change.path.as_path())
            .collect();
        // A lock on a file that the job made and that is gone is known to others by its name
        // alone. A Java machine takes one on the file of its performance data.
        let (kept, gone): (Vec<_>, Vec<_>) = recorded.own_locks().partition(|path| left.contains(path));
        let locked = recorded.locked() || !kept.is_empty();
        for (change, acts) in changes.iter().zip(&acts) {
            let told = Told {
                is_read: used.read.contains(change.path.as_path()),
                is_missed: used.missed.contains(change.path.as_path()),
                is_locked: locked,
            };
            // Where no call is seen, neither is an owner that the worker cannot give.
            let is_known =
                |seen: &Seen| !matches!(seen, Seen::Owner(..)) || self.lower().is_none() || self.mirror.keeps_owners();
            for seen in seen_of(change, acts, told).into_iter().filter(is_known) {
                let path = change.path.clone();
                checks.push(Check { path, seen });
            }
        }
        checks.extend(renamed);
        checks.extend(recorded.followed().into_iter().map(|(path, target)| Check {
            path,
            seen: Seen::Symlink(target),
        }));
        checks.extend(recorded.renamed_over().map(|(from, to)| Check {
            path: to.clone(),
            seen: Seen::OtherFile(from.clone()),
        }));
        let passing = || {
            recorded
                .names()
                .filter(|(path, acts)| is_new(acts) && !left.contains(path))
        };
        // What others have put there by now would have gone with it.
        checks.extend(passing().filter(|(_, acts)| acts.is_made()).map(|(path, _)| Check {
            path: path.to_path_buf(),
            seen: Seen::Nothing,
        }));
        let mut told = HashSet::new();
        checks.retain(|check| told.insert(check.clone()));
        let exclusive = passing().filter(|(_, acts)| acts.exclusive);
        // A token is taken away and put back.
        let tokens = recorded.names().filter(|(_, acts)| acts.is_put_back());
        let passing = exclusive.chain(tokens).map(|(path, _)| path).chain(gone);
        let locks = recorded.locks().chain(kept);
        Ok(Premises {
            checks,
            locked,
            unseen: self.lower().is_some(),
            passing_names: passing.map(Path::to_path_buf).collect(),
            locks: locks.map(Path::to_path_buf).collect(),
        })
    }

    /// What has to hold of the client's files and symlinks that get other names. `is_read`: the
    /// job read one of them, by whatever name.
    fn renamed(&self, changes: &[Change], is_read: bool) -> Result<Vec<Check>, Errno> {
        let mut checks = Vec::new();
        for change in changes {
            // Where no call is seen, what is gone may have been renamed. Which file another one is,
            // its content and time tell.
            let is_gone = self.lower().is_some() && !matches!(change.kind, ChangeKind::SetXattrs(_));
            let is_removed = change.kind == ChangeKind::Remove { dir: false };
            let gone = is_gone.then_some(change.path.as_path());
            let Some(from) = renamed_from(change).or(gone) else {
                continue;
            };
            let is_named = renamed_from(change).is_some() || is_removed;
            let seen = match self.name_acts(from)?.before {
                Before::Symlink(Attr {
                    node: Node::Symlink { target },
                    ..
                }) => Seen::Symlink(target),
                Before::File(_) if !is_named => continue,
                Before::File(file) if is_read => content_of(&file.attr).map_or(Seen::File, Seen::Content),
                Before::File(_) => Seen::File,
                _ => continue,
            };
            let path = from.to_path_buf();
            checks.push(Check { path, seen });
        }
        Ok(checks)
    }

    /// What the job had used of the paths that it changed, before it did so.
    fn used_among<'c>(&self, changes: &'c [Change], acts: &[NameActs]) -> Used<'c> {
        let may_be_used = |(_, acts): &(&Change, &NameActs)| matches!(acts.before, Before::File(_) | Before::Nothing);
        // With whether the job appended to it.
        let mut wanted: HashMap<&'c Path, bool> = HashMap::new();
        for (change, _) in changes.iter().zip(acts).filter(may_be_used) {
            *wanted.entry(&change.path).or_default() |= is_appended(change);
        }
        let names: HashSet<_> = wanted.keys().filter_map(|path| path.file_name()).collect();
        let mut used = Used::default();
        let renamed: HashSet<_> = changes.iter().filter_map(renamed_from).collect();
        if wanted.is_empty() && renamed.is_empty() {
            return used;
        }
        let is_renamed = |path: &Path| {
            let acts = self.acts.lock();
            renamed.contains(path) || acts.of_name(path).is_some_and(|name| name.named)
        };
        // A file that was there may have been read through a symlink with another name.
        let may_be_linked = acts.iter().any(|acts| matches!(acts.before, Before::File(_)));
        let mut written = HashSet::new();
        let overflow = self.overflow.lock();
        for (access, spelled) in self.shared.trace_records().chain(overflow.in_order()) {
            let is_own = self.lower().is_none()
                && written.contains(spelled)
                && (access != Access::Read || self.owns_content(&self.read_path(spelled)));
            let name = Path::new(OsStr::from_bytes(spelled)).file_name();
            let is_named = name.is_some_and(|name| names.contains(name));
            if access == Access::Read && !renamed.is_empty() && !used.renamed {
                used.renamed = is_renamed(&self.spelled_path(spelled));
            }
            match access {
                Access::Write => drop(written.insert(spelled)),
                Access::Read if is_named || may_be_linked => {
                    let path = self.read_path(spelled);
                    if let Some((path, is_appended)) = wanted.get_key_value(path.as_path())
                        && (!is_own || *is_appended)
                    {
                        used.read.insert(*path);
                    }
                }
                Access::Missing if is_named && !is_own => {
                    let path = self.spelled_path(spelled);
                    used.missed
                        .extend(wanted.get_key_value(path.as_path()).map(|(path, _)| *path));
                }
                Access::Read | Access::Stat | Access::Missing | Access::Listed => {}
            }
        }
        used
    }

    /// Where a spelling led that was read.
    fn read_path(&self, spelled: &[u8]) -> PathBuf {
        let turn = self.turn_at(self.shared.epoch());
        let known = turn.and_then(|turn| self.mirror.leads_to_file(turn, spelled));
        known.map_or_else(|| self.spelled_path(spelled), |file| file.path())
    }

    /// The canonical path of a spelling, as far as that is known without looking.
    pub(super) fn spelled_path(&self, spelled: &[u8]) -> PathBuf {
        let spelled = Path::new(OsStr::from_bytes(spelled));
        let (Some(dir), Some(name)) = (spelled.parent(), spelled.file_name()) else {
            return spelled.to_path_buf();
        };
        match self.known_dir(dir.as_os_str().as_bytes()) {
            Some(dir) => dir.join(name),
            None => lexical(spelled),
        }
    }
}

/// Changed paths by how the job had used them before.
#[derive(Default)]
struct Used<'c> {
    /// It read the content.
    read: HashSet<&'c Path>,
    /// It looked for them in vain.
    missed: HashSet<&'c Path>,
    /// It read something by the name of a file of the client's that got another one, or by a name
    /// that it had made or given to something else, which may be that file.
    renamed: bool,
}

/// What the job was told of a name before it changed it.
#[derive(Clone, Copy)]
struct Told {
    is_read: bool,
    /// It looked for it in vain.
    is_missed: bool,
    /// It held a lock: a file that a call made there was looked for in vain as well.
    is_locked: bool,
}

/// What the job was told of a name that it changed.
fn seen_of(change: &Change, acts: &NameActs, told: Told) -> Vec<Seen> {
    let Told {
        is_read,
        is_missed,
        is_locked,
    } = told;
    let mut seen = attributes_seen(change, acts);
    let content = match &acts.before {
        Before::File(file) if is_read => content_of(&file.attr).map(Seen::Content),
        _ => None,
    };
    match &change.kind {
        // One that is there is joined as it is. It would not get these attributes, and nothing can
        // be moved to where it is.
        ChangeKind::MakeDir { explicit_mtime, .. }
            if is_new(acts) && (*explicit_mtime || acts.is_attributed || acts.replaced) =>
        {
            seen.push(Seen::Nothing);
        }
        ChangeKind::MakeDir { .. } | ChangeKind::SetXattrs(_) => {}
        ChangeKind::Remove { .. } | ChangeKind::Alter(_) => seen.extend(content),
        // It found nothing in the file that it opened without asking for that, or gave it
        // attributes, which another one that is there by now may not have.
        ChangeKind::File { .. }
            if is_new(acts) && (acts.written == Written::Within || acts.is_attributed && !acts.replaced) =>
        {
            seen.push(Seen::Nothing);
        }
        // It was opened here and has other names, of which one is put and this one linked to that.
        ChangeKind::Link { .. } if is_new(acts) && acts.written != Written::Not => seen.push(Seen::Nothing),
        ChangeKind::File {
            if_present: IfPresent::Append,
            ..
        } => seen.extend((is_read || is_locked && is_new(acts)).then_some(Seen::Absent)),
        ChangeKind::File { .. } | ChangeKind::Symlink { .. } | ChangeKind::Link { .. } | ChangeKind::Name { .. } => {
            match &acts.before {
                // What others have put there by now would have been taken away with the first one.
                Before::Nothing if acts.exclusive || acts.made_again => seen.push(Seen::Nothing),
                Before::Nothing if is_missed || is_locked => seen.push(Seen::Absent),
                Before::File(_) | Before::Symlink(_) if acts.removed => seen.push(Seen::Leaf),
                // It was given another time or owner, and would come back if it is gone.
                Before::Symlink(Attr {
                    node: Node::Symlink { target },
                    ..
                }) if !acts.named => seen.push(Seen::Symlink(target.clone())),
                _ => {}
            }
            seen.extend(content);
        }
    }
    seen
}

/// Attributes of what the job changed, moved or replaced: it may have made others of them.
fn attributes_seen(change: &Change, acts: &NameActs) -> Vec<Seen> {
    let (Before::File(ClientFile { attr, .. }) | Before::Dir(attr)) = &acts.before else {
        return Vec::new();
    };
    let (mode, owner) = match &change.kind {
        ChangeKind::Alter(alter) => (alter.mode.is_some(), alter.owner.is_some()),
        ChangeKind::SetXattrs(_) => (false, false),
        ChangeKind::Remove { dir } => (*dir, *dir),
        ChangeKind::MakeDir { .. }
        | ChangeKind::File { .. }
        | ChangeKind::Symlink { .. }
        | ChangeKind::Link { .. }
        | ChangeKind::Name { .. } => (true, true),
    };
    let mode = mode.then_some(Seen::Mode(attr.mode));
    let owner = owner.then_some(Seen::Owner(attr.uid, attr.gid));
    mode.into_iter().chain(owner).collect()
}

/// Where the client has what a change gives another name.
fn renamed_from(change: &Change) -> Option<&Path> {
    match &change.kind {
        ChangeKind::Name { from, .. } => Some(from),
        _ => None,
    }
}

fn is_new(acts: &NameActs) -> bool {
    matches!(acts.before, Before::Nothing)
}

fn is_appended(change: &Change) -> bool {
    match &change.kind {
        ChangeKind::File { if_present, .. } => *if_present == IfPresent::Append,
        ChangeKind::Alter(alter) => alter.content.as_ref().is_some_and(|edit| edit.appended),
        _ => false,
    }
}
