//! Finds a program as `execvp(3)` does, past what must not be found. Knows no shell.

use rustix::fs::Access;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the C library looks without `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A program as a file: the same by all of its names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of the file that a path leads to.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let meta = std::fs::metadata(path)?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
        })
    }
}

/// The file that `name` starts, other than those in `not`. The error is NotFound, or
/// PermissionDenied where the only file of that name cannot be executed.
pub(crate) fn program(name: &OsStr, path: Option<OsString>, not: &[Identity]) -> io::Result<PathBuf> {
    if name.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        return executable(&path, not).map(|()| path);
    }
    let mut failure = io::Error::from(rustix::io::Errno::NOENT);
    for dir in std::env::split_paths(&path.unwrap_or_else(|| DEFAULT_PATH.into())) {
        let dir = if dir.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            dir
        };
        let candidate = dir.join(name);
        match executable(&candidate, not) {
            Ok(()) => return Ok(candidate),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => failure = error,
            Err(_) => {}
        }
    }
    Err(failure)
}

fn executable(path: &Path, not: &[Identity]) -> io::Result<()> {
    let meta = std::fs::metadata(path)?;
    if not.contains(&Identity {
        device: meta.dev(),
        inode: meta.ino(),
    }) {
        return Err(rustix::io::Errno::NOENT.into());
    }
    if meta.is_dir() {
        return Err(rustix::io::Errno::ACCESS.into());
    }
    Ok(rustix::fs::access(path, Access::EXEC_OK)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn the_first_that_can_be_executed_and_is_not_excluded() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, mode: u32| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        };
        let me = file("own/termite", 0o755);
        symlink(&me, dir.path().join("own/gcc")).unwrap();
        file("plain/gcc", 0o644);
        let real = file("real/gcc", 0o755);
        file("plain/only", 0o644);
        std::fs::create_dir_all(dir.path().join("dirs/gcc")).unwrap();
        let path = || std::env::join_paths(["own", "plain", "dirs", "real"].map(|d| dir.path().join(d))).unwrap();
        let not = [Identity::of(&me).unwrap()];
        let find = |name: &str| program(OsStr::new(name), Some(path()), &not);
        assert_eq!(find("gcc").unwrap(), real);
        assert_eq!(find("only").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(find("none").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(find("").unwrap_err().kind(), io::ErrorKind::NotFound);
        let spelled = dir.path().join("plain/gcc");
        assert_eq!(
            find(spelled.to_str().unwrap()).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
        assert_eq!(find(real.to_str().unwrap()).unwrap(), real);
    }
}
