//! The client daemon's life: when it starts, what it watches, and when it ends. Decides nothing about
//! jobs.

use crate::callers::{self, Listener};
use crate::commit::{self, Leftovers};
use crate::config::Config;
use crate::daemon::Daemon;
use crate::embedded::{self, Embedded};
use crate::journal::{Journal, Predecessor};
use crate::standstill;
use crate::stopped;
use crate::temporary_name;
use anyhow::Context;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How often an idle daemon looks whether it may end.
const IDLE_CHECK: Duration = Duration::from_secs(1);

/// How long the embedded worker may take to start.
const EMBEDDED_GRACE: Duration = Duration::from_secs(5);
/// How often it is looked at whether it still runs, and the longest pause between two starts.
const EMBEDDED_CHECK: Duration = Duration::from_millis(500);
const EMBEDDED_PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long an ending daemon waits for stubs to be told of the commits that are under way.
const SETTLING: Duration = Duration::from_secs(2);

/// How often it looks whether they have been told.
const SETTLED_CHECK: Duration = Duration::from_millis(5);

/// Runs the daemon until it is stopped or has been idle for long enough.
pub fn run(config: Config) -> anyhow::Result<()> {
    if let Err(refused) = termite_sched::request_short_slice() {
        tracing::warn!("{refused}");
    }
    let socket = config.socket_path();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(64)
        .build()
        .context("cannot start the daemon's event loop")?;
    let (listener, lock) = {
        let _context = runtime.enter();
        callers::bind(&socket).context("cannot listen for termite-run")?
    };
    let journal = Arc::new(begin_journal(&socket)?);
    let outcome = tokio::task::LocalSet::new().block_on(&runtime, live(config, listener, journal.clone()));
    // Waits for the commits that are under way.
    drop(runtime);
    journal.close();
    // Only by this may another daemon begin.
    drop(lock);
    outcome
}

/// Clears away what a daemon left that was killed, and begins this one's journal.
fn begin_journal(socket: &Path) -> anyhow::Result<Journal> {
    let last = Predecessor::read(socket);
    if let Some(mark) = last.mark {
        let mut left = Leftovers {
            mark,
            ..Leftovers::default()
        };
        for entry in last.entries.values() {
            left.dirs.extend(entry.dirs.iter().cloned());
            left.moves.extend(entry.moves.iter().cloned());
        }
        commit::clear(&left);
        embedded::remove_socket(&Embedded::socket(socket, mark));
    }
    stopped::clear(socket).context("cannot clear away what the last daemon left")?;
    Journal::begin(socket, temporary_name::mark(), &last)
        .with_context(|| format!("cannot write the journal beside {}", socket.display()))
}

/// Serves callers until there is a reason to end, and ends in order.
async fn live(config: Config, listener: Listener, journal: Arc<Journal>) -> anyhow::Result<()> {
    let daemon = Daemon::new(config, journal).await?;
    let mut embedded = daemon.enlist_workers()?;
    let served = callers::serve(listener, daemon.clone());
    let outcome = tokio::select! {
        served = served => served.context("the socket for termite-run broke"),
        () = daemon.stopping() => Ok(()),
        () = daemon.idle() => Ok(()),
        () = daemon.outdated() => Ok(()),
        () = daemon.tend(embedded.as_mut()) => Ok(()),
        () = standstill::watch(&daemon) => Ok(()),
        signal = callers::termination() => signal.context("cannot wait for signals"),
    };
    daemon.stop();
    daemon.settled().await;
    if tokio::time::timeout(SETTLING, daemon.journal.settled()).await.is_err() {
        tracing::warn!("commits are under way still; their stubs look into the journal");
    }
    daemon.flush();
    if let Some(mut worker) = embedded {
        worker.stop();
    }
    if let Err(error) = daemon.builds.trim_history() {
        tracing::warn!("the history cannot be trimmed: {error}");
    }
    outcome
}

impl Daemon {
    /// The configured workers, or the embedded one.
    pub(crate) fn enlist_workers(self: &Rc<Self>) -> anyhow::Result<Option<Embedded>> {
        if !self.config.workers.is_empty() {
            self.fleet.enlist_usual(&self.config.workers, Duration::ZERO);
            return Ok(None);
        }
        let worker = self.start_embedded()?;
        self.fleet.enlist_usual(&[worker.address()], EMBEDDED_GRACE);
        Ok(Some(worker))
    }

    fn start_embedded(&self) -> anyhow::Result<Embedded> {
        let socket = Embedded::socket(&self.config.socket_path(), temporary_name::mark());
        let log = callers::log_file(&self.config).map_or_else(Stdio::null, Stdio::from);
        let config = &self.config;
        Embedded::start(&config.prefix, socket, config.slots, config.store, &config.fault, log)
            .with_context(|| format!("cannot start {}", config.prefix.join("bin/workerd").display()))
    }

    /// Starts the embedded worker again where it has ended by itself, after longer and longer
    /// pauses while that does not help. Its link dials the same address for ever. Never resolves.
    async fn tend(&self, worker: Option<&mut Embedded>) {
        let Some(worker) = worker else {
            return std::future::pending().await;
        };
        let mut pause = EMBEDDED_CHECK;
        loop {
            tokio::time::sleep(pause).await;
            let Some(why) = worker.ended() else {
                pause = EMBEDDED_CHECK;
                continue;
            };
            tracing::warn!("{why}; it is started again");
            pause = (pause * 2).min(EMBEDDED_PAUSE_MAX);
            embedded::remove_socket(worker.path());
            match self.start_embedded() {
                Ok(started) => *worker = started,
                Err(error) => tracing::warn!("{error:#}"),
            }
        }
    }

    /// Waits until the jobs that are under way have been told.
    async fn settled(&self) {
        let are_home = async {
            while self.busy.get() > 0 {
                tokio::time::sleep(SETTLED_CHECK).await;
            }
        };
        if tokio::time::timeout(SETTLING, are_home).await.is_err() {
            tracing::warn!("jobs are under way still");
        }
    }

    /// Resolves when nobody has used the daemon for the configured time.
    async fn idle(&self) {
        let Some(limit) = self.config.idle_timeout else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(IDLE_CHECK.min(limit)).await;
            if self.busy.get() == 0 {
                self.flush();
                if self.last_use.get().elapsed() >= limit {
                    return;
                }
            }
        }
    }

    /// Resolves when another daemon would be better for the next job, which starts it: termite was
    /// installed anew in the place of this one's program, or other settings hold; and no build is
    /// under way.
    async fn outdated(&self) {
        loop {
            tokio::time::sleep(IDLE_CHECK).await;
            let is_idle = self.busy.get() == 0 && self.last_use.get().elapsed() >= IDLE_CHECK;
            if !is_idle || !self.builds.under_way().is_empty() {
                continue;
            }
            if self.program.is_replaced() {
                tracing::info!("another program has taken the place of this daemon's, which ends");
                return;
            }
            if self.has_other_settings() {
                tracing::info!("other settings hold; this daemon ends, and the next job starts one with them");
                return;
            }
        }
    }

    /// Whether a file was changed so that this daemon would be started with other settings. Those
    /// that cannot be used change nothing.
    fn has_other_settings(&self) -> bool {
        let state = self.config.files_state();
        let is_known = *self.settings_read_from.borrow() == state;
        self.settings_read_from.replace(state);
        !is_known && self.config.anew().is_ok_and(|now| now.shown() != self.config.shown())
    }
}
