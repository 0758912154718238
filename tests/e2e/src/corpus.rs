//! The release archives that the tests build, pinned by hash where Debian keeps them as
//! they are. Knows where they are cached; [`crate::sources`] knows where they come from.

use crate::sources;
use anyhow::{Context, Result, bail};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One release archive.
#[derive(Debug)]
pub struct Archive {
    /// Debian source package that ships it.
    pub package: &'static str,
    /// File name in that package.
    pub file: &'static str,
    /// BLAKE3 of the archive.
    pub hash: &'static str,
}

/// Lua 5.4.4: 35 compiles, two archives' worth of `ar`, two links.
pub const LUA: Archive = Archive {
    package: "lua5.4",
    file: "lua5.4_5.4.4.orig.tar.gz",
    hash: "ca54489393cd38e35d295a9c35dbf0da5336a66ddb7b2213eed6c2f3039f53b1",
};

/// Redis 7.0.15 with its bundled dependencies, jemalloc with its configure among them.
pub const REDIS: Archive = Archive {
    package: "redis",
    file: "redis_7.0.15.orig.tar.gz",
    hash: "e9b9e3afcc533c16dd19b6d5ce0aaa9fa02e5911111c43da79e18e39b6f7c0ed",
};

/// All of them that are pinned.
pub const ALL: [&Archive; 2] = [&LUA, &REDIS];

impl Archive {
    /// Path of the checked archive in the cache, fetched if it is not there.
    pub fn fetch(&self) -> Result<PathBuf> {
        let dir = cache_dir()?;
        let path = dir.join(self.file);
        if !path.exists() {
            fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
            eprintln!("fetching the source package {} ...", self.package);
            let work = tempfile::tempdir_in(&dir)?;
            sources::download(self.package, work.path())?;
            let fetched = work.path().join(self.file);
            self.check(&fetched)?;
            fs::rename(&fetched, &path).with_context(|| format!("keeping {}", path.display()))?;
        }
        self.check(&path)?;
        Ok(path)
    }

    /// Unpacks the archive into `dir`, which is made, without its top directory.
    pub fn unpack(&self, dir: &Path) -> Result<()> {
        unpack(&self.fetch()?, dir)
    }

    fn check(&self, path: &Path) -> Result<()> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let found = blake3::hash(&bytes).to_hex();
        if found.as_str() != self.hash {
            bail!(
                "{} has BLAKE3 {found}, not {}: remove it and fetch again",
                path.display(),
                self.hash
            );
        }
        Ok(())
    }
}

/// Unpacks Linux 6.1 as Debian has it now: it changes with each point release.
pub fn unpack_linux(dir: &Path) -> Result<()> {
    let cache = cache_dir()?;
    let archive = match linux_in(&cache)? {
        Some(archive) => archive,
        None => {
            fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
            eprintln!("fetching the source package linux ...");
            let work = tempfile::tempdir_in(&cache)?;
            sources::download("linux", work.path())?;
            let fetched = linux_in(work.path())?.context("the source package linux is not of 6.1")?;
            let kept = cache.join(fetched.file_name().context("a file")?);
            fs::rename(&fetched, &kept).with_context(|| format!("keeping {}", kept.display()))?;
            kept
        }
    };
    unpack(&archive, dir)
}

fn linux_in(dir: &Path) -> Result<Option<PathBuf>> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Ok(None);
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("linux_6.1.") && name.ends_with(".orig.tar.xz") {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

fn unpack(archive: &Path, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    let status = Command::new("tar")
        .args(["--no-same-owner", "--strip-components=1", "-xf"])
        .arg(archive)
        .arg("-C")
        .arg(dir)
        .status()
        .context("starting tar")?;
    if !status.success() {
        bail!("unpacking {} into {}: {status}", archive.display(), dir.display());
    }
    Ok(())
}

/// `$XDG_CACHE_HOME/termite-corpus`, so that fresh clones share it.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let dir = cache.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(dir.join("termite-corpus"))
}
