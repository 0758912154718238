//! `cargo xtask oracle`: what strace sees sixty commands do against their traces as jobs,
//! in each mode. Knows what is printed; the fixtures judge.

use anyhow::{Result, bail};
use std::collections::BTreeMap;
use termite_e2e::oracle::{self, EXCEPTIONS, Mode};

/// Judges the commands whose name contains `only`, or all.
pub(crate) fn run(only: Option<&str>) -> Result<()> {
    crate::prefix::build()?;
    let mut commands = oracle::all();
    commands.retain(|command| only.is_none_or(|part| command.name.contains(part)));
    if commands.is_empty() {
        bail!("no command has {} in its name", only.unwrap_or_default());
    }
    let mut faults = 0;
    for mode in Mode::ALL {
        println!("--- {} commands with --fault {}", commands.len(), mode.option());
        let verdicts = oracle::run(mode, &commands, |verdict| {
            println!("{}", verdict.line());
            verdict.faults.iter().for_each(|fault| println!("    {fault}"));
        })?;
        let mut excused = BTreeMap::<_, usize>::new();
        for (name, count) in verdicts.iter().flat_map(|verdict| &verdict.excused) {
            *excused.entry(*name).or_default() += count;
        }
        let sum = |count: fn(&oracle::Verdict) -> usize| verdicts.iter().map(count).sum::<usize>();
        let missing = sum(|verdict| verdict.faults.len());
        println!(
            "{} seen, {} traced, {missing} missing",
            sum(|verdict| verdict.seen),
            sum(|verdict| verdict.traced)
        );
        for exception in EXCEPTIONS {
            let count = excused.get(exception.name).copied().unwrap_or(0);
            println!("{count:>6} {}: {}", exception.name, exception.reason);
        }
        faults += missing;
    }
    if faults > 0 {
        bail!("{faults} things that strace saw are not in the traces");
    }
    Ok(())
}
