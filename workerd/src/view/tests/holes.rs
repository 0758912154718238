//! Long runs of zeros in contents: they take no memory, and are zeros.

use super::Pair;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use termite_types::Holder;

const SIZE: u64 = 32 << 20;

/// A file that is a hole but for one byte in the middle.
fn with_hole() -> Pair {
    let pair = Pair::new();
    let file = File::create(pair.here("file")).unwrap();
    file.set_len(SIZE).unwrap();
    file.write_all_at(b"x", SIZE / 2).unwrap();
    pair.mirror.complete(Path::new("/")).unwrap();
    pair
}

fn is_right(pair: &Pair) -> bool {
    fs::read(pair.there("file")).unwrap() == fs::read(pair.here("file")).unwrap()
}

#[test]
fn a_hole_takes_no_memory() {
    let pair = with_hole();
    pair.fill("file").unwrap();
    assert!(is_right(&pair));
    // The store may give memory in large pages.
    let taken = fs::metadata(pair.there("file")).unwrap().blocks() * 512;
    assert!(taken <= 4 << 20, "{taken} bytes");
}

#[test]
fn zeros_replace_what_a_liar_has_sent() {
    let pair = with_hole();
    let liar = Holder {
        address: "liar".into(),
        ticket: Vec::new(),
    };
    let lie = vec![b'x'; SIZE as usize];
    *pair.files.others.lock() = [(liar.clone(), lie)].into_iter().collect();
    pair.fill("file").unwrap();
    assert_eq!(*pair.files.liars.lock(), [liar]);
    assert!(is_right(&pair));
}
