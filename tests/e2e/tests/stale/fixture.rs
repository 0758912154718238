//! The files of the client that change under the jobs: how they are laid out, what names
//! there are, and contents that say which version they are. Knows no daemon and no mutation.

use crate::mutations::set_time;
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use termite_e2e::Scene;

/// Directories at the beginning; more come and go.
const DIRS: [&str; 5] = ["a", "b", "c", "c/d", "c/d/e"];
/// Names of files in each of them.
pub(crate) const FILES: [&str; 3] = ["f", "g", "h"];
/// The time of all files at the beginning.
const UNPACKED: i64 = 1_600_000_000;
/// Of a file that does not arrive in one piece.
const BIG: usize = 300_000;

/// The places of one scene.
pub(crate) struct Fixture {
    /// What jobs look at.
    pub tree: PathBuf,
    /// Beside it, where no job looks: other names of some files.
    pub outside: PathBuf,
    uid: u32,
    /// Made so far.
    versions: AtomicU64,
}

/// Names below a directory, in order.
#[derive(Default, Clone)]
pub(crate) struct Names {
    /// Regular files.
    pub files: Vec<PathBuf>,
    /// Directories, parents first.
    pub dirs: Vec<PathBuf>,
    /// Symbolic links.
    pub links: Vec<PathBuf>,
}

impl Fixture {
    /// Nothing lies there yet.
    pub(crate) fn new(scene: &Scene) -> Result<Self> {
        Ok(Self {
            tree: scene.dir("p/tree")?,
            outside: scene.dir("p/outside")?,
            uid: scene.uid(),
            versions: AtomicU64::default(),
        })
    }

    /// Lays everything out in the place of what was there.
    pub(crate) fn lay(&self) -> Result<()> {
        self.versions.store(0, Ordering::Relaxed);
        for dir in [&self.tree, &self.outside] {
            fs::remove_dir_all(dir)?;
            fs::create_dir(dir)?;
        }
        for dir in DIRS {
            fs::create_dir(self.tree.join(dir))?;
            for name in FILES {
                fs::write(self.tree.join(dir).join(name), self.fresh(100))?;
            }
        }
        fs::write(self.tree.join("b/big"), self.fresh(BIG))?;
        fs::hard_link(self.tree.join("a/h"), self.outside.join("1"))?;
        fs::hard_link(self.tree.join("c/d/h"), self.outside.join("2"))?;
        fs::hard_link(self.tree.join("b/g"), self.tree.join("c/twin"))?;
        for (name, target) in [
            ("to-file", "a/f"),
            ("to-dir", "c/d"),
            ("a/up", "../b"),
            ("b/nowhere", "x"),
        ] {
            symlink(target, self.tree.join(name))?;
        }
        // As unpacked: equal in size and time, so that nothing but their place and content
        // tells them apart.
        for path in self.names()?.files {
            set_time(&path, UNPACKED, 0)?;
        }
        self.settle()
    }

    /// The content of the next version.
    pub(crate) fn fresh(&self, size: usize) -> Vec<u8> {
        content(1 + self.versions.fetch_add(1, Ordering::Relaxed), size)
    }

    /// All names of the tree.
    pub(crate) fn names(&self) -> Result<Names> {
        let mut names = Names::default();
        names.add(&self.tree)?;
        Ok(names)
    }

    /// Gives the scene's user what came into being as somebody else's; touches nothing else.
    pub(crate) fn settle(&self) -> Result<()> {
        for top in [&self.tree, &self.outside] {
            let mut names = Names::default();
            names.add(top)?;
            for path in names.all().chain([top]) {
                if fs::symlink_metadata(path)?.uid() != self.uid {
                    lchown(path, Some(self.uid), Some(self.uid))?;
                }
            }
        }
        Ok(())
    }
}

impl Names {
    /// Every name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.dirs.iter().chain(&self.files).chain(&self.links)
    }

    fn add(&mut self, dir: &Path) -> Result<()> {
        let entries = fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))?;
        let mut found = entries
            .map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))))
            .collect::<std::io::Result<Vec<_>>>()?;
        found.sort_by(|a, b| a.0.cmp(&b.0));
        // What git keeps is big, and nobody's to look at.
        found.retain(|(path, _)| !path.ends_with(".git"));
        for (path, kind) in found {
            if kind.is_dir() {
                self.dirs.push(path.clone());
                self.add(&path)?;
            } else if kind.is_symlink() {
                self.links.push(path);
            } else {
                self.files.push(path);
            }
        }
        Ok(())
    }
}

/// So many bytes that differ from those of any other version, if there is room to.
pub(crate) fn content(version: u64, size: usize) -> Vec<u8> {
    let head = format!("version {version}\n");
    let body = version.to_string().into_bytes();
    head.into_bytes()
        .into_iter()
        .chain(body.into_iter().cycle())
        .take(size)
        .collect()
}
