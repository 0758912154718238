//! What a list of changes does, by path, from the list alone: which names go, which come,
//! what is moved. Refuses what the rules forbid and lists that contradict themselves.
//! Looks at no file.

use super::{CommitError, CommitRequest};
use crate::tree::{DenyRules, is_canonical};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use termite_types::{Alter, Change, ChangeKind, Node, Xattr};

/// A list of changes by what it does.
pub(super) struct Plan<'a> {
    /// The list.
    pub changes: &'a [Change],
    /// Names that go; true: of a directory.
    pub removes: BTreeMap<&'a Path, bool>,
    /// Names that come or are replaced, by index in the list.
    pub puts: BTreeMap<&'a Path, usize>,
    /// Files of the client's that get other names.
    pub sources: Vec<Source<'a>>,
    /// Extended attributes that are set.
    pub xattrs: BTreeMap<&'a Path, &'a [Xattr]>,
}

/// A file of the client's that gets other names.
pub(super) struct Source<'a> {
    /// Where it is before the commit.
    pub from: &'a Path,
    /// Its new names, by index in the list. Never empty.
    pub names: Vec<usize>,
}

impl<'a> Plan<'a> {
    /// Sorts a list.
    pub(super) fn of(request: &'a CommitRequest, deny: &DenyRules) -> Result<Self, CommitError> {
        let mut plan = Self {
            changes: &request.changes,
            removes: BTreeMap::new(),
            puts: BTreeMap::new(),
            sources: Vec::new(),
            xattrs: BTreeMap::new(),
        };
        let mut by_source = HashMap::new();
        for (index, change) in request.changes.iter().enumerate() {
            let path = change.path.as_path();
            check_path(path, deny)?;
            match &change.kind {
                ChangeKind::Alter(_) => continue,
                ChangeKind::SetXattrs(xattrs) => {
                    plan.xattrs.insert(path, xattrs);
                    continue;
                }
                _ if path.parent().is_none() => {
                    return Err(CommitError::refused(path, "the root cannot be replaced"));
                }
                ChangeKind::Remove { dir } => {
                    plan.removes.insert(path, *dir);
                    continue;
                }
                ChangeKind::Name { from, .. } => {
                    check_path(from, deny)?;
                    let source = *by_source.entry(from.as_path()).or_insert(plan.sources.len());
                    if source == plan.sources.len() {
                        plan.sources.push(Source {
                            from,
                            names: Vec::new(),
                        });
                    }
                    plan.sources[source].names.push(index);
                }
                ChangeKind::Link { to } => plan.check_link(path, to)?,
                ChangeKind::Symlink { attr } if !matches!(attr.node, Node::Symlink { .. }) => {
                    return Err(CommitError::refused(path, "its attributes are not those of a symlink"));
                }
                ChangeKind::MakeDir { .. } | ChangeKind::Symlink { .. } | ChangeKind::File { .. } => {}
            }
            if plan.puts.insert(path, index).is_some() {
                return Err(CommitError::refused(path, "its list of changes names it twice"));
            }
        }
        for check in &request.premises.checks {
            check_path(&check.path, deny)?;
        }
        for file in &request.premises.locks {
            check_path(file, deny)?;
        }
        Ok(plan)
    }

    fn check_link(&self, path: &Path, to: &Path) -> Result<(), CommitError> {
        if self.put(to).is_none_or(is_directory) {
            let why = format!("a link to {}, which is no file of its list", to.display());
            return Err(CommitError::refused(path, why));
        }
        Ok(())
    }

    /// Whether something of the job's own is put at a path.
    pub(super) fn is_replaced(&self, path: &Path) -> bool {
        self.put(path)
            .is_some_and(|kind| !matches!(kind, ChangeKind::Name { .. }))
    }

    /// Whether any directory is made.
    pub(super) fn makes_directories(&self) -> bool {
        self.changes.iter().any(|change| is_directory(&change.kind))
    }

    /// What is put at a path.
    pub(super) fn put(&self, path: &Path) -> Option<&'a ChangeKind> {
        self.puts.get(path).map(|index| &self.changes[*index].kind)
    }

    /// What is changed of the client's files in place.
    pub(super) fn alters(&self) -> impl Iterator<Item = (usize, &'a Path, &'a Alter)> {
        self.changes
            .iter()
            .enumerate()
            .filter_map(|(index, change)| match &change.kind {
                // The root has no name by which its attributes could be set.
                ChangeKind::Alter(alter) if change.path.parent().is_some() && !alter.is_empty() => {
                    Some((index, change.path.as_path(), alter))
                }
                _ => None,
            })
    }

    /// What is changed in place of the client's file at a path.
    pub(super) fn alter(&self, path: &Path) -> Option<&'a Alter> {
        self.alters()
            .find(|(_, altered, _)| *altered == path)
            .map(|(_, _, alter)| alter)
    }

    /// Whether nothing of what was at a path is left there: its name goes, or one above.
    pub(super) fn is_removed(&self, path: &Path) -> bool {
        !self.removes.is_empty() && path.ancestors().any(|above| self.removes.contains_key(above))
    }

    /// Whether a name that goes is only replaced: a rename over it does both at once.
    pub(super) fn is_renamed_over(&self, path: &Path) -> bool {
        self.removes.get(path) == Some(&false)
            && self.put(path).is_some_and(|kind| !is_directory(kind))
            && !path.parent().is_some_and(|parent| self.is_removed(parent))
    }

    /// Directories in which the commit may make temporary names, sorted.
    pub(super) fn temporary_dirs(&self) -> Vec<&'a Path> {
        let mut dirs = BTreeSet::new();
        for change in self.changes {
            let makes_name = match &change.kind {
                ChangeKind::Alter(alter) => alter.content.is_some(),
                ChangeKind::Remove { .. } | ChangeKind::MakeDir { .. } | ChangeKind::SetXattrs(_) => false,
                ChangeKind::File { .. }
                | ChangeKind::Symlink { .. }
                | ChangeKind::Link { .. }
                | ChangeKind::Name { .. } => true,
            };
            if makes_name {
                dirs.insert(self.stage_dir(&change.path));
                dirs.extend(change.path.parent());
            }
        }
        dirs.into_iter().collect()
    }

    /// The deepest directory above a path that stands before, during and after the commit.
    pub(super) fn stage_dir<'b>(&self, path: &'b Path) -> &'b Path {
        let is_steady = |dir: &Path| !self.removes.contains_key(dir) && !self.puts.contains_key(dir);
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        let steady = above.iter().rev().take_while(|dir| is_steady(dir));
        steady.last().copied().unwrap_or(Path::new("/"))
    }
}

/// Whether a change puts a directory at its path.
pub(super) fn is_directory(kind: &ChangeKind) -> bool {
    matches!(kind, ChangeKind::MakeDir { .. })
}

fn check_path(path: &Path, deny: &DenyRules) -> Result<(), CommitError> {
    if !is_canonical(path) {
        return Err(CommitError::refused(path, "not a canonical path"));
    }
    if deny.hides(path) {
        return Err(CommitError::refused(path, "hidden by a rule, so it cannot be written"));
    }
    Ok(())
}
