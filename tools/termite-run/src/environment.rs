//! The variables that are termite's own, and environments without them or with them.
//! Reads no environment itself.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use termite_abi::{ENV_BUILD, ENV_MODE, ENV_TOOLS};
use termite_types::BuildId;

/// Beginning of the names that no job sees.
const PRIVATE: &[u8] = b"TERMITE__";
/// Set to `1`: the command is a job because the user said so, whatever the rules say.
pub const ENV_MUST: &str = "TERMITE__MUST";
/// For the daemon: the directory whose project it begins with.
pub const ENV_FROM: &str = "TERMITE__FROM";
const PRELOAD: &str = "LD_PRELOAD";
const LIBRARY: &[u8] = b"libtermite.so";

/// The value of a variable in a list of `NAME=value`.
pub fn value<'a>(environment: &'a [OsString], name: &str) -> Option<&'a OsStr> {
    let find = |entry: &'a OsString| entry.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=");
    environment.iter().find_map(find).map(OsStr::from_bytes)
}

/// What the command would have had without termite: no private variable, no shim.
pub fn of_job(environment: &[OsString]) -> Vec<OsString> {
    let kept = environment.iter().filter(|entry| {
        let entry = entry.as_bytes();
        !entry.starts_with(PRIVATE) && name(entry) != ENV_MODE.as_bytes()
    });
    kept.filter_map(without_shim).collect()
}

/// What a driver on the client has: the shim in it, its build's name, and the tools that
/// are jobs below it, where `tools` names some. `library` is the shim.
pub fn of_driver(environment: &[OsString], library: &Path, build: BuildId, tools: &OsStr) -> Vec<OsString> {
    let replaced: &[&str] = if tools.is_empty() {
        &[ENV_MUST]
    } else {
        &[ENV_MUST, ENV_TOOLS]
    };
    let mut entries: Vec<OsString> = environment
        .iter()
        .filter(|entry| !replaced.iter().any(|own| name(entry.as_bytes()) == own.as_bytes()))
        .cloned()
        .collect();
    if !tools.is_empty() {
        entries.push(entry(ENV_TOOLS, tools));
    }
    if value(&entries, ENV_BUILD).is_none() {
        entries.push(entry(ENV_BUILD, OsStr::new(&build.to_string())));
    }
    preload(&mut entries, library);
    entries
}

/// Puts the shim in front of what is preloaded, unless it is there.
pub fn preload(environment: &mut Vec<OsString>, library: &Path) {
    let old = value(environment, PRELOAD).map(OsStr::to_owned);
    if old.as_ref().is_some_and(|old| pieces(old.as_bytes()).any(is_shim)) {
        return;
    }
    let mut new = library.as_os_str().to_owned();
    if let Some(old) = old.filter(|old| !old.is_empty()) {
        new.push(":");
        new.push(old);
    }
    environment.retain(|entry| name(entry.as_bytes()) != PRELOAD.as_bytes());
    environment.push(entry(PRELOAD, &new));
}

/// `NAME=value`.
pub fn entry(name: &str, value: &OsStr) -> OsString {
    let mut entry = OsString::from(name);
    entry.push("=");
    entry.push(value);
    entry
}

/// The entry without the shim in LD_PRELOAD; `None`: nothing is left of it.
fn without_shim(entry: &OsString) -> Option<OsString> {
    let Some(value) = entry.as_bytes().strip_prefix(b"LD_PRELOAD=") else {
        return Some(entry.clone());
    };
    if !pieces(value).any(is_shim) {
        return Some(entry.clone());
    }
    let others: Vec<&[u8]> = pieces(value).filter(|piece| !is_shim(piece)).collect();
    let joined = [b"LD_PRELOAD=".to_vec(), others.join(&b':')].concat();
    (!others.is_empty()).then(|| OsString::from_vec(joined))
}

fn name(entry: &[u8]) -> &[u8] {
    entry.split(|b| *b == b'=').next().unwrap_or(entry)
}

/// The libraries of an LD_PRELOAD, which are separated by colons or blanks.
fn pieces(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|b| matches!(b, b':' | b' '))
        .filter(|piece| !piece.is_empty())
}

fn is_shim(library: &[u8]) -> bool {
    library.rsplit(|b| *b == b'/').next() == Some(LIBRARY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Vec<OsString> {
        entries.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_job_sees_nothing_of_termite() {
        let env = list(&[
            "A=1",
            "LD_PRELOAD=/x/libtermite.so:other.so",
            "TERMITE__BUILD=1",
            "TERMITE_MODE=driver",
            "TERMITE_SOCKET=/s",
            "noequals",
        ]);
        assert_eq!(
            of_job(&env),
            list(&["A=1", "LD_PRELOAD=other.so", "TERMITE_SOCKET=/s", "noequals"])
        );
        assert_eq!(of_job(&list(&["LD_PRELOAD=/x/libtermite.so"])), list(&[]));
        let foreign = list(&["LD_PRELOAD=a.so  b.so"]);
        assert_eq!(of_job(&foreign), foreign);
    }

    #[test]
    fn a_driver_keeps_the_shim_and_gets_the_tools() {
        let env = list(&[
            "LD_PRELOAD=/x/libtermite.so",
            "TERMITE__BUILD=1",
            "TERMITE__MUST=1",
            "TERMITE__TOOLS=old",
        ]);
        let driver = of_driver(&env, Path::new("/p/lib/libtermite.so"), BuildId(7), OsStr::new("cc:ld"));
        assert_eq!(
            driver,
            list(&[
                "LD_PRELOAD=/x/libtermite.so",
                "TERMITE__BUILD=1",
                "TERMITE__TOOLS=cc:ld"
            ])
        );
        let bare = of_driver(
            &list(&["LD_PRELOAD=a.so"]),
            Path::new("/p/libtermite.so"),
            BuildId(7),
            OsStr::new(""),
        );
        assert_eq!(
            bare,
            list(&["TERMITE__BUILD=0000000000000007", "LD_PRELOAD=/p/libtermite.so:a.so"])
        );
    }
}
