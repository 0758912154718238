//! What program a task runs, as far as its words tell.

use crate::view::read_below;
use rustix::fd::AsFd;
use std::path::Path;

/// The words that a task's program was started with; none where that cannot be told.
/// `proc` shows it by this number.
pub(super) fn command_line(proc: impl AsFd, task: u32) -> Vec<Vec<u8>> {
    let text = read_below(proc, Path::new(&format!("{task}/cmdline"))).unwrap_or_default();
    let text = text.strip_suffix(b"\0").unwrap_or(&text);
    text.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

/// Whether this is mkdir(1) without `-p`.
pub(super) fn is_plain_mkdir(words: &[Vec<u8>]) -> bool {
    let name = |word: &[u8]| word.rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec);
    let is_multiple = |name: &[u8]| matches!(name, b"busybox" | b"toybox" | b"coreutils");
    let mut words = words.iter();
    let mut program = words.next().and_then(|word| name(word));
    if program.as_deref().is_some_and(is_multiple) {
        program = words.next().and_then(|word| name(word));
    }
    let makes_parents = |word: &Vec<u8>| match word.strip_prefix(b"--") {
        Some(long) => !long.is_empty() && b"parents".starts_with(long),
        None => word.len() > 1 && word[0] == b'-' && word.contains(&b'p'),
    };
    program.as_deref() == Some(b"mkdir") && !words.take_while(|word| *word != b"--").any(makes_parents)
}

#[cfg(test)]
mod tests {
    use super::is_plain_mkdir;

    #[test]
    fn mkdir_without_p_is_told_by_its_words() {
        let is_plain = |line: &str| {
            let words: Vec<_> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            is_plain_mkdir(&words)
        };
        for plain in [
            "mkdir d",
            "/bin/mkdir -m 755 d",
            "busybox mkdir d",
            "mkdir -- -p",
            "mkdir -v d",
        ] {
            assert!(is_plain(plain), "{plain}");
        }
        for other in [
            "mkdir -p d",
            "mkdir -vp d",
            "mkdir --parents d",
            "mkdir --par d",
            "sh -c mkdir",
            "cp -r a b",
        ] {
            assert!(!is_plain(other), "{other}");
        }
    }
}
