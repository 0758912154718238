//! The archives that everything else builds can be had and are the pinned ones.

use anyhow::Result;
use termite_e2e::corpus::ALL;

#[test]
fn archives_are_the_pinned_ones() -> Result<()> {
    ALL.iter().try_for_each(|archive| archive.fetch().map(drop))
}
