//! What has to hold for a job's changes when they are committed: what its calls were told
//! of the names that it changed, and what it read before it changed it.
//!
//! Knows the changes and the trace; knows nothing of the client's tree as it is by then.

use super::acts::{Before, NameActs};
use super::fault::View;
use super::harvest::content_of;
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use termite_abi::Access;
use termite_types::{Change, ChangeKind, Check, Premises, Seen};

impl View {
    /// What has to hold for these changes. `rewritten`: files whose content the job may have
    /// read through the descriptor that it wrote to.
    pub(super) fn premises(&self, changes: &[Change], rewritten: Vec<Check>) -> Result<Premises, Errno> {
        let mut checks = rewritten;
        let mut acts = Vec::with_capacity(changes.len());
        for change in changes {
            acts.push(self.name_acts(&change.path)?);
        }
        let read = self.read_among(changes, &acts);
        for (change, acts) in changes.iter().zip(&acts) {
            let is_read = read.contains(change.path.as_path());
            for seen in seen_of(change, acts, is_read) {
                let path = change.path.clone();
                let check = Check { path, seen };
                if !checks.contains(&check) {
                    checks.push(check);
                }
            }
        }
        let made: HashSet<_> = changes.iter().map(|change| change.path.as_path()).collect();
        let recorded = self.acts.lock();
        let passing = recorded
            .names()
            .filter(|(path, acts)| acts.exclusive && matches!(acts.before, Before::Nothing) && !made.contains(path));
        Ok(Premises {
            checks,
            locked: recorded.locked(),
            passing_names: passing.map(|(path, _)| path.to_path_buf()).collect(),
        })
    }

    /// The changed paths whose content of before the job had read.
    fn read_among<'c>(&self, changes: &'c [Change], acts: &[NameActs]) -> HashSet<&'c Path> {
        let may_be_read = |(change, acts): (&'c Change, &NameActs)| {
            let appended = matches!(change.kind, ChangeKind::File { appended: true, .. });
            (appended || matches!(acts.before, Before::File(_))).then_some(change.path.as_path())
        };
        let wanted: HashSet<_> = changes.iter().zip(acts).filter_map(may_be_read).collect();
        if wanted.is_empty() {
            return HashSet::new();
        }
        let turn = self.turn_at(self.shared.epoch());
        let mut written = HashSet::new();
        let mut read = HashSet::new();
        let overflow = self.overflow.lock();
        for (access, spelled) in self.shared.trace_records().chain(overflow.in_order()) {
            match access {
                Access::Write => {
                    written.insert(spelled);
                }
                Access::Read => {
                    let known = turn.and_then(|turn| self.mirror.leads_to_file(turn, spelled));
                    let path = known.map_or_else(|| self.spelled_path(spelled), |file| file.path());
                    let Some(path) = wanted.get(path.as_path()) else {
                        continue;
                    };
                    // What it had overwritten before was its own.
                    let is_own = written.contains(spelled) && self.lower().is_none();
                    if !is_own
                        || changes
                            .iter()
                            .any(|change| change.path == **path && is_appended(change))
                    {
                        read.insert(*path);
                    }
                }
                Access::Stat | Access::Missing | Access::Listed => {}
            }
        }
        read
    }

    /// The canonical path of a spelling, as far as that is known without looking.
    fn spelled_path(&self, spelled: &[u8]) -> PathBuf {
        let spelled = Path::new(OsStr::from_bytes(spelled));
        let (Some(dir), Some(name)) = (spelled.parent(), spelled.file_name()) else {
            return spelled.to_path_buf();
        };
        match self.known_lead(dir.as_os_str().as_bytes()) {
            Some(dir) => dir.join(name),
            None => lexical(spelled),
        }
    }
}

/// What the job was told of a name that it changed.
fn seen_of(change: &Change, acts: &NameActs, is_read: bool) -> Vec<Seen> {
    let mut seen = Vec::new();
    let content = match &acts.before {
        Before::File(file) if is_read => content_of(&file.attr).map(Seen::Content),
        _ => None,
    };
    match &change.kind {
        ChangeKind::MakeDir { .. } => {}
        ChangeKind::Remove { .. } | ChangeKind::Alter(_) => seen.extend(content),
        ChangeKind::File { appended: true, .. } => seen.extend(is_read.then_some(Seen::Absent)),
        ChangeKind::File { .. } | ChangeKind::Symlink { .. } | ChangeKind::Link { .. } | ChangeKind::Name { .. } => {
            match &acts.before {
                Before::Nothing if acts.exclusive => seen.push(Seen::Nothing),
                Before::File(_) | Before::Symlink(_) if acts.removed => seen.push(Seen::Leaf),
                _ => {}
            }
            seen.extend(content);
        }
    }
    seen
}

fn is_appended(change: &Change) -> bool {
    match &change.kind {
        ChangeKind::File { appended, .. } => *appended,
        ChangeKind::Alter(alter) => alter.content.as_ref().is_some_and(|edit| edit.appended),
        _ => false,
    }
}

/// A spelling without `.` and with each `..` taken literally.
fn lexical(spelled: &Path) -> PathBuf {
    let mut path = PathBuf::from("/");
    for part in spelled.components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => drop(path.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path
}
