//! The built-in rules, and the names of drivers that a slot stops.
//!
//! Drivers come before local commands: in `git submodule update && make` it is the
//! `make` that counts, and git is decided again when that shell starts it.

use super::{Verdict, shell::Simple};

/// Base names of programs whose children may be jobs. A worker gives a job up when one
/// of its processes executes them.
pub const DRIVERS: &[&str] = &[
    "make",
    "gmake",
    "bmake",
    "remake",
    "ninja",
    "ninja-build",
    "samu",
    "ctest",
    "ctest3",
    "cpack",
    "configure",
    "config.status",
    "autoreconf",
    "autogen.sh",
    "cargo",
    "scons",
    "waf",
    "bazel",
    "bazelisk",
    "buck2",
    "xmake",
    "just",
    "go",
    "dpkg-buildpackage",
    "debuild",
    "rpmbuild",
];

/// Commands that belong to the client, by the reason.
const LOCAL: &[(&str, &[&str])] = &[
    // Index files remember inode numbers and ctimes, which a view does not have.
    (
        "version control",
        &[
            "git", "svn", "hg", "cvs", "bzr", "fossil", "p4", "repo", "git-lfs", "gh",
        ],
    ),
    (
        "other rights",
        &[
            "sudo", "su", "doas", "pkexec", "chroot", "mount", "umount", "losetup", "unshare", "nsenter",
        ],
    ),
    (
        "package manager",
        &[
            "apt",
            "apt-get",
            "aptitude",
            "apt-cache",
            "dpkg",
            "rpm",
            "dnf",
            "yum",
            "zypper",
            "pacman",
            "apk",
            "snap",
            "flatpak",
            "brew",
            "nix",
            "nix-env",
            "guix",
            "pip",
            "pip2",
            "pip3",
            "pipx",
            "uv",
            "conda",
            "mamba",
            "poetry",
            "npm",
            "npx",
            "yarn",
            "pnpm",
            "bun",
            "gem",
            "bundle",
            "cpan",
            "cpanm",
            "luarocks",
            "opam",
            "cabal",
            "stack",
            "rustup",
            "composer",
            "mvn",
            "gradle",
            "gradlew",
            "sbt",
            "conan",
            "vcpkg",
        ],
    ),
    // Jobs do not see each other while they run.
    ("lock", &["flock", "lockfile", "lckdo", "setlock"]),
    (
        "network",
        &["ssh", "scp", "sftp", "curl", "wget", "ftp", "nc", "telnet", "ping"],
    ),
    (
        "this machine",
        &[
            "nproc",
            "lscpu",
            "docker",
            "podman",
            "buildah",
            "kubectl",
            "helm",
            "systemctl",
            "service",
            "kill",
            "pkill",
            "killall",
            "ps",
            "pgrep",
            "lsof",
            "fuser",
            "gdb",
            "lldb",
            "strace",
            "ltrace",
            "perf",
            "modprobe",
            "insmod",
            "fakeroot",
            "qemu-system-x86_64",
        ],
    ),
    (
        "interactive",
        &[
            "vi", "vim", "nvim", "nano", "emacs", "less", "more", "man", "screen", "tmux",
        ],
    ),
];

/// Words that mean "this processor".
const NATIVE: &[&str] = &[
    "-march=native",
    "-mtune=native",
    "-mcpu=native",
    "target-cpu=native",
    "-Ctarget-cpu=native",
];

/// The verdict of the built-in rules.
pub(super) fn decide(commands: &[Simple]) -> Verdict {
    if let Some(driver) = commands.iter().find(|c| is_driver(c)) {
        return Verdict::Driver {
            why: format!("rule: {}", lossy(driver.name())),
        };
    }
    for command in commands {
        if let Some((why, _)) = LOCAL.iter().find(|(_, names)| has(names, command.name())) {
            return Verdict::Local {
                why: format!("rule: {} ({why})", lossy(command.name())),
            };
        }
        if copies_from_afar(command) {
            return Verdict::Local {
                why: "rule: rsync (network)".to_owned(),
            };
        }
        if asks_processors(command) {
            return Verdict::Local {
                why: "rule: number of processors".to_owned(),
            };
        }
        if let Some(word) = command.words.iter().find(|word| has(NATIVE, word)) {
            return Verdict::Local {
                why: format!("rule: {}", lossy(word)),
            };
        }
    }
    Verdict::Remote {
        why: "no rule keeps it on the client".to_owned(),
        whole: false,
    }
}

fn is_driver(command: &Simple) -> bool {
    let first = command.words.get(1).map(Vec::as_slice);
    match command.name() {
        // Both also serve as small tools inside recipes; a slot need not stop them, since
        // what they drive is one of the others.
        b"cmake" | b"cmake3" => !matches!(first, Some(b"-E" | b"-P")),
        b"meson" | b"meson.py" => first != Some(b"--internal"),
        // Recursive make by the variable, in a script that make did not expand.
        b"$MAKE" | b"${MAKE}" => true,
        name => has(DRIVERS, name),
    }
}

/// rsync is the network's only with a host: a word with a colon before its first slash
/// (rsync(1), "GENERAL"), or one that the shell has yet to make.
fn copies_from_afar(command: &Simple) -> bool {
    let is_elsewhere = |word: &Vec<u8>| {
        let host = word.split(|byte| *byte == b'/').next().unwrap_or_default();
        !word.starts_with(b"-") && (host.contains(&b':') || word.iter().any(|byte| b"$`".contains(byte)))
    };
    command.name() == b"rsync" && command.words.iter().skip(1).any(is_elsewhere)
}

fn asks_processors(command: &Simple) -> bool {
    command.name() == b"getconf" && command.words.iter().any(|word| word.starts_with(b"_NPROCESSORS"))
}

fn has(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|n| n.as_bytes() == name)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
