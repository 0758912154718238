//! What views rely on and overlayfs does not promise: its documentation calls a lower
//! directory that changes below a live mount undefined. Here it is proven on the running
//! kernel, with the very mount that slots have.
//!
//! Knows the shape of a view (complete first, look up after; fill in place), not views.

use super::context::SpawnerContext;
use super::error::Refusal;
use super::ipc::{self, SELF_TEST, channel};
use super::spawner::Spawner;
use super::{SlotError, layers, spawner, sys};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use rustix::thread::UnshareFlags;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Why views by overlay cannot be had on this host.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The test could not be run.
    #[error("testing overlayfs: {0}")]
    Slot(#[from] SlotError),
    /// Its directory in the store could not be made or removed.
    #[error("testing overlayfs in {}: {error}", .dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel behaves otherwise; each string is one behaviour that is missing.
    #[error("overlayfs on this kernel lacks: {}", .0.join("; "))]
    Missing(Vec<&'static str>),
}

type Check = fn(&Layers) -> io::Result<bool>;

/// The behaviours, in the order in which they are tried.
const CHECKS: &[(&str, Check)] = &[
    ("a lower directory shows names it gained after the mount", gains_names),
    (
        "a lower directory shows such names in its first listing",
        lists_gained_names,
    ),
    ("a file filled in place is read through the mount", fills_in_place),
    (
        "a file filled in place is seen through an open descriptor",
        fills_below_descriptor,
    ),
    (
        "a file that grew while it was filled shows its new size",
        grows_when_filled,
    ),
    ("a changed file is copied up with its filled content", copies_up_filled),
    ("a removed and remade directory hides the lower one", hides_lower),
];
/// Needs trusted attributes.
const ROOT_CHECKS: &[(&str, Check)] = &[("a lower directory can be renamed", renames_directory)];

/// Runs the test in a directory of its own under `store`. Blocks for some milliseconds.
pub fn self_test(spawner: &Spawner, store: &Path) -> Result<(), SelfTestError> {
    let dir = store.join(".self-test");
    let at_dir = |error| SelfTestError::Directory {
        dir: dir.clone(),
        error,
    };
    std::fs::create_dir(&dir).map_err(at_dir)?;
    let missing = ask(spawner, &dir);
    std::fs::remove_dir_all(&dir).map_err(at_dir)?;
    match missing? {
        missing if missing.is_empty() => Ok(()),
        missing => Err(SelfTestError::Missing(missing)),
    }
}

fn ask(spawner: &Spawner, dir: &Path) -> Result<Vec<&'static str>, SlotError> {
    let seen = spawner.seen_by_spawner(dir)?;
    let memory = spawner::in_memory(seen.as_os_str().as_bytes()).map_err(SlotError::Talk)?;
    let (control, theirs) = channel().map_err(SlotError::Talk)?;
    spawner.ask(SELF_TEST, &[memory.as_fd(), theirs.as_fd()])?;
    drop(theirs);
    let message = spawner::next_message(&control)?;
    match ipc::Report::decode(&message.bytes) {
        Some(ipc::Report::Failed(step, errno)) => return Err(SlotError::Setup { step, errno }),
        Some(_) => return Err(SlotError::Nonsense),
        None => {}
    }
    // The test's end, and with it the mount's, comes with the end of the channel.
    let rest = ipc::receive(control.as_fd(), true).map_err(SlotError::Talk)?;
    match (message.bytes.split_first(), rest) {
        (Some((&ANSWER, numbers)), None) => Ok(numbers.iter().filter_map(|&number| name(number)).collect()),
        _ => Err(SlotError::Nonsense),
    }
}

/// First byte of the answer; no report begins with it.
const ANSWER: u8 = 255;

fn name(number: u8) -> Option<&'static str> {
    CHECKS
        .iter()
        .chain(ROOT_CHECKS)
        .nth(number.into())
        .map(|(name, _)| *name)
}

/// The spawner's child that runs the test: descriptors of its directory's path and of
/// the channel to answer by.
pub(super) fn run(fds: Vec<OwnedFd>, context: &SpawnerContext) -> ! {
    let mut fds = fds.into_iter();
    let (Some(memory), Some(control)) = (fds.next(), fds.next()) else {
        sys::exit(2)
    };
    match run_checks(memory, context) {
        Ok(missing) => {
            let answer: Vec<u8> = [ANSWER].into_iter().chain(missing).collect();
            // Who asked may be gone; there is nobody else to tell.
            let _ = ipc::send(control.as_fd(), &answer, &[]);
            sys::exit(0)
        }
        Err(refusal) => ipc::fail(control.as_fd(), refusal),
    }
}

/// Makes the layers and tries each behaviour; the answer has a byte for each check.
fn run_checks(memory: OwnedFd, context: &SpawnerContext) -> Result<Vec<u8>, Refusal> {
    use super::Step;
    use super::error::During;
    let mut path = Vec::new();
    let mut memory = std::fs::File::from(memory);
    memory
        .seek(SeekFrom::Start(0))
        .and_then(|_| memory.read_to_end(&mut path))
        .during(Step::Plan)?;
    let dir = PathBuf::from(std::ffi::OsString::from_vec(path));
    let at = Layers {
        lower: dir.join("lower"),
        merged: dir.join("merged"),
    };
    at.populate(&dir).during(Step::Directories)?;
    sys::new_namespaces(UnshareFlags::NEWNS).during(Step::Namespaces)?;
    layers::mount_overlay(
        layers::LowerLayer {
            at: &at.lower,
            is_elsewhere: false,
        },
        &dir.join("upper"),
        &dir.join("work"),
        &at.merged,
        context.root_user,
    )
    .during(Step::Overlay)?;
    let root_checks = if context.root_user { ROOT_CHECKS } else { &[] };
    let all = CHECKS.iter().chain(root_checks).zip(0..);
    Ok(all
        .filter(|((_, check), _)| !matches!(check(&at), Ok(true)))
        .map(|(_, number)| number)
        .collect())
}

/// Where the test's layers are.
struct Layers {
    lower: PathBuf,
    merged: PathBuf,
}

const CONTENT: &[u8] = b"the content that arrived later";

impl Layers {
    fn populate(&self, dir: &Path) -> io::Result<()> {
        for name in ["lower", "upper", "work", "merged"] {
            std::fs::create_dir(dir.join(name))?;
        }
        for name in ["gains", "lists", "files", "hidden", "moves"] {
            std::fs::create_dir(self.lower.join(name))?;
        }
        std::fs::write(self.lower.join("hidden/below"), b"x")?;
        ["read", "open", "grow", "copy"]
            .into_iter()
            .try_for_each(|name| self.placeholder(name))
    }

    /// A file of the right size without content.
    fn placeholder(&self, name: &str) -> io::Result<()> {
        std::fs::File::create(self.lower.join("files").join(name))?.set_len(CONTENT.len() as u64)
    }

    /// Puts content into a placeholder, as a view does: in place, with the times set last.
    fn fill(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = self.lower.join("files").join(name);
        let mut file = std::fs::File::options().write(true).open(&path)?;
        file.write_all(content)?;
        drop(file);
        let time = Timespec { tv_sec: 1, tv_nsec: 2 };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        Ok(rustix::fs::utimensat(CWD, &path, &times, AtFlags::empty())?)
    }

    fn seen(&self, name: &str) -> PathBuf {
        self.merged.join("files").join(name)
    }
}

fn gains_names(at: &Layers) -> io::Result<bool> {
    let before = std::fs::metadata(at.merged.join("gains"))?.is_dir();
    std::fs::create_dir(at.lower.join("gains/dir"))?;
    std::fs::write(at.lower.join("gains/dir/file"), CONTENT)?;
    let deep = std::fs::read(at.merged.join("gains/dir/file"))? == CONTENT;
    std::fs::write(at.lower.join("gains/later"), CONTENT)?;
    Ok(before && deep && std::fs::read(at.merged.join("gains/later"))? == CONTENT)
}

fn lists_gained_names(at: &Layers) -> io::Result<bool> {
    let before = std::fs::metadata(at.merged.join("lists"))?.is_dir();
    std::fs::write(at.lower.join("lists/one"), b"")?;
    std::fs::write(at.merged.join("lists/two"), b"")?;
    let mut names = std::fs::read_dir(at.merged.join("lists"))?
        .map(|entry| entry.map(|e| e.file_name()))
        .collect::<Result<Vec<_>, _>>()?;
    names.sort();
    Ok(before && names == ["one", "two"])
}

fn fills_in_place(at: &Layers) -> io::Result<bool> {
    let before = std::fs::metadata(at.seen("read"))?.len();
    at.fill("read", CONTENT)?;
    let read = std::fs::read(at.seen("read"))? == CONTENT;
    let stat = rustix::fs::stat(at.seen("read"))?;
    Ok(before == CONTENT.len() as u64 && read && (stat.st_mtime, stat.st_mtime_nsec as i64) == (1, 2))
}

fn fills_below_descriptor(at: &Layers) -> io::Result<bool> {
    let mut file = std::fs::File::open(at.seen("open"))?;
    let mut holes = vec![1; CONTENT.len()];
    file.read_exact(&mut holes)?;
    at.fill("open", CONTENT)?;
    let mut content = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut content)?;
    Ok(holes.iter().all(|&byte| byte == 0) && content == CONTENT)
}

fn grows_when_filled(at: &Layers) -> io::Result<bool> {
    let before = std::fs::metadata(at.seen("grow"))?.len();
    let longer = [CONTENT, CONTENT].concat();
    at.fill("grow", &longer)?;
    let size = std::fs::metadata(at.seen("grow"))?.len();
    Ok(before == CONTENT.len() as u64 && size == longer.len() as u64 && std::fs::read(at.seen("grow"))? == longer)
}

fn copies_up_filled(at: &Layers) -> io::Result<bool> {
    let before = std::fs::metadata(at.seen("copy"))?.len();
    at.fill("copy", CONTENT)?;
    let mut file = std::fs::File::options().append(true).open(at.seen("copy"))?;
    file.write_all(b"!")?;
    let expected = [CONTENT, b"!"].concat();
    let lower = std::fs::read(at.lower.join("files/copy"))?;
    Ok(before == CONTENT.len() as u64 && std::fs::read(at.seen("copy"))? == expected && lower == CONTENT)
}

fn hides_lower(at: &Layers) -> io::Result<bool> {
    let dir = at.merged.join("hidden");
    std::fs::remove_dir_all(&dir)?;
    std::fs::create_dir(&dir)?;
    Ok(std::fs::read_dir(&dir)?.next().is_none() && at.lower.join("hidden/below").exists())
}

fn renames_directory(at: &Layers) -> io::Result<bool> {
    std::fs::rename(at.merged.join("moves"), at.merged.join("moved"))?;
    Ok(at.merged.join("moved").is_dir() && !at.merged.join("moves").exists())
}
