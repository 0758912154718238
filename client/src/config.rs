//! All settings of client, daemon and tools, read once: flag over environment over the
//! project's file over the user's file over the default, each with its origin.
//!
//! Knows the files and variables; knows nothing of what a setting is used for.

mod address;
mod file;
mod places;
mod setting;
mod state;
#[cfg(test)]
mod tests;

use file::Layer;
use serde::Serialize;
use setting::{Raw, Setting};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use termite_abi::{ENV_DISABLE, ENV_MODE, ENV_PREFIX, ENV_WRAPPING};
use termite_core::rules::{Rule, RuleError, Rules};
use termite_transport::Address;

pub use address::parse_workers;
pub use places::Surroundings;
pub use setting::Origin;
pub use state::FilesState;

/// The key and what it means, in the order in which `termite config` shows them.
const KEYS: &[(&str, &str)] = &[
    (
        "workers",
        "addresses of the fleet: unix:PATH or HOST:PORT (loopback); none: an embedded worker",
    ),
    (
        "token_file",
        "secret shared with workers that are reached over loopback TCP",
    ),
    ("socket", "the daemon's unix socket"),
    ("slots", "jobs that the embedded worker runs at once"),
    ("store", "bytes of memory that the embedded worker may use (512M, 4G)"),
    ("idle_timeout_s", "seconds after which an unused daemon ends; 0: never"),
    (
        "tools",
        "base names of programs that are jobs under drivers other than make and ninja",
    ),
    ("deny", "patterns of files that no worker sees"),
    (
        "fault",
        "how the embedded worker serves its jobs: auto, shim,guard, guard or fuse",
    ),
    ("serial", "run a serial build on the whole fleet"),
];

/// What the daemon logs, as tracing's filters spell it.
pub const ENV_LOG: &str = "TERMITE_LOG";
const PROJECT_FILE: &str = ".termite.toml";
const LOCALRC: &str = ".termite-localrc";
const DEFAULT_IDLE_S: u64 = 900;
const DEFAULT_FAULT: &str = "auto";
const FAULTS: &[&str] = &[DEFAULT_FAULT, "shim,guard", "guard", "fuse"];

/// Every setting.
#[derive(Clone, Debug)]
pub struct Config {
    /// The fleet; empty: an embedded worker.
    pub workers: Vec<Address>,
    /// Secret for loopback TCP.
    pub token_file: Option<PathBuf>,
    /// Slots of the embedded worker.
    pub slots: u16,
    /// Bytes of the embedded worker's store; `None`: its own default.
    pub store: Option<u64>,
    /// How long an unused daemon lives; `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// Replaces the built-in list of known tools.
    pub tools: Option<Vec<String>>,
    /// Patterns of files that no worker sees, of all sources together.
    pub deny: Vec<String>,
    /// `--fault` of the embedded worker.
    pub fault: String,
    /// The user's home directory.
    pub home: PathBuf,
    /// Caches of termite.
    pub cache_dir: PathBuf,
    /// History and logs of termite.
    pub state_dir: PathBuf,
    /// The installation.
    pub prefix: PathBuf,
    socket: PathBuf,
    user_file: PathBuf,
    /// Where it was read, and with what flags.
    cwd: PathBuf,
    flags: Vec<(&'static str, String)>,
    shown: Vec<Shown>,
}

/// One line of `termite config`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Shown {
    /// Its name in files; the variable is `TERMITE_` and this in capitals.
    pub key: &'static str,
    /// As text, or null.
    pub value: Option<String>,
    /// Where the value comes from.
    pub origin: String,
    /// What it means.
    pub meaning: &'static str,
}

/// A setting that cannot be used. All of them are the user's to correct.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file is there and cannot be read.
    #[error("cannot read {}: {why}; make it readable or remove it", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// By the kernel.
        why: io::Error,
    },
    /// Not TOML, or not of the right shape.
    #[error("{file}:{line}: {why}")]
    Syntax {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A value that its key cannot have.
    #[error("{origin}: {key}: {why}")]
    Value {
        /// Where it was set.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A rule that cannot be used.
    #[error(transparent)]
    Rule(#[from] RuleError),
}

/// The sources of one directory, the strongest first.
struct Sources {
    layers: Vec<Layer>,
}

impl Config {
    /// The settings of this process in its working directory. `flags` are keys with the
    /// texts that the command line gave.
    pub fn load(flags: &[(&'static str, String)]) -> Result<Self, ConfigError> {
        Self::load_in(&Surroundings::of_process(), flags)
    }

    /// The settings that hold in given surroundings.
    pub fn load_in(around: &Surroundings<'_>, flags: &[(&'static str, String)]) -> Result<Self, ConfigError> {
        let mut sources = Sources {
            layers: vec![Layer::of_flags(flags), Layer::of_environment(around)],
        };
        let user_file = around.user_file();
        sources.layers.extend(file_layers(&around.cwd, &user_file)?);
        // Broken rules are told at the start, not by the first job.
        sources.rules();
        let mut shown = Vec::new();
        let mut read = |key: &'static str| sources.get(key, &mut shown);

        let workers = address::of_setting(read("workers"), &around.cwd)?;
        let token_file = read("token_file").path(&around.cwd)?;
        address::check_token(&workers, token_file.as_deref())?;
        let socket = read("socket")
            .path(&around.cwd)?
            .unwrap_or_else(|| around.default_socket());
        let slots = read("slots").number(1, 4096)?.map(|n| n as u16);
        let store = read("store").size()?;
        let idle_s = read("idle_timeout_s")
            .number(0, u64::from(u32::MAX))?
            .unwrap_or(DEFAULT_IDLE_S);
        let tools = read("tools").list()?;
        read("deny");
        let fault = read("fault")
            .one_of(FAULTS)?
            .unwrap_or_else(|| DEFAULT_FAULT.to_owned());
        read("serial").must_be_off("serial mode is not built yet; remove it")?;
        let mut config = Self {
            workers,
            token_file,
            slots: slots.unwrap_or_else(default_slots),
            store,
            idle_timeout: (idle_s > 0).then(|| Duration::from_secs(idle_s)),
            tools,
            deny: sources.deny()?,
            fault,
            home: around.home(),
            cache_dir: around.xdg("XDG_CACHE_HOME", ".cache"),
            state_dir: around.xdg("XDG_STATE_HOME", ".local/state"),
            prefix: around.prefix.clone(),
            socket,
            user_file,
            cwd: around.cwd.clone(),
            flags: flags.to_vec(),
            shown,
        };
        config.show_defaults();
        Ok(config)
    }

    /// The files that settings come from, as they are now. Where that differs from an earlier state,
    /// [`Self::anew`] may, too.
    pub fn files_state(&self) -> FilesState {
        self.rules_state(&self.cwd)
    }

    /// The settings as this process would read them now.
    pub fn anew(&self) -> Result<Self, ConfigError> {
        Self::load(&self.flags)
    }

    /// Where the history is kept.
    pub fn history_dir(&self) -> PathBuf {
        self.state_dir.join("history")
    }

    /// Where the daemon listens.
    pub fn socket_path(&self) -> PathBuf {
        self.socket.clone()
    }

    /// The secret for loopback TCP; empty where no token file is set.
    pub fn token(&self) -> io::Result<Vec<u8>> {
        let Some(path) = &self.token_file else {
            return Ok(Vec::new());
        };
        let named =
            |e: io::Error| io::Error::new(e.kind(), format!("cannot read the token file {}: {e}", path.display()));
        Ok(std::fs::read(path).map_err(named)?.trim_ascii_end().to_vec())
    }

    /// The rules of a directory, read anew: its project's, then the user's, then the
    /// built-in ones.
    pub fn rules_in(&self, cwd: &Path) -> Result<Rules, ConfigError> {
        let layers = file_layers(cwd, &self.user_file)?;
        Ok(Rules::new(Sources { layers }.rules()))
    }

    /// The files that [`Self::rules_in`] may read, as they are now. Where that differs from an
    /// earlier state, the rules are to be read anew.
    pub fn rules_state(&self, cwd: &Path) -> FilesState {
        let project = [PROJECT_FILE, LOCALRC]
            .into_iter()
            .flat_map(|name| cwd.ancestors().map(move |dir| dir.join(name)));
        FilesState::of(project.chain([self.user_file.clone()]))
    }

    /// Value for `TERMITE__TOOLS` where these rules hold, whose names are tools, too; empty: the
    /// shim's own list.
    pub fn tools_value(&self, rules: &Rules) -> OsString {
        let of_rules: Vec<&str> = rules.remote_names().collect();
        let names = match &self.tools {
            None if of_rules.is_empty() => return OsString::new(),
            None => vec![termite_abi::tools::AND_BUILT_IN],
            Some(tools) => tools.iter().map(String::as_str).collect(),
        };
        [names, of_rules].concat().join(":").into()
    }

    /// Every key with its value and origin.
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// Fills in what the defaults turned out to be.
    fn show_defaults(&mut self) {
        let defaults = [
            ("socket", self.socket.display().to_string()),
            ("slots", self.slots.to_string()),
            (
                "idle_timeout_s",
                self.idle_timeout.map_or(0, |t| t.as_secs()).to_string(),
            ),
            ("fault", self.fault.clone()),
            ("serial", "false".to_owned()),
            ("deny", self.deny.join(",")),
        ];
        for (key, value) in defaults {
            for shown in self.shown.iter_mut().filter(|s| s.key == key) {
                shown.value.get_or_insert_with(|| value.clone());
            }
        }
    }
}

impl Sources {
    /// The strongest value of a key, noted for `termite config`.
    fn get(&self, key: &'static str, shown: &mut Vec<Shown>) -> Setting {
        let found = self.layers.iter().find_map(|layer| layer.values.get(key));
        let setting = match found {
            Some((raw, origin)) => Setting {
                key,
                raw: Some(raw.clone()),
                origin: origin.clone(),
            },
            None => Setting {
                key,
                raw: None,
                origin: Origin::Default,
            },
        };
        let meaning = KEYS
            .iter()
            .find(|(name, _)| *name == key)
            .map_or("", |(_, meaning)| meaning);
        let value = setting.raw.as_ref().map(Raw::to_string);
        shown.push(Shown {
            key,
            value,
            origin: setting.origin.to_string(),
            meaning,
        });
        setting
    }

    /// Denials add up: no source takes back what another one denies.
    fn deny(&self) -> Result<Vec<String>, ConfigError> {
        let mut all = Vec::new();
        for (raw, origin) in self.layers.iter().filter_map(|layer| layer.values.get("deny")) {
            let setting = Setting {
                key: "deny",
                raw: Some(raw.clone()),
                origin: origin.clone(),
            };
            all.extend(setting.list()?.unwrap_or_default());
        }
        Ok(all)
    }

    fn rules(&self) -> Vec<Rule> {
        self.layers
            .iter()
            .flat_map(|layer| layer.rules.iter().cloned())
            .collect()
    }
}

/// Where a worker listens, which only that reads.
const ENV_LISTEN: &str = "TERMITE_LISTEN";

/// The variables that mean something to termite, but for those that its programs set for each other.
pub fn variables() -> impl Iterator<Item = String> {
    let settings = KEYS.iter().map(|(key, _)| variable_of(key));
    let others = [ENV_DISABLE, ENV_MODE, ENV_PREFIX, ENV_WRAPPING, ENV_LOG, ENV_LISTEN];
    settings.chain(others.into_iter().map(str::to_owned))
}

/// The variable of a setting.
fn variable_of(key: &str) -> String {
    format!("TERMITE_{}", key.to_ascii_uppercase())
}

/// The files that hold in a directory: `.termite.toml` and `.termite-localrc`, nearest
/// upwards, then the user's.
fn file_layers(cwd: &Path, user_file: &Path) -> Result<Vec<Layer>, ConfigError> {
    let mut layers = Vec::new();
    let nearest = |name: &str| cwd.ancestors().map(|dir| dir.join(name)).find(|path| path.is_file());
    if let Some(path) = nearest(PROJECT_FILE) {
        layers.push(Layer::of_file(&path, &read(&path)?)?);
    }
    if let Some(path) = nearest(LOCALRC) {
        layers.push(Layer::of_localrc(&path, &read(&path)?)?);
    }
    if user_file.is_file() {
        layers.push(Layer::of_file(user_file, &read(user_file)?)?);
    }
    Ok(layers)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|why| ConfigError::Unreadable {
        path: path.to_owned(),
        why,
    })
}

/// As many as there are processors, but some on a small machine, too: jobs that wait for each
/// other, as those of test suites do, are side by side there without termite.
fn default_slots() -> u16 {
    const LEAST: usize = 4;
    const MOST: usize = 4096;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.clamp(LEAST, MOST) as u16
}

/// The rest of an environment variable's bytes as text; what is not text cannot be a setting.
fn text(value: &OsStr) -> Option<String> {
    std::str::from_utf8(value.as_bytes()).ok().map(str::to_owned)
}

/// A variable of this process.
fn process_variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
