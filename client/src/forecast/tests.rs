//! Forecasts follow symlinks, tell nothing twice, and outlive the daemon.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use termite_types::{BlobHash, JobSpec, Use};

/// Of a file of the client's.
const READ: Use = Use::Read(Some(BlobHash([1; 32])));

/// A project, a cache, and what was learnt.
struct Scene {
    project: tempfile::TempDir,
    cache: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            project: tempfile::tempdir().unwrap(),
            cache: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(scene.at("real/include")).unwrap();
        fs::create_dir(scene.at("src")).unwrap();
        fs::write(scene.at("real/include/a.h"), "a").unwrap();
        fs::write(scene.at("src/x.c"), "x").unwrap();
        symlink("real/include", scene.at("inc")).unwrap();
        symlink(scene.at("nowhere"), scene.at("dangling")).unwrap();
        symlink("loop", scene.at("loop")).unwrap();
        scene
    }

    /// As the kernel spells it.
    fn at(&self, path: &str) -> PathBuf {
        self.project.path().canonicalize().unwrap().join(path)
    }

    fn item(&self, used: Use, path: &str) -> TraceItem {
        TraceItem {
            path: self.at(path),
            used,
        }
    }

    fn command(&self, argv: &[&str]) -> Command {
        Command::of(&JobSpec {
            argv: argv.iter().map(Into::into).collect(),
            cwd: self.at("src"),
            ..JobSpec::bare("/usr/bin/gcc")
        })
    }

    fn compile(&self) -> Command {
        self.command(&["gcc", "-O2", "-c", "x.c", "-o", "x.o"])
    }

    fn trace(&self) -> Vec<TraceItem> {
        vec![
            self.item(Use::Missing, "none/a.h"),
            self.item(READ, "src/../inc/a.h"),
            self.item(READ, "src/x.c"),
            self.item(Use::Stat, "dangling"),
            self.item(Use::Stat, "loop"),
            self.item(Use::Write, "src/x.o"),
        ]
    }

    fn learnt(&self) -> Forecasts {
        let forecasts = Forecasts::open(self.cache.path());
        forecasts.learn(&self.compile(), &self.trace());
        forecasts
    }

    /// The directories below the project, and the files.
    fn below(&self, expected: Expected) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let root = self.at("");
        for dir in root.ancestors() {
            assert!(
                expected.dirs.is_empty() || expected.dirs.contains(&dir.into()),
                "{dir:?}"
            );
        }
        let mut passed: Vec<PathBuf> = Vec::new();
        for dir in &expected.dirs {
            assert!(
                dir.parent().is_none_or(|parent| passed.iter().any(|dir| dir == parent)),
                "{dir:?}"
            );
            passed.push(dir.clone());
        }
        let below = passed.into_iter().filter(|dir| dir.starts_with(&root) && *dir != root);
        (below.collect(), expected.files)
    }
}

#[test]
fn used_paths_lead_to_directories_and_files() {
    let scene = Scene::new();
    let expected = scene.learnt().expect(&scene.compile(), &[], &mut Told::default());
    let (dirs, files) = scene.below(expected);
    assert_eq!(dirs, ["real", "real/include", "src"].map(|dir| scene.at(dir)));
    assert_eq!(files, ["real/include/a.h", "src/x.c"].map(|file| scene.at(file)));
}

#[test]
fn a_like_command_is_expected_to_use_the_same() {
    let scene = Scene::new();
    let forecasts = scene.learnt();
    let is_known = |argv: &[&str]| {
        let expected = forecasts.expect(&scene.command(argv), &[], &mut Told::default());
        !expected.is_empty()
    };
    assert!(is_known(&["gcc", "-O2", "-c", "y.c", "-o", "y.o"]));
    assert!(is_known(&["gcc", "-O2 -c y.c", "-o"]), "a shell's words");
    assert!(!is_known(&["gcc", "-O3", "-c", "x.c", "-o", "x.o"]));
    let of = |argv: &[&str]| scene.command(argv).alike;
    assert_eq!(
        of(&["cc", "-Wp,-MMD,.a.d", "-DX=1"]),
        of(&["cc", "-Wp,-MMD,.b.d", "-DX=2"])
    );
}

#[test]
fn nothing_is_told_twice_but_what_changed() {
    let scene = Scene::new();
    let forecasts = scene.learnt();
    let mut told = Told::default();
    let mut expect = |updates: &[Update]| forecasts.expect(&scene.compile(), updates, &mut told);
    assert!(!expect(&[]).is_empty());
    assert!(expect(&[]).is_empty());
    let expected = expect(&[Update::new(scene.at("src/x.c"), None), Update::new("/unknown", None)]);
    assert_eq!(
        expected,
        Expected {
            dirs: Vec::new(),
            files: vec![scene.at("src/x.c")],
        }
    );
}

#[test]
fn the_newest_trace_counts() {
    let scene = Scene::new();
    let forecasts = scene.learnt();
    forecasts.learn(&scene.compile(), &[scene.item(READ, "src/x.c")]);
    let expected = forecasts.expect(&scene.compile(), &[], &mut Told::default());
    assert_eq!(expected.files, [scene.at("src/x.c")]);
}

#[test]
fn names_that_a_job_makes_up_teach_nothing_new() {
    let scene = Scene::new();
    let made = |name: &str| {
        let uses = [Use::Write, Use::Stat, Use::Read(None)].map(|used| scene.item(used, name));
        [scene.trace(), uses.into()].concat()
    };
    assert_eq!(
        digest::trace_digest(&made("src/a.s")),
        digest::trace_digest(&made("src/b.s"))
    );
    assert_ne!(
        digest::trace_digest(&made("src/a.s")),
        digest::trace_digest(&made("real/a.s"))
    );
    assert_ne!(
        digest::trace_digest(&made("src/a.s")),
        digest::trace_digest(&scene.trace())
    );
    let read = |path: &str| digest::trace_digest(&[scene.item(READ, path)]);
    assert_ne!(read("src/x.c"), read("src/y.c"));

    let forecasts = scene.learnt();
    let expect = |of: &Forecasts| of.expect(&scene.compile(), &[], &mut Told::default());
    let before = expect(&forecasts);
    forecasts.learn(&scene.compile(), &scene.trace());
    assert_eq!(expect(&forecasts), before);
    forecasts.learn(&scene.compile(), &[scene.item(READ, "src/x.c")]);
    forecasts.learn(&scene.compile(), &scene.trace());
    assert_eq!(
        expect(&forecasts),
        before,
        "the trace before the last one is not the last one"
    );
}

#[test]
fn they_outlive_the_daemon() {
    let scene = Scene::new();
    let expected = {
        let forecasts = scene.learnt();
        forecasts.flush();
        forecasts.learn(&scene.command(&["ld"]), &[scene.item(Use::Listed, "src")]);
        forecasts.flush();
        forecasts.expect(&scene.compile(), &[], &mut Told::default())
    };
    let later = Forecasts::open(scene.cache.path());
    assert_eq!(later.expect(&scene.compile(), &[], &mut Told::default()), expected);
    let listed = later.expect(&scene.command(&["ld"]), &[], &mut Told::default());
    assert_eq!(listed.dirs.last(), Some(&scene.at("src")));
    drop(later);
    fs::write(scene.cache.path().join("forecasts.redb"), "torn").unwrap();
    let anew = Forecasts::open(scene.cache.path());
    assert!(anew.expect(&scene.compile(), &[], &mut Told::default()).is_empty());
}
