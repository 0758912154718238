//! Reading what `strace -ff -y` wrote: one file for each process, one line for each call.
//! Knows strace's notation; knows nothing of what a call does.

use anyhow::{Context, Result, bail};

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Call {
    /// Of the call.
    pub name: String,
    /// As they stand between the commas.
    pub args: Vec<String>,
    /// What it came to.
    pub outcome: Outcome,
    /// The line itself, for messages.
    pub line: String,
}

/// What a call came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Zero or more.
    Did(u64),
    /// It failed with this error, by name.
    Failed(String),
    /// Its process ended in it.
    Unknown,
}

/// All calls of one file. Messages of signals and exits are passed over.
pub(super) fn calls(text: &str) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    let mut begun: Option<String> = None;
    for line in text.lines() {
        if line.starts_with("---") || line.starts_with("+++") {
            continue;
        }
        if let Some(first) = line.strip_suffix("<unfinished ...>") {
            begun = Some(first.to_owned());
            continue;
        }
        let whole = match line.strip_prefix("<... ") {
            Some(rest) => {
                let (_, rest) = rest.split_once(" resumed>").context("a resumed call")?;
                let first = begun.take().with_context(|| format!("nothing to resume: {line}"))?;
                first + rest
            }
            None => line.to_owned(),
        };
        calls.push(call(&whole).with_context(|| format!("strace wrote: {whole}"))?);
    }
    Ok(calls)
}

fn call(line: &str) -> Result<Call> {
    let (name, rest) = line.split_once('(').context("no call")?;
    let mut args = vec![String::new()];
    let mut depth = 0;
    let mut letters = rest.char_indices();
    let end = loop {
        let Some((at, letter)) = letters.next() else {
            bail!("no end of its arguments");
        };
        let arg = args.last_mut().context("an argument")?;
        match letter {
            ')' if depth == 0 => break at,
            ',' if depth == 0 => {
                args.push(String::new());
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            // A descriptor's path: `AT_FDCWD</p>`, `3</p/x>`.
            '<' if arg.ends_with(|last: char| last.is_ascii_alphanumeric()) => {
                arg.push(letter);
                take_until('>', &mut letters, arg)?;
                continue;
            }
            '"' => {
                arg.push(letter);
                take_until('"', &mut letters, arg)?;
                continue;
            }
            _ => {}
        }
        arg.push(letter);
    };
    let after = rest[end + 1..].trim_start();
    let result = after.strip_prefix("= ").context("no result")?;
    Ok(Call {
        name: name.to_owned(),
        args: args.into_iter().map(|arg| arg.trim().to_owned()).collect(),
        outcome: outcome(result)?,
        line: line.to_owned(),
    })
}

/// Takes everything up to a sign that no backslash stands before, and that sign.
fn take_until(sign: char, letters: &mut impl Iterator<Item = (usize, char)>, to: &mut String) -> Result<()> {
    while let Some((_, letter)) = letters.next() {
        to.push(letter);
        if letter == '\\' {
            to.extend(letters.next().map(|(_, letter)| letter));
        } else if letter == sign {
            return Ok(());
        }
    }
    bail!("no closing {sign}")
}

fn outcome(result: &str) -> Result<Outcome> {
    let mut words = result.split_whitespace();
    let first = words.next().context("an empty result")?;
    Ok(match first {
        "?" => Outcome::Unknown,
        "-1" => Outcome::Failed(words.next().context("no error")?.to_owned()),
        _ => {
            let digits = first.split('<').next().unwrap_or(first);
            let number = match digits.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16),
                None => digits.parse(),
            };
            Outcome::Did(number.with_context(|| format!("the result {first}"))?)
        }
    })
}

/// The bytes of a string literal; `None`: it is none.
pub(super) fn literal(arg: &str) -> Option<Vec<u8>> {
    let inner = arg.strip_prefix('"')?;
    Some(unescape(&inner[..inner.rfind('"')?]))
}

/// The path that stands with a descriptor; `None`: it has none.
pub(super) fn path_of_descriptor(arg: &str) -> Option<Vec<u8>> {
    let inner = arg.split_once('<')?.1;
    let path = inner[..inner.rfind('>')?].to_owned();
    path.starts_with('/').then(|| unescape(&path))
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let octal = rest
            .iter()
            .take(3)
            .take_while(|digit| (b'0'..=b'7').contains(*digit))
            .count();
        if octal > 0 {
            let (digits, tail) = rest.split_at(octal);
            bytes.push(
                digits
                    .iter()
                    .fold(0, |value: u8, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')),
            );
            rest = tail;
        } else if let Some((&letter, tail)) = rest.split_first() {
            bytes.push(match letter {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b'v' => 0x0b,
                b'f' => 0x0c,
                other => other,
            });
            rest = tail;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_strace_writes_them() {
        let text = concat!(
            "execve(\"/usr/bin/sh\", [\"sh\", \"-c\", \"echo \\\")\"...], 0x7ffd /* 35 vars */) = 0\n",
            "openat(AT_FDCWD</tmp/a\\76>, \"x\\n\\303\\244\\\"y\", O_WRONLY|O_CREAT, 0666) = 3</tmp/a\\76/x>\n",
            "newfstatat(3</x>, \"\", {st_mode=S_IFREG|0644, st_size=5, ...}, AT_EMPTY_PATH) = 0\n",
            "--- SIGCHLD {si_signo=SIGCHLD} ---\n",
            "access(\"/none\", R_OK)      = -1 ENOENT (No such file or directory)\n",
            "vfork( <unfinished ...>\n",
            "<... vfork resumed>)                    = 10165\n",
            "exit_group(0)                           = ?\n",
        );
        let calls = calls(text).unwrap();
        let names: Vec<_> = calls.iter().map(|call| (&call.name[..], call.args.len())).collect();
        let expected = [
            ("execve", 3),
            ("openat", 4),
            ("newfstatat", 4),
            ("access", 2),
            ("vfork", 1),
            ("exit_group", 1),
        ];
        assert_eq!(names, expected);
        assert_eq!(literal(&calls[1].args[1]).unwrap(), b"x\n\xc3\xa4\"y");
        assert_eq!(path_of_descriptor(&calls[1].args[0]).unwrap(), b"/tmp/a>");
        assert_eq!(path_of_descriptor("3<pipe:[1]>"), None);
        assert_eq!(calls[1].outcome, Outcome::Did(3));
        assert_eq!(calls[3].outcome, Outcome::Failed("ENOENT".into()));
        assert_eq!(
            (&calls[4].outcome, &calls[5].outcome),
            (&Outcome::Did(10165), &Outcome::Unknown)
        );
    }

    #[test]
    fn what_is_no_line_of_strace_is_an_error() {
        for line in [
            "open(\"x",
            "open(\"x\")",
            "nothing",
            "open(\"x\") = y",
            "<... x resumed>) = 0",
        ] {
            assert!(calls(line).is_err(), "{line}");
        }
    }
}
