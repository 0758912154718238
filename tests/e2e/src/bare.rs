//! Makes a bare root: a directory that holds workerd and the libraries it needs,
//! nothing else but an empty directory. Does not enter it.

use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where workerd lies in a bare root.
pub const WORKERD: &str = "/bin/workerd";

/// An empty directory in a bare root.
pub const STORE: &str = "/store";

/// Makes `root` with `workerd` and its libraries at the places where the loader looks.
pub fn make(root: &Path, workerd: &Path) -> Result<()> {
    place(workerd, &root.join(&WORKERD[1..]))?;
    fs::create_dir_all(root.join(&STORE[1..]))?;
    for library in libraries(workerd)? {
        place(&library, &root.join(library.strip_prefix("/")?))?;
    }
    Ok(())
}

/// Absolute paths of the shared libraries and the loader that `program` needs.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let out = Command::new("ldd").arg(program).output().context("starting ldd")?;
    if !out.status.success() {
        bail!("ldd {}: {}", program.display(), String::from_utf8_lossy(&out.stderr));
    }
    let text = String::from_utf8(out.stdout)?;
    let path = |line: &str| {
        line.split_whitespace()
            .find(|word| word.starts_with('/'))
            .map(PathBuf::from)
    };
    Ok(text.lines().filter_map(path).collect())
}

fn place(from: &Path, to: &Path) -> Result<()> {
    let dir = to.parent().context("a file at the root")?;
    fs::create_dir_all(dir)?;
    fs::copy(from, to).with_context(|| format!("copying {} into the bare root", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
