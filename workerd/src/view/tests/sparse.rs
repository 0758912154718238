//! Directories of many names, which are made as they are looked for.

use super::Pair;
use crate::view::Files;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::Ordering;
use termite_types::{Expected, Update};

const BIG: &str = "/big";

/// A sparse directory of some files, a directory and a symlink.
fn sparse() -> Pair {
    let pair = Pair::maybe_sparse(true);
    fs::create_dir_all(pair.here("big/inner")).unwrap();
    for number in 0..9 {
        fs::write(pair.here("big").join(number.to_string()), "content").unwrap();
    }
    symlink("3", pair.here("big/link")).unwrap();
    assert!(!look(&pair, "1"));
    pair
}

/// True: it is complete.
fn look(pair: &Pair, name: &str) -> bool {
    pair.mirror.complete_name(Path::new("/"), OsStr::new("big")).unwrap();
    pair.mirror.complete_name(Path::new(BIG), OsStr::new(name)).unwrap()
}

fn made(pair: &Pair) -> Vec<String> {
    let entries = fs::read_dir(pair.there("big")).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// As the client has it now.
fn update(pair: &Pair, name: &str) -> Update {
    let listing = pair.files.files.read_dir(Path::new(BIG)).unwrap();
    let entry = listing.entries.into_iter().find(|entry| entry.name == name);
    Update::new(Path::new(BIG).join(name), entry.map(|entry| entry.attr))
}

#[test]
fn a_name_is_made_when_it_is_looked_for_and_all_when_they_are_listed() {
    let pair = sparse();
    assert_eq!(made(&pair), ["1", "inner"]);
    assert!(!look(&pair, "link") && !look(&pair, "none"));
    assert_eq!(made(&pair), ["1", "inner", "link"]);
    pair.mirror.complete(Path::new(BIG)).unwrap();
    assert_eq!(made(&pair).len(), 11);
    assert!(look(&pair, "none"), "complete");
    assert_eq!(pair.files.listings.load(Ordering::Relaxed), 2, "each was listed once");
    let looks = |path: &Path| {
        let meta = fs::symlink_metadata(path).unwrap();
        (meta.mode(), meta.mtime(), meta.mtime_nsec(), meta.nlink())
    };
    for name in ["big", "big/1", "big/2", "big/link", "big/inner"] {
        assert_eq!(looks(&pair.there(name)), looks(&pair.here(name)), "{name}");
    }
}

#[test]
fn many_threads_look_and_list_at_once() {
    let pair = sparse();
    let looked = |name: &str| {
        look(&pair, name);
        pair.there("big").join(name).exists()
    };
    std::thread::scope(|scope| {
        for number in 0..9 {
            scope.spawn(move || assert!(looked(&number.to_string())));
        }
        scope.spawn(|| pair.mirror.complete(Path::new(BIG)).unwrap());
    });
    assert_eq!(made(&pair).len(), 11);
}

#[test]
fn news_of_a_name_are_kept_until_it_is_made() {
    let pair = sparse();
    look(&pair, "new");
    fs::write(pair.here("big/2"), "longer than before").unwrap();
    fs::remove_file(pair.here("big/3")).unwrap();
    fs::write(pair.here("big/new"), "").unwrap();
    fs::remove_file(pair.here("big/4")).unwrap();
    fs::create_dir(pair.here("big/4")).unwrap();
    let updates = ["2", "3", "4", "new"].map(|name| update(&pair, name));
    pair.mirror.apply(&updates).unwrap();
    assert_eq!(
        made(&pair),
        ["1", "4", "inner", "new"],
        "who looked for a name in vain finds it now"
    );
    look(&pair, "2");
    look(&pair, "3");
    assert_eq!(fs::metadata(pair.there("big/2")).unwrap().len(), 18);
    assert!(!pair.there("big/3").exists());
}

#[test]
fn one_that_was_complete_is_not_sparse_again() {
    let pair = sparse();
    pair.mirror.complete(Path::new(BIG)).unwrap();
    for number in 10..20 {
        fs::write(pair.here("big").join(number.to_string()), "").unwrap();
    }
    let attr = pair.files.files.read_dir(Path::new(BIG)).unwrap().attr;
    pair.mirror.apply(&[Update::new(BIG, Some(attr))]).unwrap();
    assert!(
        look(&pair, "11"),
        "a job that began before looks for names without asking"
    );
    assert_eq!(made(&pair).len(), 21);
}

#[test]
fn what_is_brought_ahead_is_made() {
    let pair = Pair::maybe_sparse(true);
    fs::create_dir(pair.here("big")).unwrap();
    for name in ["used", "other"] {
        fs::write(pair.here("big").join(name), "content").unwrap();
    }
    let expected = Expected {
        dirs: vec!["/".into(), BIG.into()],
        files: vec![Path::new(BIG).join("used")],
    };
    assert_eq!(pair.mirror.prefetch(&expected), 3);
    assert_eq!(made(&pair), ["used"]);
    let used = fs::File::open(pair.there("big/used")).unwrap();
    assert_eq!(io::read_to_string(used).unwrap(), "content");
    assert_eq!(pair.mirror.count_unmade(), 1);
    assert_eq!(pair.mirror.forget(), Ok(true));
    assert_eq!(pair.mirror.count_unmade(), 0);
}
