//! `termite daemon`: settings, log and the daemon's life. Knows nothing of what it does.

use crate::{USAGE, complain};
use clap::Args;
use std::path::Path;
use std::process::ExitCode;
use termite_client::config::{Config, ENV_LOG};
use termite_client::lifetime;
use tracing_subscriber::EnvFilter;

/// Settings that the command line may give; each is also a key and a variable.
#[derive(Args)]
pub(crate) struct Flags {
    /// Addresses of workers, separated by commas: unix:PATH or HOST:PORT (loopback)
    #[arg(long, value_name = "LIST")]
    workers: Option<String>,
    /// The socket to listen on
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
    /// Jobs that the embedded worker runs at once
    #[arg(long, value_name = "N")]
    slots: Option<String>,
    /// Memory that the embedded worker may use, such as 4G
    #[arg(long, value_name = "SIZE")]
    store: Option<String>,
    /// How the embedded worker serves its jobs: auto, shim,guard, guard or fuse
    #[arg(long, value_name = "LIST")]
    fault: Option<String>,
    /// Seconds after which an unused daemon ends; 0: never
    #[arg(long, value_name = "SECONDS")]
    idle_timeout_s: Option<String>,
    /// Secret for loopback TCP
    #[arg(long, value_name = "PATH")]
    token_file: Option<String>,
}

impl Flags {
    fn given(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("workers", &self.workers),
            ("socket", &self.socket),
            ("slots", &self.slots),
            ("store", &self.store),
            ("fault", &self.fault),
            ("idle_timeout_s", &self.idle_timeout_s),
            ("token_file", &self.token_file),
        ];
        all.into_iter()
            .filter_map(|(key, value)| Some((key, value.clone()?)))
            .collect()
    }
}

/// Runs the daemon until it ends.
pub(crate) fn run(flags: &Flags) -> ExitCode {
    let config = match Config::load(&flags.given()) {
        Ok(config) => config,
        Err(error) => {
            complain(error);
            return ExitCode::from(USAGE);
        }
    };
    let filter = EnvFilter::try_from_env(ENV_LOG).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let socket = config.socket_path();
    let outcome = lifetime::run(config);
    clear(&socket);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Takes away the directory that was made for the socket, once nothing is in it.
fn clear(socket: &Path) {
    let own = |dir: &&Path| {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        name == "termite" || name.starts_with("termite-")
    };
    if let Some(dir) = socket.parent().filter(own) {
        // Fails while another daemon uses it, which is as well.
        let _ = std::fs::remove_dir(dir);
    }
}
