//! Downloads a Debian package with apt, from the archive that this machine is
//! configured for, without touching apt's own state. Names no host of its own.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a package is in Debian's archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Debian release.
    pub suite: &'static str,
    /// What is wanted of it.
    pub kind: PackageKind,
}

/// The two kinds of packages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PackageKind {
    /// The sources.
    Source,
    /// What is installed.
    Binary,
}

/// An archive as apt is configured for it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Mirror {
    uri: String,
    signed_by: Option<String>,
}

/// Puts the files of `package` into `dir`. apt's lists live below `dir` as well.
pub fn download(package: &str, origin: Origin, dir: &Path) -> Result<()> {
    let mirror = configured()?;
    let (parts, lists, cache) = (dir.join("parts"), dir.join("lists"), dir.join("cache"));
    for made in [&parts, &lists.join("partial"), &cache.join("archives/partial")] {
        fs::create_dir_all(made)?;
    }
    fs::write(parts.join("corpus.sources"), stanza(&mirror, origin))?;
    let options = [
        "Dir::Etc::sourcelist=/dev/null".to_owned(),
        format!("Dir::Etc::sourceparts={}", parts.display()),
        format!("Dir::State::lists={}", lists.display()),
        format!("Dir::Cache={}", cache.display()),
        "APT::Sandbox::User=".to_owned(),
    ];
    let apt = |args: &[&str]| -> Result<()> {
        let mut command = Command::new("apt-get");
        command.args(options.iter().flat_map(|option| ["-o", option]));
        let out = command
            .arg("-q")
            .args(args)
            .current_dir(dir)
            .output()
            .context("starting apt-get")?;
        if !out.status.success() {
            bail!(
                "apt-get {}: {}\n{}",
                args.join(" "),
                out.status,
                String::from_utf8_lossy(&out.stderr)
            );
        }
        Ok(())
    };
    apt(&["update"])?;
    match origin.kind {
        PackageKind::Source => apt(&["source", "--download-only", package]),
        PackageKind::Binary => apt(&["download", package]),
    }
}

fn stanza(mirror: &Mirror, origin: Origin) -> String {
    let types = match origin.kind {
        PackageKind::Source => "deb-src",
        PackageKind::Binary => "deb",
    };
    let (uri, suite) = (&mirror.uri, origin.suite);
    let mut text = format!("Types: {types}\nURIs: {uri}\nSuites: {suite}\nComponents: main\n");
    if let Some(key) = &mirror.signed_by {
        text += &format!("Signed-By: {key}\n");
    }
    text
}

/// The archive that this machine installs Debian's own packages from.
fn configured() -> Result<Mirror> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    files.sort();
    let texts = files
        .iter()
        .filter_map(|file| Some((file, fs::read_to_string(file).ok()?)));
    let mut origins = texts.flat_map(|(file, text)| match file.extension() {
        Some(end) if end == "sources" => from_stanzas(&text),
        _ => from_lines(&text),
    });
    origins
        .next()
        .context("no Debian archive in /etc/apt: put the archives into the cache by hand")
}

/// Whether an entry is the main archive of a release, not its security updates nor a
/// foreign repository.
fn is_main(uri: &str, suites: &str, components: &str) -> bool {
    let released = |suite: &str| !suite.contains('/') && !suite.contains("-security");
    uri.trim_end_matches('/').ends_with("/debian")
        && suites.split_whitespace().any(released)
        && components.split_whitespace().any(|component| component == "main")
}

/// deb822 format, `sources.list(5)`.
fn from_stanzas(text: &str) -> Vec<Mirror> {
    let field = |stanza: &str, name: &str| {
        let mut fields = stanza.lines().filter_map(|line| line.split_once(':'));
        fields
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
    };
    let origin = |stanza: &str| {
        let uri = field(stanza, "URIs")?.split_whitespace().next()?.to_owned();
        let signed_by = field(stanza, "Signed-By").filter(|key| !key.is_empty());
        is_main(&uri, &field(stanza, "Suites")?, &field(stanza, "Components")?).then_some(Mirror { uri, signed_by })
    };
    text.split("\n\n").filter_map(origin).collect()
}

/// One-line format, `sources.list(5)`: `deb [option=value ...] URI SUITE COMPONENT ...`.
fn from_lines(text: &str) -> Vec<Mirror> {
    let origin = |line: &str| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(inner) => inner.split_once(']')?,
            None => ("", rest),
        };
        let signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="));
        let mut words = rest.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        let components: Vec<_> = words.collect();
        is_main(uri, suite, &components.join(" ")).then(|| Mirror {
            uri: uri.to_owned(),
            signed_by: signed_by.map(str::to_owned),
        })
    };
    text.lines().filter_map(origin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(uri: &str, key: Option<&str>) -> Mirror {
        Mirror {
            uri: uri.into(),
            signed_by: key.map(Into::into),
        }
    }

    #[test]
    fn both_formats_give_the_main_archive_only() {
        let stanzas = "Types: deb\nURIs: http://a.example/debian-security\nSuites: x-security\nComponents: main\n\n\
                       Types: deb\n# why\nURIs: http://a.example/debian\nSuites: x x-updates\nComponents: main\n\
                       Signed-By: /k.gpg\n";
        assert_eq!(
            from_stanzas(stanzas),
            [origin("http://a.example/debian", Some("/k.gpg"))]
        );
        let lines = "# deb http://no.example/debian x main\ndeb https://other.example/tool x main\n\
                     deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian/ x main contrib\n\
                     deb http://b.example/debian x main\n";
        let found = from_lines(lines);
        assert_eq!(
            found,
            [
                origin("http://a.example/debian/", Some("/k.gpg")),
                origin("http://b.example/debian", None)
            ]
        );
    }
}
