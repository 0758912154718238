//! One command as one job: `termite run`, `termite gcc`, a link named gcc, and
//! `CCACHE_PREFIX=termite`. Becomes the stub; knows nothing of what happens then.

use crate::lookup::{self, Identity};
use crate::{complain, is_in_slot};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use termite_abi::ENV_WRAPPING;
use termite_run::environment::ENV_MUST;

const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// The compiler's name, if this process was started by one.
pub(crate) fn masquerade(arguments: &[OsString]) -> Option<OsString> {
    let name = Path::new(arguments.first()?).file_name()?;
    (!name.as_bytes().starts_with(b"termite")).then(|| name.to_owned())
}

/// A compiler: its zeroth argument becomes its path, since compilers look for their parts
/// beside the first program of their name in `PATH`, which may be a link to us.
pub(crate) fn wrap(command: &[OsString]) -> ExitCode {
    start(command, |_, program| program.as_os_str().to_owned())
}

/// A command as it stands.
pub(crate) fn run(command: &[OsString]) -> ExitCode {
    start(command, |name, _| name.to_owned())
}

/// Becomes the stub for the command, whose first word is looked up past ourselves.
/// Returns only where that cannot be.
fn start(command: &[OsString], zeroth: impl FnOnce(&OsStr, &Path) -> OsString) -> ExitCode {
    let Some(name) = command.first() else {
        complain("run: no command was given");
        return ExitCode::from(crate::USAGE);
    };
    let mut passed = wrapped();
    let me = Identity::of(Path::new("/proc/self/exe"));
    let not: Vec<Identity> = passed
        .iter()
        .filter_map(|path| Identity::of(path).ok())
        .chain(me.ok())
        .collect();
    let program = match lookup::program(name, std::env::var_os("PATH"), &not) {
        Ok(program) => program,
        Err(error) => return cannot_run(name, &error),
    };
    let (zeroth, rest) = (zeroth(name, &program), &command[1..]);
    passed.push(program.clone());
    let mut chosen = Command::new(stub());
    chosen
        .arg0("termite-run")
        .arg(&program)
        .arg(&zeroth)
        .args(rest)
        .env(ENV_MUST, "1");
    // A path with a colon cannot be listed; scripts that call us again are then not noticed.
    if let Ok(list) = std::env::join_paths(&passed) {
        chosen.env(ENV_WRAPPING, list);
    }
    if !is_in_slot() {
        let error = chosen.exec();
        complain(format!(
            "{}: {error}; {} runs without it",
            stub().display(),
            Path::new(name).display()
        ));
    }
    let mut direct = Command::new(&program);
    direct.arg0(zeroth).args(rest);
    if let Some(list) = chosen
        .get_envs()
        .find_map(|(key, value)| (key == ENV_WRAPPING).then_some(value?))
    {
        direct.env(ENV_WRAPPING, list);
    }
    let error = direct.exec();
    cannot_run(name, &error)
}

/// What wrappers further up chose already.
fn wrapped() -> Vec<PathBuf> {
    std::env::var_os(ENV_WRAPPING)
        .map(|list| std::env::split_paths(&list).collect())
        .unwrap_or_default()
}

/// `bin/termite-run` beside this program, or below `TERMITE_PREFIX`.
pub(crate) fn stub() -> PathBuf {
    let prefix = std::env::var_os(termite_abi::ENV_PREFIX).map(PathBuf::from);
    let own = || {
        Some(
            std::fs::read_link("/proc/self/exe")
                .ok()?
                .parent()?
                .parent()?
                .to_owned(),
        )
    };
    prefix
        .or_else(own)
        .unwrap_or_else(|| PathBuf::from("/usr/local"))
        .join("bin/termite-run")
}

fn cannot_run(name: &OsStr, error: &io::Error) -> ExitCode {
    let text = error.to_string();
    complain(format!(
        "{}: {}",
        Path::new(name).display(),
        text.split(" (os error").next().unwrap_or(&text)
    ));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound {
        NOT_FOUND
    } else {
        NOT_EXECUTABLE
    })
}
