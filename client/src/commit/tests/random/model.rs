//! A tree of few names in memory, what a job does to it, and what a commit of a list of
//! changes makes of it, as `termite_types::Change` says. Knows no file.

use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use termite_types::{Change, ChangeKind, Content, IfPresent, Node as TypesNode};

/// What a name leads to. Directories have numbers, so that one made anew is another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Node {
    Dir(usize),
    Leaf(usize),
}

/// One inode.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Inode {
    /// Of a file, or the target of a symlink.
    pub content: Vec<u8>,
    pub mode: u32,
    pub is_symlink: bool,
    /// What the job did to it.
    pub written: bool,
    pub appended: bool,
    pub chmodded: bool,
}

/// Paths relative to the top, and inodes by number. The top is always there.
#[derive(Clone, Default, Debug)]
pub(super) struct Model {
    pub names: BTreeMap<String, Node>,
    pub inodes: Vec<Inode>,
}

/// What a job does. Most steps meet nothing, or a wrong kind, and do nothing.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Write(String, u8),
    Append(String, u8),
    Chmod(String, u32),
    Unlink(String),
    MakeDir(String),
    RemoveDir(String),
    Rename(String, String),
    Link(String, String),
    Symlink(String, u8),
}

fn path() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(&["a", "b"][..]);
    prop_oneof![
        3 => name().prop_map(str::to_owned),
        3 => (name(), name()).prop_map(|(dir, name)| format!("{dir}/{name}")),
        1 => (name(), name(), name()).prop_map(|(top, dir, name)| format!("{top}/{dir}/{name}")),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let mode = prop::sample::select(&[0o600, 0o640, 0o755][..]);
    prop_oneof![
        4 => (path(), b'0'..=b'9').prop_map(|(path, byte)| Step::Write(path, byte)),
        3 => (path(), b'0'..=b'9').prop_map(|(path, byte)| Step::Append(path, byte)),
        2 => (path(), mode).prop_map(|(path, mode)| Step::Chmod(path, mode)),
        2 => path().prop_map(Step::Unlink),
        4 => path().prop_map(Step::MakeDir),
        1 => path().prop_map(Step::RemoveDir),
        5 => (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
        3 => (path(), path()).prop_map(|(from, to)| Step::Link(from, to)),
        1 => (path(), b'0'..=b'9').prop_map(|(path, byte)| Step::Symlink(path, byte)),
    ]
}

pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Model {
    pub(super) fn is_dir(&self, path: &str) -> bool {
        path.is_empty() || matches!(self.names.get(path), Some(Node::Dir(_)))
    }

    fn leaf(&self, path: &str) -> Option<usize> {
        match self.names.get(path) {
            Some(Node::Leaf(inode)) => Some(*inode),
            _ => None,
        }
    }

    fn file(&mut self, path: &str) -> Option<&mut Inode> {
        let inode = self.leaf(path)?;
        self.inodes.get_mut(inode).filter(|inode| !inode.is_symlink)
    }

    fn is_symlink(&self, path: &str) -> bool {
        self.leaf(path).is_some_and(|leaf| self.inodes[leaf].is_symlink)
    }

    /// Whether something that is no directory may be put there.
    fn takes(&self, path: &str) -> bool {
        self.is_dir(parent(path)) && !self.is_dir(path)
    }

    fn add(&mut self, path: &str, inode: Inode) {
        self.names.insert(path.to_owned(), Node::Leaf(self.inodes.len()));
        self.inodes.push(inode);
    }

    fn add_dir(&mut self, path: &str, mode: u32) {
        self.names.insert(path.to_owned(), Node::Dir(self.inodes.len()));
        let inode = Inode {
            mode,
            ..Inode::default()
        };
        self.inodes.push(inode);
    }

    fn is_empty_dir(&self, path: &str) -> bool {
        self.names.keys().all(|name| parent(name) != path)
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Write(path, byte) => self.put(path, &[*byte; 3], false),
            Step::Append(path, byte) => self.put(path, &[*byte], true),
            Step::Chmod(path, mode) => {
                let (Some(Node::Dir(inode) | Node::Leaf(inode)), mode) = (self.names.get(path), *mode) else {
                    return;
                };
                let inode = &mut self.inodes[*inode];
                if !inode.is_symlink {
                    (inode.mode, inode.chmodded) = (mode, true);
                }
            }
            Step::Unlink(path) if self.leaf(path).is_some() => {
                self.names.remove(path);
            }
            Step::MakeDir(path) if self.is_dir(parent(path)) && !self.names.contains_key(path) => {
                self.add_dir(path, 0o755);
            }
            Step::RemoveDir(path) if self.is_dir(path) && self.is_empty_dir(path) => {
                self.names.remove(path);
            }
            Step::Rename(from, to) if self.is_dir(from) => self.rename_dir(from, to),
            Step::Rename(from, to) | Step::Link(from, to) if self.takes(to) => {
                let Some(inode) = self.leaf(from).filter(|inode| self.leaf(to) != Some(*inode)) else {
                    return;
                };
                self.names.insert(to.clone(), Node::Leaf(inode));
                if matches!(step, Step::Rename(..)) {
                    self.names.remove(from);
                }
            }
            Step::Symlink(path, byte) if self.takes(path) && !self.names.contains_key(path) => {
                let inode = Inode {
                    content: vec![*byte],
                    mode: 0o777,
                    is_symlink: true,
                    ..Inode::default()
                };
                self.add(path, inode);
            }
            _ => {}
        }
    }

    fn put(&mut self, path: &str, bytes: &[u8], appended: bool) {
        if let Some(file) = self.file(path) {
            if !appended {
                file.content.clear();
            }
            file.content.extend(bytes);
            file.written |= !appended;
            file.appended |= appended;
        } else if self.takes(path) && !self.names.contains_key(path) {
            let inode = Inode {
                content: bytes.to_vec(),
                mode: 0o640,
                written: !appended,
                appended,
                ..Inode::default()
            };
            self.add(path, inode);
        }
    }

    /// A directory at another path is another one for the client.
    fn rename_dir(&mut self, from: &str, to: &str) {
        let is_below = to == from || to.starts_with(&format!("{from}/"));
        if from.is_empty() || is_below || self.names.contains_key(to) || !self.is_dir(parent(to)) {
            return;
        }
        let below = format!("{from}/");
        let moved: Vec<String> = self
            .names
            .keys()
            .filter(|name| *name == from || name.starts_with(&below))
            .cloned()
            .collect();
        for old in moved {
            let new = format!("{to}{}", &old[from.len()..]);
            match self.names.remove(&old) {
                Some(Node::Dir(dir)) => self.add_dir(&new, self.inodes[dir].mode),
                Some(Node::Leaf(inode)) => {
                    self.names.insert(new, Node::Leaf(inode));
                }
                None => {}
            }
        }
    }

    /// What a commit of the list makes of this tree; `None`: a conflict. `name` shortens
    /// a path.
    pub(super) fn committed(&self, list: &[Change], name: impl Fn(&std::path::Path) -> String) -> Option<Self> {
        let removed: BTreeMap<String, bool> = list
            .iter()
            .filter_map(|change| match change.kind {
                ChangeKind::Remove { dir } => Some((name(&change.path), dir)),
                _ => None,
            })
            .collect();
        for (path, dir) in &removed {
            let is_right = match self.names.get(path)? {
                Node::Dir(_) => *dir,
                Node::Leaf(_) => !*dir,
            };
            let is_emptied = self
                .names
                .keys()
                .all(|name| parent(name) != path || removed.contains_key(name));
            if !is_right || !is_emptied {
                return None;
            }
        }
        let mut after = self.clone();
        after.names.retain(|name, _| !removed.contains_key(name));
        for change in list {
            if let ChangeKind::Alter(alter) = &change.kind {
                let path = name(&change.path);
                let (Node::Dir(inode) | Node::Leaf(inode)) = *self.names.get(&path)?;
                let is_dir = self.is_dir(&path);
                let inode = &mut after.inodes[inode];
                if inode.is_symlink || (is_dir && alter.content.is_some()) {
                    return None;
                }
                inode.mode = alter.mode.unwrap_or(inode.mode);
                if let Some(edit) = &alter.content {
                    let Content::Inline(bytes) = &edit.content else {
                        return None;
                    };
                    if edit.appended {
                        inode.content.extend(&bytes[edit.base.size as usize..]);
                    } else {
                        inode.content.clone_from(bytes);
                    }
                }
            }
        }
        after.put_names(self, list, name)
    }

    /// Whether a list moves a file to a name that is by now another name of the same file.
    /// rename(2) would do nothing there, which the job has not seen: such a list is refused.
    pub(super) fn is_moved_onto_itself(&self, list: &[Change], name: impl Fn(&std::path::Path) -> String) -> bool {
        let is_removed = |path: &str| {
            list.iter()
                .any(|change| matches!(change.kind, ChangeKind::Remove { .. }) && name(&change.path) == path)
        };
        let is_replaced = |path: &str| {
            let is_other = |kind: &ChangeKind| matches!(kind, ChangeKind::Name { .. } | ChangeKind::Remove { .. });
            let is_put = |kind: &ChangeKind| kind.is_of_name() && !is_other(kind);
            list.iter()
                .any(|change| is_put(&change.kind) && name(&change.path) == path)
        };
        list.iter().any(|change| match &change.kind {
            ChangeKind::Name { from, .. } => {
                let (from, to) = (name(from), name(&change.path));
                self.leaf(&from).is_some()
                    && self.leaf(&from) == self.leaf(&to)
                    && (is_removed(&from) || is_replaced(&from))
                    && !is_removed(&to)
            }
            _ => false,
        })
    }

    /// The names of a list, which parents precede.
    fn put_names(mut self, before: &Self, list: &[Change], name: impl Fn(&std::path::Path) -> String) -> Option<Self> {
        for change in list {
            let path = name(&change.path);
            if let ChangeKind::Remove { .. } | ChangeKind::Alter(_) | ChangeKind::SetXattrs(_) = change.kind {
                continue;
            }
            if !self.is_dir(parent(&path)) {
                return None;
            }
            match &change.kind {
                ChangeKind::MakeDir { attr, .. } => match self.names.get(&path) {
                    Some(Node::Dir(dir)) if before.inodes[*dir].mode == attr.mode => {}
                    Some(_) => return None,
                    None => self.add_dir(&path, attr.mode),
                },
                _ if self.is_dir(&path) => return None,
                ChangeKind::File { if_present, .. } if *if_present == IfPresent::Append && self.is_symlink(&path) => {
                    return None;
                }
                ChangeKind::File {
                    attr,
                    content: Content::Inline(bytes),
                    if_present,
                    ..
                } => match self.file(&path).filter(|_| *if_present == IfPresent::Append) {
                    Some(file) => file.content.extend(bytes),
                    None => self.add(
                        &path,
                        Inode {
                            content: bytes.clone(),
                            mode: attr.mode,
                            ..Inode::default()
                        },
                    ),
                },
                ChangeKind::Symlink { attr } => {
                    let TypesNode::Symlink { target } = &attr.node else {
                        return None;
                    };
                    let inode = Inode {
                        content: target.as_os_str().as_encoded_bytes().to_vec(),
                        mode: 0o777,
                        is_symlink: true,
                        ..Inode::default()
                    };
                    self.add(&path, inode);
                }
                ChangeKind::Link { to } => {
                    let node = *self.names.get(&name(to))?;
                    self.names.insert(path, node);
                }
                ChangeKind::Name { from, .. } => {
                    let inode = before.leaf(&name(from))?;
                    self.names.insert(path, Node::Leaf(inode));
                }
                _ => return None,
            }
        }
        Some(self)
    }

    /// All names, with what they lead to and the first other name of the same file.
    pub(super) fn described(&self) -> BTreeMap<String, (String, String)> {
        let first = |inode: usize| {
            let found = self.names.iter().find(|(_, node)| **node == Node::Leaf(inode));
            found.map(|(name, _)| name.clone()).unwrap_or_default()
        };
        let describe = |node: &Node| match node {
            Node::Dir(dir) => (format!("dir {:o}", self.inodes[*dir].mode), String::new()),
            Node::Leaf(leaf) => {
                let Inode {
                    content,
                    mode,
                    is_symlink,
                    ..
                } = &self.inodes[*leaf];
                let kind = if *is_symlink { "link" } else { "file" };
                (
                    format!("{kind} {mode:o} {}", String::from_utf8_lossy(content)),
                    first(*leaf),
                )
            }
        };
        self.names
            .iter()
            .map(|(name, node)| (name.clone(), describe(node)))
            .collect()
    }

    /// Names that are not what they were, or are in a directory that is another one.
    pub(super) fn changed_since<'a>(&'a self, before: &'a Self) -> BTreeSet<&'a str> {
        let mut changed = BTreeSet::new();
        let all: BTreeSet<&str> = self
            .names
            .keys()
            .chain(before.names.keys())
            .map(String::as_str)
            .collect();
        for name in all {
            if changed.contains(parent(name)) || self.names.get(name) != before.names.get(name) {
                changed.insert(name);
            }
        }
        changed
    }
}
