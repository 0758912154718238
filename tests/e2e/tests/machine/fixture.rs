//! The tree of a program in a real file system: how it is laid out, and how it is read
//! back in the words of the model. Knows neither jobs nor daemons.

use crate::language::{Program, Seed};
use crate::model::Tree;
use crate::search::start;
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, lgetxattr, utimensat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use termite_e2e::end_state::SET_TIME;

/// Time of all files at the start, seconds since 1970.
pub(crate) const START: i64 = 1_400_000_000;

/// Makes the tree of a program in the empty directory `root`.
pub(crate) fn lay(program: &Program, root: &Path) -> Result<()> {
    for seed in start(program).1 {
        make(&seed, root).with_context(|| format!("making {seed:?}"))?;
    }
    Ok(())
}

fn make(seed: &Seed, root: &Path) -> Result<()> {
    match seed {
        Seed::Dir(path) => fs::create_dir(root.join(path))?,
        Seed::File(path, text, mode) => {
            let path = root.join(path);
            fs::write(&path, text)?;
            fs::set_permissions(&path, Permissions::from_mode((*mode).into()))?;
            let time = Timespec {
                tv_sec: START,
                tv_nsec: 0,
            };
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Seed::Hard(path, name) => fs::hard_link(root.join(path), root.join(name))?,
        Seed::Soft(target, path) => symlink(target, root.join(path))?,
    }
    Ok(())
}

/// Reads what lies below `root`.
pub(crate) fn read(root: &Path) -> Result<Tree> {
    let (mut tree, mut first_names) = (Tree::new(), BTreeMap::new());
    add(root, "", &mut tree, &mut first_names)?;
    Ok(tree)
}

fn add(dir: &Path, above: &str, tree: &mut Tree, first_names: &mut BTreeMap<u64, String>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))?;
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    for name in names {
        let (full, path) = (dir.join(&name), format!("{above}{name}"));
        let stat = fs::symlink_metadata(&full)?;
        let first = first_names.entry(stat.ino()).or_insert_with(|| path.clone()).clone();
        tree.insert(path.clone(), line(&full, &stat, &first)?);
        if stat.is_dir() {
            add(&full, &format!("{path}/"), tree, first_names)?;
        }
    }
    Ok(())
}

fn line(path: &Path, stat: &fs::Metadata, first: &str) -> Result<String> {
    let mode = stat.mode() & 0o7777;
    let mut text = if stat.is_dir() {
        format!("dir {mode:04o}")
    } else if stat.is_symlink() {
        format!("link to {}", fs::read_link(path)?.display())
    } else if stat.is_file() {
        let bytes = fs::read(path)?;
        format!("file {:?} {mode:04o}", String::from_utf8_lossy(&bytes))
    } else {
        bail!("{} is of a kind that no job makes", path.display());
    };
    if stat.is_file() && stat.mtime() < SET_TIME {
        text += &format!(" at {}", stat.mtime());
    }
    let mut value = [0; 64];
    match lgetxattr(path, "user.k", &mut value[..]) {
        Ok(length) => text += &format!(" user.k={}", value[..length].escape_ascii()),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM) => {}
        Err(error) => bail!("attribute of {}: {error}", path.display()),
    }
    if !stat.is_dir() && stat.nlink() > 1 {
        text += &format!(", {} names, file of {first}", stat.nlink());
    }
    Ok(text)
}
