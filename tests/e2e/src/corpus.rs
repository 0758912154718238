//! The release archives that the tests build, pinned by hash where Debian keeps them as
//! they are. Knows where they are cached; [`crate::sources`] knows where they come from.

use crate::sources::{self, Origin, PackageKind};
use anyhow::{Context, Result, bail};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One release archive.
#[derive(Debug)]
pub struct Archive {
    /// Debian package that ships it, or is it.
    pub package: &'static str,
    /// Where that package is.
    pub origin: Origin,
    /// File name in that package.
    pub file: &'static str,
    /// BLAKE3 of the archive.
    pub hash: &'static str,
}

/// Lua 5.4.4: 35 compiles, two archives' worth of `ar`, two links.
pub const LUA: Archive = Archive {
    package: "lua5.4",
    origin: SOURCE,
    file: "lua5.4_5.4.4.orig.tar.gz",
    hash: "ca54489393cd38e35d295a9c35dbf0da5336a66ddb7b2213eed6c2f3039f53b1",
};

/// Redis 7.0.15 with its bundled dependencies, jemalloc with its configure among them.
pub const REDIS: Archive = Archive {
    package: "redis",
    origin: SOURCE,
    file: "redis_7.0.15.orig.tar.gz",
    hash: "e9b9e3afcc533c16dd19b6d5ce0aaa9fa02e5911111c43da79e18e39b6f7c0ed",
};

/// curl 7.88.1: a configure with many small compiles, and libtool.
pub const CURL: Archive = Archive {
    package: "curl",
    origin: SOURCE,
    file: "curl_7.88.1.orig.tar.gz",
    hash: "9d0d90299e453f8f404ff2477509d9c6f21ce4e19c4d31a752c8dd169da700b4",
};

/// git 2.39.5: one program under 140 names, which are hard links.
pub const GIT: Archive = Archive {
    package: "git",
    origin: SOURCE,
    file: "git_2.39.5.orig.tar.xz",
    hash: "5e3e7f9d8bbe0c239837b8d644e7a3d9019c21e90cccc92f0b1ef56e79cc6414",
};

/// libgpg-error 1.46: generated sources and headers, and tests.
pub const GPG_ERROR: Archive = Archive {
    package: "libgpg-error",
    origin: SOURCE,
    file: "libgpg-error_1.46.orig.tar.bz2",
    hash: "15cf05c1398d96bcfb946a5b8211456a0ba2cba4d560603a1f5b4370db1bbd17",
};

/// GNU make 4.3: its suite has make run make.
pub const MAKE: Archive = Archive {
    package: "make-dfsg",
    origin: SOURCE,
    file: "make-dfsg_4.3.orig.tar.gz",
    hash: "de474023333ba59eab57bc685c140b1d7bda02411aaaeecfd8ccaa95a3c3e0ed",
};

/// jansson 2.14: tests by shell scripts.
pub const JANSSON: Archive = Archive {
    package: "jansson",
    origin: SOURCE,
    file: "jansson_2.14.orig.tar.gz",
    hash: "8f4eaae0a76527009dc062c2746c45ccc7fa4e4b71d9834b6cd40477e69c964e",
};

/// coreutils 9.1: its suite tries what a system does in a thousand places.
pub const COREUTILS: Archive = Archive {
    package: "coreutils",
    origin: SOURCE,
    file: "coreutils_9.1.orig.tar.xz",
    hash: "7b512bda18b9c62a86cf261bd2996b6411ecacbf6de023f3de3a620b525d8fa0",
};

/// Android's dexer of class files, from the last release of Debian that had it.
pub const DX: Archive = Archive {
    package: "dalvik-exchange",
    origin: Origin {
        suite: "bullseye",
        kind: PackageKind::Binary,
    },
    file: "dalvik-exchange_10.0.0+r36-1_all.deb",
    hash: "61a684411320d3885afe34bd31880928ea8af517bcc006cd1aab322dec7f17cf",
};

/// All that are pinned and that the ordinary form of the tests builds.
pub const ALL: [&Archive; 2] = [&LUA, &REDIS];

/// Those that only the long form builds.
pub const LONG: [&Archive; 7] = [&CURL, &GIT, &GPG_ERROR, &DX, &MAKE, &JANSSON, &COREUTILS];

/// A source package of the release that the corpora are pinned to.
const SOURCE: Origin = Origin {
    suite: "bookworm",
    kind: PackageKind::Source,
};

impl Archive {
    /// Path of the checked archive in the cache, fetched if it is not there.
    pub fn fetch(&self) -> Result<PathBuf> {
        let dir = cache_dir()?;
        let path = dir.join(self.file);
        if !path.exists() {
            fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
            eprintln!("fetching the package {} ...", self.package);
            let work = tempfile::tempdir_in(&dir)?;
            sources::download(self.package, self.origin, work.path())?;
            let fetched = work.path().join(self.file);
            self.check(&fetched)?;
            fs::rename(&fetched, &path).with_context(|| format!("keeping {}", path.display()))?;
        }
        self.check(&path)?;
        Ok(path)
    }

    /// Unpacks the archive into `dir`, which is made: sources without their top directory,
    /// a binary package as it would be below the root.
    pub fn unpack(&self, dir: &Path) -> Result<()> {
        let archive = self.fetch()?;
        match self.origin.kind {
            PackageKind::Source => unpack(&archive, dir),
            PackageKind::Binary => unpack_binary(&archive, dir),
        }
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
            sources::download("linux", SOURCE, work.path())?;
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

fn unpack_binary(archive: &Path, dir: &Path) -> Result<()> {
    let mut dpkg = Command::new("dpkg-deb");
    let status = dpkg.arg("--extract").args([archive, dir]).status();
    let status = status.context("starting dpkg-deb")?;
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
