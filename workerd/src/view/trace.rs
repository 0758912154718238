//! What a job used, as its end tells it: the log that shim and guard share, what that had
//! no room for, and the contents that were read.
//!
//! Knows records; knows neither walks nor notifications.

use super::View;
use super::confine;
use super::inode::content_of;
use super::mirror::{Known, Shifts, Way, Workplace};
use super::walk::MAX_LINKS;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use termite_abi::Access;
use termite_core::spelling::{in_lexical, lexical};
use termite_types::{Abandon, BlobHash, Conflict, Node, TraceItem, Use};

/// Bytes of paths beyond the shared log that one job may use. A trace that is cut off
/// would be an untrue one, so a job that uses more is not for a worker.
const OVERFLOW_MAX: usize = 64 << 20;

/// Records that the shared log has no room for.
#[derive(Default)]
pub(super) struct Overflow {
    /// With the place of each in the order of first use.
    records: HashMap<(Access, Vec<u8>), usize>,
    bytes: usize,
}

impl Overflow {
    pub(super) fn add(&mut self, access: Access, path: &[u8]) {
        let next = self.records.len();
        if self.bytes <= OVERFLOW_MAX
            && let Entry::Vacant(record) = self.records.entry((access, path.to_vec()))
        {
            record.insert(next);
            self.bytes += path.len();
        }
    }

    pub(super) fn in_order(&self) -> Vec<(Access, &[u8])> {
        let mut records: Vec<_> = self
            .records
            .iter()
            .map(|((access, path), at)| (*at, (*access, &path[..])))
            .collect();
        records.sort_unstable_by_key(|(at, _)| *at);
        records.into_iter().map(|(_, record)| record).collect()
    }
}

impl View {
    /// What the job used, in order of first use. Only after its last process has ended.
    pub fn trace(&self) -> Result<Vec<TraceItem>, Abandon> {
        let overflow = self.overflow.lock();
        if overflow.bytes > OVERFLOW_MAX {
            return Err(Abandon::Unsupported(format!(
                "a trace of more than {} paths",
                overflow.records.len()
            )));
        }
        let mut known = HashSet::new();
        let mut own = HashSet::new();
        let mut items = Items::default();
        let Shifts {
            paths,
            gone_dirs,
            gone_links,
        } = self.pin.shifts();
        let mut contents = Contents {
            view: self,
            turn: self.turn_at(self.shared.epoch()),
            is_steady: false,
            shifted: paths,
            dirs: HashMap::new(),
            ways: HashMap::new(),
            open: HashMap::new(),
        };
        contents.is_steady = contents.shifted.is_empty() && !self.changed_client_files();
        for (access, path) in self.shared.trace_records().chain(overflow.in_order()) {
            // The shared log forgets what it holds when its index runs over.
            if !known.insert((access, path)) {
                continue;
            }
            if access == Access::Write {
                own.insert(path);
            }
            if !gone_dirs.is_empty()
                && let Some(gone) = self.spelled_path(path).ancestors().find(|dir| gone_dirs.contains(*dir))
            {
                return Err(Conflict::new(gone, "a directory", "none").into());
            }
            let spelled = Path::new(OsStr::from_bytes(path));
            // What the job itself has put in a symlink's place is its own.
            let is_gone = |link: &Path| gone_links.contains(link) && !own.contains(link.as_os_str().as_bytes());
            if !gone_links.is_empty()
                && let Some(gone) = contents.link_on_the_way(spelled, access, is_gone)
            {
                return Err(Conflict::new(&gone, "a symlink", "none, or another one").into());
            }
            let is_own = access == Access::Read && own.contains(path) && self.owns_content(&self.spelled_path(path));
            let (used, place) = contents.used(access, spelled, is_own);
            items.add(access, spelled, used, place, &mut contents);
        }
        Ok(items.list)
    }
}

/// A trace that is being written.
#[derive(Default)]
struct Items {
    list: Vec<TraceItem>,
    /// Uses at the places where spelled paths lead, and of symlinks on the way there.
    elsewhere: HashSet<(Access, PathBuf)>,
}

impl Items {
    /// A use of a path, and of the place where it leads, if it is spelled in another way.
    fn add(&mut self, access: Access, spelled: &Path, used: Use, place: Option<PathBuf>, contents: &mut Contents<'_>) {
        self.list.push(TraceItem {
            path: spelled.to_owned(),
            used,
        });
        let Some(place) = place.filter(|place| place.as_path() != in_lexical(spelled)) else {
            return;
        };
        for link in contents.symlinks_on(spelled, &place).iter() {
            self.add_elsewhere(Access::Stat, link.clone(), Use::Stat);
        }
        // A job that changes it has it by the path where it is.
        self.add_elsewhere(access, place, used);
    }

    fn add_elsewhere(&mut self, access: Access, path: PathBuf, used: Use) {
        if self.elsewhere.insert((access, path.clone())) {
            self.list.push(TraceItem { path, used });
        }
    }
}

/// Where a walk ends, along a path as one of a directory.
enum End {
    /// To this directory.
    Dir(PathBuf),
    /// To nothing; a directory here would be it.
    Missing(PathBuf),
    /// Through something that is no directory, or through too many symlinks.
    Shut,
}

/// Finds the contents that the client has where used paths lead.
struct Contents<'v> {
    view: &'v View,
    /// Of the mirror's leads, if they hold for this job.
    turn: Option<u64>,
    /// What changed in the mirror while the job ran: the job may have seen what was there before.
    shifted: HashSet<PathBuf>,
    /// Nothing did, and the job changed no file of the client's.
    is_steady: bool,
    /// Spelled directories and where they lead, or would lead if they were there.
    dirs: HashMap<PathBuf, Option<PathBuf>>,
    /// Spelled paths and their ways.
    ways: HashMap<PathBuf, Way>,
    /// Directories of the mirror: most items are in few of them.
    open: HashMap<PathBuf, Option<Workplace>>,
}

impl Contents<'_> {
    /// What a use means in a trace, and where its path leads, or would if it were there. `is_own`: a file
    /// that it reads has the content that the job gave it.
    fn used(&mut self, access: Access, spelled: &Path, is_own: bool) -> (Use, Option<PathBuf>) {
        match access {
            Access::Read if is_own => (Use::Read(None), self.beside(spelled)),
            Access::Read => {
                let (content, place) = self.of(spelled);
                (Use::Read(content), place)
            }
            Access::Stat => (Use::Stat, self.place_of_found(spelled)),
            Access::Missing => (Use::Missing, self.place(spelled)),
            Access::Listed => (Use::Listed, self.dir(spelled)),
            Access::Write => (Use::Write, self.beside(spelled)),
        }
    }

    /// The content where a path leads, and where that is.
    fn of(&mut self, spelled: &Path) -> (Option<BlobHash>, Option<PathBuf>) {
        let mirror = &self.view.mirror;
        let bytes = spelled.as_os_str().as_bytes();
        if let Some(file) = self.turn.and_then(|turn| mirror.leads_to_file(turn, bytes)) {
            let path = file.path();
            let content = match self.is_steady {
                true => file.content,
                false => self.shown(&path).or(file.content),
            };
            return (content, Some(path));
        }
        let found = self.at(spelled);
        let Some((path, file)) = found else {
            return (self.shown(spelled), None);
        };
        if let Some(content) = self.shown(&path) {
            return (Some(content), Some(path));
        }
        // What a job has read is complete on all the way to it.
        if let Some(turn) = self.turn {
            mirror.learn_file(turn, bytes, &path, file.ino);
        }
        let content = match file.attr.node {
            Node::File { hash, .. } => hash,
            Node::Symlink { .. } | Node::Dir | Node::Special(_) => None,
        };
        (content, Some(path))
    }

    /// Where a name is of which the directory may be reached through symlinks.
    fn beside(&mut self, spelled: &Path) -> Option<PathBuf> {
        let (dir, name) = (spelled.parent()?, spelled.file_name()?);
        Some(self.dir(dir)?.join(name))
    }

    /// Where a path leads, or would lead if it were there, symlinks followed.
    fn place(&mut self, spelled: &Path) -> Option<PathBuf> {
        let name = self.beside(spelled)?;
        self.follow(name)
    }

    /// The same of a name in a canonical directory.
    fn follow(&mut self, mut name: PathBuf) -> Option<PathBuf> {
        for _ in 0..MAX_LINKS {
            if !self.view.mirror.may_be_symlink(&name) {
                break;
            }
            let Some(Node::Symlink { target }) = self.look_at(&name).map(|known| known.attr.node) else {
                break;
            };
            name = self.beside(&name.parent()?.join(target))?;
        }
        Some(name)
    }

    /// Where a path leads that was found. What is not there may have been looked at as a symlink alone.
    /// Where no call is seen, the kernel has told of each name by itself.
    fn place_of_found(&mut self, spelled: &Path) -> Option<PathBuf> {
        let found = self.beside(spelled)?;
        if self.view.lower().is_some() {
            return Some(found);
        }
        let place = self.follow(found.clone()).filter(|place| *place != found);
        let is_there = |place: &PathBuf| self.shifted.contains(place) || self.look_at(place).is_some();
        Some(place.filter(is_there).unwrap_or(found))
    }

    /// The symlinks of the client's that a path goes through, which leads to `place`.
    fn symlinks_on(&mut self, spelled: &Path, place: &Path) -> Arc<[PathBuf]> {
        // One at its end is of this path alone.
        let is_last_one = self.beside(spelled).as_deref() != Some(place);
        let dir = spelled.parent().filter(|_| !is_last_one);
        self.way(dir.unwrap_or(spelled)).symlinks
    }

    /// The content that the job saw where the mirror may have another one by now, or none:
    /// the one that it changed itself, or the one that its tree still shows, since overlayfs
    /// remembers what it has looked up.
    fn shown(&self, path: &Path) -> Option<BlobHash> {
        if let Some(before) = self.view.content_before(path) {
            return Some(before.hash);
        }
        if !self.shifted.contains(path) {
            return None;
        }
        let stat = confine::handle(&self.view.root, path).and_then(confine::stat).ok()?;
        let (_, attr) = self.view.mirror.file_of(stat.stx_ino)?;
        content_of(&attr).map(|content| content.hash)
    }

    /// Where a path leads, symlinks followed, and what is there.
    fn at(&mut self, spelled: &Path) -> Option<(PathBuf, Known)> {
        let place = self.place(spelled)?;
        let found = self.look_at(&place)?;
        let is_end = !matches!(found.attr.node, Node::Symlink { .. });
        is_end.then_some((place, found))
    }

    /// Where a spelled directory leads, or would lead if it were there.
    fn dir(&mut self, spelled: &Path) -> Option<PathBuf> {
        if let Some(known) = self.dirs.get(spelled) {
            return known.clone();
        }
        let known = self.view.known_dir(spelled.as_os_str().as_bytes());
        let dir = known.or_else(|| Some(self.way(spelled).to?.to_path_buf()));
        self.dirs.insert(spelled.to_owned(), dir.clone());
        dir
    }

    /// The way of a spelled directory, or of a path that leads to none.
    fn way(&mut self, spelled: &Path) -> Way {
        if let Some(known) = self.ways.get(spelled) {
            return known.clone();
        }
        let bytes = spelled.as_os_str().as_bytes();
        let known = self.turn.and_then(|turn| self.view.mirror.way(turn, bytes));
        let way = known.unwrap_or_else(|| {
            let mut links = Vec::new();
            let end = self.walk(spelled, |_, _| {}, |link| links.push(link.to_owned()));
            let is_known = !matches!(end, End::Missing(_));
            let way = Way {
                to: match end {
                    End::Dir(dir) | End::Missing(dir) => Some(dir.into()),
                    End::Shut => None,
                },
                symlinks: links.into(),
            };
            if let Some(turn) = self.turn.filter(|_| is_known) {
                self.view.mirror.learn_way(turn, bytes, way.clone());
            }
            way
        });
        self.ways.insert(spelled.to_owned(), way.clone());
        way
    }

    /// A symlink of these that a use of a path went through.
    fn link_on_the_way(&mut self, spelled: &Path, access: Access, of: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        // A look at the symlink itself, or a change of it, does not follow it.
        let follows = matches!(access, Access::Read | Access::Listed | Access::Missing);
        let mut found = None;
        let passes = |path: &Path, is_last: bool| {
            if found.is_none() && (follows || !is_last) && of(path) {
                found = Some(path.to_owned());
            }
        };
        self.walk(spelled, passes, |_| {});
        found
    }

    /// Where a path leads as one of a directory. `passes` is told of each name on the way, and whether
    /// it is the last; `follows` of each symlink.
    fn walk(&mut self, spelled: &Path, mut passes: impl FnMut(&Path, bool), mut follows: impl FnMut(&Path)) -> End {
        let mut at = PathBuf::from("/");
        let mut ahead = spelled.to_owned();
        let mut links = MAX_LINKS;
        loop {
            let mut rest = ahead.components();
            match rest.next() {
                None => return End::Dir(at),
                Some(Component::RootDir) => at = "/".into(),
                Some(Component::ParentDir) => drop(at.pop()),
                Some(Component::CurDir | Component::Prefix(_)) => {}
                Some(Component::Normal(name)) => {
                    let next = at.join(name);
                    passes(&next, rest.as_path().as_os_str().is_empty());
                    match self.look(&at, name).map(|known| known.attr.node) {
                        Some(Node::Dir) => at = next,
                        Some(Node::Symlink { target }) => {
                            follows(&next);
                            if links == 0 {
                                return End::Shut;
                            }
                            links -= 1;
                            ahead = Path::new(&target).join(rest.as_path());
                            continue;
                        }
                        Some(Node::File { .. } | Node::Special(_)) => return End::Shut,
                        None => return End::Missing(lexical(&next.join(rest.as_path()))),
                    }
                }
            }
            ahead = rest.as_path().to_owned();
        }
    }

    fn look_at(&mut self, path: &Path) -> Option<Known> {
        self.look(path.parent()?, path.file_name()?)
    }

    fn look(&mut self, dir: &Path, name: &OsStr) -> Option<Known> {
        let mirror = &self.view.mirror;
        if !self.open.contains_key(dir) {
            self.open.insert(dir.to_owned(), mirror.workplace(dir).ok()?);
        }
        let dir = self.open.get(dir)?.as_ref()?;
        mirror.known_at_rest(dir, name).ok()?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::SharedMap;
    use rustix::fd::AsFd;
    use std::os::unix::fs::FileExt;
    use std::sync::atomic::Ordering;
    use termite_abi::{Shared, TRACE_LEN};

    fn records(shared: &Shared) -> Vec<(Access, String)> {
        let text = |(access, path): (Access, &[u8])| (access, String::from_utf8(path.to_vec()).unwrap());
        shared.trace_records().map(text).collect()
    }

    #[test]
    fn what_a_killed_process_was_writing_is_passed_over() {
        let file = tempfile::tempfile().unwrap();
        let shared = SharedMap::new(file.as_fd()).unwrap();
        shared.init(1 << 40 | 1);
        // What of its record a process wrote before it was killed.
        let torn: [&[u8]; 4] = [b"", b"\x01", b"\x01\x08\0", b"\x01\x08\0/cut"];
        for (number, written) in torn.into_iter().enumerate() {
            assert!(shared.trace(Access::Stat, &[format!("/whole{number}").as_bytes()]));
            let at = shared.trace_head.fetch_add(3 + 8, Ordering::Relaxed);
            let log = (size_of::<Shared>() - TRACE_LEN) as u64;
            file.write_all_at(written, log + at).unwrap();
        }
        assert!(shared.trace(Access::Missing, &[b"/last"]));
        let whole = (0..4).map(|number| (Access::Stat, format!("/whole{number}")));
        let expected: Vec<_> = whole.chain([(Access::Missing, "/last".into())]).collect();
        assert_eq!(records(&shared), expected);
    }

    #[test]
    fn what_has_no_room_keeps_its_order_and_is_kept_once() {
        let mut overflow = Overflow::default();
        for path in ["/b", "/a", "/b", "/c"] {
            overflow.add(Access::Stat, path.as_bytes());
        }
        overflow.add(Access::Read, b"/b");
        let expected: [(Access, &[u8]); 4] = [
            (Access::Stat, b"/b"),
            (Access::Stat, b"/a"),
            (Access::Stat, b"/c"),
            (Access::Read, b"/b"),
        ];
        assert_eq!(overflow.in_order(), expected);
    }
}
