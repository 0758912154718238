//! What strace saw a command do to paths: calls become sights, each an absolute path and
//! what the kernel said of it. Knows system calls by name (man section 2); knows nothing
//! of termite.

use super::strace::{self, Call, Outcome};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Calls that have no path of their own, or none but the working directory's.
const PATHLESS: [&str; 11] = [
    "getcwd",
    "fork",
    "vfork",
    "clone",
    "clone3",
    "exit",
    "exit_group",
    "fstatfs",
    "getdents",
    "getdents64",
    "fchdir",
];
/// What strace is told to show.
pub(super) const TRACED: &str =
    "trace=%file,getdents,getdents64,fchdir,fchmodat,fchownat,connect,bind,fork,vfork,clone,clone3";

/// One path in one call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sight {
    /// Absolute, without `.`, `..` and double slashes.
    pub path: Vec<u8>,
    /// What the kernel said.
    pub saw: Saw,
    /// It was read as a link.
    pub as_link: bool,
    /// The line of strace.
    pub line: String,
}

/// What the kernel said of a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Saw {
    /// Opened for reading, or executed.
    Read,
    /// Found.
    Found,
    /// Not there.
    Missing,
    /// One of the two paths of the call is not there.
    OneMissing,
    /// Its names were read; the path is the kernel's.
    Listed,
    /// Created, changed, renamed or removed.
    Changed,
    /// Opened so that it may have been made or only read.
    ReadOrChanged,
    /// Refused for another reason: it was named, no more.
    Named,
}

/// What a call does to one of its paths.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Look,
    Link,
    Open {
        flags: usize,
    },
    Exec,
    Change,
    Remove,
    Make,
    /// Source of a rename or target of the new name: of two paths.
    Move,
    Source,
    Target,
}

/// Position of the path, of the descriptor it begins at, and its role.
type Row = (usize, Option<usize>, Role);

fn rows(name: &str) -> Option<Vec<Row>> {
    use Role::{Change, Exec, Link, Look, Make, Move, Open, Remove, Source, Target};
    Some(match name {
        "stat" | "lstat" | "access" | "statfs" | "chdir" | "getxattr" | "lgetxattr" | "listxattr" | "llistxattr" => {
            vec![(0, None, Look)]
        }
        "newfstatat" | "statx" | "faccessat" | "faccessat2" | "name_to_handle_at" => vec![(1, Some(0), Look)],
        "inotify_add_watch" => vec![(1, None, Look)],
        "readlink" => vec![(0, None, Link)],
        "readlinkat" => vec![(1, Some(0), Link)],
        "open" => vec![(0, None, Open { flags: 1 })],
        "openat" | "openat2" => vec![(1, Some(0), Open { flags: 2 })],
        "creat" | "truncate" | "chmod" | "chown" | "lchown" | "utime" | "utimes" | "setxattr" | "lsetxattr"
        | "removexattr" | "lremovexattr" => vec![(0, None, Change)],
        "fchmodat" | "fchmodat2" | "fchownat" | "utimensat" | "futimesat" => vec![(1, Some(0), Change)],
        "execve" => vec![(0, None, Exec)],
        "execveat" => vec![(1, Some(0), Exec)],
        "mkdir" | "mknod" => vec![(0, None, Make)],
        "mkdirat" | "mknodat" => vec![(1, Some(0), Make)],
        "symlink" => vec![(1, None, Make)],
        "symlinkat" => vec![(2, Some(1), Make)],
        "unlink" | "rmdir" => vec![(0, None, Remove)],
        "unlinkat" => vec![(1, Some(0), Remove)],
        "rename" => vec![(0, None, Move), (1, None, Target)],
        "renameat" | "renameat2" => vec![(1, Some(0), Move), (3, Some(2), Target)],
        "link" => vec![(0, None, Source), (1, None, Target)],
        "linkat" => vec![(1, Some(0), Source), (3, Some(2), Target)],
        _ => return None,
    })
}

/// What all processes of a command saw, from the files `PREFIX.PID` that strace wrote
/// into `dir`. The command began in `cwd`.
pub(super) fn read(dir: &Path, cwd: &Path) -> Result<Vec<Sight>> {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let pid = path.extension().and_then(|pid| pid.to_str()?.parse::<u64>().ok());
        let text = String::from_utf8(fs::read(&path)?).context("strace writes ASCII")?;
        let calls = strace::calls(&text).with_context(|| format!("reading {}", path.display()))?;
        processes.insert(pid.context("a file of strace")?, calls);
    }
    let children: BTreeSet<u64> = processes.values().flatten().filter_map(child).collect();
    let mut first = processes.keys().filter(|pid| !children.contains(pid));
    let (Some(&root), None) = (first.next(), first.next()) else {
        bail!("not one first process in {:?}", processes.keys());
    };
    let mut observed = Vec::new();
    let mut todo = vec![(root, cwd.as_os_str().as_encoded_bytes().to_vec())];
    while let Some((pid, mut cwd)) = todo.pop() {
        for call in processes.remove(&pid).context("no file of a process")? {
            observed.extend(of_call(&call, &cwd)?);
            todo.extend(child(&call).map(|child| (child, cwd.clone())));
            if let (Outcome::Did(_), Some(entered)) = (&call.outcome, entered(&call, &cwd)) {
                cwd = entered;
            }
        }
    }
    Ok(observed)
}

fn child(call: &Call) -> Option<u64> {
    match (&call.name[..], &call.outcome) {
        ("fork" | "vfork" | "clone" | "clone3", Outcome::Did(pid)) if *pid > 0 => Some(*pid),
        _ => None,
    }
}

/// The working directory after a call that sets it.
fn entered(call: &Call, cwd: &[u8]) -> Option<Vec<u8>> {
    match &call.name[..] {
        "fchdir" => strace::path_of_descriptor(call.args.first()?),
        "chdir" => {
            let path = absolute(&strace::literal(call.args.first()?)?, cwd);
            // The kernel's name of it, without symlinks.
            let real = fs::canonicalize(super::as_path(&path)).ok();
            Some(real.map_or(path, |real| real.into_os_string().into_encoded_bytes()))
        }
        _ => None,
    }
}

fn of_call(call: &Call, cwd: &[u8]) -> Result<Vec<Sight>> {
    let sight = |path: Vec<u8>, saw: Saw, as_link: bool| Sight {
        path: normal(&path),
        saw,
        as_link,
        line: call.line.clone(),
    };
    if call.outcome == Outcome::Unknown {
        return Ok(Vec::new());
    }
    if call.name.starts_with("getdents") {
        let path = call.args.first().and_then(|fd| strace::path_of_descriptor(fd));
        return Ok(path.map(|path| sight(path, Saw::Listed, false)).into_iter().collect());
    }
    if let "connect" | "bind" = &call.name[..] {
        let bind = call.name == "bind";
        let Some(path) = socket_path(call) else {
            return Ok(Vec::new());
        };
        let role = if bind { Role::Make } else { Role::Look };
        return Ok(vec![sight(absolute(&path, cwd), saw(role, call), false)]);
    }
    let Some(rows) = rows(&call.name) else {
        if PATHLESS.contains(&&call.name[..]) {
            return Ok(Vec::new());
        }
        bail!("the oracle does not know the call: {}", call.line);
    };
    let mut observed = Vec::new();
    for (path, dir, role) in rows {
        let Some(path) = call
            .args
            .get(path)
            .and_then(|arg| strace::literal(arg))
            .filter(|path| !path.is_empty())
        else {
            continue;
        };
        let from = match dir.and_then(|dir| call.args.get(dir)) {
            Some(arg) if !path.starts_with(b"/") => match strace::path_of_descriptor(arg) {
                Some(dir) => dir,
                None => bail!("a descriptor without a path: {}", call.line),
            },
            _ => cwd.to_vec(),
        };
        observed.push(sight(absolute(&path, &from), saw(role, call), role == Role::Link));
    }
    Ok(observed)
}

fn socket_path(call: &Call) -> Option<Vec<u8>> {
    let (_, path) = call.args.get(1)?.split_once("sun_path=")?;
    strace::literal(path.trim_end_matches('}'))
}

fn saw(role: Role, call: &Call) -> Saw {
    let flags = match role {
        Role::Open { flags } => call.args.get(flags).map_or("", |flags| &flags[..]),
        _ => "",
    };
    let has = |flag: &str| {
        flags
            .split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_')
            .any(|one| one == flag)
    };
    let error = match &call.outcome {
        Outcome::Did(_) => {
            return match role {
                Role::Look | Role::Link | Role::Source => Saw::Found,
                Role::Exec => Saw::Read,
                Role::Open { .. } if has("O_PATH") || has("O_TMPFILE") => Saw::Found,
                Role::Open { .. } if has("O_EXCL") || has("O_WRONLY") || has("O_RDWR") || has("O_TRUNC") => {
                    Saw::Changed
                }
                Role::Open { .. } if has("O_CREAT") => Saw::ReadOrChanged,
                Role::Open { .. } => Saw::Read,
                Role::Change | Role::Remove | Role::Make | Role::Move | Role::Target => Saw::Changed,
            };
        }
        Outcome::Failed(error) => &error[..],
        Outcome::Unknown => "",
    };
    match error {
        "ENOENT" if matches!(role, Role::Move | Role::Source | Role::Target) => Saw::OneMissing,
        "ENOENT" => Saw::Missing,
        "EEXIST" if role == Role::Make || has("O_EXCL") => Saw::Found,
        "EINVAL" if role == Role::Link => Saw::Found,
        _ => Saw::Named,
    }
}

fn absolute(path: &[u8], from: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") {
        return path.to_vec();
    }
    [from, b"/", path].concat()
}

/// Without `.`, `..` and double slashes, by the letters alone.
pub(super) fn normal(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    let mut whole = Vec::new();
    for part in parts {
        whole.push(b'/');
        whole.extend_from_slice(part);
    }
    if whole.is_empty() {
        whole.push(b'/');
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(files: &[(u64, &str)]) -> Vec<(String, Saw)> {
        let dir = tempfile::tempdir().unwrap();
        for (pid, text) in files {
            fs::write(dir.path().join(format!("s.{pid}")), text).unwrap();
        }
        let observed = read(dir.path(), Path::new("/w")).unwrap();
        let pair = |sight: Sight| (String::from_utf8(sight.path).unwrap(), sight.saw);
        observed.into_iter().map(pair).collect()
    }

    #[test]
    fn paths_begin_where_their_process_is() {
        let parent = concat!(
            "execve(\"./a\", [\"a\"], 0x1) = 0\n",
            "chdir(\"sub/../no\") = 0\n",
            "fork() = 12\n",
            "chdir(\"/e\") = -1 ENOENT (No such file or directory)\n",
            "unlinkat(5</d>, \"x\", 0) = 0\n",
        );
        let child = concat!(
            "readlink(\"l\", 0x1, 9) = -1 EINVAL (Invalid argument)\n",
            "getdents64(3</w/no>, 0x1 /* 2 entries */, 32768) = 48\n",
            "connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path=\"/run/s\"}, 110) = -1 ENOENT (No such file or directory)\n",
            "connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path=@\"abstract\"}, 110) = 0\n",
        );
        let seen = seen(&[(7, parent), (12, child)]);
        let expected = [
            ("/w/a", Saw::Read),
            ("/w/no", Saw::Found),
            ("/e", Saw::Missing),
            ("/d/x", Saw::Changed),
            ("/w/no/l", Saw::Found),
            ("/w/no", Saw::Listed),
            ("/run/s", Saw::Missing),
        ];
        assert_eq!(seen, expected.map(|(path, saw)| (path.to_owned(), saw)));
    }

    #[test]
    fn each_open_is_what_its_flags_say() {
        let lines = concat!(
            "openat(AT_FDCWD</w>, \"a\", O_RDONLY|O_CLOEXEC) = 3</w/a>\n",
            "openat(AT_FDCWD</w>, \"b\", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</w/b>\n",
            "openat(AT_FDCWD</w>, \"c\", O_RDWR|O_CREAT|O_EXCL, 0600) = -1 EEXIST (File exists)\n",
            "openat(AT_FDCWD</w>, \"d\", O_RDONLY|O_PATH) = 3</w/d>\n",
            "openat2(AT_FDCWD</w>, \"e\", {flags=O_RDWR, resolve=0}, 24) = 3</w/e>\n",
            "openat(AT_FDCWD</w>, \"f\", O_RDONLY) = -1 EACCES (Permission denied)\n",
            "rename(\"g\", \"h\") = -1 ENOENT (No such file or directory)\n",
        );
        let saws: Vec<_> = seen(&[(1, lines)]).into_iter().map(|(_, saw)| saw).collect();
        let expected = [
            Saw::Read,
            Saw::Changed,
            Saw::Found,
            Saw::Found,
            Saw::Changed,
            Saw::Named,
            Saw::OneMissing,
            Saw::OneMissing,
        ];
        assert_eq!(saws, expected);
    }

    #[test]
    fn an_unknown_call_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("s.1"), "newcall(\"/x\") = 0\n").unwrap();
        assert!(read(dir.path(), Path::new("/")).is_err());
    }
}
