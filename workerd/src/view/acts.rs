//! What a job's calls did to names and files of the client, taken down as each call is
//! stopped: what stood at a name when the job first changed it, and which file of the
//! client's a file of the upper layer was. The upper layer tells neither: it is a state,
//! and the mirror below moves on.
//!
//! Knows nothing of what the calls came to, which the upper layer shows in the end, and
//! nothing of commits.

mod identity;

use super::View;
use super::act::{Act, Writes};
use super::confine;
use super::error::FaultError;
use super::inode::content_of;
use super::path_use::Blocking;
use super::walk::{Linked, Stop, Walk, WalkEnd};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::ops::Bound;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use termite_core::spelling::lexical;
use termite_types::{Abandon, Attr, Base, Node};

/// How a file was opened for writing so far. It moves from `Not` on; what is read, or may
/// be, before it is overwritten stays `Within`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Written {
    /// Never.
    #[default]
    Not,
    /// Only to append to it.
    Appended,
    /// Overwritten first of all.
    Anew,
    /// Content that was there may have decided over what is there now.
    Within,
}

impl Written {
    /// After one more opening.
    fn after(self, writes: Writes) -> Self {
        match (self, writes) {
            (Self::Within, _) | (Self::Not | Self::Appended, Writes::Within) => Self::Within,
            (Self::Anew, _) | (_, Writes::Anew) => Self::Anew,
            (Self::Not | Self::Appended, Writes::Append) => Self::Appended,
        }
    }
}

/// A regular file of the client's.
#[derive(Clone, Debug)]
pub(super) struct ClientFile {
    /// Where the client has it.
    pub path: PathBuf,
    /// As the job saw it.
    pub attr: Attr,
}

/// What stood at a name of the client's tree.
#[derive(Clone, Debug)]
pub(super) enum Before {
    /// Nothing, in a directory of the client's.
    Nothing,
    /// This file.
    File(ClientFile),
    /// A symlink.
    Symlink(Attr),
    /// A directory.
    Dir(Attr),
    /// The name is none of the client's: what it is in is of the job's making.
    Own,
}

impl Before {
    /// By the attributes of what the client has at a path.
    pub(super) fn of(path: &Path, attr: Attr) -> Self {
        match attr.node {
            Node::Dir => Self::Dir(attr),
            Node::Symlink { .. } => Self::Symlink(attr),
            // No job comes to act on it.
            Node::Special(_) => Self::Nothing,
            Node::File { .. } => Self::File(ClientFile {
                path: path.to_path_buf(),
                attr,
            }),
        }
    }
}

/// What the job's calls did to a name.
#[derive(Clone, Debug)]
pub(super) struct NameActs {
    /// What stood there before the first of them.
    pub before: Before,
    /// The name was made, removed or moved: what is there now may be something else.
    pub named: bool,
    /// It was made by a call that fails where something is.
    pub exclusive: bool,
    /// It was made by mkdir(1) without `-p`.
    pub plain: bool,
    /// It was removed, or its file moved away.
    pub removed: bool,
    /// A directory was moved away with all that is in it.
    pub moved: bool,
    /// Something was moved to it.
    pub replaced: bool,
    /// Attributes of what is there were set.
    pub is_attributed: bool,
    /// A file was made here once more after something was taken away, or was written and then
    /// taken away by another that was moved over it.
    pub made_again: bool,
    /// How a file that the job made here was written.
    pub written: Written,
}

impl NameActs {
    /// Of a name to which nothing was done yet.
    pub(super) fn of(before: Before) -> Self {
        Self {
            before,
            named: false,
            exclusive: false,
            plain: false,
            removed: false,
            moved: false,
            replaced: false,
            is_attributed: false,
            made_again: false,
            written: Written::Not,
        }
    }

    /// Whether a directory at the name is one that the job made where nothing was.
    pub(super) fn makes_joinable(&self) -> bool {
        matches!(self.before, Before::Nothing) && self.named && !self.replaced
    }

    /// Whether the job made something at the name, or moved it there.
    pub(super) fn is_made(&self) -> bool {
        self.exclusive || self.replaced || self.written != Written::Not
    }

    /// Whether the job took away what the client has at the name, and put something there since:
    /// of two jobs that do so, each may take the name for a lock.
    pub(super) fn is_put_back(&self) -> bool {
        self.removed && self.is_made() && !matches!(self.before, Before::Nothing | Before::Own)
    }

    /// Takes down one more call.
    fn note(&mut self, act: Act) {
        match act {
            Act::Look | Act::TestWrite | Act::Link => {}
            Act::Attributes { .. } => self.is_attributed = true,
            Act::Open { exclusive, writes } => {
                self.named |= matches!(self.before, Before::Nothing);
                self.exclusive |= exclusive;
                self.made_again |= self.removed;
                self.written = self.written.after(writes);
            }
            Act::MakeDir { plain } => {
                self.named = true;
                self.exclusive = true;
                self.plain = plain;
            }
            Act::Make => {
                self.named = true;
                self.exclusive = true;
            }
            Act::Remove { .. } => {
                self.named = true;
                self.removed = true;
            }
            Act::MoveAway | Act::Exchange => {
                self.made_again |= act == Act::Exchange && self.written != Written::Not;
                self.named = true;
                self.removed = true;
                self.moved |= matches!(self.before, Before::Dir(_));
            }
            Act::MoveHere { exclusive, .. } => {
                self.made_again |= self.written != Written::Not;
                self.named = true;
                self.replaced = true;
                self.exclusive |= exclusive;
            }
        }
    }
}

/// A file of the upper layer that was one of the client's.
#[derive(Clone, Debug)]
pub(super) struct CopiedUp {
    pub file: ClientFile,
    pub written: Written,
    /// Its attributes were set.
    pub is_attributed: bool,
}

impl CopiedUp {
    fn is_changed(&self) -> bool {
        self.is_attributed || self.written != Written::Not
    }
}

/// All that one job did.
#[derive(Default)]
pub(super) struct Acts {
    /// By canonical path in the job's tree.
    names: BTreeMap<PathBuf, NameActs>,
    /// By inode number in the upper layer.
    files: HashMap<u64, CopiedUp>,
    /// Symlinks of the upper layer that were the client's, and where it has them.
    symlinks: HashMap<u64, PathBuf>,
    /// A lock was taken on a file that the job had not made.
    locked: bool,
    /// Such files, as far as their paths are known.
    locks: BTreeSet<PathBuf>,
    /// Files that the job had made when it took a lock on them.
    own_locks: BTreeSet<PathBuf>,
    /// The client's symlinks through which a call that changed something went, with the target
    /// that each had then.
    followed: BTreeMap<PathBuf, PathBuf>,
    /// Files of the client's that were renamed, and the others of it to whose names they were.
    renamed_over: BTreeSet<(PathBuf, PathBuf)>,
}

impl Acts {
    pub(super) fn of_name(&self, path: &Path) -> Option<&NameActs> {
        self.names.get(path)
    }

    pub(super) fn of_file(&self, upper_ino: u64) -> Option<&CopiedUp> {
        self.files.get(&upper_ino)
    }

    /// Where the client has the symlink that one of the upper layer was.
    pub(super) fn of_symlink(&self, upper_ino: u64) -> Option<&Path> {
        self.symlinks.get(&upper_ino).map(PathBuf::as_path)
    }

    /// The client's files that were changed, by inode number in the upper layer.
    pub(super) fn changed_files(&self) -> impl Iterator<Item = (u64, &ClientFile)> {
        let changed = self.files.iter().filter(|(_, copied)| copied.is_changed());
        changed.map(|(ino, copied)| (*ino, &copied.file))
    }

    /// Names below a directory, in the order of their paths.
    pub(super) fn below<'a>(&'a self, dir: &'a Path) -> impl Iterator<Item = (&'a Path, &'a NameActs)> {
        let from = (Bound::Excluded(dir), Bound::Unbounded);
        let names = self.names.range::<Path, _>(from);
        names
            .map(|(path, acts)| (path.as_path(), acts))
            .take_while(move |(path, _)| path.starts_with(dir))
    }

    /// All names, in the order of their paths.
    pub(super) fn names(&self) -> impl Iterator<Item = (&Path, &NameActs)> {
        self.names.iter().map(|(path, acts)| (path.as_path(), acts))
    }

    /// Whether a lock was taken on a file that the job had not made.
    pub(super) fn locked(&self) -> bool {
        self.locked
    }

    /// The client's symlinks through which a call that changed something went, with their targets.
    pub(super) fn followed(&self) -> Vec<(PathBuf, PathBuf)> {
        let followed = self.followed.iter();
        followed.map(|(path, target)| (path.clone(), target.clone())).collect()
    }

    /// Files of the client's that were renamed, and the others of it to whose names they were.
    pub(super) fn renamed_over(&self) -> impl Iterator<Item = &(PathBuf, PathBuf)> {
        self.renamed_over.iter()
    }

    /// The files that the job had not made when it took a lock on them.
    pub(super) fn locks(&self) -> impl Iterator<Item = &Path> {
        self.locks.iter().map(PathBuf::as_path)
    }

    /// The files that the job had made when it took a lock on them.
    pub(super) fn own_locks(&self) -> impl Iterator<Item = &Path> {
        self.own_locks.iter().map(PathBuf::as_path)
    }
}

impl View {
    /// The job takes a lock on a task's open file.
    pub fn note_lock(&self, task: u32, fd: i32) {
        let place = Walk::new(self, Some(task), Blocking::Never).place_of_task(Some(fd));
        let path = place
            .and_then(Linked::there)
            .map(|path| PathBuf::from(OsString::from_vec(path)));
        let mut acts = self.acts.lock();
        let is_own =
            |path: &PathBuf| matches!(acts.of_name(path), Some(name) if matches!(name.before, Before::Nothing));
        match path {
            Some(path) if is_own(&path) => drop(acts.own_locks.insert(path)),
            path => {
                acts.locked = true;
                acts.locks.extend(path);
            }
        }
    }

    /// Takes down what a call is about to do. The content of a file that it changes or
    /// moves is there.
    pub(super) fn note_act(&self, walked: &WalkEnd, act: Act) -> Result<(), FaultError> {
        let (path, looks) = match walked {
            WalkEnd::File(path, looks) => (path, Some(*looks)),
            WalkEnd::Missing(path) | WalkEnd::Symlink(path) | WalkEnd::Dir(path) => (path, None),
            WalkEnd::Nowhere | WalkEnd::Blocked | WalkEnd::Outside => return Ok(()),
        };
        if let Act::Open { .. } = act
            && looks.is_some_and(|looks| looks.sets_id)
            && self.is_of_root()
        {
            // The slot's kernel takes the bit, as it asks for a capability of the machine's own
            // root (`CAP_FSETID`, capabilities(7)).
            let what = format!(
                "a write of root's into {}, which leaves its set-ID bits",
                path.display()
            );
            return Err(Abandon::Machine(what).into());
        }
        let known = self.acts.lock().names.contains_key(path);
        let before = match known {
            true => None,
            false => Some(self.before(path, walked)?),
        };
        let upper = match (walked, looks) {
            (_, Some(looks)) if act.copies_up() => self.copy_up(path, looks)?,
            (WalkEnd::Symlink(_), _) if act.copies_up() => {
                self.copy_up_symlink(path)?;
                None
            }
            _ => None,
        };
        if matches!(
            before,
            Some(Before::Nothing | Before::File(_) | Before::Symlink(_) | Before::Dir(_))
        ) {
            self.note_above(path);
        }
        let mut acts = self.acts.lock();
        if let Some(file) = upper.and_then(|ino| acts.files.get_mut(&ino)) {
            match act {
                Act::Open { writes, .. } => file.written = file.written.after(writes),
                Act::Attributes { .. } => file.is_attributed = true,
                _ => {}
            }
        }
        match before {
            Some(before) => acts
                .names
                .entry(path.clone())
                .or_insert_with(|| NameActs::of(before))
                .note(act),
            None => acts.names.get_mut(path).into_iter().for_each(|name| name.note(act)),
        }
        Ok(())
    }

    /// Takes down the symlinks of the client's through which a call that changes something goes
    /// on its way from an absolute spelling to a canonical path.
    pub(super) fn note_links(
        &self,
        walk: &Walk<'_>,
        spelled: &[u8],
        walked: &WalkEnd,
        follow: bool,
    ) -> Result<(), Stop> {
        let Some(path) = walked.path() else { return Ok(()) };
        // There is none where both are the same, as with almost all calls.
        if lexical(Path::new(OsStr::from_bytes(spelled))) == path {
            return Ok(());
        }
        let again = Walk::new(self, walk.task, walk.blocking);
        again.walk(PathBuf::from("/"), spelled, follow)?;
        for (link, target) in again.followed.take() {
            let is_clients = self.is_of_client(&link);
            let mut acts = self.acts.lock();
            let is_made = acts.names.get(&link).is_some_and(|name| name.named);
            if is_clients && !is_made {
                acts.followed.entry(link).or_insert(target);
            }
        }
        Ok(())
    }

    /// Takes down the directories of the client's that a name is in: they come to be in the
    /// upper layer with it.
    fn note_above(&self, path: &Path) {
        let mut acts = self.acts.lock();
        for dir in path.ancestors().skip(1) {
            if acts.names.contains_key(dir) {
                return;
            }
            let Some(attr) = self.mirror.dir_attr(dir) else { return };
            acts.names.insert(dir.to_path_buf(), NameActs::of(Before::Dir(attr)));
        }
    }

    /// What the job did to a name of the client's tree, or what stands there as far as
    /// nobody saw.
    pub(super) fn name_acts(&self, at: &Path) -> Result<NameActs, Errno> {
        if let Some(lower) = self.lower() {
            return Ok(lower.acts(at));
        }
        if let Some(acts) = self.acts.lock().of_name(at) {
            return Ok(acts.clone());
        }
        let known = self.mirror.lookup(at)?;
        Ok(NameActs::of(
            known.map_or(Before::Nothing, |known| Before::of(at, known.attr)),
        ))
    }

    /// What the job did to a name in a directory that it made where the client has nothing.
    pub(super) fn acts_in_made(&self, at: &Path) -> NameActs {
        let recorded = match self.lower() {
            Some(lower) => Some(lower.acts(at)),
            None => self.acts.lock().of_name(at).cloned(),
        };
        recorded.unwrap_or(NameActs::of(Before::Own))
    }

    /// The content of a file of the client's before the job changed it or its name.
    pub(super) fn content_before(&self, path: &Path) -> Option<Base> {
        let before = match self.lower() {
            Some(lower) => lower.acts(path).before,
            None => self.acts.lock().of_name(path)?.before.clone(),
        };
        match before {
            Before::File(file) => content_of(&file.attr),
            _ => None,
        }
    }

    /// Whether what the job read at a canonical path after it had changed something there was
    /// its own: it made or replaced the file, or overwrote it first of all.
    pub(super) fn owns_content(&self, path: &Path) -> bool {
        let acts = self.acts.lock();
        let mut copied = acts.files.values().filter(|copied| copied.file.path == path).peekable();
        match acts.of_name(path) {
            // A call that was to give the name to something else may have failed.
            Some(name) if matches!(name.before, Before::File(_)) => match copied.peek() {
                Some(_) => copied.all(|copied| copied.written == Written::Anew),
                None => name.named,
            },
            _ => true,
        }
    }

    /// The symlinks of the client's whose names the job touched.
    pub(super) fn symlinks_touched(&self) -> Vec<PathBuf> {
        if let Some(lower) = self.lower() {
            return lower.symlinks_found();
        }
        let acts = self.acts.lock();
        let symlinks = acts
            .names
            .iter()
            .filter(|(_, acts)| matches!(acts.before, Before::Symlink(_)));
        symlinks.map(|(path, _)| path.clone()).collect()
    }

    /// Whether the job changed any file of the client's, or its name.
    pub(super) fn changed_client_files(&self) -> bool {
        let is_file = |acts: &NameActs| matches!(acts.before, Before::File(_));
        self.lower().is_some() || self.acts.lock().names.values().any(is_file)
    }

    /// What stands at a canonical path that no act was about before.
    fn before(&self, path: &Path, walked: &WalkEnd) -> Result<Before, FaultError> {
        if !self.is_of_client(path) {
            return Ok(Before::Own);
        }
        let known = || {
            self.mirror
                .lookup(path)
                .map_err(|errno| FaultError::from_store(errno, path))
        };
        Ok(match walked {
            WalkEnd::Missing(_) => Before::Nothing,
            WalkEnd::File(_, looks) => match self.client_file(path, looks.ino)? {
                Some(file) if file.path == path => Before::File(file),
                _ => Before::Own,
            },
            WalkEnd::Symlink(_) | WalkEnd::Dir(_) => match known()?.map(|known| Before::of(path, known.attr)) {
                Some(before @ Before::Symlink(_)) if matches!(walked, WalkEnd::Symlink(_)) => before,
                Some(before @ Before::Dir(_)) if matches!(walked, WalkEnd::Dir(_)) => before,
                None if confine::handle(&self.upper, path).is_ok() => Before::Own,
                // The kernel still shows the job what was there, and the call would act on that.
                _ => return Err(FaultError::moved_on(path)),
            },
            WalkEnd::Nowhere | WalkEnd::Blocked | WalkEnd::Outside => Before::Own,
        })
    }

    /// What workerd itself does on the job's behalf: moves something from one name to another.
    pub(super) fn note_move(&self, walk: &Walk<'_>, from: &Path, to: &Path) -> Result<(), FaultError> {
        let source = walk.at(from);
        self.note_act(&source, Act::MoveAway)?;
        let here = Act::MoveHere {
            exclusive: false,
            dir: matches!(source, WalkEnd::Dir(_)),
        };
        self.note_act(&walk.at(to), here)
    }
}
