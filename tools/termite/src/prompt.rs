//! The mark in the prompt of a shell that has its jobs on the fleet. Knows the start-up
//! files of shells, as far as a prompt needs.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// What stands before the prompt.
const MARK: &str = "[termite] ";

/// Arguments and variables that put the mark into a shell's prompt.
#[derive(Default)]
pub(crate) struct Marked {
    /// Behind the shell's name.
    pub arguments: Vec<OsString>,
    /// To be set.
    pub variables: Vec<(&'static str, OsString)>,
    /// Goes when this is dropped; the shell has read it by then.
    _file: Option<NamedTempFile>,
}

impl Marked {
    /// For an interactive shell. An unknown one is left as it is.
    pub(crate) fn shell(shell: &OsStr) -> io::Result<Self> {
        let name = Path::new(shell).file_name().unwrap_or_default().to_string_lossy();
        match &*name {
            "bash" => Self::bash(),
            "sh" | "dash" | "ash" | "ksh" | "mksh" => Ok(Self {
                variables: vec![("PS1", format!("{MARK}$ ").into())],
                ..Self::default()
            }),
            // Its own start-up file wins where it sets one.
            "zsh" => Ok(Self {
                variables: vec![("PS1", format!("{MARK}%m%# ").into())],
                ..Self::default()
            }),
            "fish" => {
                let wrap = format!(
                    "functions -q fish_prompt; and functions -c fish_prompt _termite_prompt; \
                     function fish_prompt; echo -n '{MARK}'; _termite_prompt; end"
                );
                Ok(Self {
                    arguments: vec!["-C".into(), wrap.into()],
                    ..Self::default()
                })
            }
            _ => Ok(Self::default()),
        }
    }

    /// bash forgets PS1 from outside; its own file is read first, then the mark is set.
    fn bash() -> io::Result<Self> {
        let mut file = tempfile::Builder::new().prefix("termite-bashrc-").tempfile()?;
        writeln!(file, "[ -f ~/.bashrc ] && . ~/.bashrc\nPS1='{MARK}'\"${{PS1:-\\$ }}\"")?;
        file.flush()?;
        let arguments = vec!["--rcfile".into(), file.path().into(), "-i".into()];
        Ok(Self {
            arguments,
            variables: Vec::new(),
            _file: Some(file),
        })
    }
}
