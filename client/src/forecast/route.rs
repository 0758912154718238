//! Where a used path leads: the directories on the way, symlinks followed, and its end.
//! Knows the client's disk; what it finds may be out of date the next moment.

use super::needs::{NeedsBuilder, PathId, Paths};
use crate::tree::{Kind, Stamp};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use termite_types::{BuildId, TraceItem, Use};

/// Names and symlinks that one path may lead through; no forecast is made of what is deeper.
const MOST_STEPS: u32 = 200;
/// Routes that are remembered; then they are found anew.
const MOST_ROUTES: usize = 1 << 16;

/// The routes of one build, by the path as it was spelled: to compare paths by their
/// components would cost more than to find one twice.
#[derive(Default)]
pub(super) struct Routes {
    build: Option<BuildId>,
    known: HashMap<OsString, Arc<Route>>,
}

struct Route {
    /// Directories that were looked into, parents first.
    through: Vec<PathId>,
    end: End,
}

#[derive(Clone)]
enum End {
    Dir(PathBuf),
    File(PathBuf),
    /// Nothing that a view holds, or the path leads too far.
    Nothing,
}

impl Routes {
    /// The paths to come are of this build: what others found may have changed.
    pub(super) fn of_build(&mut self, build: BuildId) {
        if self.build != Some(build) || self.known.len() > MOST_ROUTES {
            self.build = Some(build);
            self.known.clear();
        }
    }

    /// Adds what a use of a path needs.
    pub(super) fn follow(&mut self, item: &TraceItem, paths: &mut Paths, needs: &mut NeedsBuilder) {
        let Some(path) = looked_up(item) else { return };
        let route = self.find(path, MOST_STEPS, paths);
        route.through.iter().for_each(|id| needs.dir(*id));
        let id = |path: &Path, paths: &mut Paths| paths.id_of(path);
        match &route.end {
            End::Dir(dir) => id(dir, paths).into_iter().for_each(|id| needs.dir(id)),
            End::File(file) if item.used.content().is_some() => {
                id(file, paths).into_iter().for_each(|id| needs.file(id))
            }
            End::File(_) | End::Nothing => {}
        }
    }

    fn find(&mut self, path: &Path, steps: u32, paths: &mut Paths) -> Arc<Route> {
        if let Some(known) = self.known.get(path.as_os_str()) {
            return known.clone();
        }
        let route = Arc::new(match steps.checked_sub(1) {
            Some(steps) => self.walk(path, steps, paths),
            None => Route {
                through: Vec::new(),
                end: End::Nothing,
            },
        });
        self.known.insert(path.into(), route.clone());
        route
    }

    /// The way to a path, found by the way to its directory. `steps`: symlinks that may still be followed.
    fn walk(&mut self, path: &Path, steps: u32, paths: &mut Paths) -> Route {
        let (parent, last) = match (path.parent(), path.components().next_back()) {
            (Some(parent), Some(last)) => (parent, last),
            _ => {
                return Route {
                    through: Vec::new(),
                    end: End::Dir("/".into()),
                };
            }
        };
        let above = self.find(parent, steps, paths);
        let mut through = above.through.clone();
        let End::Dir(dir) = &above.end else {
            let end = End::Nothing;
            return Route { through, end };
        };
        let name = match last {
            Component::Normal(name) => name,
            Component::ParentDir => {
                let up = dir.parent().unwrap_or(dir).to_owned();
                return Route {
                    through,
                    end: End::Dir(up),
                };
            }
            _ => {
                let end = End::Dir(dir.clone());
                return Route { through, end };
            }
        };
        through.extend(paths.id_of(dir));
        let end = match look(dir, name) {
            Found::End(end) => end,
            Found::Link(target) => {
                let beyond = self.find(&dir.join(target), steps, paths);
                through.extend(&beyond.through);
                beyond.end.clone()
            }
        };
        Route { through, end }
    }
}

/// The path that is there for certain, of one that was used.
pub(super) fn looked_up(item: &TraceItem) -> Option<&Path> {
    let is_there = match item.used {
        Use::Read(content) => content.is_some(),
        Use::Stat | Use::Listed => true,
        Use::Missing | Use::Write => false,
    };
    match is_there {
        true => Some(&item.path),
        false => item.path.parent(),
    }
}

enum Found {
    End(End),
    Link(PathBuf),
}

fn look(dir: &Path, name: &OsStr) -> Found {
    let path = dir.join(name);
    Found::End(match rustix::fs::lstat(&path).map(|stat| Stamp::of(&stat).kind) {
        Ok(Kind::Dir) => End::Dir(path),
        Ok(Kind::File) => End::File(path),
        Ok(Kind::Symlink) => match std::fs::read_link(&path) {
            Ok(target) => return Found::Link(target),
            Err(_) => End::Nothing,
        },
        Ok(Kind::Special(_)) | Err(_) => End::Nothing,
    })
}
