//! Who runs a program, and with what environment. Knows no program.

use anyhow::Result;
use std::os::unix::fs::lchown;
use std::path::Path;
use std::process::Command;

/// The environment of every program.
pub const ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("HOME", "/"),
    ("LC_ALL", "C"),
    ("TZ", "UTC"),
    ("GREETING", "two words"),
];

/// Who runs a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Who runs the tests.
    Tester,
    /// A user and group without privilege, where root runs the tests.
    Ordinary(u32),
}

impl Owner {
    /// A command of this user.
    pub fn command(self, program: &Path) -> Command {
        match self {
            Owner::Tester => Command::new(program),
            Owner::Ordinary(id) => {
                let mut command = Command::new("/usr/bin/setpriv");
                command
                    .arg(format!("--reuid={id}"))
                    .arg(format!("--regid={id}"))
                    .arg("--clear-groups")
                    .arg(program);
                command
            }
        }
    }

    /// Hands one path over to this user.
    pub fn give(self, path: &Path) -> Result<()> {
        if let Owner::Ordinary(id) = self {
            lchown(path, Some(id), Some(id))?;
        }
        Ok(())
    }

    /// Whether it is a user without privilege.
    pub fn is_ordinary(self) -> bool {
        self != Owner::Tester || !rustix::process::geteuid().is_root()
    }

    /// User and group, if not the tester's.
    pub fn id(self) -> Option<u32> {
        match self {
            Owner::Tester => None,
            Owner::Ordinary(id) => Some(id),
        }
    }
}
