//! A job's trace holds what strace sees the same command do: sixty commands in the long
//! form, fifteen in the short one, served by shim and guard and by the guard alone.

use anyhow::{Result, ensure};
use termite_e2e::oracle::{self, Mode};
use termite_e2e::reference::long;

fn check(mode: Mode) -> Result<()> {
    let commands = if long() { oracle::all() } else { oracle::short() };
    let verdicts = oracle::run(mode, &commands, |verdict| eprintln!("{}", verdict.line()))?;
    let faults: Vec<_> = verdicts
        .iter()
        .flat_map(|verdict| {
            verdict
                .faults
                .iter()
                .map(move |fault| format!("{}: {fault}", verdict.name))
        })
        .collect();
    ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

#[test]
fn traces_with_shim_and_guard() -> Result<()> {
    check(Mode::ShimAndGuard)
}

#[test]
fn traces_with_the_guard_alone() -> Result<()> {
    check(Mode::Guard)
}
