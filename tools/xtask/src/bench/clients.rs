//! What the client's machine spends on each job, beside distcc, which preprocesses there.

use super::builds::Builds;
use super::table::{Goal, Row};
use super::{Bench, TICKS};
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use termite_e2e::fleet::free_port;
use termite_e2e::process::{PATIENCE, wait_until};
use termite_e2e::project::Kind;
use termite_e2e::{Client, Fleet, Project, Way};

/// Rounds of each.
const ROUNDS: usize = 3;

/// Milliseconds of processor time a job, make's own among them: what make spends by itself
/// cannot be told from a dry run, whose `$(shell)` commands would run on the client.
pub(super) fn processor_time(bench: &Bench) -> Result<Vec<Row>> {
    let fleet = Fleet::start(&bench.scene, 1, 2)?;
    let client = Client::new(&bench.scene, "cpu", &fleet.addresses())?;
    let project = Project::new(&bench.scene, "cpu", Kind::Redis)?;
    let builds = Builds::new(&project, 2)?;
    builds.build(&client, Some(Way::Env), &[])?;
    let server = Distccd::start(bench)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut jobs = 0;
    for _ in 0..ROUNDS {
        let (_, driver) = spent(|| builds.build(&client, Some(Way::Env), &[]))?;
        let last = client.all_remote(project.dir())?;
        jobs = last.jobs.total;
        ours.push((driver + last.client_cpu_s) * 1e3 / jobs as f64);
        let before = server.compiled()?;
        let (_, distcc) = spent(|| {
            builds.build(
                &client,
                None,
                &["CC=distcc gcc", &format!("DISTCC_HOSTS={}", server.host())],
            )
        })?;
        // Links and archives stay with distcc's client, and are no jobs of it.
        let compiles = server.compiled()? - before;
        theirs.push(distcc * 1e3 / compiles as f64);
    }
    client.stop()?;
    fleet.stop()?;
    drop(server);
    Ok(vec![
        Row::new(
            "client processor time a job (daemon, stub, and make with the shim in it), Redis, warm",
            "ms",
            ours,
            Goal::AtMost(5.0),
        )
        .note(format!("{jobs} jobs, links and archives among them")),
        Row::new(
            "the same of distcc, for each compile on its server",
            "ms",
            theirs,
            Goal::Reported,
        )
        .note("its links and archives run on the client, and are within"),
    ])
}

/// What children of this process spent meanwhile, seconds. Only those count that were
/// waited for.
fn spent<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let before = children()?;
    let done = work()?;
    Ok((done, children()? - before))
}

fn children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // After the name, which may hold anything, state is the third field.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |field: usize| -> Result<f64> { Ok(fields.get(field - 3).context("/proc/self/stat")?.parse()?) };
    Ok((ticks(16)? + ticks(17)?) / TICKS)
}

/// distcc's server on loopback.
struct Distccd {
    child: Child,
    port: u16,
    log: std::path::PathBuf,
}

impl Distccd {
    /// Starts distccd on a free port of the loopback interface, and waits until it listens.
    fn start(bench: &Bench) -> Result<Self> {
        install("distcc", "/usr/bin/distccd")?;
        let port = free_port()?;
        let log = bench.scene.base().join("distccd.log");
        let mut command = Command::new("distccd");
        command.args([
            "--no-detach",
            "--daemon",
            "--allow",
            "127.0.0.1",
            "--listen",
            "127.0.0.1",
        ]);
        command.args([
            "--port",
            &port.to_string(),
            "--jobs",
            "2",
            "--enable-tcp-insecure",
            "--log-level",
            "info",
            // Started by root it becomes its own user, who may not write where we do.
            "--log-stderr",
        ]);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).with_context(|| format!("creating {}", log.display()))?)
            .spawn()
            .context("starting distccd")?;
        let server = Self { child, port, log };
        wait_until("distccd to listen", PATIENCE, || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        })?;
        Ok(server)
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}/2", self.port)
    }

    /// Compiles that it has done.
    fn compiled(&self) -> Result<usize> {
        std::thread::sleep(Duration::from_millis(200));
        let log = fs::read_to_string(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        Ok(log.lines().filter(|line| line.contains(" COMPILE_OK ")).count())
    }
}

impl Drop for Distccd {
    fn drop(&mut self) {
        // Gone already, if it fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Installs a peer from Debian's packages, unless it is there.
fn install(package: &str, program: &str) -> Result<()> {
    if Path::new(program).exists() {
        return Ok(());
    }
    let status = Command::new("apt-get")
        .args(["install", "-q", "-y", "--no-install-recommends", package])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status()
        .context("apt-get")?;
    if !status.success() {
        bail!("{package} is not there and cannot be installed ({status}): install it and try again");
    }
    Ok(())
}
