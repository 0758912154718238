//! `workerd`: parses its command line, enters its namespaces, then serves until it is
//! told to end. Knows the order of these steps; the rooms of the library do the work.

use anyhow::{Context, bail};
use clap::Parser;
use std::path::PathBuf;
use std::rc::Rc;
use termite_transport::{Address, Listener};
use termite_workerd::backend::{self, BackendChoice, ChosenBackend};
use termite_workerd::clients::Clients;
use termite_workerd::doctor;
use termite_workerd::link;
use termite_workerd::start::{self, Entered, StoreOptions};
use termite_workerd::store_limit::LOG_OF_STORE;
use termite_workerd::worker::{Options, Worker};
use tokio::signal::unix::{SignalKind, signal};

/// Log target of the one line that is always shown: what serves files here, and why.
const LOG_OF_CHOICE: &str = "workerd::fault";

/// Runs the commands of builds for termite clients.
#[derive(Parser)]
#[command(name = "workerd", version)]
struct Cli {
    /// Where to listen: unix:PATH, or ADDRESS:PORT on loopback (with --token-file)
    #[arg(long, env = "TERMITE_LISTEN", required_unless_present = "check")]
    listen: Vec<Address>,
    /// Jobs at a time
    #[arg(long, env = "TERMITE_SLOTS", default_value_t = default_slots(), value_parser = clap::value_parser!(u16).range(1..))]
    slots: u16,
    /// Memory for files, as in 8G or 512M; half of the machine's if not given
    #[arg(long, env = "TERMITE_STORE", value_parser = parse_size)]
    store: Option<u64>,
    /// An existing directory to mount the store on, inside a mount namespace of its own
    #[arg(long)]
    store_dir: Option<PathBuf>,
    /// What serves a job's file accesses
    #[arg(long, env = "TERMITE_FAULT", value_enum, default_value = "auto")]
    fault: Fault,
    /// File whose content every TCP caller must show
    #[arg(long, env = "TERMITE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Tell what this host allows and what to do about it, and end; status 0 if a worker can
    /// run here
    #[arg(long)]
    check: bool,
    /// Print JSON, with --check
    #[arg(long, requires = "check")]
    json: bool,
    /// End when the process that started this one ends
    #[arg(long, hide = true)]
    die_with_parent: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Fault {
    /// The fastest of these that this host allows
    #[value(name = "auto")]
    Auto,
    /// In the process where nothing is missing, else by seccomp notification
    #[value(name = "shim,guard")]
    ShimGuard,
    /// By seccomp notification alone
    #[value(name = "guard")]
    Guard,
    /// By FUSE
    #[value(name = "fuse")]
    Fuse,
}

impl Fault {
    fn wanted(self) -> BackendChoice {
        match self {
            Self::Auto => BackendChoice::Auto,
            Self::ShimGuard => BackendChoice::ShimGuard,
            Self::Guard => BackendChoice::Guard,
            Self::Fuse => BackendChoice::Fuse,
        }
    }
}

fn main() {
    let cli = Cli::parse();
    if let Err(error) = run(cli) {
        eprintln!("workerd: {error:#}");
        std::process::exit(1);
    }
}

/// Enters the namespaces, chooses what serves files, and serves until it is told to end.
fn run(cli: Cli) -> anyhow::Result<()> {
    let store = StoreOptions {
        dir: cli.store_dir.clone(),
        bytes: cli.store,
        inodes: None,
    };
    if cli.check {
        let report = doctor::examine(store);
        print!("{}", if cli.json { report.json() } else { report.text() });
        start::leave(i32::from(!report.ok));
    }
    let token = read_token(&cli)?;
    if cli.die_with_parent {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
            .context("cannot follow the parent's end")?;
    }
    let entered = start::enter(store)?;
    let filter = tracing_subscriber::EnvFilter::try_from_env("TERMITE_LOG");
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| format!("warn,{LOG_OF_CHOICE}=info,{LOG_OF_STORE}=info").into()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let ChosenBackend { backend, why } = backend::choose(cli.fault.wanted(), &entered)?;
    tracing::info!(target: LOG_OF_CHOICE, "files are served by {}: {why}", backend.name());
    let Entered { store, spawner, prompt } = entered;
    if let Err(refused) = prompt {
        tracing::warn!("{refused}");
    }
    let options = Options {
        slots: cli.slots,
        backend,
        token,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let worker = Worker::new(options, store, spawner);
    let local = tokio::task::LocalSet::new();
    let served = local.block_on(&runtime, serve(&worker, &cli.listen));
    if let Some(summary) = worker.eviction_summary() {
        tracing::info!(target: LOG_OF_STORE, "{summary}");
    }
    if let Err(error) = &served {
        eprintln!("workerd: {error:#}");
    }
    // Sessions and jobs are not taken down one by one: with this process, pid 1 of its
    // namespace, the kernel takes every process, mount and file of theirs.
    start::leave(i32::from(served.is_err()))
}

/// Serves until SIGTERM or SIGINT; then takes no connection any more and lets running
/// jobs end; a second signal ends those too.
async fn serve(worker: &Rc<Worker>, addresses: &[Address]) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    start::handles_signals();
    let clients = Clients::new(worker.clone());
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = Listener::bind(address).await?;
        listeners.push(tokio::task::spawn_local(link::serve(listener, clients.clone())));
    }
    let serving = futures::future::select_all(listeners.iter_mut());
    tokio::select! {
        (ended, ..) = serving => return Ok(ended.context("a listener ended")??),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    for listener in listeners {
        listener.abort();
        // Cancelled: that is what was asked for. Its socket file is gone by here.
        let _ = listener.await;
    }
    tokio::select! {
        () = worker.drained() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn read_token(cli: &Cli) -> anyhow::Result<Vec<u8>> {
    let over_tcp = cli.listen.iter().any(|address| matches!(address, Address::Tcp(_)));
    let Some(path) = &cli.token_file else {
        if over_tcp {
            bail!("listening on TCP needs --token-file: any user of this machine could use the worker without it");
        }
        return Ok(Vec::new());
    };
    let token = std::fs::read(path).with_context(|| format!("cannot read the token file {}", path.display()))?;
    let token = token.trim_ascii().to_vec();
    if token.len() < 16 {
        bail!(
            "the token file {} holds fewer than 16 characters: make one with `head -c 32 /dev/urandom | base64`",
            path.display()
        );
    }
    Ok(token)
}

fn default_slots() -> u16 {
    std::thread::available_parallelism().map_or(1, |count| count.get().try_into().unwrap_or(u16::MAX))
}

/// Bytes with an optional K, M, G or T (powers of 1024).
fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        Some((at, 't' | 'T')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let count: u64 = digits
        .parse()
        .map_err(|_| format!("{text:?} is no size: write it as in 512M or 8G"))?;
    count
        .checked_shl(shift)
        .filter(|bytes| bytes >> shift == count)
        .ok_or_else(|| format!("{text:?} is too large"))
}
