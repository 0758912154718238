//! Workers in bare roots, each on a unix socket of its own. Knows how to start and
//! stop them, not what they do.

use crate::bare;
use crate::process::wait_until;
use crate::scene::Scene;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// Time for a worker to listen, or to end.
const READY: Duration = Duration::from_secs(20);

/// Some workers.
#[derive(Debug)]
pub struct Fleet {
    workers: Vec<Worker>,
}

/// One workerd in its root.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    door: Door,
    log: PathBuf,
}

/// Where a worker listens.
#[derive(Debug)]
enum Door {
    Unix(PathBuf),
    /// On loopback.
    Tcp(u16),
}

/// Whether this host has FUSE; one that must have it (`TERMITE_REQUIRE`) and has not is an
/// error.
pub fn has_fuse() -> Result<bool> {
    let opened = File::options().read(true).write(true).open("/dev/fuse");
    let Err(error) = opened else { return Ok(true) };
    let required = std::env::var("TERMITE_REQUIRE").unwrap_or_default();
    ensure!(
        !required.split(',').any(|mode| mode == "fuse"),
        "this host lacks fuse: /dev/fuse: {error}"
    );
    println!("this host lacks fuse: /dev/fuse: {error}");
    Ok(false)
}

/// A port of loopback that was free a moment ago; nobody else here takes it.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl Fleet {
    /// Starts `count` workers with `slots` slots each and waits until all listen.
    pub fn start(scene: &Scene, count: usize, slots: usize) -> Result<Self> {
        Self::start_with(scene, count, slots, &[])
    }

    /// The same with more options for workerd.
    pub fn start_with(scene: &Scene, count: usize, slots: usize, options: &[&str]) -> Result<Self> {
        Self::start_at(scene, 0..count, slots, options)
    }

    /// The same at the places of these numbers, for a fleet beside another one.
    pub fn start_at(scene: &Scene, places: Range<usize>, slots: usize, options: &[&str]) -> Result<Self> {
        let workers = places.map(|number| Worker::start(scene, number, slots, options));
        Ok(Self {
            workers: workers.collect::<Result<_>>()?,
        })
    }

    /// Starts workers on loopback ports, where they reach each other. Clients have to show
    /// the token that is in the file.
    pub fn start_on_loopback(scene: &Scene, count: usize, slots: usize, token: &Path) -> Result<Self> {
        let workers = (0..count).map(|number| Worker::start_on_loopback(scene, number, slots, token));
        Ok(Self {
            workers: workers.collect::<Result<_>>()?,
        })
    }

    /// Value of `TERMITE_WORKERS` for all of them.
    pub fn addresses(&self) -> String {
        let each = self.workers.iter().map(Worker::address);
        each.collect::<Vec<_>>().join(",")
    }

    /// One of them.
    pub fn worker(&mut self, number: usize) -> &mut Worker {
        &mut self.workers[number]
    }

    /// Asks all to end, and sees that they do, with status 0.
    pub fn stop(mut self) -> Result<()> {
        for worker in &self.workers {
            worker.signal(Signal::TERM)?;
        }
        for worker in &mut self.workers {
            let status = worker.ended()?;
            if !status.success() {
                bail!("workerd ended with {status} after SIGTERM\n{}", worker.log());
            }
        }
        Ok(())
    }
}

impl Worker {
    fn start(scene: &Scene, number: usize, slots: usize, options: &[&str]) -> Result<Self> {
        let root = bare_root(scene, number)?;
        let door = Door::Unix(root.join("sock"));
        Self::start_in(scene, &root, door, "unix:/sock", slots, options)
    }

    fn start_on_loopback(scene: &Scene, number: usize, slots: usize, token: &Path) -> Result<Self> {
        let root = bare_root(scene, number)?;
        fs::copy(token, root.join("token"))?;
        let port = free_port()?;
        let listen = format!("127.0.0.1:{port}");
        let options = ["--token-file", "/token"];
        Self::start_in(scene, &root, Door::Tcp(port), &listen, slots, &options)
    }

    fn start_in(scene: &Scene, root: &Path, door: Door, listen: &str, slots: usize, options: &[&str]) -> Result<Self> {
        let log = root.with_extension("log");
        let output = File::create(&log)?;
        // Ends with the test that started it, however that ends.
        let mut command = scene.command("/usr/bin/setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if scene.is_root() {
            command.arg("chroot").arg(root);
        } else {
            // A root for itself only; devices can only be borrowed from the host there.
            let enter = "mkdir -p \"$0/dev\" && mount --rbind /dev \"$0/dev\" && exec chroot \"$0\" \"$@\"";
            command
                .args(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", enter])
                .arg(root);
        }
        command
            .args([bare::WORKERD, "--listen", listen, "--slots", &slots.to_string()])
            .args(options);
        command
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("RUST_BACKTRACE", "1");
        command.stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().context("starting workerd in a bare root")?;
        let mut worker = Self { child, door, log };
        worker.wait_ready()?;
        Ok(worker)
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Its address.
    pub fn address(&self) -> String {
        match &self.door {
            Door::Unix(socket) => format!("unix:{}", socket.display()),
            Door::Tcp(port) => format!("127.0.0.1:{port}"),
        }
    }

    /// Its socket.
    pub fn socket(&self) -> Result<&Path> {
        match &self.door {
            Door::Unix(socket) => Ok(socket),
            Door::Tcp(port) => bail!("the worker at port {port} has no socket"),
        }
    }

    /// Process id of the workerd that was started.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid(), signal)?)
    }

    /// Kills it as `kill -9` does and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        let mut status = None;
        let waited = wait_until("the end of workerd", READY, || {
            status = self.child.try_wait().unwrap_or_default();
            status.is_some()
        });
        waited.with_context(|| self.log())?;
        status.context("workerd has no status")
    }

    fn wait_ready(&mut self) -> Result<()> {
        let mut early = None;
        let waited = wait_until("workerd to listen", READY, || {
            early = self.child.try_wait().unwrap_or_default();
            early.is_some()
                || match &self.door {
                    Door::Unix(socket) => UnixStream::connect(socket).is_ok(),
                    Door::Tcp(port) => TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok(),
                }
        });
        if let Some(status) = early {
            bail!("workerd ended at once, {status}\n{}", self.log());
        }
        waited.with_context(|| self.log())
    }
}

fn bare_root(scene: &Scene, number: usize) -> Result<PathBuf> {
    let root = scene.dir(&format!("w/{number}"))?;
    bare::make(&root, &scene.installed("bin/workerd"))?;
    scene.give(&root)?;
    Ok(root)
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            if matches!(worker.child.try_wait(), Ok(None)) {
                // Both fail only for a process that is gone already.
                let _ = worker.child.kill();
                let _ = worker.child.wait();
            }
        }
    }
}
