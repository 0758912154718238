//! GNU make's job server as `MAKEFLAGS` tells of it, and cargo's as `CARGO_MAKEFLAGS`
//! does. Knows the words of make 4.x's manual ("POSIX Jobserver Interaction"); opens
//! nothing.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use termite_types::Jobserver;

/// In the order in which rustc looks at them. Below cargo the second may still name the
/// pipe of a make around it, which cargo did not inherit.
const VARIABLES: [&[u8]; 2] = [b"CARGO_MAKEFLAGS=", b"MAKEFLAGS="];

/// The pipe that an environment of `NAME=value` strings names, if it names one. The
/// last of several options counts, as in make itself.
pub fn in_environment(env: &[OsString]) -> Option<Jobserver> {
    let flags = |name: &[u8]| env.iter().find_map(|variable| variable.as_bytes().strip_prefix(name));
    let named = |flags: &[u8]| flags.split(|byte| *byte == b' ').rev().find_map(in_word);
    VARIABLES.into_iter().filter_map(flags).find_map(named)
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
    fn the_pipe_of_cargo_counts_before_that_of_make() {
        let cargo = "CARGO_MAKEFLAGS=-j --jobserver-fds=6,7 --jobserver-auth=6,7";
        let env = ["MAKEFLAGS= --jobserver-auth=3,4".into(), cargo.into()];
        let found = in_environment(&env).map(|found| (found.read, found.write));
        assert_eq!(found, Some((6, 7)));
    }

    #[test]
    fn other_flags_name_none() {
        assert_eq!(find("-j4"), None);
        assert_eq!(find("--jobserver-auth=fifo:/tmp/x"), None);
        assert_eq!(find("--jobserver-auth=-2,-2"), None);
        assert_eq!(in_environment(&[]), None);
    }
}
