//! `cargo xtask`: builds the prefix, runs all tests, demonstrates and measures. Knows
//! the order of the steps; what they do lives in cargo, the tests and the fixtures.

#![forbid(unsafe_code)]

mod bench;
mod checks;
mod demo;
mod oracle;
mod prefix;
mod rooms;
mod steps;
mod traces;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, tests, demonstrates and measures termite")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build a ready prefix in target/termite
    Build {
        /// Also one in target/termite-planted, whose daemon can be told to commit wrongly
        #[arg(long)]
        planted: bool,
    },
    /// Run all tests
    Test {
        /// Run the long forms too
        #[arg(long)]
        all: bool,
    },
    /// Build Lua on the embedded worker, show its jobs, compare with a local build
    Demo,
    /// Measure termite beside what it replaces
    Bench {
        /// Only measurements that have this in their name
        only: Option<String>,
        /// Pairs of builds
        #[arg(long, default_value_t = 5)]
        pairs: usize,
        /// Compare the ways in which a worker can serve a job's files
        #[arg(long)]
        modes: bool,
        /// Compare with another build of termite, by its prefix
        #[arg(long, value_name = "PREFIX", conflicts_with_all = ["modes", "only"])]
        against: Option<PathBuf>,
        /// Write the result into benches/results
        #[arg(long)]
        write: bool,
    },
    /// Compare the traces of jobs with what strace sees the same commands do
    Oracle {
        /// Only commands that have this in their name
        only: Option<String>,
    },
    /// Show which room of the code uses which others; fails where they go in a circle
    Rooms,
    /// Fetch what tests and benchmarks build and run
    Corpus,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (red, plain) = if std::io::stderr().is_terminal() {
                ("\x1b[31m", "\x1b[0m")
            } else {
                ("", "")
            };
            eprintln!("{red}failed:{plain} {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does one task.
fn run(task: Task) -> Result<()> {
    match task {
        Task::Build { planted } => {
            let prefix = prefix::build()?;
            println!("ready: {}", prefix.display());
            if planted {
                println!("ready: {}", prefix::build_planted(&prefix)?.display());
            }
            Ok(())
        }
        Task::Test { all } => checks::run_all(all),
        Task::Demo => demo::run(),
        Task::Bench {
            pairs,
            modes: true,
            write,
            ..
        } => bench::modes::run(pairs, write),
        Task::Bench {
            pairs,
            against: Some(prefix),
            write,
            ..
        } => bench::against::run(&prefix, pairs, write),
        Task::Bench { pairs, write, only, .. } => bench::run(&bench::Options { pairs, only, write }),
        Task::Oracle { only } => oracle::run(only.as_deref()),
        Task::Rooms => rooms::run(&steps::root()),
        Task::Corpus => {
            for archive in termite_e2e::corpus::ALL.iter().chain(&termite_e2e::corpus::LONG) {
                println!("{}", archive.fetch()?.display());
            }
            println!("{}", termite_e2e::posix::install()?.display());
            Ok(())
        }
    }
}
