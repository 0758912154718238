//! Files of the client's in the upper layer of a job: which of them a file is, what the job
//! changed of it, and of which it left no name.
//!
//! Knows no names but those that tell files apart.

use super::layer::look_through;
use super::{Gather, HarvestError, io};
use crate::view::acts::{Before, ClientFile, NameActs, Written};
use crate::view::inode::{content_of, nothing};
use rustix::fd::OwnedFd;
use rustix::fs::Statx;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use termite_types::{Alter, Attr, Base, BlobHash, ChangeKind, Check, Content, Edit, Node, Seen as Told, SetTime};

/// Set-user-ID and set-group-ID.
const SET_ID: u32 = 0o6000;

impl Gather<'_> {
    /// Which file of the client's a file of the upper layer was, and how it was written.
    pub(super) fn origin(&self, at: &Path, ino: u64, acts: &NameActs) -> Option<(ClientFile, Written)> {
        if self.view.lower().is_some() {
            return Some((self.copied.get(&ino)?.clone(), Written::Within));
        }
        if let Some(copied) = self.view.acts.lock().of_file(ino) {
            return Some((copied.file.clone(), copied.written));
        }
        // Copied up by a call on a descriptor, which nobody saw.
        match &acts.before {
            Before::File(file) if !acts.named && file.path == at => Some((file.clone(), Written::Within)),
            _ => None,
        }
    }

    /// What the job changed of a file of the client's. Returns its content.
    pub(super) fn altered_file(
        &mut self,
        at: &Path,
        stat: &Statx,
        file: &OwnedFd,
        before: &ClientFile,
        written: Written,
    ) -> Result<Option<BlobHash>, HarvestError> {
        let base = content_of(&before.attr);
        let seen = look_through(file, stat.stx_size, base).map_err(io(at))?;
        let node = Node::File {
            size: stat.stx_size,
            hash: Some(seen.hash),
        };
        let attr = self.attr(stat, node);
        let is_other_content = base.is_none_or(|base| base.hash != seen.hash);
        let is_other_time = before.attr.mtime != attr.mtime;
        let mut alter = self.altered_attributes(at, &before.attr, &attr, is_other_content);
        let Base { size, hash } = base.unwrap_or_else(|| {
            tracing::warn!("what {} held before is not known", before.path.display());
            nothing()
        });
        self.outputs.hold_upper(at, seen.hash);
        if is_other_content {
            // The former content may have decided over what the job wrote into it.
            if written == Written::Within {
                self.checks.push(Check {
                    path: before.path.clone(),
                    seen: Told::Content(Base { size, hash }),
                });
            }
            alter.content = Some(Edit {
                base: Base { size, hash },
                size: stat.stx_size,
                hash: seen.hash,
                content: seen.inline.map_or(Content::OnWorker, Content::Inline),
                appended: written == Written::Appended && seen.begins,
            });
        } else if written == Written::Anew || is_other_time && self.view.lower().is_some() {
            // It was overwritten with what it held, which is no change unless others changed it.
            self.checks.push(Check {
                path: before.path.clone(),
                seen: Told::Content(Base { size, hash }),
            });
        }
        if !alter.is_empty() {
            self.push(&before.path, ChangeKind::Alter(alter));
        } else if self
            .view
            .acts
            .lock()
            .of_file(stat.stx_ino)
            .is_some_and(|file| file.is_attributed)
        {
            // It has been given what it had.
            self.checks.push(Check {
                path: before.path.clone(),
                seen: Told::Mode(before.attr.mode),
            });
        }
        Ok(Some(seen.hash))
    }

    /// What the job changed of a file's attributes.
    fn altered_attributes(&self, at: &Path, before: &Attr, after: &Attr, is_other_content: bool) -> Alter {
        let is_other_time = before.mtime != after.mtime;
        let is_written = is_other_content || is_other_time;
        let mode = if is_written && self.lost_set_id(at, before.mode, after.mode) {
            before.mode
        } else {
            after.mode
        };
        Alter {
            // Writing takes set-id bits, unless the job gives them back.
            mode: (before.mode != mode || is_other_content && mode & SET_ID != 0).then_some(mode),
            owner: self.owner_differs(before, after).then_some((after.uid, after.gid)),
            mtime: is_written.then(|| SetTime {
                time: after.mtime,
                // Writing gives it another time, unless the job gives it this one back.
                explicit: !is_other_time || self.view.is_explicit(after.mtime),
            }),
            ..Alter::default()
        }
    }

    /// Whether a file that was written has lost its set-id bits by that alone. Where the job is
    /// the client's root, whom writing keeps them, the slot's kernel takes them all the same: it
    /// asks for a capability of the machine's own root (`CAP_FSETID`, capabilities(7)).
    fn lost_set_id(&self, at: &Path, before: u32, after: u32) -> bool {
        let is_set = self.view.acts.lock().of_name(at).is_some_and(|acts| acts.is_attributed);
        self.owner.uid == 0 && !is_set && after & SET_ID == 0 && before & !SET_ID == after
    }

    /// Finds the client's files that the job changed and of which it left no name: what it
    /// changed went with the last one. Where no call is seen, also the symlinks that it may have
    /// given another name.
    pub(super) fn find_lost(&mut self) {
        let lost: Vec<_> = match self.view.lower() {
            Some(lower) => {
                let named = self.changes.iter().filter(|change| change.kind.is_of_name());
                let named: HashSet<_> = named.map(|change| &change.path).collect();
                let left: HashSet<_> = self.copied.values().map(|file| &file.path).collect();
                let copied = lower.copied_up().into_iter().map(|file| file.path);
                let symlinks = lower.symlinks_found();
                copied
                    .filter(|path| !left.contains(path))
                    .chain(symlinks)
                    .filter(|path| named.contains(path))
                    .collect()
            }
            None => {
                let acts = self.view.acts.lock();
                let changed = acts.changed_files().filter(|(ino, _)| !self.files.contains_key(ino));
                changed.map(|(_, file)| file.path.clone()).collect()
            }
        };
        self.checks.extend(lost.into_iter().map(only_name));
    }
}

/// The client's file at a path has no other name.
pub(super) fn only_name(path: PathBuf) -> Check {
    Check {
        path,
        seen: Told::OnlyName,
    }
}
