//! pjdfstest, the suite of POSIX file system cases: how it is installed, told what to
//! run, and how what it says is read. Knows nothing of where it runs.

use crate::corpus::cache_dir;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Release on crates.io. `--locked` pins what it is built of.
const VERSION: &str = "0.2.2";

/// What it must be told. `/dev/shm` is a second file system in a slot and elsewhere. The
/// cases that need `allow_remount` or file flags have no meaning in a slot.
const SETTINGS: &str = "\
[features]
secondary_fs = \"/dev/shm\"
posix_fallocate = {}
utimensat = {}
utime_now = {}
rename_ctime = {}
[settings]
naptime = 0.02
[dummy_auth]
entries = [[\"nobody\", \"nogroup\"], [\"daemon\", \"daemon\"]]
";

/// How one case ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// As POSIX wants it.
    Passed,
    /// Otherwise, with what the suite says about it.
    Failed(String),
    /// Not tried.
    Skipped,
}

/// Every case by name.
pub type Verdicts = BTreeMap<String, Verdict>;

/// The program, from the cache of the corpora, installed if it is not there.
pub fn install() -> Result<PathBuf> {
    let cache = cache_dir()?;
    let root = cache.join(format!("pjdfstest-{VERSION}"));
    let program = root.join("bin/pjdfstest");
    if !program.exists() {
        fs::create_dir_all(&cache)?;
        eprintln!("installing pjdfstest {VERSION} ...");
        let target = tempfile::tempdir_in(&cache)?;
        // Optimised or not makes no difference to a suite that mostly waits.
        let out = Command::new("cargo")
            .args([
                "install",
                "pjdfstest",
                "--version",
                VERSION,
                "--locked",
                "--debug",
                "--root",
            ])
            .arg(&root)
            .arg("--target-dir")
            .arg(target.path())
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .current_dir(&cache)
            .output()
            .context("starting cargo")?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success(), "cargo install pjdfstest: {}\n{said}", out.status);
    }
    let out = Command::new(&program).arg("--version").output()?;
    let said = String::from_utf8_lossy(&out.stdout);
    ensure!(
        said.trim() == format!("pjdfstest {VERSION}"),
        "{} is {said:?}: remove it",
        program.display()
    );
    Ok(program)
}

/// Writes the settings to the file `settings` and answers the arguments that run all
/// cases below the directory `at`.
pub fn arguments(settings: &Path, at: &Path) -> Result<[OsString; 4]> {
    fs::write(settings, SETTINGS)?;
    Ok(["-c".into(), settings.into(), "-p".into(), at.into()])
}

/// Reads what the suite has printed; an error if its own count is another.
pub fn read(text: &str) -> Result<Verdicts> {
    let mut verdicts = Verdicts::new();
    let mut failed = None;
    let mut total = None;
    for line in text.lines().map(plain) {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [name, "ok"] if name.contains("::") => drop(verdicts.insert(name.to_owned(), Verdict::Passed)),
            [name, "skipped"] if name.contains("::") => drop(verdicts.insert(name.to_owned(), Verdict::Skipped)),
            [name, "FAILED"] if name.contains("::") => failed = Some(name.to_owned()),
            ["Summary:", .., count, "total"] => total = count.parse().ok(),
            _ => {}
        }
        // The reason is on the line after.
        if let Some(name) = failed.take_if(|_| line.starts_with('\t')) {
            verdicts.insert(name, Verdict::Failed(line.trim().to_owned()));
        }
    }
    if total != Some(verdicts.len()) {
        bail!("{} cases read of {total:?}", verdicts.len());
    }
    Ok(verdicts)
}

/// A line without the sequences that colour it.
fn plain(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once('m').map_or(part, |(_, rest)| rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_is_read() -> Result<()> {
        let text = "\x1b[34ma::b\x1b[0m  \x1b[32mok\x1b[0m\na::c FAILED\n\tEPERM here\nBacktrace:\n  0: x::y\n\
                    a::d skipped\n\twhy\n\nSummary: 1 failed, 1 skipped, 1 passed, 0 expected failures, 3 total\n";
        let verdicts = read(text)?;
        assert_eq!(verdicts["a::b"], Verdict::Passed);
        assert_eq!(verdicts["a::c"], Verdict::Failed("EPERM here".to_owned()));
        assert_eq!(verdicts["a::d"], Verdict::Skipped);
        assert_eq!(verdicts.len(), 3);
        assert!(read(&text.replace("3 total", "4 total")).is_err());
        Ok(())
    }
}
