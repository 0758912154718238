//! Content from other workers, and for them.

use super::Pair;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use termite_types::{BlobHash, Expected, Holder};

const CONTENT: &[u8] = &[b'c'; 5000];

fn holder(name: &str) -> Holder {
    Holder {
        address: name.into(),
        ticket: Vec::new(),
    }
}

/// A file that others have, too, who send this.
fn held_by(others: &[(&str, &[u8])]) -> Pair {
    let pair = Pair::new();
    fs::write(pair.here("file"), CONTENT).unwrap();
    let others = others.iter().map(|(name, sent)| (holder(name), sent.to_vec()));
    *pair.files.others.lock() = others.collect();
    pair.mirror.complete(Path::new("/")).unwrap();
    pair
}

#[test]
fn content_comes_from_who_has_it() {
    let pair = held_by(&[("a", CONTENT)]);
    pair.fill("file").unwrap();
    assert_eq!(fs::read(pair.there("file")).unwrap(), CONTENT);
    assert_eq!(pair.files.reads.load(Ordering::Relaxed), 0);
    assert_eq!(pair.mirror.take_from_peers(), CONTENT.len() as u64);
    assert_eq!(pair.mirror.take_from_peers(), 0);
}

#[test]
fn who_lies_is_found_out() {
    let other = [b'x'; 5000];
    let lies: [&[u8]; 3] = [&other, &CONTENT[1..], &[b'c'; 9000]];
    for lie in lies {
        let pair = held_by(&[("liar", lie)]);
        pair.fill("file").unwrap();
        assert_eq!(fs::read(pair.there("file")).unwrap(), CONTENT);
        assert_eq!(*pair.files.liars.lock(), [holder("liar")]);
        assert_eq!(pair.files.reads.load(Ordering::Relaxed), 1, "the client is asked");
        assert_eq!(pair.mirror.take_from_peers(), 0);
    }
}

#[test]
fn who_is_gone_is_passed_over() {
    let pair = held_by(&[("gone", b""), ("there", CONTENT)]);
    pair.fill("file").unwrap();
    assert_eq!(fs::read(pair.there("file")).unwrap(), CONTENT);
    assert_eq!(pair.files.reads.load(Ordering::Relaxed), 0);
    assert_eq!(*pair.files.liars.lock(), []);
}

#[test]
fn others_are_given_what_is_here() {
    let pair = held_by(&[]);
    let hash = BlobHash(*blake3::hash(CONTENT).as_bytes());
    let read = |offset, len| pair.mirror.read_blob(&hash, offset, len).unwrap();
    assert_eq!(read(0, 10), None, "not filled yet");
    pair.fill("file").unwrap();
    assert_eq!(read(4990, 100).unwrap(), &CONTENT[4990..]);
    assert_eq!(read(5000, 100).unwrap(), b"");
    assert_eq!(pair.mirror.read_blob(&BlobHash([0; 32]), 0, 1).unwrap(), None);
}

#[test]
fn others_wait_for_what_is_on_its_way() {
    let pair = held_by(&[]);
    let hash = BlobHash(*blake3::hash(CONTENT).as_bytes());
    let (asker, asked) = mpsc::channel();
    let mirror = pair.mirror.clone();
    // The client has answered, and this worker has not read the answer yet.
    *pair.files.meanwhile.lock() = Some(Box::new(move || {
        let ask = thread::spawn(move || mirror.read_blob(&hash, 0, 10).unwrap());
        asker.send(ask).unwrap();
    }));
    let expected = Expected {
        files: vec!["/file".into()],
        ..Expected::default()
    };
    assert_eq!(pair.mirror.prefetch(&expected), 1);
    assert_eq!(asked.recv().unwrap().join().unwrap().as_deref(), Some(&CONTENT[..10]));
}
