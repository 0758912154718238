//! Whole packages, in the long form only: configured, built, tested and installed by
//! workers in bare roots they leave what a local build leaves: status, contents, modes
//! and groups of hard links. What two local builds do not have in common is left out,
//! path by path, each with a reason.

mod java;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;
use termite_e2e::corpus::{CURL, GIT, GPG_ERROR};
use termite_e2e::reference::long;
use termite_e2e::{Client, EndState, Fleet, Outcome, Program, Scene, User, Way};

const LIMIT: Duration = Duration::from_secs(1800);

/// gcc, when asked for what it does, names its temporary files.
const CONFIG_LOG: (&str, &str) = ("config.log", "configure keeps there what gcc -v says");

/// How a package is built, and what may differ.
struct Package {
    name: &'static str,
    lay_out: fn(&Path) -> Result<()>,
    /// For `sh -e -c`.
    script: &'static str,
    /// Ends of paths that no two local builds have in common, and why.
    differing: &'static [(&'static str, &'static str)],
    /// Parts of the reasons for which jobs may run on the client, and why that is right.
    local: &'static [(&'static str, &'static str)],
}

impl Package {
    /// Whether no two local builds have the path of a line of differences in common.
    fn may_differ(&self, line: &str) -> bool {
        self.differing.iter().any(|(end, _)| path_of(line).ends_with(end))
    }
}

#[test]
fn curl_in_the_long_form() -> Result<()> {
    compare(&Package {
        name: "curl",
        lay_out: |dir| CURL.unpack(dir),
        script: "./configure --prefix=/usr --disable-shared --without-ssl --without-zlib --without-brotli \
                 --without-zstd --without-libpsl --without-libidn2 --without-nghttp2 --without-librtmp \
                 --disable-ldap --disable-manual CFLAGS=-O1; make -j4; make install DESTDIR=$PWD/out",
        differing: &[CONFIG_LOG],
        local: &[],
    })
}

#[test]
fn git_with_its_hard_links_in_the_long_form() -> Result<()> {
    compare(&Package {
        name: "git",
        lay_out: |dir| GIT.unpack(dir),
        script: "options='prefix=/usr CFLAGS=-O1 NO_OPENSSL=1 NO_CURL=1 NO_EXPAT=1 NO_GETTEXT=1 NO_TCLTK=1 NO_PERL=1 \
                 NO_PYTHON=1'; make -j4 $options all; make $options install DESTDIR=$PWD/out; \
                 test $(stat -c %h out/usr/bin/git) -gt 100",
        differing: &[("templates/boilerplates.made", "a recipe writes the date into it")],
        local: &[(
            "it is the same file as",
            "install takes files with several names, which are not one in a view",
        )],
    })
}

#[test]
fn libgpg_error_and_its_tests_in_the_long_form() -> Result<()> {
    compare(&Package {
        name: "libgpg-error",
        lay_out: |dir| GPG_ERROR.unpack(dir),
        script: "./configure --prefix=/usr --disable-doc --disable-nls; make -j4; make -j4 check; \
                 make install DESTDIR=$PWD/out",
        differing: &[CONFIG_LOG],
        local: &[],
    })
}

#[test]
fn java_with_jars_and_dex_files_in_the_long_form() -> Result<()> {
    compare(&Package {
        name: "java",
        lay_out: java::lay_out,
        script: "make -j4",
        differing: &[],
        local: &[],
    })
}

/// Builds a package twice without termite and then on workers, in the same place.
fn compare(package: &Package) -> Result<()> {
    if !long() {
        return Ok(());
    }
    let scene = Scene::new(User::Me)?;
    let fleet = Fleet::start(&scene, 2, 2)?;
    let client = Client::new(&scene, "a", &fleet.addresses())?;
    let dir = scene.dir("p")?.join(package.name);
    let local = |_| build(package, &scene, &dir, |dir| client.bare(dir, "sh"));
    let [(here, expected), (_, control)] = [local(1)?, local(2)?];
    let differing = differing(package, &control.differences(&expected))?;

    let (there, found) = build(package, &scene, &dir, |dir| client.drive(Way::Env, dir, "sh"))?;
    let last = client.last(&dir)?;
    eprintln!(
        "{}: {:.1?} locally, {:.1?} by termite: {:?}, {} reruns, {:?}; left out: {differing:?}",
        package.name, here.took, there.took, last.jobs, last.reruns, last.local_reasons
    );
    eprintln!("{}: conflicted on {:?}", package.name, conflicts(&client, &dir)?);
    let differences = found.differences(&expected);
    let wrong: Vec<_> = differences.iter().filter(|line| !package.may_differ(line)).collect();
    ensure!(wrong.is_empty(), "{} differences: {wrong:#?}", wrong.len());
    let is_known = |why: &&String| package.local.iter().any(|(reason, _)| why.contains(reason));
    let unknown: Vec<_> = last.local_reasons.keys().filter(|why| !is_known(why)).collect();
    ensure!(unknown.is_empty(), "jobs ran on the client because of {unknown:?}");
    ensure!(last.jobs.remote > 10 * last.jobs.local, "{:?}", last.jobs);
    client.stop()?;
    fleet.stop()?;
    scene.finish()
}

/// The paths that jobs of the last build conflicted on, with how often.
fn conflicts(client: &Client, dir: &Path) -> Result<BTreeMap<String, usize>> {
    let build: Value = client.ask(dir, &["explain", "--json"])?;
    let jobs = build["jobs"].as_array().context("no jobs")?;
    let conflicts = jobs.iter().filter_map(|job| job["conflicts"].as_array()).flatten();
    let mut paths = BTreeMap::new();
    for conflict in conflicts {
        let path = conflict["path"].as_str().context("no path")?;
        *paths.entry(path.to_owned()).or_default() += 1;
    }
    Ok(paths)
}

/// Lays the package out anew, runs its script and reads what is there then.
fn build(
    package: &Package,
    scene: &Scene,
    dir: &Path,
    shell: impl Fn(&Path) -> Program,
) -> Result<(Outcome, EndState)> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    (package.lay_out)(dir)?;
    scene.give(dir)?;
    let outcome = shell(dir).args(["-e", "-c", package.script]).limit(LIMIT).run()?;
    let outcome = outcome.success()?;
    Ok((outcome, EndState::read(dir, |_| false)?))
}

/// The paths that two local builds do not have in common. Each must be excepted, and each
/// exception must be such a path.
fn differing(package: &Package, differences: &[String]) -> Result<Vec<String>> {
    let paths: Vec<_> = differences.iter().map(|line| path_of(line).to_owned()).collect();
    let unknown: Vec<_> = differences.iter().filter(|line| !package.may_differ(line)).collect();
    ensure!(unknown.is_empty(), "two local builds differ: {unknown:#?}");
    for (end, why) in package.differing {
        if !paths.iter().any(|path| path.ends_with(end)) {
            bail!("two local builds have the same {end}, which is excepted: {why}");
        }
    }
    Ok(paths)
}

/// The path of a line of differences.
fn path_of(line: &str) -> &str {
    line.split_once(": ").map_or(line, |(path, _)| path)
}
