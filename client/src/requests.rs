//! What programs ask the daemon for: to run a job, and the questions of `termite status`, `last`
//! and others. Knows neither how a job runs nor how answers are shown.

use crate::build::command_line;
use crate::callers::{Caller, Requests};
use crate::config::parse_workers;
use crate::daemon::Daemon;
use crate::dispatch;
use crate::link::State;
use crate::report::{Forgotten, SettingStatus, Status, WorkerStatus};
use std::ffi::OsString;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};
use termite_transport::AddressError;
use termite_wire::frame::{CallerJob, Control};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// What ran earlier is kept in files that cannot be read.
    #[error("the history cannot be read: {0}")]
    History(#[source] io::Error),
    /// Workers that were named for a build.
    #[error(transparent)]
    Workers(#[from] AddressError),
    /// The answer is not to be put into JSON.
    #[error("the answer cannot be written: {0}")]
    Json(#[source] serde_json::Error),
}

impl Requests for Daemon {
    type Error = ControlError;

    async fn job(self: Rc<Self>, job: CallerJob, caller: Caller) {
        self.busy.set(self.busy.get() + 1);
        dispatch::serve(&self, job, caller).await;
        self.busy.set(self.busy.get() - 1);
        self.last_use.set(Instant::now());
    }

    async fn control(self: Rc<Self>, control: Control) -> Result<String, ControlError> {
        if matches!(control, Control::Begin { .. } | Control::Finish { .. }) {
            self.last_use.set(Instant::now());
        }
        self.builds.settled().await;
        let json = match control {
            Control::Status => serde_json::to_string(&self.status()),
            Control::Stop => {
                self.stop();
                Ok("{}".to_string())
            }
            Control::Last(directory) => {
                let last = self.builds.last(&directory).map_err(ControlError::History)?;
                serde_json::to_string(&last)
            }
            Control::Begin {
                build, cwd, workers, ..
            } => {
                let workers = parse_workers(&workers)?;
                let workers = self.fleet.enlist(&workers, Duration::ZERO);
                self.builds.begin(build, &cwd, workers);
                Ok("{}".to_string())
            }
            Control::Forget(words) => serde_json::to_string(&Forgotten {
                commands: self.forget(&words),
            }),
            Control::Finish { build, exit } => {
                let outdated = self.program.is_replaced();
                serde_json::to_string(&self.builds.finish(build, exit, outdated))
            }
        };
        json.map_err(ControlError::Json)
    }
}

impl Daemon {
    /// Forgets the signs of the commands whose line has these words in it.
    fn forget(&self, words: &[OsString]) -> Vec<String> {
        let words = command_line(words);
        self.signs.borrow_mut().forget(|sign| sign.command.contains(&words))
    }

    fn status(&self) -> Status {
        let workers = self.fleet.links().into_iter().map(|link| {
            let (state, slots) = match link.state() {
                State::Dialling => ("dialling".to_string(), 0),
                State::Up(session) => ("up".to_string(), session.greeting.slots),
                State::Down(why) => (why, 0),
            };
            WorkerStatus {
                address: link.address.to_string(),
                state,
                slots,
                running: link.running(),
                speed: link.speed().get(),
                bytes: link.traffic.bytes(),
            }
        });
        Status {
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            workers: workers.collect(),
            running: self.builds.running(),
            settings: self.config.shown().iter().map(SettingStatus::of).collect(),
        }
    }
}
