//! The go command starts its compiler, assembler and linker by calls of its own, which no library
//! sees. It takes a program that is to start them (`go help build`, -toolexec), and flags from the
//! environment and from a file (`go help environment`). Knows these; runs no go.

use crate::lookup;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Where flags are that every go command takes.
pub(crate) const VARIABLE: &str = "GOFLAGS";
const STARTER: &str = "-toolexec";

/// Value for [`VARIABLE`] with `termite` as what starts the tools. `None`: there is no go, or it has
/// a starter, or the path cannot be written there.
pub(crate) fn flags(termite: &Path, variable: &dyn Fn(&str) -> Option<OsString>) -> Option<String> {
    lookup::program(OsStr::new("go"), variable("PATH"), &[]).ok()?;
    let termite = termite.to_str().filter(|path| !path.contains([' ', '\t', '\'', '"']))?;
    let old = match variable(VARIABLE).filter(|flags| !flags.is_empty()) {
        Some(flags) => flags.into_string().ok()?,
        None => in_file(variable).unwrap_or_default(),
    };
    if old.contains(STARTER) {
        return None;
    }
    Some(format!("{old} {STARTER}={termite}").trim_start().to_owned())
}

/// What `go env -w GOFLAGS=..` keeps. The variable would hide it.
fn in_file(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<String> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let path = match set("GOENV") {
        Some(path) => PathBuf::from(path),
        None => {
            let config = set("XDG_CONFIG_HOME").map(PathBuf::from);
            config
                .or_else(|| Some(Path::new(&set("HOME")?).join(".config")))?
                .join("go/env")
        }
    };
    let text = std::fs::read_to_string(path).ok()?;
    let flags = |line: &str| Some(line.strip_prefix(VARIABLE)?.strip_prefix('=')?.to_owned());
    text.lines().filter_map(flags).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, create_dir_all, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn flags_are_added_to_those_that_are_set() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).into_os_string();
        create_dir_all(at("home/.config/go")).unwrap();
        let with = |set: &[(&str, OsString)], termite: &str| {
            let variable = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone());
            flags(Path::new(termite), &variable)
        };
        let base = [("PATH", at("bin")), ("HOME", at("home"))];
        let and = |name: &'static str, value: &str| [&base[..], &[(name, value.into())]].concat();
        assert_eq!(with(&base, "/t"), None, "there is no go");
        create_dir_all(at("bin")).unwrap();
        write(at("bin/go"), "").unwrap();
        set_permissions(at("bin/go"), Permissions::from_mode(0o755)).unwrap();

        assert_eq!(with(&base, "/t").as_deref(), Some("-toolexec=/t"));
        assert_eq!(with(&base, "/with blank/t"), None);
        let set = with(&and("GOFLAGS", "-mod=mod"), "/t");
        assert_eq!(set.as_deref(), Some("-mod=mod -toolexec=/t"));
        assert_eq!(with(&and("GOFLAGS", "-toolexec=mine"), "/t"), None);
        write(at("home/.config/go/env"), "GOPROXY=off\nGOFLAGS=-v\n").unwrap();
        assert_eq!(with(&base, "/t").as_deref(), Some("-v -toolexec=/t"));
        assert_eq!(with(&and("GOENV", "off"), "/t").as_deref(), Some("-toolexec=/t"));
        assert_eq!(with(&and("GOFLAGS", "-x"), "/t").as_deref(), Some("-x -toolexec=/t"));
    }
}
