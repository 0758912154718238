//! Directories of the client's that a job moved with all that is in them: what goes at the
//! old place and comes at the new one. Knows no upper layer: that holds none of it.

use super::{Gather, HarvestError, client, unread};
use crate::view::error::FaultError;
use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;
use termite_types::{ChangeKind, Node};

impl Gather<'_> {
    /// A directory went with all that the client has in it.
    pub(super) fn tree_gone(&mut self, at: &Path) -> Result<(), HarvestError> {
        for name in self.view.mirror().names(at).map_err(client(at))? {
            let path = at.join(name);
            let known = self.view.mirror().lookup(&path).map_err(unread(&path))?;
            match known {
                Some(known) if known.attr.is_dir() => self.tree_gone(&path)?,
                Some(known) if matches!(known.attr.node, Node::Special(_)) => {
                    return Err(HarvestError::Special(path));
                }
                Some(_) => self.push(&path, ChangeKind::Remove { dir: false }),
                None => {}
            }
        }
        self.push(at, ChangeKind::Remove { dir: true });
        Ok(())
    }

    /// What shows through a moved directory, but for the names that the job covered.
    pub(super) fn below(&mut self, at: &Path, below: &Path, covered: &HashSet<OsString>) -> Result<(), HarvestError> {
        for name in self.view.mirror().names(below).map_err(client(below))? {
            if !covered.contains(name.as_os_str()) {
                self.moved(&at.join(&name), &below.join(&name))?;
            }
        }
        Ok(())
    }

    /// Takes in what the job moved from one path of the client's to another, with all that is in it.
    fn moved(&mut self, at: &Path, from: &Path) -> Result<(), HarvestError> {
        let store = |errno| HarvestError::Client {
            path: from.to_path_buf(),
            error: FaultError::from_store(errno, from),
        };
        let Some(known) = self.view.mirror().lookup(from).map_err(store)? else {
            return Ok(());
        };
        let hash = match &known.attr.node {
            Node::Dir => {
                self.push(
                    at,
                    ChangeKind::MakeDir {
                        attr: known.attr,
                        explicit_mtime: true,
                        plain: false,
                    },
                );
                return self.below(at, from, &HashSet::new());
            }
            Node::Special(_) => return Err(HarvestError::Special(from.to_path_buf())),
            Node::File { hash, .. } => *hash,
            Node::Symlink { .. } => None,
        };
        let from = from.to_path_buf();
        self.push(at, ChangeKind::Name { from, hash });
        Ok(())
    }
}
