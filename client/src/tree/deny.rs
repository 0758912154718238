//! What is hidden from workers: private keys, credentials, and what the configuration
//! adds. Knows paths and permission bits, never content.

use regex::bytes::RegexSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `~` is every home directory, `*` stops at a slash, `**` does not; a pattern that
/// begins with neither `/` nor `~` matches at any depth; what is below a match is hidden.
const DEFAULTS: &[&str] = &[
    "~/.ssh",
    "~/.gnupg",
    "~/.aws",
    "~/.azure",
    "~/.kube",
    "~/.docker/config.json",
    "~/.config/gh",
    "~/.config/gcloud",
    "~/.config/hub",
    "~/.git-credentials",
    "~/.config/git/credentials",
    "~/.netrc",
    "~/.pgpass",
    "~/.password-store",
    "~/.local/share/keyrings",
    "~/.mozilla",
    "~/.config/chromium",
    "~/.config/google-chrome",
    "~/.cargo/credentials",
    "~/.cargo/credentials.toml",
    "~/.pypirc",
    "~/.bash_history",
    "~/.zsh_history",
    "/etc/shadow*",
    "/etc/gshadow*",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssh/ssh_host_*_key",
    "/etc/ssl/private",
    "/etc/krb5.keytab",
    "/etc/NetworkManager/system-connections",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
    "privkey*.pem",
    "*private_key*.pem",
    "*private-key*.pem",
];

/// Trees that every slot has of its own.
const OF_THE_SLOT: &[&str] = &["/proc", "/sys", "/dev"];

/// Which paths workers may not read nor jobs write.
#[derive(Clone, Debug)]
pub struct DenyRules {
    hidden: RegexSet,
}

/// A pattern of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("deny rule {pattern:?} cannot be used: {why}")]
pub struct DenyError {
    pattern: String,
    why: String,
}

impl DenyRules {
    /// The built-in rules and `extra`: patterns as above, or `regex:` and a regular
    /// expression that is searched for in the whole path.
    pub fn new(extra: &[String], home: &Path) -> Result<Self, DenyError> {
        let all = DEFAULTS.iter().copied().chain(extra.iter().map(String::as_str));
        let expressions: Vec<String> = all.map(|pattern| expression(pattern, home)).collect();
        for (pattern, expression) in extra.iter().zip(&expressions[DEFAULTS.len()..]) {
            regex::bytes::Regex::new(expression).map_err(|e| DenyError {
                pattern: pattern.clone(),
                why: e.to_string(),
            })?;
        }
        let hidden = RegexSet::new(&expressions).map_err(|e| DenyError {
            pattern: extra.join(", "),
            why: e.to_string(),
        })?;
        Ok(Self { hidden })
    }

    /// Whether nothing of this path is served, whoever asks, and no job may write it.
    pub fn hides(&self, path: &Path) -> bool {
        OF_THE_SLOT.iter().any(|own| path.starts_with(own)) || self.hidden.is_match(path.as_os_str().as_bytes())
    }

    /// Whether a file with these permission bits stays on this machine: nobody but its
    /// owner may read it here either.
    pub fn keeps_home(&self, mode: u32) -> bool {
        mode & 0o044 == 0
    }
}

/// The regular expression for a pattern.
fn expression(pattern: &str, home: &Path) -> String {
    if let Some(expression) = pattern.strip_prefix("regex:") {
        return format!("(?-u){expression}");
    }
    let (start, rest) = if let Some(rest) = pattern.strip_prefix("~/") {
        let home = regex::escape(&home.to_string_lossy());
        (format!("^(?:{home}|/root|/home/[^/]+)/"), rest)
    } else if pattern.starts_with('/') {
        ("^".to_string(), pattern)
    } else {
        ("(?:^|/)".to_string(), pattern)
    };
    let mut body = String::new();
    let mut chars = rest.trim_end_matches('/').chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => body.push_str(".*"),
            '*' => body.push_str("[^/]*"),
            '?' => body.push_str("[^/]"),
            other => body.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    format!("(?s-u){start}{body}(?:/|$)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(extra: &[&str]) -> DenyRules {
        let extra: Vec<String> = extra.iter().map(ToString::to_string).collect();
        DenyRules::new(&extra, Path::new("/srv/people/ann")).expect("usable rules")
    }

    #[test]
    fn keys_and_credentials_are_hidden_and_headers_are_not() {
        let rules = rules(&[]);
        for hidden in [
            "/home/bob/.ssh",
            "/home/bob/.ssh/config",
            "/root/.gnupg/pubring.kbx",
            "/srv/people/ann/.netrc",
            "/etc/shadow-",
            "/etc/gshadow",
            "/etc/sudoers.d/README",
            "/work/keys/id_rsa",
            "/etc/ssh/ssh_host_rsa_key",
            "/proc/self/environ",
        ] {
            assert!(rules.hides(Path::new(hidden)), "{hidden}");
        }
        for served in [
            "/etc/ssl/certs/ca.pem",
            "/work/keys/id_rsa.pub",
            "/etc/ssh/ssh_host_rsa_key.pub",
            "/etc/passwd",
            "/work/.ssh",
            "/processes",
            "/",
        ] {
            assert!(!rules.hides(Path::new(served)), "{served}");
        }
    }

    #[test]
    fn the_configuration_adds_patterns_and_expressions() {
        let rules = rules(&["/work/**/secret?", "vault", "regex:\\.key$"]);
        for hidden in ["/work/a/b/secret1", "/x/vault/y", "/a/b.key"] {
            assert!(rules.hides(Path::new(hidden)), "{hidden}");
        }
        assert!(!rules.hides(Path::new("/work/a/secret")));
    }

    #[test]
    fn a_broken_expression_is_named() {
        let broken = DenyRules::new(&["regex:(".to_string()], Path::new("/root")).expect_err("unbalanced");
        assert!(broken.to_string().contains("regex:("), "{broken}");
    }

    #[test]
    fn paths_need_not_be_text() {
        use std::ffi::OsStr;
        let path = Path::new(OsStr::from_bytes(b"/home/\xff\xfe/.ssh/id"));
        assert!(rules(&[]).hides(path));
    }
}
