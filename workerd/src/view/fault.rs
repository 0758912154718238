//! What happens when a call of a job names a path: everything that the kernel will look at is brought
//! first.
//!
//! Knows paths and what is to be done to them; knows neither system calls nor where a
//! notification came from.

use super::View;
use super::act::Act;
use super::error::FaultError;
use super::lookup_cache::{absolute, entered};
use super::path_use::{Blocking, Intent, PathUse, Reply, Resolved};
use super::walk::{FileStat, Stop, Walk, WalkEnd, settle};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use termite_abi::Access;
use termite_core::spelling::lexical;
use termite_types::{Abandon, BlobHash, Change};

impl View {
    /// Makes ready what a task of the job is about to use. `task` is its number in
    /// the view's proc.
    pub fn fault(&self, task: u32, used: &PathUse<'_>, blocking: Blocking) -> Result<Reply, Abandon> {
        settle(self.try_fault(Some(task), used, blocking))
    }

    /// A task is about to rename or remove a directory or symlink, to make a symlink, or to
    /// change who may search a directory, by the system call with this number: spellings
    /// lose their meaning.
    pub fn begin_namespace_change(&self, task: u32, call: u32) {
        self.lookups.lock().begin_namespace_change(task, call);
        self.shared.next_epoch();
    }

    /// Something was renamed: spellings have lost their meaning.
    pub fn end_epoch(&self) {
        self.shared.next_epoch();
    }

    /// A task made another call, so what it was doing is done.
    pub fn end_namespace_change(&self, task: u32) {
        self.lookups.lock().end_namespace_change(task);
    }

    fn reach_file(&self, walk: &Walk<'_>, path: &Path, looks: FileStat, intent: Intent) -> Result<(), Stop> {
        if self.vanished.lock().contains(path) {
            return Err(FaultError::moved_on(path).into());
        }
        let reached = match intent {
            Intent::Stat | Intent::List | Intent::Name | Intent::Empty => Ok(()),
            Intent::Read => walk.fill(looks),
            Intent::Exec => walk.fill_program(path, looks),
            Intent::Update | Intent::Append | Intent::Change | Intent::Share => walk.fill_and_know(looks),
        };
        if matches!(reached, Err(Stop::Error(FaultError::Errno(libc::ENOENT)))) {
            self.vanished.lock().insert(path.to_path_buf());
        }
        reached
    }

    /// The content of the client's file with this inode number at a canonical path, if the job
    /// has not changed it, as far as it is seen.
    pub(super) fn unchanged_content(&self, path: &Path, ino: u64) -> Option<BlobHash> {
        let is_seen = self.lower.is_none() && self.acts.lock().of_name(path).is_none();
        self.mirror.content_of(ino, path).filter(|_| is_seen)
    }

    /// The absolute path that a task spells, without `.` and `..`; `None`: it begins at nothing of
    /// a view's.
    pub fn spelled(&self, task: u32, used: &PathUse<'_>) -> Option<PathBuf> {
        let walk = Walk::new(self, Some(task), Blocking::Never);
        let spelled = absolute(&walk, used)?;
        Some(lexical(Path::new(OsStr::from_bytes(&spelled))))
    }

    /// Enters what the job turned out to have changed, where nobody saw it do so.
    pub(super) fn record_changes(&self, changes: &[Change]) {
        if self.lower.is_some() {
            changes
                .iter()
                .for_each(|change| self.record(Access::Write, change.path.as_os_str().as_bytes()));
        }
    }

    /// [`View::fault`], with what stops it as an error.
    fn try_fault(&self, task: Option<u32>, used: &PathUse<'_>, blocking: Blocking) -> Result<Reply, Stop> {
        let mut walk = Walk::new(self, task, blocking);
        walk.reads = used.intent.is_for_content();
        let outside = || {
            if used.intent == Intent::Exec {
                walk.fill_for_nameless(used)?;
            }
            Ok(Reply::Ready(Resolved::Outside))
        };
        let Some(spelled) = absolute(&walk, used) else {
            return outside();
        };
        // What stands there is not all that is asked.
        let may_be_known = used.act != Act::TestWrite;
        if may_be_known && let Some(resolved) = self.answered(&spelled, used) {
            return Ok(Reply::Ready(resolved));
        }
        if may_be_known && let Some(file) = self.known_file(&spelled, used) {
            if used.intent == Intent::Exec {
                self.refuse_set_id(file.ino, &file.path())?;
            }
            if walk.reach_known(file, used.intent)? {
                self.record(found(used), &spelled);
                return Ok(Reply::Ready(Resolved::File));
            }
        }
        let epoch = self.learning_epoch();
        let walked = walk.locate(&spelled, used.follow)?;
        if matches!(walked, WalkEnd::Outside) {
            self.refuse_object(&spelled, blocking)?;
            return outside();
        }
        let (resolved, access) = self.reach(&walk, &walked, &spelled, used)?;
        if let Some(path) = walked.path().filter(|_| !used.makes) {
            self.note_look(&walk, path, resolved != Resolved::Missing)?;
            if let WalkEnd::Missing(path) = &walked {
                self.note_missing(task, path)?;
            }
        }
        self.refuse_forbidden(&walked, used.act, blocking)?;
        let act = match used.act {
            Act::TestWrite => Act::Look,
            act => act,
        };
        let fails = walked.refuses(act, used.makes);
        if fails {
            self.note_failure(&walk, &walked, act)?;
        } else if act != Act::Look {
            self.note_links(&walk, &spelled, &walked, used.follow)?;
            self.note_act(&walked, act)?;
        }
        // By a magic link the spelling leads elsewhere for others.
        let canonical = walked.path().filter(|_| walk.magic.get());
        let used_path = canonical.map_or(&spelled[..], |path| path.as_os_str().as_bytes());
        let recorded = recorded(used, resolved, access, fails);
        recorded
            .into_iter()
            .flatten()
            .for_each(|access| self.record(access, used_path));
        if recorded.contains(&Some(Access::Write)) {
            self.forget_answer(&spelled);
        }
        let lasts = resolved != Resolved::Missing || !walk.turns_back.get();
        if let Some(epoch) = epoch.filter(|_| lasts && !walk.magic.get()) {
            self.learn(epoch, &walk, &walked, &spelled, used, resolved);
        }
        Ok(Reply::Ready(resolved))
    }

    /// Makes ready what stands where a walk ended, in the job's own files. Says what it is, and what the
    /// use of it is in a trace.
    fn reach(
        &self,
        walk: &Walk<'_>,
        walked: &WalkEnd,
        spelled: &[u8],
        used: &PathUse<'_>,
    ) -> Result<(Resolved, Access), Stop> {
        Ok(match walked {
            WalkEnd::Missing(_) if used.makes => (Resolved::Missing, Access::Write),
            WalkEnd::Missing(_) | WalkEnd::Nowhere | WalkEnd::Blocked | WalkEnd::Outside => {
                (Resolved::Missing, Access::Missing)
            }
            WalkEnd::Dir(path) => {
                let reached = self.reach_dir(walk, path, spelled, used.intent);
                (reached.map_err(|stop| moved_on_for(used, path, stop))?, found_dir(used))
            }
            WalkEnd::Symlink(_) => (Resolved::Symlink, found(used)),
            WalkEnd::File(path, looks) => {
                if used.intent == Intent::Exec {
                    self.refuse_set_id(looks.ino, path)?;
                }
                self.reach_file(walk, path, *looks, used.intent)
                    .map_err(|stop| moved_on_for(used, path, stop))?;
                (Resolved::File, found(used))
            }
        })
    }

    /// Keeps what a walk of this epoch has shown, for later calls and later jobs.
    fn learn(
        &self,
        epoch: u64,
        walk: &Walk<'_>,
        walked: &WalkEnd,
        spelled: &[u8],
        used: &PathUse<'_>,
        resolved: Resolved,
    ) {
        if walk.linked.get() && !matches!(walked, WalkEnd::Blocked) {
            self.learn_link(epoch, spelled);
        }
        if let (WalkEnd::Dir(_) | WalkEnd::Missing(_) | WalkEnd::Nowhere, Some(dir)) = (walked, entered(spelled)) {
            self.learn_link(epoch, dir);
        }
        self.learn_answer(epoch, spelled, used, resolved);
        if let WalkEnd::File(path, looks) = walked {
            self.pass_on_file(epoch, spelled, used, path, looks.ino);
        }
    }

    fn reach_dir(&self, walk: &Walk<'_>, path: &Path, spelled: &[u8], intent: Intent) -> Result<Resolved, Stop> {
        if intent == Intent::Stat {
            walk.ensure_time(path)?;
            walk.publish(spelled, path);
        }
        if matches!(intent, Intent::Read | Intent::List | Intent::Empty) {
            walk.ensure(path)?;
            walk.publish(spelled, path);
        }
        let below = match super::confine::handle(&self.root, path).and_then(super::confine::stat) {
            Ok(stat) => path == Path::new("/") || self.mirror.dir_at(stat.stx_ino).is_some(),
            Err(_) => false,
        };
        Ok(Resolved::Dir { below })
    }

    /// When the log is full, the shim leaves the recording to the guard (see
    /// `Shared::trace_overflow`), which goes on in memory of its own.
    pub(super) fn record(&self, access: Access, spelled: &[u8]) {
        if !self.shared.trace(access, &[spelled]) {
            self.overflow.lock().add(access, spelled);
        }
    }
}

/// What stops a call at a path where the job sees something.
fn moved_on_for(used: &PathUse<'_>, path: &Path, stop: Stop) -> Stop {
    match stop {
        Stop::Error(error) if used.makes => error.of_needed(path).into(),
        Stop::Error(error) => error.of_seen(path).into(),
        stop => stop,
    }
}

/// What is recorded of a use that came to `access`: what the call needed, and what it does. `fails`:
/// it fails at what stands there.
fn recorded(used: &PathUse<'_>, resolved: Resolved, access: Access, fails: bool) -> [Option<Access>; 2] {
    let needed = match (used.intent, resolved) {
        (Intent::Update, Resolved::File) if !fails => Some(Access::Read),
        // Had it not been there, the call would have failed.
        (Intent::Append | Intent::Change, Resolved::File) if !used.makes => Some(Access::Stat),
        // It fails if the directory is not empty.
        (Intent::Empty, Resolved::Dir { .. }) => Some(Access::Listed),
        _ => None,
    };
    let done = match access {
        // What the call does at its other path decides over this one.
        Access::Write if used.act == Act::Look => None,
        Access::Write if fails && resolved == Resolved::Missing => Some(Access::Missing),
        Access::Write if fails => Some(Access::Stat),
        access => Some(access),
    };
    [needed, done]
}

fn found(used: &PathUse<'_>) -> Access {
    match used.intent {
        // It is there, so it is not made.
        Intent::Name if used.makes => Access::Stat,
        Intent::Stat | Intent::List => Access::Stat,
        // Under its other name it is an output with the content that it has here.
        Intent::Read | Intent::Exec | Intent::Share => Access::Read,
        Intent::Update | Intent::Append | Intent::Change | Intent::Name | Intent::Empty => Access::Write,
    }
}

fn found_dir(used: &PathUse<'_>) -> Access {
    if matches!(used.intent, Intent::Read | Intent::List) {
        Access::Listed
    } else {
        found(used)
    }
}
