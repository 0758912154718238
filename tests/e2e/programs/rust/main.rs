//! Uses a library crate beside it.
use std::collections::BTreeMap;

fn main() {
    let mut found = BTreeMap::new();
    for word in pebbles::words("a stone is a stone is a stone") {
        *found.entry(word).or_insert(0) += 1;
    }
    println!("{found:?}");
}
