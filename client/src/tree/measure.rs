//! Figures for the report of a change, not a test of anything: printed with
//! `cargo test --release -p termite-client measure -- --nocapture`.

use super::tests::{ME, open_tree};
use std::path::Path;
use std::time::Instant;

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    println!("{what}: {:.1} us", start.elapsed().as_secs_f64() * 1e6);
    result
}

#[test]
fn measure() {
    let cache = tempfile::tempdir().expect("a directory");
    let tree = open_tree(cache.path());
    let include = Path::new("/usr/include");
    let lib = Path::new("/usr/lib/x86_64-linux-gnu");
    for dir in [include, lib, Path::new("/usr/bin")] {
        if let Ok(listing) = timed(&format!("list {} first", dir.display()), || tree.read_dir(ME, dir)) {
            println!("  {} names", listing.entries.len());
            timed("  again", || tree.read_dir(ME, dir)).expect("a listing");
        }
    }
    let compilers = (8..20).map(|version| format!("/usr/lib/gcc/x86_64-linux-gnu/{version}/cc1"));
    for compiler in compilers.map(std::path::PathBuf::from).filter(|path| path.exists()) {
        let opened = timed(&format!("open {} first", compiler.display()), || {
            tree.open_file(ME, &compiler)
        });
        println!("  {:?}", opened.expect("a compiler").attr.node);
        timed("  again", || tree.open_file(ME, &compiler)).expect("a compiler");
    }
    let header = include.join("stdio.h");
    if header.exists() {
        timed("open stdio.h first", || tree.open_file(ME, &header)).expect("a header");
        timed("open stdio.h again", || tree.open_file(ME, &header)).expect("a header");
    }
    timed("flush", || tree.flush());
    tree.drain();
    println!("  {} files with several names", tree.records.lock().linked().count());
    timed("1000 drains", || {
        (0..1000).for_each(|_| assert!(tree.drain() < u64::MAX))
    });
}
