//! What was evicted comes again, as the client has it by then; what is in use stays.

use super::Pair;
use crate::view::error::FaultError;
use crate::view::mirror::Fill;
use crate::view::{Files, SharedMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use termite_types::{Abandon, Node, TraceItem, Update, Use};

/// Three files of one page each, filled.
fn three() -> Pair {
    let pair = Pair::new();
    for name in ["a", "b", "c"] {
        fs::write(pair.here(name), format!("{name}{}", "x".repeat(4000))).unwrap();
    }
    pair.mirror.complete(Path::new("/")).unwrap();
    for name in ["a", "b", "c"] {
        pair.fill(name).unwrap();
    }
    pair
}

fn states(pair: &Pair) -> [bool; 3] {
    ["a", "b", "c"].map(|name| pair.mirror.fill_state(pair.ino(name)) == Some(Fill::Filled))
}

fn reads(pair: &Pair, names: &[&str]) -> Vec<TraceItem> {
    let read = |name: &&str| {
        let path = Path::new("/").join(name);
        let Node::File { hash, .. } = pair.files.files.open(&path).unwrap().attr.node else {
            panic!("{name} is no file")
        };
        TraceItem {
            path,
            used: Use::Read(hash),
        }
    };
    names.iter().map(read).collect()
}

#[test]
fn the_longest_unused_goes_first_and_all_comes_again() {
    let pair = three();
    pair.mirror.note_uses(&reads(&pair, &["b"]));
    pair.mirror.note_uses(&reads(&pair, &["a"]));
    let looks = |name: &str| {
        let meta = fs::metadata(pair.there(name)).unwrap();
        (
            meta.ino(),
            meta.len(),
            meta.mode(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.uid(),
        )
    };
    let before = ["a", "b", "c"].map(looks);
    for (bytes, files, left) in [
        (1, 1, [true, true, false]),
        (4096, 1, [true, false, false]),
        (0, 0, [true, false, false]),
        (1 << 20, 1, [false; 3]),
    ] {
        let evicted = pair.mirror.evict(bytes);
        assert_eq!((evicted.files, evicted.bytes), (files, files * 4096));
        assert_eq!(states(&pair), left);
    }
    assert_eq!(["a", "b", "c"].map(looks), before);
    for name in ["a", "b", "c"] {
        let meta = fs::metadata(pair.there(name)).unwrap();
        assert_eq!(
            (meta.blocks(), meta.atime(), meta.atime_nsec()),
            (
                0,
                termite_abi::PLACEHOLDER_ATIME_SEC,
                termite_abi::PLACEHOLDER_ATIME_NSEC
            )
        );
        pair.fill(name).unwrap();
        assert_eq!(
            fs::read(pair.there(name)).unwrap(),
            fs::read(pair.here(name)).unwrap(),
            "{name}"
        );
    }
    assert_eq!(["a", "b", "c"].map(looks), before);
    assert_eq!(pair.files.opens.load(Ordering::Relaxed), 6);
}

#[test]
fn nothing_is_copied_from_what_was_evicted() {
    let pair = three();
    fs::copy(pair.here("a"), pair.here("d")).unwrap();
    let root = Update::new("/", Some(pair.files.files.read_dir(Path::new("/")).unwrap().attr));
    pair.mirror.apply(&[root]).unwrap();
    pair.mirror.complete(Path::new("/")).unwrap();
    pair.mirror.evict(1 << 20);
    for name in ["d", "a"] {
        pair.fill(name).unwrap();
        assert_eq!(
            fs::read(pair.there(name)).unwrap(),
            fs::read(pair.here(name)).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn what_the_client_changed_meanwhile_comes_as_it_is_now() {
    let pair = three();
    pair.mirror.evict(1 << 20);
    fs::write(pair.here("a"), "told").unwrap();
    let told = pair.files.files.open(Path::new("/a")).unwrap().attr;
    pair.mirror.apply(&[Update::new("/a", Some(told))]).unwrap();
    fs::write(pair.here("b"), "not told").unwrap();
    // Who has looked at its length has another one.
    let filled = pair.fill("b");
    assert!(
        matches!(filled, Err(FaultError::Abandon(Abandon::Conflict(_)))),
        "{filled:?}"
    );
    for (name, size) in [("a", 4), ("b", 8)] {
        pair.fill(name).unwrap();
        assert_eq!(
            fs::read(pair.there(name)).unwrap(),
            fs::read(pair.here(name)).unwrap(),
            "{name}"
        );
        assert_eq!(fs::metadata(pair.there(name)).unwrap().len(), size);
    }
    assert_eq!(
        fs::metadata(pair.there("a")).unwrap().mtime_nsec(),
        fs::metadata(pair.here("a")).unwrap().mtime_nsec()
    );
}

#[test]
fn a_file_with_several_names_stays() {
    let pair = three();
    fs::hard_link(pair.there("a"), pair.there("other")).unwrap();
    assert_eq!(pair.mirror.evict(1 << 20).files, 2);
    assert_eq!(states(&pair), [true, false, false]);
    // To the mirror the client's own are files of their own.
    let pair = Pair::new();
    fs::write(pair.here("a"), "linked").unwrap();
    fs::hard_link(pair.here("a"), pair.here("b")).unwrap();
    pair.mirror.complete(Path::new("/")).unwrap();
    for name in ["a", "b"] {
        pair.fill(name).unwrap();
    }
    assert_eq!(pair.mirror.evict(1 << 20).files, 2);
    for name in ["b", "a"] {
        pair.fill(name).unwrap();
        assert_eq!(fs::read(pair.there(name)).unwrap(), b"linked");
    }
}

#[test]
fn what_a_failed_fill_left_is_taken_first() {
    let pair = three();
    fs::write(pair.here("large"), vec![1; 3 << 20]).unwrap();
    let root = Update::new("/", Some(pair.files.files.read_dir(Path::new("/")).unwrap().attr));
    pair.mirror.apply(&[root]).unwrap();
    pair.mirror.complete(Path::new("/")).unwrap();
    // This client tells no hash with its names, so that they count as changed.
    for name in ["a", "b", "c"] {
        pair.fill(name).unwrap();
    }
    pair.files.lies.store(2, Ordering::Relaxed);
    assert!(pair.fill("large").is_err());
    assert!(fs::metadata(pair.there("large")).unwrap().blocks() > 0);
    let evicted = pair.mirror.evict(1);
    assert!(evicted.files == 1 && evicted.bytes >= 3 << 20, "{evicted:?}");
    assert_eq!(states(&pair), [true; 3]);
    assert_eq!(fs::metadata(pair.there("large")).unwrap().blocks(), 0);
    pair.fill("large").unwrap();
    assert!(fs::read(pair.there("large")).unwrap() == fs::read(pair.here("large")).unwrap());
}

#[test]
fn a_spelling_leads_to_an_evicted_file_no_more() {
    let pair = three();
    let turn = pair.mirror.recall(|_, _| {});
    pair.mirror.learn_file(turn, b"/a", Path::new("/a"), pair.ino("a"));
    assert!(pair.mirror.leads_to_file(turn, b"/a").is_some());
    pair.mirror.evict(1 << 20);
    assert!(pair.mirror.leads_to_file(turn, b"/a").is_none());
}

#[test]
fn what_a_job_sees_stays_until_it_has_ended() {
    let pair = three();
    let pin = pair.mirror.enter(SharedMap::of_no_slot());
    std::thread::scope(|scope| {
        let evicting = scope.spawn(|| pair.mirror.evict(1 << 20));
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(states(&pair), [true; 3]);
        drop(pin);
        assert_eq!(evicting.join().unwrap().files, 3);
    });
}

#[test]
fn a_forgotten_tree_is_listed_anew() {
    let pair = three();
    fs::create_dir(pair.here("dir")).unwrap();
    fs::write(pair.here("dir/file"), "content").unwrap();
    let root = Update::new("/", Some(pair.files.files.read_dir(Path::new("/")).unwrap().attr));
    pair.mirror.apply(&[root]).unwrap();
    for dir in ["/", "/dir"] {
        pair.mirror.complete(Path::new(dir)).unwrap();
    }
    assert_eq!(pair.mirror.size(), 6);
    assert!(pair.mirror.forget().unwrap());
    assert_eq!(
        fs::read_dir(pair.mirror.root()).unwrap().count(),
        3,
        "proc, dev and sys"
    );
    drop(pair.mirror.enter(SharedMap::of_no_slot()));
    assert_eq!(pair.mirror.size(), 1);
    fs::remove_file(pair.here("a")).unwrap();
    for dir in ["/", "/dir"] {
        pair.mirror.complete(Path::new(dir)).unwrap();
    }
    assert!(!pair.there("a").exists());
    for name in ["b", "dir/file"] {
        pair.fill(name).unwrap();
        assert_eq!(
            fs::read(pair.there(name)).unwrap(),
            fs::read(pair.here(name)).unwrap(),
            "{name}"
        );
    }
}
