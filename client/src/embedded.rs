//! The worker that serves a client without a fleet: `workerd` from the own prefix, on a
//! unix socket, for as long as the daemon lives. Knows how to start it; what it does is
//! like any worker's.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use termite_transport::Address;

/// A running `workerd` of our own. It ends with this process, however that ends.
pub(crate) struct Embedded {
    child: Child,
    socket: PathBuf,
}

impl Embedded {
    /// Starts it with `slots` slots and a store of `store` bytes (`None`: its default).
    /// `socket` is where it is to listen, in a directory of mode 0700 that is ours; `log`
    /// receives its messages.
    pub(crate) fn start(
        prefix: &Path,
        socket: PathBuf,
        slots: u16,
        store: Option<u64>,
        fault: &str,
        log: Stdio,
    ) -> io::Result<Self> {
        let mut command = Command::new(prefix.join("bin/workerd"));
        command
            .arg("--listen")
            .arg(format!("unix:{}", socket.display()))
            .args(["--slots", &slots.to_string(), "--fault", fault, "--die-with-parent"])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(bytes) = store {
            command.args(["--store", &bytes.to_string()]);
        }
        let child = command.spawn()?;
        Ok(Self { child, socket })
    }

    /// Where the worker of the daemon with this mark listens; `socket` is the daemon's.
    pub(crate) fn socket(socket: &Path, mark: u64) -> PathBuf {
        socket.with_file_name(format!("worker-{mark:016x}.sock"))
    }

    /// Where it listens, soon.
    pub(crate) fn address(&self) -> Address {
        Address::Unix(self.socket.clone())
    }

    /// Its socket.
    pub(crate) fn path(&self) -> &Path {
        &self.socket
    }

    /// Whether it has ended by itself, and how.
    pub(crate) fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(status) => status.map(|status| format!("the embedded worker ended with {status}")),
            Err(error) => Some(format!("the embedded worker cannot be waited for: {error}")),
        }
    }

    /// Asks it to end, and waits a moment before it is made to.
    pub(crate) fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        if let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::TERM) {
            tracing::debug!("the embedded worker is gone already: {error}");
        }
        for _ in 0..40 {
            if self.ended().is_some() {
                return remove_socket(&self.socket);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            tracing::warn!("the embedded worker cannot be ended: {error}");
        }
        remove_socket(&self.socket);
    }
}

/// Removes the socket of a worker that has ended.
pub(crate) fn remove_socket(socket: &Path) {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("{} stays behind: {error}", socket.display());
        }
        _ => {}
    }
}
