//! Whether what a job was told still holds. Only looks; reads a file only where its size
//! is one that would do.

use super::CommitError;
use super::plan::Plan;
use super::present::{Present, content_in_words, hash_of, in_words, open_file};
use crate::tree::{Kind, Stamp};
use std::path::Path;
use termite_types::{Attr, Base, BlobHash, ChangeKind, Check, IfPresent, Premises, Seen};

/// Finds the first thing that a job was told and that does not hold any more.
pub(super) fn check_premises(premises: &Premises, plan: &Plan<'_>, present: &mut Present) -> Result<(), CommitError> {
    // Who holds a lock may count, so that what it would put there may be another one's count.
    let may_be_put = !premises.locked;
    for Check { path, seen } in &premises.checks {
        let here = present.at(path)?;
        match (seen, &here) {
            (Seen::Nothing | Seen::Absent, None) => {}
            (Seen::Absent, Some(stamp)) if may_be_put && is_put_already(path, stamp, plan, present)? => {}
            (Seen::Nothing | Seen::Absent, found) => {
                return Err(CommitError::conflict(path, "nothing", in_words(found.as_ref())));
            }
            (Seen::Leaf, Some(stamp)) if stamp.kind != Kind::Dir => {}
            (Seen::Leaf, found) => {
                let seen = "something that is no directory";
                return Err(CommitError::conflict(path, seen, in_words(found.as_ref())));
            }
            (Seen::File, Some(stamp)) if stamp.kind == Kind::File => {}
            (Seen::File, found) => return Err(CommitError::conflict(path, "a file", in_words(found.as_ref()))),
            (Seen::OnlyName, Some(stamp)) if stamp.kind != Kind::Dir && stamp.links > 1 => {
                let why = "the job changed it and may have taken this name away, and it has another name";
                return Err(CommitError::refused(path, why.to_owned()));
            }
            (Seen::OnlyName, Some(stamp)) if stamp.kind != Kind::Dir => {}
            // It may have another name by now.
            (Seen::OnlyName, found) => return Err(CommitError::conflict(path, "a file", in_words(found.as_ref()))),
            (Seen::Symlink(target), found) => check_symlink(path, target, found.as_ref())?,
            (Seen::Mode(mode), Some(stamp)) if stamp.kind != Kind::Symlink => {
                let fits = |bits: u32| bits == stamp.mode;
                if !fits(*mode) && !mode_put(path, plan).is_some_and(fits) {
                    let in_words = |mode: u32| format!("the mode {mode:o}");
                    return Err(CommitError::conflict(path, in_words(*mode), in_words(stamp.mode)));
                }
            }
            (Seen::Owner(uid, gid), Some(stamp)) => {
                let fits = |owner: (u32, u32)| owner == (stamp.uid, stamp.gid);
                if !fits((*uid, *gid)) && !owner_put(path, plan).is_some_and(fits) {
                    let in_words = |uid: u32, gid: u32| format!("the owner {uid}:{gid}");
                    let found = in_words(stamp.uid, stamp.gid);
                    return Err(CommitError::conflict(path, in_words(*uid, *gid), found));
                }
            }
            (Seen::OtherFile(other), Some(stamp)) if stamp.kind == Kind::File && stamp.links > 1 => {
                if present.at(other)?.is_some_and(|other| other.same_inode(stamp)) {
                    let why = format!("the job renamed {} to it, and both are one file", other.display());
                    return Err(CommitError::refused(path, why));
                }
            }
            // Whether it is there, other premises say.
            (Seen::OtherFile(_) | Seen::Mode(_) | Seen::Owner(..), _) => {}
            (Seen::Content(base), found) => {
                let put = match may_be_put {
                    true => contents_put(path, plan, present)?,
                    false => Vec::new(),
                };
                check_content(path, base, &put, found.as_ref())?;
            }
        }
    }
    Ok(())
}

fn check_symlink(path: &Path, target: &Path, found: Option<&Stamp>) -> Result<(), CommitError> {
    let is_there = found.is_some_and(|stamp| stamp.kind == Kind::Symlink);
    match std::fs::read_link(path) {
        Ok(here) if is_there && here == target => Ok(()),
        Ok(here) => Err(CommitError::conflict(path, leads_to(target), leads_to(&here))),
        Err(_) => Err(CommitError::conflict(path, leads_to(target), in_words(found))),
    }
}

fn leads_to(target: &Path) -> String {
    format!("a symlink to {}", target.display())
}

/// Permission bits that a list leaves at a path.
fn mode_put(path: &Path, plan: &Plan<'_>) -> Option<u32> {
    attr_put(path, plan).map_or_else(|| plan.alter(path)?.mode, |attr| Some(attr.mode))
}

/// The owner that a list leaves at a path.
fn owner_put(path: &Path, plan: &Plan<'_>) -> Option<(u32, u32)> {
    attr_put(path, plan).map_or_else(|| plan.alter(path)?.owner, |attr| Some((attr.uid, attr.gid)))
}

/// Attributes of what a list puts at a path.
fn attr_put<'a>(path: &Path, plan: &Plan<'a>) -> Option<&'a Attr> {
    match plan.put(path)? {
        ChangeKind::File { attr, .. } | ChangeKind::Symlink { attr } | ChangeKind::MakeDir { attr, .. } => Some(attr),
        _ => None,
    }
}

fn check_content(path: &Path, base: &Base, put: &[(u64, BlobHash)], found: Option<&Stamp>) -> Result<(), CommitError> {
    let conflict = |found: String| {
        let seen = content_in_words(base.size, Some(base.hash));
        Err(CommitError::conflict(path, seen, found))
    };
    let Some(stamp) = found.filter(|stamp| stamp.kind == Kind::File) else {
        return conflict(in_words(found).to_owned());
    };
    let mut fitting = vec![base.hash];
    fitting.retain(|_| base.size == stamp.size);
    let put = put.iter().filter(|(size, _)| *size == stamp.size);
    fitting.extend(put.map(|(_, hash)| *hash));
    if fitting.is_empty() {
        return conflict(content_in_words(stamp.size, None));
    }
    let file = open_file(path).map_err(CommitError::forbidden(path))?;
    let hash = hash_of(file).map_err(CommitError::at("read", path))?;
    if fitting.contains(&hash) {
        return Ok(());
    }
    conflict(content_in_words(stamp.size, Some(hash)))
}

/// Whether what a list leaves at a path is there already.
fn is_put_already(path: &Path, here: &Stamp, plan: &Plan<'_>, present: &mut Present) -> Result<bool, CommitError> {
    let put = contents_put(path, plan, present)?;
    if here.kind != Kind::File || !put.iter().any(|(size, _)| *size == here.size) {
        return Ok(false);
    }
    let file = open_file(path).map_err(CommitError::forbidden(path))?;
    let hash = hash_of(file).map_err(CommitError::at("read", path))?;
    Ok(put.contains(&(here.size, hash)))
}

/// Contents that a list leaves at a path whatever is there, by size and hash. Nothing is
/// lost where one of them is there already; of what is appended that cannot be said.
fn contents_put(path: &Path, plan: &Plan<'_>, present: &mut Present) -> Result<Vec<(u64, BlobHash)>, CommitError> {
    let mut found = Vec::new();
    match plan.put(path) {
        Some(ChangeKind::File { attr, if_present, .. }) if *if_present != IfPresent::Append => {
            if let termite_types::Node::File { size, hash: Some(hash) } = attr.node {
                found.push((size, hash));
            }
        }
        Some(ChangeKind::Name { from, hash: Some(hash) }) => {
            let altered = plan.alter(from).and_then(|alter| alter.content.as_ref());
            let size = match altered {
                Some(edit) => Some(edit.size),
                None => present.at(from)?.map(|stamp| stamp.size),
            };
            found.extend(size.map(|size| (size, *hash)));
        }
        _ => {}
    }
    let edit = plan.alter(path).and_then(|alter| alter.content.as_ref());
    if let Some(edit) = edit.filter(|edit| !edit.appended) {
        found.push((edit.size, edit.hash));
    }
    Ok(found)
}
