//! One job's tree, and what happens when one of its calls names a path: everything that
//! the kernel will look at is brought first.
//!
//! Knows paths and what is to be done to them; knows neither system calls nor where a
//! notification came from.

use super::acts::{Act, Acts};
use super::files::Files;
use super::lower::Lower;
use super::mapped::SharedMap;
use super::mirror::{Lead, Mirror, Tenancy};
use super::spelling::{Spellings, absolute, entered};
use super::trace::Overflow;
use super::trouble::Trouble;
use super::waiting::Waiting;
use super::walk::{Looks, Stop, Walk, Walked};
use parking_lot::Mutex;
use rustix::fd::OwnedFd;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use termite_abi::Access;
use termite_core::spelling::lexical;
use termite_types::{Abandon, BlobHash, Change, FileTime, Resource};

/// What a view is made of.
pub struct ViewSpec {
    /// The client's tree: the lower layer of the job's mount.
    pub mirror: Arc<Mirror>,
    /// The root directory of the job, as its processes see it.
    pub root: OwnedFd,
    /// The upper layer of the job's mount.
    pub upper: OwnedFd,
    /// A proc file system that shows the job's processes by the worker's numbers.
    pub proc: OwnedFd,
    /// The memory that the job's shim sees.
    pub shared: Arc<SharedMap>,
    /// The job's user on the client.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// What the job's mount has as its lower layer where no call is seen, so that this
    /// knows what else faults tell.
    pub lower: Option<Arc<Lower>>,
}

/// One job's tree.
pub struct View {
    pub(super) mirror: Arc<Mirror>,
    pub(super) tenancy: Tenancy,
    pub(super) root: OwnedFd,
    pub(super) upper: OwnedFd,
    pub(super) proc: OwnedFd,
    pub(super) shared: Arc<SharedMap>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) spellings: Mutex<Spellings>,
    /// Modification times that the job set itself. A file that has one of them at the
    /// end has it by the job's will, whatever became of its name and inode meanwhile.
    explicit: Mutex<HashSet<FileTime>>,
    /// What the job's calls did, where calls are seen.
    pub(super) acts: Mutex<Acts>,
    /// Tasks whose program does not bear a preloaded library.
    refusing: Mutex<HashSet<u32>>,
    /// What the log of the shared memory has no room for.
    pub(super) overflow: Mutex<Overflow>,
    /// Names at which calls failed, that the job may wait for.
    pub(super) waiting: Mutex<Waiting>,
    /// Files of which the job was told that they are gone. Its kernel may show them all the same.
    vanished: Mutex<HashSet<PathBuf>>,
    lower: Option<Arc<Lower>>,
    fetches_before: u64,
    /// Of the mirror's leads when the job began, and the epoch in which it adds to them.
    pub(super) began: (u64, u64),
}

/// Where a relative path begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The working directory.
    Cwd,
    /// An open descriptor of the task.
    Descriptor(i32),
}

/// What is to be done to what a path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// Look at attributes or a link target, enter, or just resolve.
    Stat,
    /// Open for reading; of a directory, its names.
    Read,
    /// Open for its names: nothing but a directory will do.
    List,
    /// Open for reading and writing.
    Update,
    /// Open for writing behind the end, and not for reading.
    Append,
    /// Change content or attributes, or take the name away.
    Change,
    /// Give another name to the same file.
    Share,
    /// Make, or remove what is no directory.
    Name,
    /// Remove or replace a directory, which must be seen to be empty.
    Empty,
    /// Execute.
    Exec,
}

impl Intent {
    /// Whether a file's content is looked at.
    fn is_for_content(self) -> bool {
        matches!(self, Self::Read | Self::Update | Self::Append | Self::Exec)
    }
}

/// One path of a call.
#[derive(Clone, Copy, Debug)]
pub struct PathUse<'a> {
    /// Where it begins if it is relative. An empty path names the origin itself.
    pub origin: Origin,
    /// As the job gave it.
    pub path: &'a [u8],
    /// A symlink at its end is followed.
    pub follow: bool,
    /// What is to be done there.
    pub intent: Intent,
    /// It is made where it is missing.
    pub makes: bool,
    /// What the call does there.
    pub act: Act,
}

/// Whether a fault may wait for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// No: it says [`Reply::NeedsFetch`] instead.
    None,
    /// Yes.
    Wait,
}

/// What a fault came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The kernel may go on.
    Ready(Standing),
    /// The client has to be asked: call again with patience.
    NeedsFetch,
    /// The call fails like this.
    Errno(i32),
}

/// What a path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Nothing, or nothing that can be reached.
    Missing,
    /// Something that is neither a directory nor a symlink.
    File,
    /// A directory; `below`: the client's tree has it too.
    Dir {
        /// It is not the job's own.
        below: bool,
    },
    /// A symlink that is not followed.
    Symlink,
    /// Nothing of a view's: the slot's own files, pipes, deleted files.
    Outside,
}

impl View {
    /// The view of a job whose mounts stand.
    pub fn new(spec: ViewSpec) -> Self {
        let ViewSpec {
            mirror,
            root,
            upper,
            proc,
            shared,
            uid,
            gid,
            lower,
        } = spec;
        let fetches_before = mirror.fetches();
        let (spellings, explicit, refusing) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (acts, overflow) = (Mutex::default(), Mutex::default());
        // From here on the job is told of all that changes.
        let tenancy = mirror.enter(shared.clone());
        let epoch = shared.epoch();
        let turn = mirror.recall(|lead, spelled| {
            let key = match lead {
                Lead::Dir => shared.dir_key(&[spelled], epoch),
                Lead::Link => shared.link_key(&[spelled], epoch),
                Lead::Plain => shared.plain_key(&[spelled], epoch),
            };
            shared.set_complete(key);
        });
        Self {
            tenancy,
            mirror,
            root,
            upper,
            proc,
            shared,
            uid,
            gid,
            spellings,
            explicit,
            acts,
            refusing,
            overflow,
            waiting: Mutex::default(),
            vanished: Mutex::default(),
            lower,
            fetches_before,
            began: (turn, epoch),
        }
    }

    /// Makes ready what a task of the job is about to use. `task` is its number in
    /// the view's proc.
    pub fn fault(&self, task: u32, used: &PathUse<'_>, patience: Patience) -> Result<Reply, Abandon> {
        settle_stop(self.try_fault(Some(task), used, patience))
    }

    /// A task is about to rename or remove a directory or symlink, to make a symlink, or to
    /// change who may search a directory, by the system call with this number: spellings
    /// lose their meaning.
    pub fn disturb(&self, task: u32, call: u32) {
        self.spellings.lock().disturb(task, call);
        self.shared.next_epoch();
    }

    /// Something was renamed: spellings have lost their meaning.
    pub fn end_epoch(&self) {
        self.shared.next_epoch();
    }

    /// A task made another call, so what it was doing is done.
    pub fn came_back(&self, task: u32) {
        self.spellings.lock().came_back(task);
    }

    /// The job set a modification time.
    pub fn set_explicit(&self, mtime: FileTime) {
        self.explicit.lock().insert(mtime);
    }

    /// What serves the job's lower layer where no call is seen.
    pub(super) fn lower(&self) -> Option<&Lower> {
        self.lower.as_deref()
    }

    fn reach_file(&self, walk: &Walk<'_>, path: &Path, looks: Looks, intent: Intent) -> Result<(), Stop> {
        if self.vanished.lock().contains(path) {
            return Err(Trouble::moved_on(path).into());
        }
        let reached = match intent {
            Intent::Stat | Intent::List | Intent::Name | Intent::Empty => Ok(()),
            Intent::Read => walk.fill(looks),
            Intent::Exec => walk.fill_program(path, looks),
            Intent::Update | Intent::Append | Intent::Change | Intent::Share => walk.fill_and_know(looks),
        };
        if matches!(reached, Err(Stop::Trouble(Trouble::Errno(libc::ENOENT)))) {
            self.vanished.lock().insert(path.to_path_buf());
        }
        reached
    }

    /// Whether the job set this modification time itself, as far as that can be told.
    pub fn is_explicit(&self, mtime: FileTime) -> bool {
        match &self.lower {
            Some(lower) => lower.is_explicit(mtime),
            None => self.explicit.lock().contains(&mtime),
        }
    }

    /// The same of a directory that the client has, too.
    pub fn is_explicit_of_dir(&self, dir: &Path, mtime: FileTime) -> bool {
        let is_below = self.lower.as_ref().is_some_and(|lower| lower.had_time(dir, mtime));
        !is_below && self.is_explicit(mtime)
    }

    /// Whether the program that a task executes is one that does not bear preloading.
    pub fn refuses_preload(&self, task: u32) -> bool {
        self.refusing.lock().contains(&task)
    }

    pub(super) fn set_refuses_preload(&self, task: u32, refuses: bool) {
        let mut refusing = self.refusing.lock();
        if refuses {
            refusing.insert(task);
        } else {
            refusing.remove(&task);
        }
    }

    /// Whether a task executes a program that does not bear preloading.
    pub(super) fn has_refusing(&self) -> bool {
        !self.refusing.lock().is_empty()
    }

    /// The content of the client's file with this inode number at a canonical path, if the job
    /// has not changed it, as far as it is seen.
    pub(super) fn unchanged_content(&self, path: &Path, ino: u64) -> Option<BlobHash> {
        let is_seen = self.lower.is_none() && self.acts.lock().of_name(path).is_none();
        self.mirror.content_of(ino, path).filter(|_| is_seen)
    }

    /// Directories completed and files filled since this view began, for whichever job.
    pub fn fetches(&self) -> u64 {
        self.mirror.fetches() - self.fetches_before
    }

    /// A proc file system that shows the job's processes by the worker's numbers.
    pub fn proc(&self) -> &OwnedFd {
        &self.proc
    }

    /// The root directory of the job.
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Whether the kernel lets a job rename a directory that the client has, which needs
    /// the `trusted` attributes of the real root user (overlayfs, `redirect_dir`).
    pub fn moves_directories(&self) -> bool {
        self.mirror.keeps_owners()
    }

    /// The absolute path that a task spells, without `.` and `..`; `None`: it begins at nothing of
    /// a view's.
    pub fn spelled(&self, task: u32, used: &PathUse<'_>) -> Option<PathBuf> {
        let walk = Walk::new(self, Some(task), Patience::None);
        let spelled = absolute(&walk, used)?;
        Some(lexical(Path::new(OsStr::from_bytes(&spelled))))
    }

    /// Whether the client's own machine has something. Blocks.
    pub fn machine_has(&self, resource: &Resource) -> Result<bool, Abandon> {
        let has = self.mirror.files().machine_has(resource);
        has.map_err(|error| Abandon::Files(format!("{resource}: {error}")))
    }

    /// Where files come from, and answers of the client.
    pub fn files(&self) -> Arc<dyn Files> {
        self.mirror.files().clone()
    }

    /// Whether the job is root's, on the client and here.
    pub fn is_of_root(&self) -> bool {
        self.mirror.keeps_owners()
    }

    /// The memory that the job's shim sees.
    pub fn shared(&self) -> &Arc<SharedMap> {
        &self.shared
    }

    /// The client's tree below.
    pub fn mirror(&self) -> &Arc<Mirror> {
        &self.mirror
    }

    /// Enters what the job turned out to have changed, where nobody saw it do so.
    pub(super) fn record_changes(&self, changes: &[Change]) {
        if self.lower.is_some() {
            changes
                .iter()
                .for_each(|change| self.record(Access::Write, change.path.as_os_str().as_bytes()));
        }
    }

    fn try_fault(&self, task: Option<u32>, used: &PathUse<'_>, patience: Patience) -> Result<Reply, Stop> {
        let mut walk = Walk::new(self, task, patience);
        walk.reads = used.intent.is_for_content();
        let outside = || {
            if used.intent == Intent::Exec {
                walk.fill_for_nameless(used)?;
            }
            Ok(Reply::Ready(Standing::Outside))
        };
        let Some(spelled) = absolute(&walk, used) else {
            return outside();
        };
        // What stands there is not all that is asked.
        let may_be_known = used.act != Act::TestWrite;
        if may_be_known && let Some(standing) = self.answered(&spelled, used) {
            return Ok(Reply::Ready(standing));
        }
        if may_be_known && let Some(file) = self.known_file(&spelled, used) {
            if used.intent == Intent::Exec {
                self.refuse_set_id(file.ino, &file.path())?;
            }
            if walk.reach_known(file, used.intent)? {
                self.record(found(used), &spelled);
                return Ok(Reply::Ready(Standing::File));
            }
        }
        let epoch = self.learning_epoch();
        let walked = walk.locate(&spelled, used.follow)?;
        let (standing, access) = match &walked {
            Walked::Outside => {
                self.refuse_object(&spelled, patience)?;
                return outside();
            }
            Walked::Missing(_) if used.makes => (Standing::Missing, Access::Write),
            Walked::Missing(_) | Walked::Nowhere | Walked::Blocked => (Standing::Missing, Access::Missing),
            Walked::Dir(path) => {
                let reached = self.reach_dir(&walk, path, &spelled, used.intent);
                (reached.map_err(|stop| moved_on_for(used, path, stop))?, found_dir(used))
            }
            Walked::Symlink(_) => (Standing::Symlink, found(used)),
            Walked::File(path, looks) => {
                if used.intent == Intent::Exec {
                    self.refuse_set_id(looks.ino, path)?;
                }
                self.reach_file(&walk, path, *looks, used.intent)
                    .map_err(|stop| moved_on_for(used, path, stop))?;
                (Standing::File, found(used))
            }
        };
        if let Some(path) = walked.path().filter(|_| !used.makes) {
            self.note_look(&walk, path, standing != Standing::Missing)?;
            if let Walked::Missing(path) = &walked {
                self.note_missing(task, path)?;
            }
        }
        self.refuse_forbidden(&walked, used.act, patience)?;
        let act = match used.act {
            Act::TestWrite => Act::Look,
            act => act,
        };
        let fails = act.fails_at(&walked, used.makes);
        if fails {
            self.note_failure(&walk, &walked, act)?;
        } else if act != Act::Look {
            self.note_links(&walk, &spelled, &walked, used.follow)?;
            self.note_act(&walked, act)?;
        }
        // By a magic link the spelling leads elsewhere for others.
        let canonical = walked.path().filter(|_| walk.magic.get());
        let used_path = canonical.map_or(&spelled[..], |path| path.as_os_str().as_bytes());
        let recorded = recorded(used, standing, access, fails);
        recorded
            .into_iter()
            .flatten()
            .for_each(|access| self.record(access, used_path));
        if recorded.contains(&Some(Access::Write)) {
            self.forget_answer(&spelled);
        }
        let lasts = standing != Standing::Missing || !walk.turns_back.get();
        if let Some(epoch) = epoch.filter(|_| lasts && !walk.magic.get()) {
            if walk.linked.get() && !matches!(walked, Walked::Blocked) {
                self.learn_link(epoch, &spelled);
            }
            if let (Walked::Dir(_) | Walked::Missing(_) | Walked::Nowhere, Some(dir)) = (&walked, entered(&spelled)) {
                self.learn_link(epoch, dir);
            }
            self.learn_answer(epoch, &spelled, used, standing);
            if let Walked::File(path, looks) = &walked {
                self.pass_on_file(epoch, &spelled, used, path, looks.ino);
            }
        }
        Ok(Reply::Ready(standing))
    }

    fn reach_dir(&self, walk: &Walk<'_>, path: &Path, spelled: &[u8], intent: Intent) -> Result<Standing, Stop> {
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
        Ok(Standing::Dir { below })
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
        Stop::Trouble(trouble) if used.makes => trouble.of_needed(path).into(),
        Stop::Trouble(trouble) => trouble.of_seen(path).into(),
        stop => stop,
    }
}

pub(super) fn settle_stop(outcome: Result<Reply, Stop>) -> Result<Reply, Abandon> {
    match outcome {
        Ok(reply) => Ok(reply),
        Err(Stop::NeedsFetch) => Ok(Reply::NeedsFetch),
        Err(Stop::Trouble(Trouble::Errno(errno))) => Ok(Reply::Errno(errno)),
        Err(Stop::Trouble(Trouble::Abandon(abandon))) => Err(abandon),
    }
}

/// What is recorded of a use that came to `access`: what the call needed, and what it does. `fails`:
/// it fails at what stands there.
fn recorded(used: &PathUse<'_>, standing: Standing, access: Access, fails: bool) -> [Option<Access>; 2] {
    let needed = match (used.intent, standing) {
        (Intent::Update, Standing::File) if !fails => Some(Access::Read),
        // Had it not been there, the call would have failed.
        (Intent::Append | Intent::Change, Standing::File) if !used.makes => Some(Access::Stat),
        // It fails if the directory is not empty.
        (Intent::Empty, Standing::Dir { .. }) => Some(Access::Listed),
        _ => None,
    };
    let done = match access {
        // What the call does at its other path decides over this one.
        Access::Write if used.act == Act::Look => None,
        Access::Write if fails && standing == Standing::Missing => Some(Access::Missing),
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
