//! Settings from every source, and every way to get them wrong.

use super::*;
use termite_core::rules::{Command, Verdict};

/// A home, a project with a directory in it, and an environment.
struct Stage {
    dir: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("home/.config/termite")).unwrap();
        std::fs::create_dir_all(dir.path().join("project/deep/er")).unwrap();
        Self {
            dir,
            variables: Vec::new(),
        }
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        std::fs::write(self.dir.path().join(path), text).unwrap();
        self
    }

    fn load(&self, flags: &[(&'static str, String)]) -> Result<Config, ConfigError> {
        let home = self.dir.path().join("home");
        let variable = |name: &str| match name {
            "HOME" => Some(home.clone().into_os_string()),
            _ => self
                .variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| OsString::from(value)),
        };
        let around = Surroundings {
            cwd: self.dir.path().join("project/deep/er"),
            variable: &variable,
            uid: 1000,
            prefix: PathBuf::from("/opt/termite"),
        };
        Config::load_in(&around, flags)
    }

    fn complaint(&self) -> String {
        let root = self.dir.path().display().to_string();
        self.load(&[])
            .map(|_| ())
            .unwrap_err()
            .to_string()
            .replace(&root, "ROOT")
    }
}

fn shown(config: &Config, key: &str) -> (String, String) {
    let line = config.shown().iter().find(|s| s.key == key).unwrap();
    (line.value.clone().unwrap_or_default(), line.origin.clone())
}

#[test]
fn defaults_need_no_file() {
    let config = Stage::new().load(&[]).unwrap();
    let socket = format!("/tmp/termite-1000/v{}.sock", termite_types::PROTOCOL);
    assert_eq!(config.socket_path(), Path::new(&socket));
    assert_eq!(config.fault, "auto");
    assert_eq!(config.idle_timeout, Some(Duration::from_secs(900)));
    assert!(config.workers.is_empty() && config.tools_value(&Rules::default()).is_empty());
    assert!(config.cache_dir.ends_with("home/.cache/termite"));
    assert_eq!(config.shown().len(), KEYS.len());
    assert_eq!(shown(&config, "idle_timeout_s"), ("900".into(), "default".into()));
}

#[test]
fn the_stronger_source_wins_and_is_named() {
    let mut stage = Stage::new();
    stage.write(
        "home/.config/termite/config.toml",
        "slots = 1\nstore = \"1G\"\nfault = \"guard\"\ndeny = [\"a\"]\n",
    );
    stage.write(
        "project/.termite.toml",
        "\nslots = 2\nworkers = [\"unix:w.sock\", \"unix:/b\"]\ndeny = [\"b\"]\n",
    );
    let config = stage.load(&[]).unwrap();
    assert_eq!(
        (config.slots, config.store, config.fault.as_str()),
        (2, Some(1 << 30), "guard")
    );
    assert_eq!(config.deny, ["b", "a"]);
    let project = stage.dir.path().join("project");
    assert_eq!(config.workers[0], Address::Unix(project.join("w.sock")));
    assert_eq!(
        shown(&config, "slots"),
        ("2".into(), format!("{}/.termite.toml:2", project.display()))
    );

    stage.variables = vec![("TERMITE_SLOTS", "3".into()), ("TERMITE_TOOLS", "a,b".into())];
    let config = stage.load(&[]).unwrap();
    assert_eq!((config.slots, config.tools_value(&Rules::default())), (3, "a:b".into()));
    assert_eq!(shown(&config, "slots"), ("3".into(), "TERMITE_SLOTS".into()));

    let config = stage.load(&[("slots", "4".into())]).unwrap();
    assert_eq!(shown(&config, "slots"), ("4".into(), "--slots".into()));
    assert_eq!(config.slots, 4);
}

#[test]
fn complaints_name_file_line_and_remedy() {
    let table = [
        (
            "\nwrokers = []",
            "ROOT/project/.termite.toml:2: unknown key `wrokers`; known are workers",
        ),
        (
            "slots = \"x\"",
            "ROOT/project/.termite.toml:1: slots: write a whole number",
        ),
        ("slots = 0", "write a whole number from 1"),
        ("slots = -1", "not negative"),
        ("a = = b", "ROOT/project/.termite.toml:1: "),
        ("workers = [1]", "every item of a list must be a string"),
        (
            "workers = [\"dns:fleet:7000\"]",
            "workers: `dns:fleet:7000` needs encrypted links, which are not built yet",
        ),
        (
            "workers = [\"10.0.0.1:7000\"]",
            "`10.0.0.1:7000` is not on this machine",
        ),
        ("workers = [\"127.0.0.1:7000\"]", "needs a token file"),
        ("workers = [\"nonsense\"]", "is no worker address; write unix:/PATH"),
        ("serial = true", "serial: serial mode is not built yet"),
        (
            "fault = \"ptrace\"",
            "write one of: auto or shim,guard or guard or fuse",
        ),
        ("store = \"4X\"", "store: write a number of bytes"),
        (
            "[[rule]]\nregex = \"(\"\nrun = \"local\"",
            "ROOT/project/.termite.toml:2: `(` is not a regular expression",
        ),
        ("[[rule]]\nregex = \"x\"", "a rule needs run"),
        (
            "[[rule]]\nregex = \"x\"\nrun = \"here\"",
            "ROOT/project/.termite.toml:3: `here` is no place",
        ),
        ("[[rule]]\nrun = \"local\"", "a rule has either `regex`"),
        (
            "[[rule]]\nname = \"x\"\nrun = \"local\"",
            "unknown key `name` in a rule",
        ),
        ("rule = 3", "[[rule]]"),
    ];
    for (text, expected) in table {
        let stage = Stage::new();
        stage.write("project/.termite.toml", text);
        let complaint = stage.complaint();
        assert!(complaint.contains(expected), "{text}: {complaint}");
    }
    let stage = Stage::new();
    stage.write("project/.termite-localrc", "[{\"Regexp\": \"(\"}]");
    assert!(stage.complaint().starts_with("ROOT/project/.termite-localrc entry 1: "));
}

#[test]
fn loopback_with_a_token_file_is_fine() {
    let stage = Stage::new();
    stage.write("project/token", "secret\n");
    stage.write(
        "project/.termite.toml",
        "workers = [\"[::1]:7000\", \"localhost:1\"]\ntoken_file = \"token\"",
    );
    let config = stage.load(&[]).unwrap();
    assert_eq!(
        config.workers,
        [Address::Tcp("[::1]:7000".into()), Address::Tcp("localhost:1".into())]
    );
    assert_eq!(config.token().unwrap(), b"secret");
}

#[test]
fn rules_of_project_then_old_file_then_user() {
    let stage = Stage::new();
    stage.write(
        "home/.config/termite/config.toml",
        "[[rule]]\nnames = [\"a\", \"b\", \"c\"]\nrun = \"driver\"\n",
    );
    stage.write(
        "project/.termite-localrc",
        "[{\"Regexp\": \"^[ab]$\", \"Local\": true}]",
    );
    stage.write(
        "project/deep/.termite.toml",
        "[[rule]]\nregex = \"^a$\"\nrun = \"remote\"\n",
    );
    let config = stage.load(&[]).unwrap();
    let rules = config.rules_in(&stage.dir.path().join("project/deep/er")).unwrap();
    let decide = |word: &str| {
        rules.decide(&Command {
            program: Path::new(word),
            argv: &[word.into()],
            cwd: Path::new("/"),
        })
    };
    assert!(matches!(decide("a"), Verdict::Remote { whole: true, .. }));
    assert!(matches!(decide("b"), Verdict::Local { .. }));
    assert!(matches!(decide("c"), Verdict::Driver { .. }));
    let elsewhere = config.rules_in(Path::new("/")).unwrap();
    let command = Command {
        program: Path::new("b"),
        argv: &["b".into()],
        cwd: Path::new("/"),
    };
    assert!(matches!(elsewhere.decide(&command), Verdict::Driver { .. }));
}
