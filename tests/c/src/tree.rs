//! What a program left: a tree read into memory and compared with another. Knows no program.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Times before this (2017) were set by the fixture or by the program; later ones are the clock's.
const RECENT: i64 = 1_500_000_000;

/// One path of a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    mode: u32,
    owner: (u32, u32),
    /// Seconds and nanoseconds if they were set, `None` if the clock gave them.
    mtime: Option<(i64, i64)>,
    node: Node,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Node {
    File { content: Vec<u8>, first_name: PathBuf },
    Dir,
    Symlink(Vec<u8>),
}

/// A whole tree by path. FIFOs and sockets do not count: a job's stay in its slot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Tree {
    /// Reads the tree at `root`. Link targets have `root` in them replaced by `$CWD`.
    /// Opens what is closed to the reader, so it must own the tree or be root.
    pub fn read(root: &Path) -> Result<Tree> {
        let mut tree = Tree::default();
        let mut names = HashMap::new();
        tree.add(root, Path::new(""), &mut names)?;
        Ok(tree)
    }

    fn add(&mut self, root: &Path, at: &Path, names: &mut HashMap<(u64, u64), PathBuf>) -> Result<()> {
        let mut children: Vec<_> = fs::read_dir(root.join(at))
            .with_context(|| format!("cannot list {}", root.join(at).display()))?
            .collect::<Result<_, _>>()?;
        children.sort_by_key(fs::DirEntry::file_name);
        for child in children {
            let path = at.join(child.file_name());
            let full = root.join(&path);
            let meta = fs::symlink_metadata(&full)?;
            let kind = meta.file_type();
            if kind.is_fifo() || kind.is_socket() {
                continue;
            }
            let node = if kind.is_symlink() {
                Node::Symlink(without(fs::read_link(&full)?.as_os_str().as_bytes(), root, "$CWD"))
            } else if kind.is_dir() {
                let shut = meta.mode() & 0o500 != 0o500;
                open_up(&full, meta.mode(), shut, 0o700)?;
                self.add(root, &path, names)?;
                open_up(&full, meta.mode(), shut, 0)?;
                Node::Dir
            } else {
                let shut = meta.mode() & 0o400 == 0;
                open_up(&full, meta.mode(), shut, 0o400)?;
                let content = fs::read(&full)?;
                open_up(&full, meta.mode(), shut, 0)?;
                let first_name = names
                    .entry((meta.dev(), meta.ino()))
                    .or_insert_with(|| path.clone())
                    .clone();
                Node::File { content, first_name }
            };
            let mtime = (meta.mtime() < RECENT).then(|| (meta.mtime(), meta.mtime_nsec()));
            let entry = Entry {
                mode: meta.mode(),
                owner: (meta.uid(), meta.gid()),
                mtime,
                node,
            };
            self.entries.insert(path, entry);
        }
        Ok(())
    }

    /// Takes one path out and answers what the file held.
    pub fn take_file(&mut self, path: &str) -> Option<Vec<u8>> {
        match self.entries.remove(Path::new(path))?.node {
            Node::File { content, .. } => Some(content),
            _ => None,
        }
    }

    /// What is different in `other`, a line each; empty when nothing is. The time of a
    /// directory whose names changed and changed back may be the old one.
    pub fn differences(&self, other: &Tree) -> String {
        let mut text = String::new();
        let paths: std::collections::BTreeSet<_> = self.entries.keys().chain(other.entries.keys()).collect();
        for path in paths {
            let line = match (self.entries.get(path), other.entries.get(path)) {
                (Some(_), None) => "is missing".to_owned(),
                (None, Some(_)) => "should not be there".to_owned(),
                (Some(want), Some(got)) => want.difference(got),
                (None, None) => String::new(),
            };
            if !line.is_empty() {
                let _ = writeln!(text, "{}: {line}", path.display());
            }
        }
        text
    }
}

impl Entry {
    fn difference(&self, got: &Entry) -> String {
        let mut text = String::new();
        if self.mode != got.mode {
            let _ = write!(text, "mode {:o}, not {:o}; ", got.mode, self.mode);
        }
        if self.owner != got.owner {
            let _ = write!(text, "owner {:?}, not {:?}; ", got.owner, self.owner);
        }
        let tolerable = self.node == Node::Dir && self.mtime.is_none();
        if self.mtime != got.mtime && !tolerable {
            let _ = write!(
                text,
                "mtime {:?}, not {:?} (None: by the clock); ",
                got.mtime, self.mtime
            );
        }
        match (&self.node, &got.node) {
            (
                Node::File {
                    content: a,
                    first_name: x,
                },
                Node::File {
                    content: b,
                    first_name: y,
                },
            ) => {
                if a != b {
                    let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
                    let _ = write!(
                        text,
                        "content differs from byte {at}, sizes {} and {}; ",
                        b.len(),
                        a.len()
                    );
                }
                if x != y {
                    let _ = write!(text, "is a link to {}, not to {}; ", y.display(), x.display());
                }
            }
            (a, b) if a != b => {
                let _ = write!(text, "{b:?}, not {a:?}; ");
            }
            _ => {}
        }
        text
    }
}

/// Sets a mode that lets the tree be read, or the one it had, where `shut` says so.
fn open_up(path: &Path, mode: u32, shut: bool, more: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if shut && !rustix::process::geteuid().is_root() {
        fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o7777 | more))?;
    }
    Ok(())
}

/// `bytes` with each occurrence of `root` replaced by `word`.
pub fn without(bytes: &[u8], root: &Path, word: &str) -> Vec<u8> {
    let root = root.as_os_str().as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        if let Some(tail) = rest.strip_prefix(root) {
            out.extend_from_slice(word.as_bytes());
            rest = tail;
        } else {
            out.push(first);
            rest = &rest[1..];
        }
    }
    out
}
