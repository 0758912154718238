//! Where a process stands: working directory, environment, user, installation, and the
//! directories that follow from them. Knows no settings.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use termite_abi::ENV_PREFIX;
use termite_types::socket_path;

/// Set for the daemon by whoever starts it: the directory whose project it begins with.
pub(super) const START_DIR: &str = "TERMITE__FROM";

/// What settings depend on besides files.
pub struct Surroundings<'a> {
    /// Working directory.
    pub cwd: PathBuf,
    /// Environment; empty variables count as unset.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// User.
    pub uid: u32,
    /// The installation.
    pub prefix: PathBuf,
}

impl Surroundings<'static> {
    /// Those of this process.
    pub fn of_process() -> Self {
        let variable = &super::process_variable;
        let here = variable(START_DIR)
            .map(PathBuf::from)
            .or_else(|| std::env::current_dir().ok());
        let installed = || {
            let exe = std::fs::read_link("/proc/self/exe").ok()?;
            Some(exe.parent()?.parent()?.to_owned())
        };
        let prefix = variable(ENV_PREFIX).map(PathBuf::from).or_else(installed);
        Self {
            cwd: here.unwrap_or_else(|| PathBuf::from("/")),
            variable,
            uid: rustix::process::geteuid().as_raw(),
            prefix: prefix.unwrap_or_else(|| PathBuf::from("/usr/local")),
        }
    }
}

impl Surroundings<'_> {
    /// The user's home directory; one in the runtime directory where none is set.
    pub fn home(&self) -> PathBuf {
        let home = (self.variable)("HOME")
            .map(PathBuf::from)
            .filter(|home| home.is_absolute());
        home.unwrap_or_else(|| {
            self.default_socket()
                .parent()
                .map(|dir| dir.join("home"))
                .unwrap_or_default()
        })
    }

    /// Termite's directory in one of the XDG base directories, which must be absolute.
    pub fn xdg(&self, name: &str, below_home: &str) -> PathBuf {
        let base = (self.variable)(name)
            .map(PathBuf::from)
            .filter(|base| base.is_absolute());
        base.unwrap_or_else(|| self.home().join(below_home)).join("termite")
    }

    /// The user's own settings.
    pub fn user_file(&self) -> PathBuf {
        self.xdg("XDG_CONFIG_HOME", ".config").join("config.toml")
    }

    /// The daemon's socket where no setting names one.
    pub fn default_socket(&self) -> PathBuf {
        let runtime = (self.variable)("XDG_RUNTIME_DIR").map(PathBuf::from);
        socket_path(runtime.as_deref().filter(|dir| Path::is_dir(dir)), self.uid)
    }
}
