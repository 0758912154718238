//! Where a command runs: by the first rule that matches it, project's rules before
//! the user's before the built-in ones.
//!
//! Sees a command as words; knows neither files nor the environment, and never
//! whether a worker is free.

mod defaults;
mod localrc;
mod shell;
#[cfg(test)]
mod tests;

use regex::bytes::Regex;
use serde::Deserialize;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub use defaults::DRIVERS;
use shell::Simple;

/// A command as a driver started it.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// File to execute, already looked up in `PATH`.
    pub program: &'a Path,
    /// Arguments with the zeroth.
    pub argv: &'a [OsString],
    /// Working directory.
    pub cwd: &'a Path,
}

/// Where a command runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// On a worker.
    Remote {
        /// The rule, in a few words.
        why: String,
        /// With all that it starts, drivers too, since a rule of one's own says so.
        whole: bool,
    },
    /// On the client, with no shim in it.
    Local {
        /// The rule, in a few words: a key of `local_reasons`.
        why: String,
    },
    /// On the client, and what it starts may become jobs.
    Driver {
        /// The rule, in a few words.
        why: String,
    },
}

/// What a rule says, as configuration spells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunMode {
    /// On a worker, with all that it starts.
    Remote,
    /// On the client.
    Local,
    /// On the client, with the shim in it.
    Driver,
}

/// One rule: a pattern, and where its commands run.
#[derive(Clone, Debug)]
pub struct Rule {
    pattern: Pattern,
    place: RunMode,
    why: String,
}

#[derive(Clone, Debug)]
enum Pattern {
    /// Searched in the shell-joined command line, and in the text of `sh -c`.
    Line(Regex),
    /// Base names of a command word.
    Names(Vec<String>),
}

/// An ordered list of rules with the built-in ones behind it.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    own: Vec<Rule>,
}

/// A rule that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RuleError {
    /// The pattern is no regular expression.
    #[error("{origin}: `{pattern}` is not a regular expression ({why}); correct or remove it")]
    Pattern {
        /// File with line or entry.
        origin: String,
        /// As written.
        pattern: String,
        /// By the parser.
        why: String,
    },
    /// A rule has neither or both of its two ways to match.
    #[error("{origin}: a rule has either `regex` or `names` (base names of commands); write one of them")]
    Shape {
        /// File with line or entry.
        origin: String,
    },
    /// A `.termite-localrc` is not what the old Termite wrote.
    #[error(
        "{file}:{line}: {why}; expected a JSON array of {{\"Regexp\": .., \"Local\": .., \"Recurse\": ..}}: correct it or remove the file"
    )]
    Localrc {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// By the parser.
        why: String,
    },
}

impl Rule {
    /// A rule by regular expression or by names, exactly one of them. `origin` is the
    /// place it was read from (`FILE:LINE`).
    pub fn new(
        pattern: Option<&str>,
        names: Option<Vec<String>>,
        place: RunMode,
        origin: &str,
    ) -> Result<Self, RuleError> {
        let pattern = match (pattern, names) {
            (Some(line), None) => Pattern::Line(Regex::new(line).map_err(|e| RuleError::Pattern {
                origin: origin.to_owned(),
                pattern: line.to_owned(),
                why: last_line(&e.to_string()),
            })?),
            (None, Some(names)) => Pattern::Names(names),
            _ => {
                return Err(RuleError::Shape {
                    origin: origin.to_owned(),
                });
            }
        };
        Ok(Self {
            pattern,
            place,
            why: format!("rule {origin}"),
        })
    }

    fn matches(&self, lines: &[Vec<u8>], commands: &[Simple]) -> bool {
        match &self.pattern {
            Pattern::Line(regex) => lines.iter().any(|line| regex.is_match(line)),
            Pattern::Names(names) => commands
                .iter()
                .any(|c| names.iter().any(|name| name.as_bytes() == c.name())),
        }
    }
}

impl Rules {
    /// `own` in order, the built-in rules behind them.
    pub fn new(own: Vec<Rule>) -> Self {
        Self { own }
    }

    /// The rules of a `.termite-localrc` of the old Termite; `file` names it in errors.
    pub fn parse_localrc(file: &str, text: &str) -> Result<Vec<Rule>, RuleError> {
        localrc::parse(file, text)
    }

    /// Where the command runs. Never panics, whatever the bytes.
    pub fn decide(&self, command: &Command<'_>) -> Verdict {
        let (words, commands) = taken_apart(command);
        self.own_verdict(&words, &commands)
            .unwrap_or_else(|| defaults::decide(&commands))
    }

    /// The same by the rules of one's own alone; `None`: none of them matches.
    pub fn decide_by_own(&self, command: &Command<'_>) -> Option<Verdict> {
        let (words, commands) = taken_apart(command);
        self.own_verdict(&words, &commands)
    }

    fn own_verdict(&self, words: &[Vec<u8>], commands: &[Simple]) -> Option<Verdict> {
        if self.own.is_empty() {
            return None;
        }
        let mut lines = vec![join(words)];
        lines.extend(shell::script_text(words));
        let rule = self.own.iter().find(|rule| rule.matches(&lines, commands))?;
        let why = rule.why.clone();
        Some(match rule.place {
            RunMode::Remote => Verdict::Remote { why, whole: true },
            RunMode::Local => Verdict::Local { why },
            RunMode::Driver => Verdict::Driver { why },
        })
    }

    /// Base names of which a rule of one's own says that they go to a worker.
    pub fn remote_names(&self) -> impl Iterator<Item = &str> {
        let remote = self.own.iter().filter(|rule| rule.place == RunMode::Remote);
        let names = remote.filter_map(|rule| match &rule.pattern {
            Pattern::Names(names) => Some(names),
            Pattern::Line(_) => None,
        });
        names.flatten().map(String::as_str)
    }
}

/// The words of a command, and the simple commands that it consists of.
fn taken_apart(command: &Command<'_>) -> (Vec<Vec<u8>>, Vec<Simple>) {
    let words: Vec<Vec<u8>> = command.argv.iter().map(|word| word.as_bytes().to_vec()).collect();
    let program = shell::base_name(command.program.as_os_str().as_bytes()).to_vec();
    let commands = shell::commands(program, words.clone());
    (words, commands)
}

/// The words as one line that a shell would split into them again.
fn join(words: &[Vec<u8>]) -> Vec<u8> {
    let mut line = Vec::new();
    for word in words {
        if !line.is_empty() {
            line.push(b' ');
        }
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(b) || *b >= 0x80;
        if !word.is_empty() && word.iter().all(plain) {
            line.extend_from_slice(word);
            continue;
        }
        line.push(b'\'');
        for &byte in word {
            match byte {
                b'\'' => line.extend_from_slice(b"'\\''"),
                _ => line.push(byte),
            }
        }
        line.push(b'\'');
    }
    line
}

/// Parsers of expressions print the pattern again with a mark below it; the message is last.
fn last_line(message: &str) -> String {
    message
        .lines()
        .last()
        .unwrap_or(message)
        .trim()
        .trim_start_matches("error: ")
        .to_owned()
}
