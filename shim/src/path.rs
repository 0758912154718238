//! Pieces of a path as it is spelled, without allocating or normalising anything.
//!
//! Knows no file system: it cannot tell a symlink from a directory.

use core::ffi::CStr;
use core::mem::MaybeUninit;

/// One absolute spelling: as given, or a working directory and what was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spelling<'a> {
    /// Empty for a path given absolute and for the root as working directory.
    cwd: &'a [u8],
    /// Between `cwd` and `path`.
    joint: &'a [u8],
    path: &'a [u8],
}

/// The pieces that an absolute spelling consists of, to be joined as they are.
pub(crate) type Pieces<'a> = [&'a [u8]; 3];

impl<'a> Spelling<'a> {
    /// A path that is looked up by its directory and last name. `None` where that does
    /// not tell what it depends on: it is empty, ends in `/`, `.` or `..`, or lies in a
    /// tree that is the slot's own. `cwd` matters to relative paths only.
    pub(crate) fn new(cwd: &'a [u8], path: &'a [u8]) -> Option<Self> {
        if matches!(last_name(path), b"" | b"." | b"..") {
            return None;
        }
        let spelling = if path.starts_with(b"/") {
            Self {
                cwd: b"",
                joint: b"",
                path,
            }
        } else if cwd == b"/" {
            Self {
                cwd: b"",
                joint: b"/",
                path,
            }
        } else {
            Self { cwd, joint: b"/", path }
        };
        let top = if spelling.cwd.is_empty() {
            first_name(path)
        } else {
            first_name(cwd)
        };
        (!matches!(top, b"proc" | b"dev" | b"sys")).then_some(spelling)
    }

    /// A path that ends in `/` or `/.`, or is `.` alone, as it is, and the directory that it
    /// enters so.
    pub(crate) fn of_entered(cwd: &'a [u8], path: &'a [u8]) -> Option<(Self, Self)> {
        if path == b"." {
            let joint = b"/";
            return Self::new(b"", cwd).map(|named| (Self { cwd, joint, path }, named));
        }
        let dir = path.strip_suffix(b"/.").or_else(|| path.strip_suffix(b"/"))?;
        let named = Self::new(cwd, dir)?;
        Some((Self { path, ..named }, named))
    }

    /// The whole of it.
    pub(crate) fn whole(&self) -> Pieces<'a> {
        [self.cwd, self.joint, self.path]
    }

    /// The directory in which its last name stands; empty for the root.
    pub(crate) fn dir(&self) -> Pieces<'a> {
        match split_last(self.path) {
            Some(dir) => [self.cwd, self.joint, dir],
            None => [self.cwd, b"", b""],
        }
    }
}

/// What stands before the last slash, if there is one.
pub(crate) fn split_last(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|&byte| byte == b'/')?;
    path.get(..slash)
}

/// What stands after the last slash.
pub(crate) fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// The first component.
fn first_name(path: &[u8]) -> &[u8] {
    path.split(|&byte| byte == b'/')
        .find(|name| !name.is_empty())
        .unwrap_or(b"")
}

/// Joins pieces in a buffer, with a final NUL.
pub(crate) fn join<'a, const N: usize>(pieces: [&[u8]; N], buf: &'a mut [MaybeUninit<u8>]) -> Option<&'a CStr> {
    let bytes = join_bytes(pieces, buf)?;
    // SAFETY: the last of the bytes is a NUL.
    Some(unsafe { CStr::from_ptr(bytes.as_ptr().cast()) })
}

/// [`join`], as bytes: the last one is the NUL.
pub(crate) fn join_bytes<'a, const N: usize>(
    pieces: [&[u8]; N],
    buf: &'a mut [MaybeUninit<u8>],
) -> Option<&'a mut [u8]> {
    let mut at = 0;
    for piece in pieces {
        let room = buf.get_mut(at..)?.get_mut(..piece.len())?;
        for (to, &byte) in room.iter_mut().zip(piece) {
            to.write(byte);
        }
        at += piece.len();
    }
    buf.get_mut(at)?.write(0);
    // SAFETY: the bytes up to and with the NUL were written above.
    Some(unsafe { core::slice::from_raw_parts_mut(buf.as_mut_ptr().cast(), at + 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(cwd: &str, path: &str) -> Option<String> {
        let spelling = Spelling::new(cwd.as_bytes(), path.as_bytes())?;
        Some(String::from_utf8(spelling.dir().concat()).unwrap())
    }

    fn whole(cwd: &str, path: &str) -> String {
        String::from_utf8(Spelling::new(cwd.as_bytes(), path.as_bytes()).unwrap().whole().concat()).unwrap()
    }

    #[test]
    fn the_directory_part_is_taken_as_it_is_spelled() {
        assert_eq!(dir("/w", "/a/b/../c/x.h").unwrap(), "/a/b/../c");
        assert_eq!(dir("/w", "/x").unwrap(), "");
        assert_eq!(dir("/w", "x").unwrap(), "/w");
        assert_eq!(dir("/w", "../i/x").unwrap(), "/w/../i");
        assert_eq!(dir("/", "x").unwrap(), "");
        assert_eq!(dir("/", "a/x").unwrap(), "/a");
    }

    #[test]
    fn the_whole_is_absolute() {
        assert_eq!(whole("/w", "x"), "/w/x");
        assert_eq!(whole("/", "x"), "/x");
        assert_eq!(whole("/w", "/x"), "/x");
    }

    #[test]
    fn a_path_may_enter_a_directory() {
        let enter = |path: &'static str| {
            let (whole, named) = Spelling::of_entered(b"/w", path.as_bytes())?;
            let text = |pieces: Pieces| String::from_utf8(pieces.concat()).unwrap();
            Some((text(whole.whole()), text(named.whole())))
        };
        assert_eq!(enter("a/.").unwrap(), ("/w/a/.".to_owned(), "/w/a".to_owned()));
        assert_eq!(enter("/a/b/").unwrap(), ("/a/b/".to_owned(), "/a/b".to_owned()));
        for path in ["a", "/", "./", "../.", "a//", "a/./", "/proc/.", "a/.."] {
            assert!(enter(path).is_none(), "{path}");
        }
    }

    #[test]
    fn paths_that_name_more_than_one_entry_are_left_alone() {
        for path in [
            "",
            "a/",
            "/",
            ".",
            "..",
            "a/.",
            "a/..",
            "/proc/1",
            "//dev/null",
            "/sys",
            "/proc",
        ] {
            assert!(dir("/w", path).is_none(), "{path}");
        }
        assert!(dir("/proc/1", "x").is_none());
        assert!(dir("/", "proc/x").is_none());
        assert!(dir("/", "process").is_some());
        assert!(dir("/w", "a...").is_some());
    }
}
