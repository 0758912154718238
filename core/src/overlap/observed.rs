//! What a job saw of the paths that others changed while it ran, and what a commit left there.
//!
//! Knows traces and changes; knows nothing of which commits there are.

use super::Done;
use crate::spelling::in_lexical;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use termite_types::{Alter, BlobHash, Change, ChangeKind, IfPresent, Node, TraceItem, Use};

/// What a commit left at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    /// Nothing.
    None,
    /// A file whose content is known.
    Known(BlobHash),
    /// Anything else, or a file whose content only the disk tells.
    Other,
}

/// What a commit did at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Left {
    /// What is there since then.
    pub content: Content,
    /// Nothing was there before.
    pub is_new: bool,
    /// The name may lead to something else than before.
    pub is_named: bool,
    /// Who looks at it finds a difference, other than that of a directory in which names changed.
    pub is_seen: bool,
}

/// What a job saw of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Observation {
    /// It read this content.
    Content(BlobHash),
    /// It read a content that is not known.
    Unknown,
    /// It looked at it, or needed it, and not at its content.
    There,
    /// It looked for it in vain.
    Missing,
    /// It listed the names of the directory. `counts`: it had changed one of them before, or never does;
    /// what lists a directory and then works in it, as many programs do, asks for nothing by that.
    Listed { counts: bool },
}

/// On which side of a commit a job saw a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// As it was before the commit.
    Before,
    /// As the commit left it.
    After,
}

impl Left {
    /// What one of a commit's changes left.
    pub(super) fn of(done: &Done<'_>, index: usize) -> Self {
        let change = &done.changes[index];
        let (is_new, is_whole) = (done.created.contains(&index), done.whole.contains(&index));
        let content = match &change.kind {
            ChangeKind::Remove { .. } => Content::None,
            ChangeKind::File { attr, if_present, .. } => match &attr.node {
                Node::File { hash: Some(hash), .. } if is_new || *if_present != IfPresent::Append => {
                    Content::Known(*hash)
                }
                _ => Content::Other,
            },
            ChangeKind::Name { hash: Some(hash), .. } => Content::Known(*hash),
            ChangeKind::Alter(alter) => match &alter.content {
                Some(edit) if is_whole || !edit.appended => Content::Known(edit.hash),
                _ => Content::Other,
            },
            ChangeKind::MakeDir { .. }
            | ChangeKind::Symlink { .. }
            | ChangeKind::Link { .. }
            | ChangeKind::Name { .. }
            | ChangeKind::SetXattrs(_) => Content::Other,
        };
        Self {
            content,
            is_new,
            is_named: change.kind.is_of_name(),
            // The time of a directory tells of names that came and went.
            is_seen: !(done.dirs.contains(&index) && is_of_time(change)),
        }
    }

    /// On which side of the commit a job was that saw this. `None`: that does not tell.
    pub(super) fn side(&self, observed: &[Observation]) -> Option<Side> {
        observed.iter().find_map(|sight| match (self.content, sight) {
            (Content::None, Observation::Missing) => Some(Side::After),
            (Content::None, Observation::Content(_) | Observation::There) => Some(Side::Before),
            (Content::Known(left), Observation::Content(read)) if left == *read => Some(Side::After),
            (Content::Known(_), Observation::Content(_)) => Some(Side::Before),
            (Content::Known(_) | Content::Other, Observation::There) if self.is_new => Some(Side::After),
            (Content::Known(_) | Content::Other, Observation::Missing) => Some(Side::Before),
            _ => None,
        })
    }

    /// Whether a job that saw this may not have seen what the commit did. What it listed does not count.
    pub(super) fn may_be_unseen(&self, observed: &[Observation]) -> bool {
        let counts = |sight: &Observation| match sight {
            Observation::Content(_) | Observation::Unknown | Observation::Missing => true,
            Observation::There => self.is_seen,
            Observation::Listed { .. } => false,
        };
        observed.iter().any(counts) && self.side(observed) != Some(Side::After)
    }
}

/// Whether a change gives a file or directory another time, the present one, and nothing else.
fn is_of_time(change: &Change) -> bool {
    match &change.kind {
        ChangeKind::Alter(Alter {
            mode: None,
            owner: None,
            content: None,
            mtime,
        }) => mtime.is_none_or(|mtime| !mtime.explicit),
        _ => false,
    }
}

/// The paths that a job used, spelled without `.` and `..`, with what it saw first.
pub(super) struct Observations(HashMap<PathBuf, Vec<Observation>>);

impl Observations {
    /// What a trace says of paths with one of these last names.
    pub(super) fn of(trace: &[TraceItem], names: &HashSet<&OsStr>) -> Self {
        let mut observed = HashMap::<_, Vec<_>>::new();
        let mut own = HashSet::new();
        let counting = counting_listings(trace);
        let matters = |path: &Path| match path.file_name() {
            Some(name) => names.contains(name),
            // It ends in `..`.
            None => true,
        };
        for (index, item) in trace.iter().enumerate() {
            if !matters(&item.path) {
                continue;
            }
            let path = in_lexical(&item.path).into_owned();
            // What it changed itself tells nothing of others from then on, other than a content
            // that it had not written, and the names in a directory, which others may have made, too.
            if own.contains(&path) && !matches!(item.used, Use::Read(Some(_)) | Use::Listed) {
                continue;
            }
            let sight = match item.used {
                Use::Read(content) => content.map_or(Observation::Unknown, Observation::Content),
                Use::Missing => Observation::Missing,
                Use::Listed => Observation::Listed {
                    counts: counting.contains(&index),
                },
                Use::Stat => Observation::There,
                Use::Write => {
                    own.insert(path);
                    continue;
                }
            };
            observed.entry(path).or_default().push(sight);
        }
        Self(observed)
    }

    /// What was seen of a path.
    pub(super) fn at(&self, path: &Path) -> &[Observation] {
        self.0.get(path).map_or(&[], Vec::as_slice)
    }

    /// Whether the names of the directory that a path is in were listed; `counting`: so that it counts for
    /// the order of jobs.
    pub(super) fn lists_dir_of(&self, path: &Path, counting: bool) -> bool {
        let observed = path.parent().map_or(&[][..], |dir| self.at(dir));
        observed
            .iter()
            .any(|sight| matches!(sight, Observation::Listed { counts } if *counts || !counting))
    }
}

/// The listings of a trace that count for the order of jobs, by their index: see [`Observation::Listed`].
pub(super) fn counting_listings(trace: &[TraceItem]) -> HashSet<usize> {
    let mut first_changes = HashMap::new();
    let is_listing = |item: &TraceItem| item.used == Use::Listed;
    if !trace.iter().any(is_listing) {
        return HashSet::new();
    }
    for (index, item) in trace.iter().enumerate().filter(|(_, item)| item.used == Use::Write) {
        if let Some(dir) = in_lexical(&item.path).parent() {
            first_changes.entry(dir.to_path_buf()).or_insert(index);
        }
    }
    let listings = trace.iter().enumerate().filter(|(_, item)| is_listing(item));
    let first_change = |item: &TraceItem| first_changes.get(in_lexical(&item.path).as_ref());
    let counting = listings.filter(|(index, item)| first_change(item).is_none_or(|first| first < index));
    counting.map(|(index, _)| index).collect()
}
