//! The `.termite-localrc` of the old Termite: a JSON array of `Regexp`, `Local` and
//! `Recurse`, with lines beginning with `#` or `//` left out. Knows nothing of where
//! the file lies.

use super::{Rule, RuleError, RunMode};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "Regexp")]
    regexp: String,
    #[serde(rename = "Local", default)]
    local: bool,
    #[serde(rename = "Recurse", default)]
    recurse: bool,
}

/// The rules in their order. `file` is named in errors and reasons.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Rule>, RuleError> {
    let entries: Vec<Entry> = serde_json::from_str(&without_comments(text)).map_err(|e| RuleError::Localrc {
        file: file.to_owned(),
        line: e.line(),
        why: e.to_string(),
    })?;
    entries
        .iter()
        .enumerate()
        .map(|(at, entry)| {
            let place = match (entry.recurse, entry.local) {
                (true, _) => RunMode::Driver,
                (false, true) => RunMode::Local,
                (false, false) => RunMode::Remote,
            };
            Rule::new(Some(&entry.regexp), None, place, &format!("{file} entry {}", at + 1))
        })
        .collect()
}

/// Comment lines become empty ones, so that the parser's line numbers stay right.
fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| {
            let start = line.trim_start();
            if start.starts_with('#') || start.starts_with("//") {
                ""
            } else {
                line
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}
