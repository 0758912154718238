//! What a misspelt word was to be, and variables that nobody reads. Knows no command.

use std::ffi::OsString;
use termite_client::config;

/// A word is taken for another one if at most one in so many of its letters is wrong.
const LETTERS_AN_EDIT: usize = 3;
/// Beginning of our variables, and of those that our programs set for each other.
const OURS: &str = "TERMITE_";
const PRIVATE: &str = "TERMITE__";

/// The one of some names that a word comes near.
pub(crate) fn nearest(word: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let near = names.map(|name| (strsim::damerau_levenshtein(word, &name), name));
    near.filter(|(edits, _)| edits * LETTERS_AN_EDIT <= word.len())
        .min()
        .map(|(_, name)| name)
}

/// A line for each variable of these that looks like one of ours and is none.
pub(crate) fn strangers(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let names = names.filter_map(|name| name.into_string().ok());
    let ours = names.filter(|name| name.starts_with(OURS) && !name.starts_with(PRIVATE));
    let unknown = ours.filter(|name| config::variables().all(|known| known != *name));
    let line = |name: String| {
        let behind = |name: &str| name[OURS.len()..].to_owned();
        let known = config::variables().map(|known| behind(&known));
        let meant = nearest(&behind(&name), known).map(|meant| format!("; did you mean {OURS}{meant}?"));
        format!("nothing reads the variable {name}{}", meant.unwrap_or_default())
    };
    unknown.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_variables_are_named_with_what_they_come_near() {
        let names = [
            "TERMITE_WORKER",
            "TERMITE_WORKERS",
            "TERMITE__BUILD",
            "TERMITE_PREFIX",
            "TERMITE_ZZZZZ",
            "HOME",
        ];
        assert_eq!(
            strangers(names.into_iter().map(OsString::from)),
            [
                "nothing reads the variable TERMITE_WORKER; did you mean TERMITE_WORKERS?",
                "nothing reads the variable TERMITE_ZZZZZ",
            ]
        );
    }
}
