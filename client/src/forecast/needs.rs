//! Sets of paths in few bytes: every path has a number. Knows neither commands nor files.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names a path.
pub(super) type PathId = u32;

/// Paths that are remembered; later ones are left out.
pub(super) const MOST_PATHS: usize = 1 << 19;

/// All paths that have a number, as they are spelled.
#[derive(Default)]
pub(super) struct Paths {
    paths: Vec<Arc<OsStr>>,
    ids: HashMap<Arc<OsStr>, PathId>,
    /// So many of the first are on disk.
    saved: usize,
}

impl Paths {
    /// Paths by their numbers, all of which are on disk.
    pub(super) fn saved(paths: Vec<PathBuf>) -> Self {
        let paths: Vec<Arc<OsStr>> = paths.into_iter().map(|path| Arc::from(path.into_os_string())).collect();
        Self {
            ids: (0..).zip(&paths).map(|(id, path)| (path.clone(), id)).collect(),
            saved: paths.len(),
            paths,
        }
    }

    /// The number of a path that has one.
    pub(super) fn id(&self, path: &Path) -> Option<PathId> {
        self.ids.get(path.as_os_str()).copied()
    }

    /// The number of a path, a new one if there is room.
    pub(super) fn id_of(&mut self, path: &Path) -> Option<PathId> {
        let known = self.id(path);
        if known.is_some() || self.paths.len() >= MOST_PATHS {
            return known;
        }
        let (id, path) = (self.paths.len() as PathId, Arc::<OsStr>::from(path.as_os_str()));
        self.paths.push(path.clone());
        self.ids.insert(path, id);
        Some(id)
    }

    /// The paths of those numbers that were not told, which are told now.
    pub(super) fn resolve(&self, ids: &[PathId], told: &mut Told) -> Vec<PathBuf> {
        let fresh = ids.iter().filter(|id| told.insert(**id));
        fresh
            .filter_map(|id| self.paths.get(*id as usize))
            .map(PathBuf::from)
            .collect()
    }

    /// Those that are not on disk yet, with their numbers.
    pub(super) fn take_unsaved(&mut self) -> Vec<(PathId, Arc<OsStr>)> {
        let from = std::mem::replace(&mut self.saved, self.paths.len());
        (from as PathId..).zip(self.paths[from..].iter().cloned()).collect()
    }
}

/// A set of numbers; of a session: what its worker was told to expect.
#[derive(Default)]
pub struct Told(Vec<u64>);

impl Told {
    /// False: it is in there already.
    pub fn insert(&mut self, id: PathId) -> bool {
        let (at, bit) = place(id);
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        let is_new = self.0[at] & bit == 0;
        self.0[at] |= bit;
        is_new
    }

    /// Whether it is in there.
    pub fn has(&self, id: PathId) -> bool {
        let (at, bit) = place(id);
        self.0.get(at).is_some_and(|word| word & bit != 0)
    }

    /// It is to be told again.
    pub fn forget(&mut self, id: PathId) {
        let (at, bit) = place(id);
        if let Some(word) = self.0.get_mut(at) {
            *word &= !bit;
        }
    }
}

fn place(id: PathId) -> (usize, u64) {
    ((id / u64::BITS) as usize, 1 << (id % u64::BITS))
}

/// What a command used.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Needs {
    /// Directories that it looked into, parents first.
    pub dirs: Vec<PathId>,
    /// Regular files of the client that it read.
    pub files: Vec<PathId>,
}

/// Needs in the making.
#[derive(Default)]
pub(super) struct NeedsBuilder {
    needs: Needs,
    seen: Told,
}

impl NeedsBuilder {
    /// It looked into this directory.
    pub(super) fn dir(&mut self, id: PathId) {
        if self.seen.insert(id) {
            self.needs.dirs.push(id);
        }
    }

    /// It read this file.
    pub(super) fn file(&mut self, id: PathId) {
        if self.seen.insert(id) {
            self.needs.files.push(id);
        }
    }

    /// That was all.
    pub(super) fn done(self) -> Needs {
        self.needs
    }
}
