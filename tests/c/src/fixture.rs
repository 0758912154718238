//! The directory tree that every program starts in: files, directories, links and
//! programs with fixed modes and times. Knows no program.

use crate::program::Binaries;
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

/// Seconds of the oldest time in a fixture; each path's is a little later.
const OLDEST: i64 = 1_000_000_000;

/// Names that mean something to a shell, a terminal, a mount option, or to nobody.
const ODD: [&[u8]; 13] = [
    b"\xff\xfe",
    b"a b\nc",
    b"\xc3\xa9",
    b"-rf",
    b"back\\slash",
    b"quo\"te",
    b"st*r",
    b"col:on",
    b"com,ma",
    b"\x01\x7f",
    b"trailing ",
    b".hidden",
    b"...",
];

/// What not every test wants, because it takes long to make.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Directories `fresh/N` with one file each, and links `to-fresh/N` to those files.
    pub fresh: usize,
    /// Names in the directory `listed`.
    pub listed: usize,
    /// Further programs in `bin`.
    pub beside: Vec<String>,
}

/// Makes the fixture in `at`, which must not exist, belonging to `owner` if given.
pub fn make(at: &Path, binaries: &Binaries, extras: Extras, owner: Option<u32>) -> Result<()> {
    fs::create_dir_all(at)?;
    plain(at)?;
    scripts(at)?;
    links(at)?;
    trees(at)?;
    if extras.fresh > 0 {
        fs::create_dir(at.join("to-fresh"))?;
    }
    for n in 0..extras.fresh {
        let file = format!("fresh/{n}/file");
        write(at, &file, format!("fresh file {n}\n").as_bytes(), 0o644)?;
        symlink(Path::new("..").join(file), at.join(format!("to-fresh/{n}")))?;
    }
    // In an order that is neither that of the names nor its reverse.
    for n in 0..extras.listed {
        write(at, format!("listed/name-{}", n * 77 % extras.listed), b"", 0o644)?;
    }
    let beside = extras
        .beside
        .iter()
        .map(|name| (name.as_str(), format!("bin/{name}"), 0o755));
    let always = [
        ("child", "bin/child".to_owned(), 0o755),
        ("libplug.so", "lib/libplug.so".to_owned(), 0o644),
    ];
    for (binary, path, mode) in always.into_iter().chain(beside) {
        let from = binaries.path(binary);
        write(
            at,
            path,
            &fs::read(&from).with_context(|| from.display().to_string())?,
            mode,
        )?;
    }
    closed(at)?;
    settle(at, owner)
}

fn write(at: &Path, path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<()> {
    let path = at.join(path);
    fs::create_dir_all(path.parent().unwrap_or(at))?;
    fs::write(&path, bytes).with_context(|| path.display().to_string())?;
    fs::set_permissions(&path, Permissions::from_mode(mode))?;
    Ok(())
}

fn plain(at: &Path) -> Result<()> {
    write(at, "dir/file", b"contents of the file\n", 0o644)?;
    write(at, "dir/empty", b"", 0o644)?;
    write(at, "dir/sub/deep/leaf", b"the leaf\n", 0o640)?;
    write(at, "private", b"mine alone\n", 0o600)?;
    write(at, "noread", b"nobody's\n", 0o000)?;
    write(at, "plain1", b"first\n", 0o644)?;
    write(at, "plain2", b"second\n", 0o644)?;
    for pair in ["read", "written", "replaced", "removed", "chmod", "appended"] {
        let (one, two) = (format!("pairs/{pair}-1"), format!("pairs/{pair}-2"));
        write(at, &one, format!("two names of {pair}\n").as_bytes(), 0o644)?;
        fs::hard_link(at.join(one), at.join(two))?;
    }
    let big: Vec<u8> = (0..200_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect();
    write(at, "big", &big, 0o644)?;
    for n in 0..60 {
        write(at, format!("many/n{n:02}"), format!("number {n}\n").as_bytes(), 0o644)?;
    }
    for name in ODD {
        write(at, Path::new("odd").join(OsStr::from_bytes(name)), b"odd\n", 0o644)?;
    }
    let unnamed = [
        "gone (deleted)/inside",
        "gone (deleted)/below (deleted)/deep",
        "file (deleted)",
    ];
    for name in unnamed {
        write(at, Path::new("odd").join(name), b"not deleted\n", 0o644)?;
    }
    fs::create_dir(at.join("closed"))?;
    write(at, "closed/file", b"behind a closed door\n", 0o644)
}

fn scripts(at: &Path) -> Result<()> {
    let long = format!("#!/{}\n", "long".repeat(80));
    let scripts: [(&str, &str); 8] = [
        ("script.sh", "#!/bin/sh\necho \"script $# <$1> <$2>\"\nexit ${1:-0}\n"),
        ("env-script", "#!/usr/bin/env sh\necho \"env script $# <$1>\"\n"),
        ("nested-script", "#!dir/script.sh nested\nnot read\n"),
        ("bad-script", "#!/missing/interpreter\n"),
        ("loop-script", "#!dir/loop-script\n"),
        ("long-script", &long),
        ("no-magic", "echo \"no magic $# <$1>\"\n"),
        ("empty-exec", ""),
    ];
    for (name, text) in scripts {
        write(at, Path::new("dir").join(name), text.as_bytes(), 0o755)?;
    }
    Ok(())
}

fn links(at: &Path) -> Result<()> {
    fs::create_dir_all(at.join("bin"))?;
    fs::create_dir_all(at.join("lib"))?;
    let links = [
        ("dir/file", "link"),
        ("dir", "dirlink"),
        ("dirlink/../link", "chain"),
        ("loop2", "loop"),
        ("loop", "loop2"),
        ("nowhere/x", "dangling"),
        ("out/target2", "dangling2"),
        ("..", "dir/back"),
        ("child", "bin/link"),
        ("libplug.so", "lib/link.so"),
    ];
    for (target, path) in links {
        symlink(target, at.join(path))?;
    }
    symlink(at.join("dir/file"), at.join("abslink"))?;
    symlink(at.join("dir"), at.join("absdir"))?;
    Ok(())
}

fn trees(at: &Path) -> Result<()> {
    for name in ["one", "two", "three", "four", "five", "six", "seven", "eight"] {
        let tree = Path::new("trees").join(name);
        write(at, tree.join("a/b/leaf"), format!("leaf of {name}\n").as_bytes(), 0o644)?;
        write(
            at,
            tree.join("a/b/other"),
            format!("other of {name}\n").as_bytes(),
            0o755,
        )?;
        write(at, tree.join("top"), format!("top of {name}\n").as_bytes(), 0o644)?;
        fs::create_dir(at.join(&tree).join("a/empty-dir"))?;
        symlink("../../top", at.join(&tree).join("a/b/up"))?;
    }
    fs::remove_dir_all(at.join("trees/seven"))?;
    fs::create_dir(at.join("trees/empty"))?;
    Ok(())
}

fn closed(at: &Path) -> Result<()> {
    fs::set_permissions(at.join("dir/sub"), Permissions::from_mode(0o755))?;
    fs::set_permissions(at.join("closed"), Permissions::from_mode(0o700))?;
    Ok(())
}

/// Gives every path its owner and its time, children before parents, and shuts `closed`.
fn settle(at: &Path, owner: Option<u32>) -> Result<()> {
    let mut paths = Vec::new();
    walk(at, &mut paths)?;
    paths.sort();
    for path in &paths {
        if let Some(id) = owner {
            lchown(path, Some(id), Some(id))?;
        }
    }
    for (n, path) in paths.iter().enumerate().rev() {
        let n = n as i64;
        let time = Timespec {
            tv_sec: OLDEST + n,
            tv_nsec: (n * 1_000_003 + 7) % 1_000_000_000,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    fs::set_permissions(at.join("closed"), Permissions::from_mode(0o000))?;
    if let Some(id) = owner {
        chown(at, Some(id), Some(id))?;
    }
    Ok(())
}

fn walk(at: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    paths.push(at.to_owned());
    for entry in fs::read_dir(at)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), paths)?;
        } else {
            paths.push(entry.path());
        }
    }
    Ok(())
}
