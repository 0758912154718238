//! The C programs: their first lines, which say what they are, and how they are compiled.
//! Knows nothing of where they run.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::mem::{offset_of, size_of};
use std::path::{Path, PathBuf};
use std::process::Command;
use termite_abi::{HITS_LEN, Shared};

/// Bytes of the hit counters.
pub const HITS_SIZE: usize = HITS_LEN * 4;

/// What a program's standard input is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Input {
    /// `/dev/null`.
    #[default]
    Null,
    /// A file with [`INPUT`], whose offset afterwards counts.
    File,
    /// A pipe that [`INPUT`] and then the end comes through.
    Pipe,
    /// A pipe that nobody writes to or closes before the program has ended.
    Open,
}

/// What a program's job comes to for a client without privilege.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ordinary {
    /// The same as for root.
    #[default]
    Same,
    /// It is given up and run on the client, which says so.
    Home,
    /// Something that the kernel does not offer; it is not run.
    Not,
}

/// What comes through standard input: forty numbered lines, longer than a pipe's page.
pub fn input() -> Vec<u8> {
    (0..4000)
        .flat_map(|n| format!("line {n} of the input\n").into_bytes())
        .collect()
}

/// One C program.
#[derive(Clone, Debug)]
pub struct Program {
    /// Name of its family, that of its file.
    pub family: String,
    /// The hooks it exercises.
    pub hooks: Vec<String>,
    /// What it reads.
    pub input: Input,
    /// How it ends when it is content: a status or a signal, as [`crate::outcome::Outcome::end`] says it.
    pub end: String,
    /// What an ordinary user's job of it comes to; the line says why.
    pub ordinary: Ordinary,
    /// Modes in which a job of it is given up and runs on the client, which says so; the line
    /// says why.
    pub home_in: Vec<String>,
    /// How many directories `fresh/N` that nobody touched it wants.
    pub fresh: usize,
    /// How many names it wants in the directory `listed`.
    pub listed: usize,
    /// Further programs that it wants in its directory `bin`: see [`BESIDE`].
    pub beside: Vec<String>,
    /// Flags that it is compiled with.
    pub flags: Vec<String>,
    /// Modes in which it means nothing; the line says why.
    pub not_in: Vec<String>,
    /// Commands, and files by absolute path, without which it is not run.
    pub needs: Vec<String>,
}

/// Programs of the fixture that only some tests want: name, source, flags.
pub const BESIDE: &[(&str, &str, &[&str])] = &[
    ("static", "child", &["-static"]),
    (
        "i386",
        "i386",
        &[
            "-m32",
            "-nostdlib",
            "-static",
            "-ffreestanding",
            "-fno-pic",
            "-fno-stack-protector",
        ],
    ),
    ("asan", "faulty", &["-fsanitize=address"]),
    ("ubsan", "faulty", &["-fsanitize=undefined"]),
    ("tsan", "faulty", &["-fsanitize=thread"]),
];

/// Whether the long forms are wanted as well.
pub fn long() -> bool {
    std::env::var_os("TERMITE_LONG").is_some_and(|value| value == "1")
}

/// The directory with the sources.
pub fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All programs, in order of their names. A source without a `// hooks:` line among its
/// first comments is an error, unless it says that it is part of the fixture.
pub fn all() -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for entry in fs::read_dir(sources())? {
        let path = entry?.path();
        if path.extension().is_none_or(|ext| ext != "c") {
            continue;
        }
        let family = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path)?;
        if let Some(program) = parse(family, &text).with_context(|| path.display().to_string())? {
            programs.push(program);
        }
    }
    programs.sort_by(|a, b| a.family.cmp(&b.family));
    Ok(programs)
}

fn parse(family: String, text: &str) -> Result<Option<Program>> {
    let head: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix("//"))
        .map(str::trim)
        .collect();
    ensure!(!head.is_empty(), "must begin with a comment that says what it shows");
    if head.contains(&"part of the fixture") {
        return Ok(None);
    }
    let field = |name: &str| head.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let hooks = field("hooks:").context("needs a line `// hooks: NAME ...`")?;
    let input = match field("stdin:") {
        None => Input::Null,
        Some("file") => Input::File,
        Some("pipe") => Input::Pipe,
        Some("open") => Input::Open,
        Some(other) => bail!("no such standard input: {other}"),
    };
    let ordinary = match field("ordinary:").map(|text| text.split_once(" -- ").map_or(text, |(word, _)| word)) {
        None => Ordinary::Same,
        Some("home") => Ordinary::Home,
        Some("not") => Ordinary::Not,
        Some(other) => bail!("no such end of an ordinary user's job: {other}"),
    };
    let count = |name: &str| field(name).map_or(Ok(0), str::parse);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let modes = |text: &str| words(text.split_once(" -- ").map_or(text, |(modes, _)| modes));
    let beside = field("beside:").map(words).unwrap_or_default();
    for name in &beside {
        ensure!(
            BESIDE.iter().any(|(known, ..)| known == name),
            "no such program: {name}"
        );
    }
    let end = field("end:").unwrap_or("status 0").to_owned();
    Ok(Some(Program {
        family,
        hooks: words(hooks),
        input,
        end,
        ordinary,
        home_in: field("home in:").map(modes).unwrap_or_default(),
        fresh: count("fresh:")?,
        listed: count(if long() { "listed-long:" } else { "listed:" })?,
        beside,
        flags: field("flags:").map(words).unwrap_or_default(),
        not_in: field("not in:").map(modes).unwrap_or_default(),
        needs: field("needs:").map(words).unwrap_or_default(),
    }))
}

/// Compiles `tests/c/NAME.c` to `to`, with `flags` and with what the programs must know
/// of a slot's shared memory.
pub fn compile(name: &str, to: &Path, flags: &[&str]) -> Result<()> {
    let out = Command::new("cc")
        .args(["-O1", "-g", "-U_FORTIFY_SOURCE", "-w"])
        .arg(format!("-DHITS_OFFSET={}", offset_of!(Shared, hits)))
        .arg(format!("-DHITS_SIZE={HITS_SIZE}"))
        .arg(format!("-DSHARED_SIZE={}", size_of::<Shared>()))
        .args(long().then_some("-DLONG_FORM"))
        .args(flags)
        .arg("-o")
        .arg(to)
        .arg(sources().join(format!("{name}.c")))
        .output()
        .context("cannot run cc; a C compiler is needed")?;
    ensure!(
        out.status.success(),
        "cc {name}.c: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}

/// The programs and the fixture's own binaries, compiled into one directory.
#[derive(Debug)]
pub struct Binaries {
    dir: PathBuf,
}

impl Binaries {
    /// Compiles everything that `programs` need into `dir`.
    pub fn build(dir: &Path, programs: &[Program]) -> Result<Self> {
        fs::create_dir_all(dir)?;
        compile("child", &dir.join("child"), &[])?;
        compile("names", &dir.join("names"), &[])?;
        compile("plug", &dir.join("libplug.so"), &["-shared", "-fPIC"])?;
        for (name, source, flags) in BESIDE {
            if programs
                .iter()
                .any(|program| program.beside.iter().any(|wanted| wanted == name))
            {
                compile(source, &dir.join(name), flags)?;
            }
        }
        for program in programs {
            let own = program.flags.iter().map(String::as_str);
            let flags: Vec<_> = std::iter::once("-pthread").chain(own).collect();
            compile(&program.family, &dir.join(&program.family), &flags)?;
        }
        Ok(Binaries { dir: dir.to_owned() })
    }

    /// Path of a binary.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}
