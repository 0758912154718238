//! The listening socket: in a directory that only the user can use, one daemon at a
//! time, no stale file in the way and none left behind. Knows nothing of frames.

use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use termite_types::lock_path;
use tokio::net::{UnixListener, UnixStream};

/// Names of directories that termite makes for its socket, and takes away again.
const OWN_DIRS: [&str; 2] = ["termite", "termite-"];

/// How long a daemon may take to end once it does not listen any more.
const ENDING: Duration = Duration::from_secs(4);
/// How often such a daemon is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// A socket that callers can reach.
pub struct Listener(UnixListener);

/// Makes this daemon the only one of its socket. The socket's file goes when this is dropped,
/// which is to be after all else that another daemon must not meet.
pub struct SocketLock {
    path: PathBuf,
    _lock: File,
}

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The lock is taken.
    #[error("a daemon serves {} already; end it with `termite stop`", .0.display())]
    Running(PathBuf),
    /// Somebody else could put their own socket there.
    #[error("{} can be changed by others (owner {owner}, mode {mode:o}); remove it or set TERMITE_SOCKET", .dir.display())]
    Unsafe {
        /// The socket's directory.
        dir: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The kernel refused.
    #[error("cannot listen on {}: {why}; set TERMITE_SOCKET to another path", .path.display())]
    Refused {
        /// The socket.
        path: PathBuf,
        /// By the kernel.
        why: io::Error,
    },
}

/// Listens on `path`, in place of a daemon that died; waits for one that is ending. Needs a
/// running event loop.
pub fn bind(path: &Path) -> Result<(Listener, SocketLock), BindError> {
    let refused = |why| BindError::Refused {
        path: path.to_owned(),
        why,
    };
    let dir = path
        .parent()
        .filter(|dir| dir.is_absolute())
        .ok_or_else(|| refused(io::Error::new(io::ErrorKind::InvalidInput, "the path must be absolute")))?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(refused)?;
    check_dir(dir, rustix::process::geteuid().as_raw()).map_err(refused)??;
    let lock = lock_when_free(path)
        .map_err(refused)?
        .ok_or_else(|| BindError::Running(path.to_owned()))?;
    // The lock is ours, so whoever made this file is dead.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(error)),
        _ => {}
    }
    let socket = UnixListener::bind(path).map_err(refused)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(refused)?;
    let lock = SocketLock {
        path: path.to_owned(),
        _lock: lock,
    };
    Ok((Listener(socket), lock))
}

/// Ours or root's, and writable by nobody else unless it is sticky.
fn check_dir(dir: &Path, me: u32) -> io::Result<Result<(), BindError>> {
    let meta = std::fs::symlink_metadata(dir)?;
    let (owner, mode) = (meta.uid(), meta.mode() & 0o7777);
    let safe = meta.is_dir() && (owner == me || owner == 0) && (mode & 0o022 == 0 || mode & 0o1000 != 0);
    Ok(if safe {
        Ok(())
    } else {
        Err(BindError::Unsafe {
            dir: dir.to_owned(),
            owner,
            mode,
        })
    })
}

/// `None`: a daemon holds the lock that listens, or has not ended within [`ENDING`].
fn lock_when_free(path: &Path) -> io::Result<Option<File>> {
    let until = Instant::now() + ENDING;
    loop {
        let locked = lock(path)?;
        let is_served = || std::os::unix::net::UnixStream::connect(path).is_ok();
        if locked.is_some() || is_served() || Instant::now() >= until {
            return Ok(locked);
        }
        std::thread::sleep(LOOK);
    }
}

/// `None`: a living daemon holds it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let path = lock_path(path);
    loop {
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            locked => locked?,
        }
        // A daemon that ended between the two calls took the file's name away.
        let mine = file.metadata()?;
        if std::fs::symlink_metadata(&path).is_ok_and(|there| there.ino() == mine.ino() && there.dev() == mine.dev()) {
            return Ok(Some(file));
        }
    }
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.0.accept().await?.0)
    }
}

impl Drop for SocketLock {
    fn drop(&mut self) {
        for path in [&self.path, &lock_path(&self.path)] {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::debug!("{} is gone already: {error}", path.display());
            }
        }
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        if OWN_DIRS[0] == name || name.starts_with(OWN_DIRS[1]) {
            // Fails while anything else is in it, which is as well.
            let _ = std::fs::remove_dir(dir);
        }
    }
}
