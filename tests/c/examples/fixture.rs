//! Makes the fixture and compiles all programs, to try one by hand:
//! `cargo run -p termite-ctests --example fixture DIR`, then `cd DIR/tree; ../bin/open`.

#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use std::path::PathBuf;
use termite_ctests::fixture::{self, Extras};
use termite_ctests::program::{self, Binaries};

fn main() -> Result<()> {
    let dir = PathBuf::from(std::env::args_os().nth(1).context("which directory?")?);
    let programs = program::all()?;
    let binaries = Binaries::build(&dir.join("bin"), &programs)?;
    let fresh = programs.iter().map(|program| program.fresh).max().unwrap_or_default();
    let beside = programs.iter().flat_map(|program| program.beside.clone()).collect();
    let extras = Extras {
        fresh,
        listed: 200,
        beside,
    };
    fixture::make(&dir.join("tree"), &binaries, extras, None)
}
