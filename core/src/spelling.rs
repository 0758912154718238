//! Paths as they are spelled. Knows no file system: it cannot tell a symlink from a directory.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// An absolute path without `.`, and with each `..` taken literally.
pub fn lexical(spelled: &Path) -> PathBuf {
    let mut path = PathBuf::from("/");
    for part in spelled.components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => drop(path.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path
}

/// [`lexical`], without a copy where the path is spelled so already.
pub fn in_lexical(spelled: &Path) -> Cow<'_, Path> {
    let bytes = spelled.as_os_str().as_bytes();
    let is_lexical = bytes.starts_with(b"/")
        && (bytes.len() == 1 || !bytes.ends_with(b"/"))
        && bytes.windows(2).all(|pair| pair != b"//" && pair != b"/.");
    match is_lexical {
        true => Cow::Borrowed(spelled),
        false => Cow::Owned(lexical(spelled)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_as_it_is_where_that_is_right() {
        for path in [
            "/",
            "/a",
            "/a/b.c",
            "//a",
            "/a/",
            "/./a",
            "/a/..",
            "/a/.b",
            "/a//b",
            "/a/../../b",
        ] {
            assert_eq!(in_lexical(Path::new(path)), lexical(Path::new(path)), "{path}");
            assert_eq!(
                in_lexical(Path::new(path)).as_os_str(),
                lexical(Path::new(path)).as_os_str(),
                "{path}"
            );
        }
    }
}
