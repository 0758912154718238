//! The archives that everything else builds can be had and are the pinned ones.

use anyhow::Result;
use termite_e2e::corpus::{ALL, LONG};
use termite_e2e::reference::long;

#[test]
fn archives_are_the_pinned_ones() -> Result<()> {
    let others = LONG.iter().filter(|_| long());
    ALL.iter()
        .chain(others)
        .try_for_each(|archive| archive.fetch().map(drop))
}
