//! GNU make's job server as `MAKEFLAGS` tells of it. Knows the words of make 4.x's
//! manual ("POSIX Jobserver Interaction"); opens nothing.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use termite_types::Jobserver;

/// The pipe that an environment of `NAME=value` strings names, if it names one. The
/// last of several options counts, as in make itself.
pub fn in_environment(env: &[OsString]) -> Option<Jobserver> {
    let flags = env
        .iter()
        .find_map(|variable| variable.as_bytes().strip_prefix(b"MAKEFLAGS="))?;
    flags.split(|byte| *byte == b' ').rev().find_map(in_word)
}

fn in_word(word: &[u8]) -> Option<Jobserver> {
    let value = [&b"--jobserver-auth="[..], b"--jobserver-fds="]
        .iter()
        .find_map(|name| word.strip_prefix(*name))?;
    let (read, write) = std::str::from_utf8(value).ok()?.split_once(',')?;
    Some(Jobserver {
        read: read.parse().ok()?,
        write: write.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(flags: &str) -> Option<(u32, u32)> {
        let env = vec!["A=b".into(), format!("MAKEFLAGS={flags}").into()];
        in_environment(&env).map(|found| (found.read, found.write))
    }

    #[test]
    fn pipes_are_found_in_both_spellings_and_the_last_one_counts() {
        assert_eq!(find(" -j4 --jobserver-auth=3,4"), Some((3, 4)));
        assert_eq!(find("k -j --jobserver-fds=5,6 -- A=1"), Some((5, 6)));
        assert_eq!(find("--jobserver-auth=3,4 --jobserver-auth=7,8"), Some((7, 8)));
    }

    #[test]
    fn other_flags_name_none() {
        assert_eq!(find("-j4"), None);
        assert_eq!(find("--jobserver-auth=fifo:/tmp/x"), None);
        assert_eq!(find("--jobserver-auth=-2,-2"), None);
        assert_eq!(in_environment(&[]), None);
    }
}
