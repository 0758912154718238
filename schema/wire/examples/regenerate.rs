//! Makes the committed files anew after a change of a schema or a golden text:
//! `cargo run -p termite-wire --example regenerate`. Needs the `capnp` compiler.

#[path = "../tests/committed/mod.rs"]
mod committed;

use committed::Made;
use std::{fs, io, process::ExitCode};

fn main() -> ExitCode {
    match regenerate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("regenerate: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the schema compiler and writes what is generated, unless a schema changed without PROTOCOL.
fn regenerate() -> io::Result<()> {
    if !committed::compiler_at_hand() {
        return Err(io::Error::other("the schema compiler is missing: install capnproto"));
    }
    let fingerprint = committed::fingerprint()?;
    if let Ok(recorded) = fs::read(&fingerprint.path)
        && recorded != fingerprint.content
        && recorded.split(|&byte| byte == b'\n').next() == fingerprint.content.split(|&byte| byte == b'\n').next()
    {
        return Err(io::Error::other(
            "a schema has changed and PROTOCOL has not: raise it in schema/types/src/lib.rs \
             (or, if this protocol number was never released, delete golden/protocol.txt)",
        ));
    }
    let mut made = committed::generated()?;
    made.extend(committed::golden()?);
    made.push(fingerprint);
    for Made { path, content } in made {
        if fs::read(&path).ok().as_ref() != Some(&content) {
            fs::write(&path, content)?;
            println!(
                "{}",
                path.strip_prefix(committed::crate_dir()).unwrap_or(&path).display()
            );
        }
    }
    Ok(())
}
