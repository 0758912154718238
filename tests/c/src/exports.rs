//! The functions that libc exports against the reviewed list of them, `exports.txt`, whose
//! head says what it means. Knows no function: what is right about one is said there.

use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};

/// Of glibc: 2.36 is `Version(2, 36)`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version(u32, u32);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        // A third number is that of a bug fix (GLIBC_2.2.5).
        let minor = minor.split('.').next()?;
        Some(Version(major.parse().ok()?, minor.parse().ok()?))
    }
}

/// What a section's first word may be.
const WORDS: [&str; 4] = ["guard", "refused", "open", "none"];

/// The list.
#[derive(Debug)]
pub struct Reviewed {
    /// The glibc that it was compared with.
    version: Version,
    /// The functions, some with the later glibc that first had them.
    names: BTreeMap<String, Option<Version>>,
}

impl Reviewed {
    /// Reads the list. Errors: a section without a reason or a known word, names out of
    /// order or listed twice.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut version, mut names) = (None, BTreeMap::new());
        let (mut section, mut reasoned, mut last) = ("", false, "");
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(title) = line.strip_prefix("== ") {
                let known = title.split_once(": ").is_some_and(|(word, _)| WORDS.contains(&word));
                ensure!(known, "a section begins with one of {WORDS:?}: {line}");
                (section, reasoned, last) = (title, false, "");
            } else if let Some(reason) = line.strip_prefix("-- ") {
                reasoned |= !reason.trim().is_empty();
            } else if let Some(text) = line.strip_prefix("reviewed ") {
                version = Version::parse(text);
            } else {
                ensure!(reasoned, "no reason before the names of {section:?}");
                for word in line.split_whitespace() {
                    let (name, since) = split(word)?;
                    ensure!(last < name, "{name} is out of order in {section:?}");
                    last = name;
                    let before = names.insert(name.to_owned(), since);
                    ensure!(before.is_none(), "{name} is listed twice, again in {section:?}");
                }
            }
        }
        let version = version.context("a line must say which glibc was reviewed")?;
        for (name, since) in &names {
            ensure!(
                since.is_none_or(|since| since > version),
                "{name} is no name of a later glibc"
            );
        }
        Ok(Reviewed { version, names })
    }

    /// Compares the list and the hook table with what a libc has.
    pub fn compare(&self, libc: &Functions, rows: &[String]) -> Result<()> {
        let rows: BTreeSet<&String> = rows.iter().collect();
        let new: Vec<_> = libc
            .names
            .iter()
            .filter(|name| !rows.contains(name) && !self.names.contains_key(*name))
            .collect();
        ensure!(
            new.is_empty(),
            "neither hooked nor reviewed in tests/c/exports.txt: {new:?}"
        );
        let both: Vec<_> = self.names.keys().filter(|name| rows.contains(name)).collect();
        ensure!(both.is_empty(), "hooked, and yet in tests/c/exports.txt: {both:?}");
        // An older libc may lack names of which the list does not say since when they are.
        let expected = |since: &Option<Version>| libc.version >= since.unwrap_or(self.version);
        let stale: Vec<_> = self
            .names
            .iter()
            .filter(|(name, since)| expected(since) && !libc.names.contains(*name))
            .collect();
        ensure!(
            stale.is_empty(),
            "in tests/c/exports.txt, but libc lacks them: {stale:?}"
        );
        let early: Vec<_> = self
            .names
            .iter()
            .filter(|(name, since)| since.is_some() && !expected(since) && libc.names.contains(*name))
            .collect();
        ensure!(
            early.is_empty(),
            "libc has them earlier than tests/c/exports.txt says: {early:?}"
        );
        Ok(())
    }
}

/// A name and the glibc behind its `@`.
fn split(word: &str) -> Result<(&str, Option<Version>)> {
    match word.split_once('@') {
        None => Ok((word, None)),
        Some((name, since)) => {
            let since = Version::parse(since).with_context(|| format!("no version: {word}"))?;
            Ok((name, Some(since)))
        }
    }
}

/// The functions of one libc that a program can link to.
#[derive(Debug)]
pub struct Functions {
    version: Version,
    names: BTreeSet<String>,
}

impl Functions {
    /// Reads what `nm -D --defined-only` says: address, letter, and name with its version.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut version, mut names) = (None, BTreeSet::new());
        for line in text.lines() {
            let mut fields = line.split_whitespace().skip(1);
            let (Some(letter), Some(symbol)) = (fields.next(), fields.next()) else {
                continue;
            };
            if letter == "A" {
                // The versions themselves are absolute symbols.
                version = version.max(symbol.strip_prefix("GLIBC_").and_then(Version::parse));
            } else if matches!(letter, "T" | "W" | "i") {
                let (name, of) = symbol
                    .split_once('@')
                    .context("nm tells no versions of symbols; binutils 2.35 or newer is needed")?;
                if of.trim_start_matches('@') != "GLIBC_PRIVATE" {
                    names.insert(name.to_owned());
                }
            }
        }
        let version = version.context("this libc does not say which glibc it is")?;
        Ok(Functions { version, names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# a comment\nreviewed 2.36\n== guard: walks\n-- inside libc\nglob glob64\nnewer@2.39\n== none: memory\n-- none\nmemcpy\n";
    const NM: &str = "0 A GLIBC_2.2.5\n0 A GLIBC_2.36\n0 A GLIBC_PRIVATE\n1 T glob@@GLIBC_2.27\n1 T glob@GLIBC_2.2.5\n2 W glob64@@GLIBC_2.27\n3 i memcpy@@GLIBC_2.14\n4 T open@@GLIBC_2.2.5\n5 T __secret@@GLIBC_PRIVATE\n6 V environ@@GLIBC_2.2.5\n7 D stdin@@GLIBC_2.2.5\n";

    fn compared(list: &str, nm: &str) -> String {
        let rows = ["open".to_owned()];
        let libc = Functions::parse(nm).unwrap();
        match Reviewed::parse(list).and_then(|list| list.compare(&libc, &rows)) {
            Ok(()) => String::new(),
            Err(why) => format!("{why:#}"),
        }
    }

    #[test]
    fn what_is_reviewed_passes() {
        assert_eq!(compared(LIST, NM), "");
    }

    #[test]
    fn a_new_function_fails() {
        let new = format!("{NM}8 T openat9@@GLIBC_2.36\n");
        assert!(compared(LIST, &new).contains("neither hooked nor reviewed"));
    }

    #[test]
    fn a_name_that_libc_lacks_fails_unless_libc_is_older() {
        let without = NM.replace("3 i memcpy@@GLIBC_2.14\n", "");
        assert!(compared(LIST, &without).contains("libc lacks them: [(\"memcpy\""));
        assert_eq!(compared(LIST, &without.replace("GLIBC_2.36", "GLIBC_2.35")), "");
    }

    #[test]
    fn marks_of_later_versions_are_held_to() {
        let later = NM.replace("GLIBC_2.36", "GLIBC_2.40");
        assert!(compared(LIST, &later).contains("newer"));
        assert_eq!(compared(LIST, &format!("{later}8 T newer@@GLIBC_2.39\n")), "");
        assert!(compared(LIST, &format!("{NM}8 T newer@@GLIBC_2.36\n")).contains("earlier"));
        assert!(compared(&LIST.replace("@2.39", "@2.35"), NM).contains("no name of a later"));
    }

    #[test]
    fn a_careless_list_fails() {
        for (from, to, why) in [
            ("glob glob64", "glob64 glob", "out of order"),
            ("memcpy", "glob memcpy", "listed twice"),
            ("memcpy", "memcpy open", "hooked, and yet"),
            ("-- none\n", "", "no reason"),
            ("-- none\n", "--  \n", "no reason"),
            ("== none:", "== whatever:", "begins with one of"),
            ("reviewed 2.36\n", "", "which glibc"),
        ] {
            let said = compared(&LIST.replacen(from, to, 1), NM);
            assert!(said.contains(why), "{why}: {said}");
        }
    }
}
