//! The projects that are built: two releases and some made up here, each at a fixed
//! place on the stage. Knows sources and the command that builds them, not who builds.

use crate::corpus::{LUA, REDIS, unpack_linux};
use crate::scene::Scene;
use crate::tree::Tree;
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};

/// A source tree.
#[derive(Debug)]
pub struct Project<'a> {
    scene: &'a Scene,
    dir: PathBuf,
    kind: Kind,
}

/// Which sources.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Lua 5.4.4; its makefiles are recursive.
    Lua,
    /// Redis 7.0.15 with the allocator of libc.
    Redis,
    /// Redis 7.0.15 whole: jemalloc is configured and built as well.
    RedisWhole,
    /// Linux 6.1 in its smallest configuration, with fixed build stamps.
    Linux,
    /// A library and a program, each in a directory with a makefile of its own.
    Nested,
    /// A library and a program, by ninja.
    Ninja,
    /// So many one-line C files.
    Tiny(usize),
}

impl<'a> Project<'a> {
    /// Lays the sources out in the stage's directory `p/NAME`.
    pub fn new(scene: &'a Scene, name: &str, kind: Kind) -> Result<Self> {
        let dir = scene.dir("p")?.join(name);
        let project = Self { scene, dir, kind };
        project.renew()?;
        Ok(project)
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Lays the sources out anew, in the place of whatever is there.
    pub fn renew(&self) -> Result<()> {
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        match self.kind {
            Kind::Lua => LUA.unpack(&self.dir)?,
            Kind::Redis | Kind::RedisWhole => REDIS.unpack(&self.dir)?,
            Kind::Linux => unpack_linux(&self.dir)?,
            Kind::Nested => write_all(&self.dir, &nested())?,
            Kind::Ninja => write_all(&self.dir, &ninja())?,
            Kind::Tiny(count) => write_all(&self.dir, &tiny(count))?,
        }
        self.scene.give(&self.dir)
    }

    /// Removes what a build has made, and leaves the sources as they lie.
    pub fn clean(&self, sources: &Tree) -> Result<()> {
        let made: Vec<_> = Tree::read(&self.dir)?
            .paths()
            .filter(|path| !sources.has(path))
            .map(PathBuf::from)
            .collect();
        for path in made.iter().rev().map(|path| self.dir.join(path)) {
            match fs::symlink_metadata(&path)?.is_dir() {
                true => fs::remove_dir(&path)?,
                false => fs::remove_file(&path)?,
            }
        }
        Ok(())
    }

    /// What lies there, without the names that no two local builds have in common.
    pub fn tree(&self) -> Result<Tree> {
        let mut tree = Tree::read(&self.dir)?;
        // jemalloc's configure writes names of temporary files into its log;
        // ninja writes times into its own.
        ["deps/jemalloc/config.log", ".ninja_log", ".ninja_deps"]
            .iter()
            .for_each(|path| tree.forget(path));
        Ok(tree)
    }

    /// The driver, and its arguments but for `-j`.
    pub fn command(&self) -> (&'static str, &'static [&'static str]) {
        match self.kind {
            Kind::Lua => ("make", &["linux"]),
            Kind::Redis => ("make", &["MALLOC=libc", "BUILD_TLS=no"]),
            Kind::RedisWhole => ("make", &["BUILD_TLS=no"]),
            Kind::Linux => (
                "make",
                &[
                    "-s",
                    "KBUILD_BUILD_TIMESTAMP=2024-01-01",
                    "KBUILD_BUILD_USER=tester",
                    "KBUILD_BUILD_HOST=here",
                    "tinyconfig",
                    "all",
                ],
            ),
            Kind::Ninja => ("ninja", &[]),
            Kind::Nested | Kind::Tiny(_) => ("make", &[]),
        }
    }
}

/// Writes files, given by path below `dir` and text.
pub fn write_all(dir: &Path, files: &[(String, String)]) -> Result<()> {
    fs::create_dir_all(dir)?;
    for (path, text) in files {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}

fn file(path: impl Into<String>, text: impl Into<String>) -> (String, String) {
    (path.into(), text.into())
}

const LIB_H: &str = "int one(int);\nint two(int);\n";
const MAIN_C: &str = "#include <stdio.h>\n#include \"lib.h\"\n\
                      int main(void) { printf(\"%d\\n\", one(20) + two(1)); return 0; }\n";

fn nested() -> Vec<(String, String)> {
    let top = "all:\n\t+$(MAKE) -C lib\n\t+@cd app && $(MAKE)\n";
    let lib = "libx.a: one.o two.o\n\trm -f $@; $(AR) rcsD $@ $^\n%.o: %.c lib.h\n\t$(CC) -O2 -c $< -o $@\n";
    let app = "app: main.o ../lib/libx.a\n\t$(CC) -o $@ $^\n\t./app > app.txt\n\
               main.o: main.c\n\t$(CC) -I../lib -O2 -MMD -c $< -o $@\n";
    vec![
        file("Makefile", top),
        file("lib/Makefile", lib),
        file("app/Makefile", app),
        file("lib/lib.h", LIB_H),
        file("lib/one.c", "#include \"lib.h\"\nint one(int a) { return a * 2; }\n"),
        file("lib/two.c", "#include \"lib.h\"\nint two(int a) { return a + 1; }\n"),
        file("app/main.c", MAIN_C),
    ]
}

fn ninja() -> Vec<(String, String)> {
    let rules = "rule cc\n  command = gcc -O2 -I. -MMD -MF $out.d -c $in -o $out\n  depfile = $out.d\n  deps = gcc\n\
                 rule ar\n  command = rm -f $out && ar rcsD $out $in\nrule link\n  command = gcc -o $out $in\n\
                 rule run\n  command = ./$in > $out\n\
                 build lib.a: ar one.o two.o\nbuild app: link main.o lib.a\nbuild app.txt: run app\n\
                 build one.o: cc one.c\nbuild two.o: cc two.c\nbuild main.o: cc main.c\n";
    vec![
        file("build.ninja", rules),
        file("lib.h", LIB_H),
        file("one.c", "#include \"lib.h\"\nint one(int a) { return a * 2; }\n"),
        file("two.c", "#include \"lib.h\"\nint two(int a) { return a + 1; }\n"),
        file("main.c", MAIN_C),
    ]
}

fn tiny(count: usize) -> Vec<(String, String)> {
    let makefile = "SRC := $(wildcard *.c)\nall: $(SRC:.c=.o)\n%.o: %.c\n\t@$(CC) -c $< -o $@\n";
    let each = (0..count).map(|n| file(format!("f{n}.c"), format!("int f{n}(void) {{ return {n}; }}\n")));
    std::iter::once(file("Makefile", makefile)).chain(each).collect()
}
