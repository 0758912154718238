//! Spellings of directories: how a job's relative paths become absolute, and which
//! spellings are known to lead to complete directories.
//!
//! A spelling holds for one epoch. While a call that ends an epoch is still under way in
//! the kernel, nothing new is learnt. What holds for other jobs, too, goes to the mirror.

use super::View;
use super::mirror::{KnownFile, PathFact};
use super::path_use::{Intent, Origin, PathUse, Resolved};
use super::walk::{Linked, Walk};
use rustix::fd::OwnedFd;
use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Kinds of use that change nothing: by intent and by whether a last symlink is followed.
const QUIET: usize = 6;

/// What one view has learnt about spellings in the current epoch.
#[derive(Default)]
pub(super) struct LookupCache {
    epoch: u64,
    /// Spelled directory to the canonical one, which is complete.
    leads: HashMap<Vec<u8>, PathBuf>,
    /// Uses that were made ready, and so stay: whatever comes to stand at such a spelling
    /// within the epoch is the job's own, or was filled before it was moved there. None at
    /// all: the job has changed what is there.
    answered: HashMap<Vec<u8>, [Option<Resolved>; QUIET]>,
    /// Canonical directories that need nothing more.
    ready: HashSet<PathBuf>,
    /// Tasks that are inside a call which ends the epoch, with its number.
    unsettled: Vec<(u32, u32)>,
}

impl LookupCache {
    pub(super) fn begin_namespace_change(&mut self, task: u32, call: u32) {
        self.unsettled.push((task, call));
    }

    pub(super) fn end_namespace_change(&mut self, task: u32) {
        self.unsettled.retain(|(other, _)| *other != task);
    }

    fn turn(&mut self, epoch: u64) {
        if self.epoch != epoch {
            self.leads.clear();
            self.answered.clear();
            self.ready.clear();
            self.epoch = epoch;
        }
    }
}

impl View {
    /// The epoch to learn in; `None` while one is ending.
    pub(super) fn learning_epoch(&self) -> Option<u64> {
        let mut lookups = self.lookups.lock();
        lookups
            .unsettled
            .retain(|(task, call)| still_inside(&self.proc, *task, *call));
        lookups.unsettled.is_empty().then(|| self.shared.epoch())
    }

    /// What this very use of a spelling came to before, if that still holds.
    pub(super) fn answered(&self, spelled: &[u8], used: &PathUse<'_>) -> Option<Resolved> {
        let kind = quiet(used)?;
        let mut lookups = self.lookups.lock();
        lookups.turn(self.shared.epoch());
        lookups.answered.get(spelled)?[kind]
    }

    /// The file that earlier jobs have found a spelling to lead to, with its content, if this
    /// one has not changed what is spelled like this.
    pub(super) fn known_file(&self, spelled: &[u8], used: &PathUse<'_>) -> Option<KnownFile> {
        let turn = self.turn_at(self.shared.epoch()).filter(|_| wants_file(used))?;
        let is_changed = self.lookups.lock().answered.contains_key(spelled);
        self.mirror.leads_to_file(turn, spelled).filter(|_| !is_changed)
    }

    /// Records what a use of a spelling came to.
    pub(super) fn learn_answer(&self, epoch: u64, spelled: &[u8], used: &PathUse<'_>, resolved: Resolved) {
        let Some(kind) = quiet(used).filter(|_| resolved != Resolved::Outside) else {
            return;
        };
        let mut lookups = self.lookups.lock();
        if self.shared.epoch() == epoch && lookups.unsettled.is_empty() {
            lookups.turn(epoch);
            lookups.answered.entry(spelled.to_vec()).or_default()[kind] = Some(resolved);
        }
    }

    /// A spelling is about to name something else: what uses of it came to is void, here
    /// and in earlier jobs.
    pub(super) fn forget_answer(&self, spelled: &[u8]) {
        let mut lookups = self.lookups.lock();
        lookups.answered.insert(spelled.to_vec(), Default::default());
    }

    /// Where a spelled directory leads, if that is known, here or of earlier jobs.
    pub(super) fn known_dir(&self, spelled: &[u8]) -> Option<PathBuf> {
        let epoch = self.shared.epoch();
        let mut lookups = self.lookups.lock();
        lookups.turn(epoch);
        if let Some(lead) = lookups.leads.get(spelled) {
            return Some(lead.clone());
        }
        let lead = self.mirror.leads_to_dir(self.turn_at(epoch)?, spelled)?.to_path_buf();
        if lookups.unsettled.is_empty() {
            lookups.leads.insert(spelled.to_vec(), lead.clone());
            lookups.ready.insert(lead.clone());
        }
        Some(lead)
    }

    /// Whether earlier jobs, or this one, found that there is no such directory, all that was
    /// looked at on the way being complete. The job may have made it since.
    pub(super) fn was_nowhere(&self, spelled: &[u8]) -> bool {
        let turn = self.turn_at(self.shared.epoch());
        turn.is_some_and(|turn| self.mirror.leads_nowhere(turn, spelled))
    }

    /// Records where a spelled directory leads, here and for the shim. `None`: there is
    /// no such directory, and all that was looked at on the way is complete. The job may
    /// make it yet, but only its own; so the shim need not ask again.
    pub(super) fn learn_dir(&self, epoch: u64, spelled: &[u8], lead: Option<&Path>) {
        self.shared.set_complete(self.shared.dir_key(&[spelled], epoch));
        self.pass_on(epoch, PathFact::Dir, spelled, lead);
        let Some(lead) = lead else { return };
        self.learn_plain(epoch, spelled, lead);
        let mut lookups = self.lookups.lock();
        if self.shared.epoch() == epoch && lookups.unsettled.is_empty() {
            lookups.turn(epoch);
            lookups.leads.insert(spelled.to_vec(), lead.to_path_buf());
        }
    }

    /// Records for the shim that a spelling is that of a directory itself, which it is as long
    /// as the job has moved, removed or shut nothing.
    fn learn_plain(&self, epoch: u64, spelled: &[u8], dir: &Path) {
        let is_plain = dir.as_os_str().as_bytes() == spelled && self.mirror.is_open_to_all(dir);
        if let Some(turn) = self.turn_at(epoch).filter(|_| is_plain) {
            self.shared.set_complete(self.shared.plain_key(&[spelled], epoch));
            self.mirror.learn(turn, PathFact::Plain, spelled, None);
        }
    }

    /// Records for the shim that all is complete that following the symlink at the end of
    /// a spelling looks at.
    pub(super) fn learn_link(&self, epoch: u64, spelled: &[u8]) {
        self.shared.set_complete(self.shared.link_key(&[spelled], epoch));
        self.pass_on(epoch, PathFact::Link, spelled, None);
    }

    /// The mirror's turn, if what holds for the job at `epoch` holds for the mirror, too:
    /// what the job has made so far is its own, and nothing of the client's has been moved.
    /// An epoch ends before the call that ends it acts, so this is asked after a walk.
    pub(super) fn turn_at(&self, epoch: u64) -> Option<u64> {
        let (turn, first) = self.began;
        (epoch == first && self.shared.epoch() == first).then_some(turn)
    }

    /// Leaves what was learnt to later jobs.
    fn pass_on(&self, epoch: u64, lead: PathFact, spelled: &[u8], to: Option<&Path>) {
        if let Some(turn) = self.turn_at(epoch) {
            self.mirror.learn(turn, lead, spelled, to);
        }
    }

    /// The same of a spelling that leads to this file at `path`, for [`Self::known_file`].
    pub(super) fn pass_on_file(&self, epoch: u64, spelled: &[u8], used: &PathUse<'_>, path: &Path, ino: u64) {
        if let Some(turn) = self.turn_at(epoch).filter(|_| wants_file(used)) {
            self.mirror.learn_file(turn, spelled, path, ino);
        }
    }

    pub(super) fn is_ready(&self, dir: &Path) -> bool {
        let mut lookups = self.lookups.lock();
        lookups.turn(self.shared.epoch());
        lookups.ready.contains(dir)
    }

    pub(super) fn learn_ready(&self, epoch: u64, dir: &Path) {
        let mut lookups = self.lookups.lock();
        if self.shared.epoch() == epoch && lookups.unsettled.is_empty() {
            lookups.turn(epoch);
            lookups.ready.insert(dir.to_path_buf());
        }
    }
}

/// Whether what stands at the end of all symlinks is to be looked at, read or executed.
fn wants_file(used: &PathUse<'_>) -> bool {
    used.follow && matches!(used.intent, Intent::Stat | Intent::Read | Intent::Exec)
}

fn quiet(used: &PathUse<'_>) -> Option<usize> {
    match used.intent {
        Intent::Stat => Some(usize::from(used.follow)),
        Intent::Read => Some(2 + usize::from(used.follow)),
        Intent::List => Some(4 + usize::from(used.follow)),
        _ => None,
    }
}

/// The absolute spelling of a path, joined as the shim joins it. `None`: it begins or
/// lies where no view is.
pub(super) fn absolute(walk: &Walk<'_>, used: &PathUse<'_>) -> Option<Vec<u8>> {
    if used.path.first() == Some(&b'/') {
        return Some(used.path.to_vec());
    }
    let place = walk.place_of_task(match used.origin {
        Origin::Cwd => None,
        Origin::Descriptor(fd) => Some(fd),
    });
    let mut spelled = match place? {
        Linked::There(path) => path,
        Linked::Removed(former) => return climbed(&former, used.path),
    };
    if used.path.is_empty() {
        return Some(spelled);
    }
    if spelled == b"/" {
        spelled.clear();
    }
    spelled.push(b'/');
    spelled.extend_from_slice(used.path);
    Some(spelled)
}

/// The directory that a path enters by a final `/` or `/.`, as the shim cuts it.
pub(super) fn entered(spelled: &[u8]) -> Option<&[u8]> {
    spelled
        .strip_suffix(b"/.")
        .or_else(|| spelled.strip_suffix(b"/"))
        .filter(|dir| !matches!(dir.rsplit(|byte| *byte == b'/').next(), None | Some(b"" | b"." | b"..")))
}

/// Where a path leads that begins in a directory which was removed from `former`: nowhere,
/// unless by `..`. What the kernel calls a directory is canonical, and a removed one keeps
/// its parent, so that each step up takes one name away whether that is there or not.
fn climbed(former: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    let (mut at, mut rest, mut up) = (former, path, false);
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        match &rest[..end] {
            b"" | b"." => {}
            b".." => {
                up = true;
                at = &at[..at.iter().rposition(|byte| *byte == b'/').unwrap_or(0)];
            }
            _ => break,
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    up.then(|| [at, b"/", if rest.is_empty() { b"." } else { rest }].concat())
}

/// Whether a task may still be in that system call. One that runs on a processor does
/// not tell, so it may.
fn still_inside(proc: &OwnedFd, task: u32, call: u32) -> bool {
    let path = format!("{task}/syscall");
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(proc, path, flags, rustix::fs::Mode::empty()) else {
        return false;
    };
    let mut text = [0; 16];
    let Ok(len) = rustix::io::read(file, &mut text) else {
        return false;
    };
    let first = text[..len]
        .split(|byte| byte.is_ascii_whitespace())
        .next()
        .unwrap_or_default();
    first == b"running" || first == call.to_string().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::climbed;

    #[test]
    fn only_up_leads_out_of_a_removed_directory() {
        let climb = |path: &str| climbed(b"/a/gone", path.as_bytes()).map(|path| String::from_utf8(path).unwrap());
        assert_eq!(climb("../dir/file").as_deref(), Some("/a/dir/file"));
        assert_eq!(climb(".//.././../x").as_deref(), Some("/x"));
        assert_eq!(climb("..").as_deref(), Some("/a/."));
        assert_eq!(climb("../../../..").as_deref(), Some("/."));
        for nowhere in ["", ".", "x", "./x/../../y"] {
            assert_eq!(climb(nowhere), None, "{nowhere}");
        }
    }
}
