//! Runs every C program and every everyday command in every mode that the host allows,
//! compares with bare, and audits the hook table. `cargo test -p termite-ctests -- WORD`
//! runs the tests whose names contain the word.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use termite_ctests::audit;
use termite_ctests::fidelity::{AT_HOME, COMMANDS};
use termite_ctests::fixture::{self, Extras};
use termite_ctests::fleet::{Fleet, Prefix};
use termite_ctests::mode::{Host, JOB_MODES, Mode, fault};
use termite_ctests::outcome::{self, Outcome};
use termite_ctests::owner::Owner;
use termite_ctests::program::{self, Binaries, Input, Ordinary, Program};
use termite_ctests::tally::Tally;
use termite_ctests::tree::Tree;

/// File in a program's directory that its hit counters are written to.
const HITS: &str = ".hits";

fn main() -> ExitCode {
    if std::env::args().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    if std::env::var_os(ALONE).is_none() {
        return alone().unwrap_or_else(|why| {
            println!("{why:#}");
            ExitCode::FAILURE
        });
    }
    let mut tally = Tally::from_args(std::env::args().skip(1));
    let done = Bench::set_up().and_then(|bench| bench.run_all(&mut tally));
    if let Err(why) = done {
        tally.always("set-up", || Err(why));
    }
    if tally.finish() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Set where this program was started without the descriptors of whoever started it.
const ALONE: &str = "TERMITE_TEST_ALONE";

/// Runs this program again without the descriptors that it inherited: bare runs would
/// hand them on, jobs do not have them.
fn alone() -> Result<ExitCode> {
    let dir = tempfile::tempdir()?;
    let starter = dir.path().join("alone");
    program::compile("alone", &starter, &[])?;
    let itself = std::env::current_exe()?;
    let status = Command::new(starter)
        .arg(itself)
        .args(std::env::args_os().skip(1))
        .env(ALONE, "1")
        .status()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Everything that all tests share.
struct Bench {
    scratch: tempfile::TempDir,
    programs: Vec<Program>,
    binaries: Binaries,
    prefix: Option<Prefix>,
    /// The shim without the stub beside it, so that driver mode starts no daemon.
    shim: PathBuf,
}

/// What one user's runs left for later checks.
#[derive(Default)]
struct Seen {
    bare: BTreeMap<String, (Outcome, Tree)>,
    hits: BTreeMap<String, Vec<u32>>,
}

impl Bench {
    fn set_up() -> Result<Self> {
        let scratch = tempfile::Builder::new()
            .prefix("termite-c")
            .permissions(all_may_enter())
            .tempdir()?;
        let programs = program::all()?;
        let binaries = Binaries::build(&scratch.path().join("programs"), &programs)?;
        let prefix = Prefix::find()
            .map(|prefix| prefix.copy_to(&scratch.path().join("prefix")))
            .transpose()?;
        let shim = scratch.path().join("lib/libtermite.so");
        if let Some(prefix) = &prefix {
            fs::create_dir(scratch.path().join("lib"))?;
            fs::copy(prefix.library(), &shim)?;
        }
        Ok(Bench {
            scratch,
            programs,
            binaries,
            prefix,
            shim,
        })
    }

    fn run_all(&self, tally: &mut Tally) -> Result<()> {
        let host = Host::probe(self.prefix.as_ref(), self.scratch.path());
        let required = std::env::var("TERMITE_REQUIRE").unwrap_or_default();
        for mode in required.split(',').filter(|mode| !mode.is_empty()) {
            tally.run(&format!("required/{mode}"), || match host.lacks(mode) {
                Some(why) => anyhow::bail!("this host lacks {mode}: {why}"),
                None => Ok(()),
            });
        }
        for (mode, why) in host.absent() {
            println!("this host lacks {mode}: {why}");
        }
        let rows = match &self.prefix {
            Some(prefix) => self.audit(tally, prefix)?,
            None => Vec::new(),
        };
        let seen = self.run_for(tally, &host, Owner::Tester, "")?;
        if tally.wants_all() && host.lacks("shim").is_none() {
            tally.run("hooks/every counter rose", || {
                let run: Vec<_> = self
                    .programs
                    .iter()
                    .filter(|program| all_there(&program.needs))
                    .cloned()
                    .collect();
                audit::every_counter_rose(&rows, &run, &seen.hits, !Owner::Tester.is_ordinary())
            });
        }
        if rustix::process::geteuid().is_root() && host.lacks("userns").is_none() {
            self.run_for(tally, &host, Owner::Ordinary(1000), "user-")?;
        }
        Ok(())
    }

    fn audit(&self, tally: &mut Tally, prefix: &Prefix) -> Result<Vec<String>> {
        let library = prefix.library();
        let rows = audit::rows(&library, &self.binaries)?;
        println!("{} hooks", rows.len());
        tally.run("hooks/symbols", || audit::symbols(&library, &rows));
        tally.run("hooks/no twin missing", || audit::no_twin_missing(&rows));
        tally.run("hooks/every export is reviewed", || {
            audit::every_export_is_reviewed(&rows)
        });
        tally.run("hooks/every row has a test", || {
            audit::every_row_has_a_test(&rows, &self.programs)
        });
        Ok(rows)
    }

    /// Every mode for one user; `who` goes before the mode's name.
    fn run_for(&self, tally: &mut Tally, host: &Host, owner: Owner, who: &str) -> Result<Seen> {
        let mut seen = Seen::default();
        let place = self.scratch.path().join(format!("{who}runs"));
        fs::create_dir(&place)?;
        owner.give(&place)?;
        let wanted = |tally: &Tally, mode: &str, name: &str| tally.wants(&format!("{who}{mode}/{name}"));
        let modes = ["bare", "driver", "off", "shim", "guard", "fuse"];
        for subject in self.subjects() {
            if modes.iter().any(|mode| wanted(tally, mode, &subject.name)) {
                let name = format!("{who}bare/{}", subject.name);
                let (first, second) = (place.join("bare0"), place.join("bare1"));
                tally.always(&name, || {
                    let result = self.bare_twice(&subject, owner, &first, &second)?;
                    seen.bare.insert(subject.name.clone(), result);
                    Ok(())
                });
            }
        }
        if let Some(prefix) = &self.prefix {
            // Switched off, the shim does the same for every user.
            let preloaded = [("driver", "drive"), ("off", "off-0")];
            for (mode, at) in &preloaded[..if who.is_empty() { 2 } else { 1 }] {
                let how = Mode::Preloaded(&self.shim, mode);
                self.compare(tally, &mut seen, owner, &format!("{who}{mode}"), &place.join(at), &how);
            }
            for mode in JOB_MODES {
                if mode == "fuse" && owner.is_ordinary() {
                    println!("{who}fuse is absent: without the guard nobody helps where overlayfs says EXDEV");
                    continue;
                }
                if host.lacks(mode).is_none() && seen.bare.keys().any(|name| wanted(tally, mode, name)) {
                    let dir = self.scratch.path().join(format!("{who}{mode}"));
                    let fleet = Fleet::start(prefix, &dir, owner, fault(mode))?;
                    let at = place.join(&format!("{mode}0")[..5]);
                    self.compare(
                        tally,
                        &mut seen,
                        owner,
                        &format!("{who}{mode}"),
                        &at,
                        &Mode::Job(&fleet),
                    );
                    tally.run(&format!("{who}{mode}/daemons end"), || fleet.stop());
                }
            }
        }
        Ok(seen)
    }

    fn bare_twice(&self, subject: &Subject, owner: Owner, first: &Path, second: &Path) -> Result<(Outcome, Tree)> {
        let (outcome, tree, _) = self.one(subject, owner, first, &Mode::Bare)?;
        let (again, tree_again, _) = self.one(subject, owner, second, &Mode::Bare)?;
        let differences = outcome.differences(&again) + &tree.differences(&tree_again);
        ensure!(differences.is_empty(), "two bare runs differ:\n{differences}");
        let (end, want) = (outcome.end(), &subject.end);
        ensure!(end == *want, "it ended with {end}, not {want}:\n{}", outcome.said());
        Ok((outcome, tree))
    }

    fn compare(&self, tally: &mut Tally, seen: &mut Seen, owner: Owner, mode: &str, place: &Path, how: &Mode) {
        for subject in self.subjects() {
            let Some((outcome, tree)) = seen.bare.get(&subject.name) else {
                continue;
            };
            let is_job = matches!(how, Mode::Job(_));
            let is_this = |word: &String| mode.trim_start_matches("user-") == word;
            let ordinary = if is_job && owner.is_ordinary() {
                subject.ordinary
            } else if subject.home_in.iter().any(is_this) {
                Ordinary::Home
            } else {
                Ordinary::Same
            };
            if ordinary == Ordinary::Not || subject.not_in.iter().any(is_this) {
                continue;
            }
            let mut counted = None;
            tally.run(&format!("{mode}/{}", subject.name), || {
                let (mut got, got_tree, hits) = self.one(&subject, owner, place, how)?;
                if ordinary == Ordinary::Home {
                    ensure!(got.forget_own_words(), "nobody said that it ran on the client");
                }
                let differences = outcome.differences(&got) + &tree.differences(&got_tree);
                ensure!(differences.is_empty(), "{differences}");
                if is_job && subject.counts && ordinary == Ordinary::Same {
                    counted = Some(hits.context("it did not run in a slot")?);
                }
                Ok(())
            });
            if let (Some(counted), "shim") = (counted, mode) {
                seen.hits.insert(subject.name, counted);
            }
        }
    }

    /// Runs one subject in a fresh fixture below `place`.
    fn one(
        &self,
        subject: &Subject,
        owner: Owner,
        place: &Path,
        how: &Mode,
    ) -> Result<(Outcome, Tree, Option<Vec<u32>>)> {
        let cwd = place.join(&subject.name);
        fixture::make(&cwd, &self.binaries, subject.extras.clone(), owner.id())?;
        owner.give(place)?;
        let args: Vec<&str> = subject.args.iter().map(String::as_str).collect();
        let command = how.command(owner, &subject.program, &args, &cwd.join(HITS));
        let outcome = outcome::run(command, &cwd, subject.input)?;
        let mut tree = Tree::read(&cwd)?;
        let hits = tree
            .take_file(HITS)
            .map(|bytes| bytes.chunks_exact(4).map(word).collect());
        remove(&cwd)?;
        Ok((outcome, tree, hits))
    }

    fn subjects(&self) -> Vec<Subject> {
        let programs = self.programs.iter().filter(|program| all_there(&program.needs));
        let programs = programs.map(|program| Subject {
            name: program.family.clone(),
            program: self.binaries.path(&program.family),
            args: Vec::new(),
            input: program.input,
            end: program.end.clone(),
            ordinary: program.ordinary,
            home_in: program.home_in.clone(),
            not_in: program.not_in.clone(),
            extras: Extras {
                fresh: program.fresh,
                listed: program.listed,
                beside: program.beside.clone(),
            },
            counts: true,
        });
        let commands = COMMANDS
            .iter()
            .filter(|(_, needs, _)| needs.split(' ').all(there))
            .map(|(name, _, text)| {
                let (ordinary, home_in) = match AT_HOME.contains(name) {
                    true => (Ordinary::Home, JOB_MODES.map(str::to_owned).into()),
                    false => (Ordinary::Same, Vec::new()),
                };
                Subject {
                    name: format!("use-{name}"),
                    program: PathBuf::from("/bin/sh"),
                    args: vec!["-c".to_owned(), (*text).to_owned()],
                    input: Input::Null,
                    end: "status 0".to_owned(),
                    ordinary,
                    home_in,
                    not_in: Vec::new(),
                    extras: Extras {
                        fresh: 0,
                        listed: if text.contains("listed") { 200 } else { 0 },
                        beside: Vec::new(),
                    },
                    counts: false,
                }
            });
        programs.chain(commands).collect()
    }
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// Something to run and compare.
struct Subject {
    name: String,
    program: PathBuf,
    args: Vec<String>,
    input: Input,
    end: String,
    ordinary: Ordinary,
    home_in: Vec<String>,
    /// Modes that leave it out.
    not_in: Vec<String>,
    extras: Extras,
    /// Whether it writes hit counters.
    counts: bool,
}

fn all_there(needs: &[String]) -> bool {
    needs.iter().all(|need| there(need))
}

/// Whether the host has a command, or a file by its absolute path.
fn there(command: &str) -> bool {
    if command.starts_with('/') {
        let found = Path::new(command).exists();
        if !found {
            println!("this host lacks {command}");
        }
        return found;
    }
    let found = Command::new("/bin/sh")
        .args(["-c", "command -v \"$0\" >/dev/null"])
        .arg(command)
        .status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        println!("this host lacks {command}");
    }
    found
}

fn all_may_enter() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o755)
}

/// Removes a tree that may hold directories closed to their owner.
fn remove(dir: &Path) -> Result<()> {
    let opened = Command::new("chmod").args(["-R", "u+rwx"]).arg(dir).output()?;
    ensure!(
        opened.status.success(),
        "chmod: {}",
        String::from_utf8_lossy(&opened.stderr)
    );
    fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))
}
