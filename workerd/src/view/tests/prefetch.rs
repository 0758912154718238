//! What is brought before a job asks for it: in few questions, and only what is still true.

use super::Pair;
use crate::view::FilesError;
use crate::view::mirror::Fill;
use crate::view::outputs::Outputs;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use termite_types::{Expected, Node, Update};

fn paths(paths: &[&str]) -> Vec<PathBuf> {
    paths.iter().map(PathBuf::from).collect()
}

fn a_project() -> Pair {
    let pair = Pair::new();
    fs::create_dir_all(pair.here("p/src/deep")).unwrap();
    fs::write(pair.here("p/src/a.c"), "int a;").unwrap();
    fs::write(pair.here("p/src/copy.c"), "int a;").unwrap();
    fs::write(pair.here("p/src/deep/b.h"), vec![b'b'; 600_000]).unwrap();
    pair
}

fn all() -> Expected {
    Expected {
        dirs: paths(&["/", "/p", "/p/src", "/p/src/deep", "/proc", "/dev/fd"]),
        files: paths(&["/p/src/a.c", "/p/src/deep/b.h", "/p/src/copy.c", "/p/none", "/q/none"]),
    }
}

fn asked(pair: &Pair) -> (u32, u32, u32) {
    let files = &pair.files;
    let count = |counter: &std::sync::atomic::AtomicU32| counter.load(Ordering::Relaxed);
    (count(&files.batches), count(&files.listings), count(&files.opens))
}

#[test]
fn two_questions_bring_all() {
    let pair = a_project();
    pair.mirror.prefetch(&all());
    assert_eq!(asked(&pair), (2, 4, 3));
    for name in ["p/src/a.c", "p/src/copy.c", "p/src/deep/b.h"] {
        assert_eq!(
            fs::read(pair.there(name)).unwrap(),
            fs::read(pair.here(name)).unwrap(),
            "{name}"
        );
        pair.fill(name).unwrap();
    }
    for dir in ["/", "/p", "/p/src", "/p/src/deep"] {
        pair.mirror.complete(Path::new(dir)).unwrap();
    }
    pair.mirror.prefetch(&all());
    assert_eq!(asked(&pair), (2, 4, 3), "nothing is lacking any more");
}

#[test]
fn short_answers_are_asked_on() {
    let pair = a_project();
    pair.files.most.store(0, Ordering::Relaxed);
    pair.mirror.prefetch(&all());
    assert_eq!(asked(&pair), (1, 0, 0), "who answers nothing is not asked on");
    pair.files.most.store(1, Ordering::Relaxed);
    pair.mirror.prefetch(&all());
    assert_eq!(asked(&pair), (8, 4, 3));
}

#[test]
fn what_a_client_refuses_is_left_for_the_job() {
    let pair = a_project();
    *pair.files.list_error.lock() = Some(FilesError::Denied);
    pair.mirror.prefetch(&all());
    *pair.files.list_error.lock() = None;
    pair.mirror.complete(Path::new("/")).unwrap();
    pair.mirror.complete(Path::new("/p")).unwrap();
    *pair.files.open_error.lock() = Some(FilesError::Lost("gone".into()));
    pair.mirror.prefetch(&all());
    assert_eq!(pair.mirror.fill_state(pair.ino("p/src/a.c")), Some(Fill::Placeholder));
    *pair.files.open_error.lock() = None;
    pair.files.lies.store(1, Ordering::Relaxed);
    pair.mirror.prefetch(&all());
    assert_eq!(pair.mirror.fill_state(pair.ino("p/src/a.c")), Some(Fill::Placeholder));
    pair.fill("p/src/a.c").unwrap();
    assert_eq!(fs::read(pair.there("p/src/a.c")).unwrap(), b"int a;");
}

#[test]
fn many_threads_bring_the_same_once() {
    let pair = a_project();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| pair.mirror.prefetch(&all()));
            scope.spawn(|| pair.mirror.complete(Path::new("/")).unwrap());
        }
    });
    let (_, listings, opens) = asked(&pair);
    assert!(listings <= 4 && opens <= 3, "{listings} listings, {opens} opens");
}

/// Who has listed a directory waits for who lists what it is in: else it would have no place.
#[test]
fn what_is_in_a_directory_waits_for_who_lists_that() {
    let pair = Arc::new(a_project());
    let (begun, other) = std::sync::mpsc::channel();
    let complete_below = {
        let pair = pair.clone();
        move || {
            let all = std::thread::spawn({
                let pair = pair.clone();
                move || pair.mirror.prefetch(&all())
            });
            while asked(&pair).0 < 2 {
                std::thread::yield_now();
            }
            // Time to do the wrong thing.
            std::thread::sleep(std::time::Duration::from_millis(50));
            begun.send(all).unwrap();
        }
    };
    *pair.files.meanwhile.lock() = Some(Box::new(complete_below));
    pair.mirror.prefetch(&Expected {
        dirs: paths(&["/"]),
        files: Vec::new(),
    });
    other.recv().unwrap().join().unwrap();
    let (_, listings, opens) = asked(&pair);
    assert_eq!((listings, opens), (4, 3));
}

/// A job's outputs may be merged while an older listing of their directory is under way.
#[test]
fn outputs_survive_a_listing_that_does_not_know_them() {
    let pair = Arc::new(a_project());
    let upper = tempfile::tempdir_in(pair.mirror.root().parent().unwrap()).unwrap();
    let merge = {
        let (pair, upper) = (pair.clone(), upper.path().to_owned());
        move || {
            for root in [pair.client.path(), &upper] {
                fs::create_dir_all(root.join("p/src")).unwrap();
                fs::write(root.join("p/src/a.o"), "object").unwrap();
            }
            let attr = crate::view::Files::open(&pair.files.files, Path::new("/p/src/a.o"))
                .unwrap()
                .attr;
            let Node::File { hash: Some(hash), .. } = attr.node else {
                panic!("{attr:?}")
            };
            // Whoever commits knows what it wrote.
            pair.files.hashes.lock().insert("/p/src/a.o".into(), hash);
            let mut outputs = Outputs::new(fs::File::open(&upper).unwrap().into());
            outputs.hold_upper(Path::new("/p/src/a.o"), hash);
            pair.mirror
                .merge(&outputs, &[Update::new("/p/src/a.o", Some(attr))])
                .unwrap();
        }
    };
    pair.mirror.complete(Path::new("/")).unwrap();
    pair.mirror.complete(Path::new("/p")).unwrap();
    *pair.files.meanwhile.lock() = Some(Box::new(merge));
    pair.mirror.prefetch(&all());
    pair.mirror.complete(Path::new("/p/src")).unwrap();
    assert_eq!(fs::read(pair.there("p/src/a.o")).unwrap(), b"object");
}
