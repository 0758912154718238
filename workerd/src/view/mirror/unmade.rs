//! Names that a sparse directory is known to have and that are not made yet. Knows no file.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use termite_types::{Attr, Node};

/// Names of a sparse directory that the client has and nobody has looked for.
#[derive(Default)]
pub(super) struct Unmade {
    /// With the order in which they are to be made.
    names: HashMap<OsString, (usize, Attr)>,
}

impl Unmade {
    /// Whether such a name may wait. Directories show in the link count of what they are in, and
    /// a special file is nothing that anybody can look for.
    pub(super) fn may_hold(attr: &Attr) -> bool {
        matches!(attr.node, Node::File { .. } | Node::Symlink { .. })
    }

    /// A name that comes after the others.
    pub(super) fn add(&mut self, name: &OsStr, attr: &Attr) {
        let rank = self.names.len();
        self.names.insert(name.to_os_string(), (rank, attr.clone()));
    }

    /// Takes in how a name stands. False: it is none of these, or not any more.
    pub(super) fn retell(&mut self, name: &OsStr, attr: &Attr) -> bool {
        if !Self::may_hold(attr) {
            self.names.remove(name);
            return false;
        }
        let known = self.names.get_mut(name);
        known.map(|(_, known)| *known = attr.clone()).is_some()
    }

    /// The name is made, or is not there any more.
    pub(super) fn remove(&mut self, name: &OsStr) {
        self.names.remove(name);
    }

    /// The attributes that a name is to be made with.
    pub(super) fn get(&self, name: &OsStr) -> Option<&Attr> {
        self.names.get(name).map(|(_, attr)| attr)
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All of them, in the order in which they are to be made.
    pub(super) fn in_order(&self) -> Vec<(OsString, Attr)> {
        let mut names: Vec<_> = self.names.iter().collect();
        names.sort_unstable_by_key(|(_, (rank, _))| *rank);
        let copy = |(name, (_, attr)): (&OsString, &(usize, Attr))| (name.clone(), attr.clone());
        names.into_iter().map(copy).collect()
    }
}
