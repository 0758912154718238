//! Listings and contents as they are served, and what is not.

use super::{Bench, ME, OTHER, attr_of, open_tree};
use crate::tree::{ServeError, Tree};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};
use termite_types::{BlobHash, Node};

fn errno(errno: i32) -> ServeError {
    ServeError::Errno(errno)
}

fn hash_of(bytes: &[u8]) -> BlobHash {
    BlobHash(*blake3::hash(bytes).as_bytes())
}

#[test]
fn a_listing_is_what_the_file_system_says_in_its_order() {
    let bench = Bench::new();
    for number in 0..300 {
        bench.write(&format!("file-{}", number * 7919 % 300), "x");
    }
    fs::create_dir(bench.path("dir")).unwrap();
    symlink("../somewhere", bench.path("link")).unwrap();
    fs::write(bench.top.join(OsStr::from_bytes(b"\xff\xfe")), "bytes").unwrap();
    let listing = bench.tree.read_dir(ME, &bench.top).unwrap();
    let expected: Vec<_> = fs::read_dir(&bench.top)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    let served: Vec<_> = listing.entries.iter().map(|entry| entry.name.clone()).collect();
    assert_eq!(served, expected);
    for entry in &listing.entries {
        let real = fs::symlink_metadata(bench.top.join(&entry.name)).unwrap();
        let attr = &entry.attr;
        assert_eq!(
            (attr.mode, attr.uid, attr.gid),
            (real.mode() & 0o7777, real.uid(), real.gid())
        );
        assert_eq!(
            (attr.mtime.sec, i64::from(attr.mtime.nsec)),
            (real.mtime(), real.mtime_nsec())
        );
        match &attr.node {
            Node::Dir => assert!(real.is_dir()),
            Node::File { size, .. } => assert!(real.is_file() && *size == real.len()),
            Node::Symlink { target } => assert_eq!(target, Path::new("../somewhere")),
            Node::Special(_) => panic!("none was made"),
        }
    }
}

#[test]
fn what_is_no_directory_has_its_own_error() {
    let bench = Bench::new();
    bench.write("file", "");
    symlink(".", bench.path("link")).unwrap();
    assert_eq!(bench.tree.read_dir(ME, &bench.path("none")), Err(errno(libc::ENOENT)));
    assert_eq!(bench.tree.read_dir(ME, &bench.path("file")), Err(errno(libc::ENOTDIR)));
    assert_eq!(bench.tree.read_dir(ME, &bench.path("link")), Err(errno(libc::ELOOP)));
    for spelling in ["..", "a/../b", "a/./b", "a/"] {
        assert_eq!(
            bench.tree.read_dir(ME, &bench.path(spelling)),
            Err(errno(libc::EINVAL)),
            "{spelling}"
        );
    }
    assert_eq!(bench.tree.read_dir(ME, Path::new("relative")), Err(errno(libc::EINVAL)));
}

#[test]
fn contents_come_with_their_hash_and_in_pieces() {
    let bench = Bench::new();
    for size in [0, 1, 4096, (256 << 10) - 1, 256 << 10, (256 << 10) + 1, 3 << 20] {
        let content: Vec<u8> = (0..size).map(|at: usize| (at / 7) as u8).collect();
        fs::write(bench.path("f"), &content).unwrap();
        let opened = bench.tree.open_file(ME, &bench.path("f")).unwrap();
        assert_eq!(opened.head, content[..size.min(256 << 10)], "{size}");
        let Node::File {
            size: told,
            hash: Some(hash),
        } = opened.attr.node
        else {
            panic!("no hash")
        };
        assert_eq!((told, hash), (size as u64, hash_of(&content)));
        let tail = bench.tree.read_blob(ME, &hash, size as u64 / 2, u32::MAX).unwrap();
        assert_eq!(tail, content[size / 2..]);
        assert_eq!(bench.tree.read_blob(ME, &hash, size as u64 + 5, 10).unwrap(), b"");
    }
}

#[test]
fn a_content_is_read_from_any_file_that_still_holds_it() {
    let bench = Bench::new();
    bench.write("a", "same");
    bench.write("b", "same");
    ["a", "b"]
        .iter()
        .for_each(|name| drop(bench.tree.open_file(ME, &bench.path(name)).unwrap()));
    let hash = hash_of(b"same");
    bench.write("b", "else");
    assert_eq!(bench.tree.read_blob(ME, &hash, 0, 100).unwrap(), b"same");
    fs::remove_file(bench.path("a")).unwrap();
    assert_eq!(bench.tree.read_blob(ME, &hash, 0, 100), Err(errno(libc::ESTALE)));
    assert_eq!(
        bench.tree.read_blob(ME, &BlobHash([7; 32]), 0, 100),
        Err(errno(libc::ESTALE))
    );
}

#[test]
fn only_regular_files_are_opened_and_nothing_blocks() {
    let bench = Bench::new();
    let fifo = bench.path("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    bench.write("file", "");
    symlink("file", bench.path("link")).unwrap();
    fs::create_dir(bench.path("dir")).unwrap();
    symlink("dir", bench.path("dirlink")).unwrap();
    bench.write("dir/x", "");
    for (name, expected) in [
        ("fifo", libc::ENXIO),
        ("link", libc::ELOOP),
        ("dir", libc::EISDIR),
        ("dirlink/x", libc::ELOOP),
        ("none", libc::ENOENT),
    ] {
        assert_eq!(
            bench.tree.open_file(ME, &bench.path(name)),
            Err(errno(expected)),
            "{name}"
        );
    }
}

#[test]
fn hidden_files_are_listed_and_not_opened() {
    let bench = Bench::new();
    bench.write("id_rsa", "secret");
    let listing = bench.tree.read_dir(ME, &bench.top).unwrap();
    assert_eq!(listing.entries.len(), 1);
    assert_eq!(bench.tree.open_file(ME, &bench.path("id_rsa")), Err(ServeError::Denied));
    assert_eq!(
        bench.tree.read_dir(ME, Path::new("/etc/ssl/private")),
        Err(ServeError::Denied)
    );
    assert_eq!(
        bench.tree.read_dir(ME, Path::new("/proc/self")),
        Err(ServeError::Denied)
    );
}

#[test]
fn private_files_stay_on_this_machine() {
    let bench = Bench::new();
    bench.write("private", "mine");
    fs::set_permissions(bench.path("private"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(bench.tree.open_file(ME, &bench.path("private")).unwrap().head, b"mine");
    assert_eq!(
        bench.tree.open_file(OTHER, &bench.path("private")),
        Err(ServeError::Denied)
    );
    // Nor by its hash, nor does a listing tell that.
    assert_eq!(
        bench.tree.read_blob(OTHER, &hash_of(b"mine"), 0, 10),
        Err(ServeError::Denied)
    );
    let_a_tick_pass(&bench.path("private"));
    bench.tree.open_file(ME, &bench.path("private")).unwrap();
    assert!(matches!(
        attr_of(&bench.tree, &bench.top, "private").node,
        Node::File { hash: Some(_), .. }
    ));
    let listing = bench.tree.read_dir(OTHER, &bench.top).unwrap();
    assert!(matches!(listing.entries[0].attr.node, Node::File { hash: None, .. }));
}

/// Waits until the next change of a file would have another time.
fn let_a_tick_pass(path: &Path) {
    let stat = fs::metadata(path).unwrap();
    let changed = SystemTime::UNIX_EPOCH + Duration::new(stat.ctime() as u64, stat.ctime_nsec() as u32);
    while changed.elapsed().is_ok_and(|age| age < Duration::from_millis(20)) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A file whose last change is long ago: ctime cannot be set, so one of the system's.
fn old_file() -> std::path::PathBuf {
    let old = |path: &Path| {
        let Ok(stat) = fs::symlink_metadata(path) else {
            return false;
        };
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(stat.ctime() as u64);
        stat.is_file() && changed.elapsed().is_ok_and(|age| age > Duration::from_secs(10))
    };
    let found = ["/etc/passwd", "/etc/os-release", "/bin/sh", "/etc/hostname"]
        .into_iter()
        .map(Path::new);
    found
        .filter_map(|path| path.canonicalize().ok())
        .find(|path| old(path))
        .expect("an old file")
}

#[test]
fn hashes_outlive_the_tree() {
    let cache = tempfile::tempdir().unwrap();
    let path = old_file();
    let (dir, name) = (path.parent().unwrap(), path.file_name().unwrap().to_str().unwrap());
    let known = |tree: &Tree| match attr_of(tree, dir, name).node {
        Node::File { hash, .. } => hash,
        _ => None,
    };
    let tree = open_tree(cache.path());
    assert_eq!(known(&tree), None);
    tree.open_file(ME, &path).unwrap();
    let hash = known(&tree);
    assert_eq!(hash, Some(hash_of(&fs::read(&path).unwrap())));
    drop(tree);
    let tree = open_tree(cache.path());
    assert_eq!(known(&tree), hash);
    assert!(
        tree.read_blob(ME, &hash.unwrap(), 0, 10).is_ok(),
        "a listed hash can be read"
    );
}

#[test]
fn a_hash_of_a_file_that_just_changed_is_not_kept_on_disk() {
    let cache = tempfile::tempdir().unwrap();
    let bench = Bench::new();
    bench.write("a", "young");
    let tree = open_tree(cache.path());
    let_a_tick_pass(&bench.path("a"));
    tree.open_file(ME, &bench.path("a")).unwrap();
    let known = |tree: &Tree| matches!(attr_of(tree, &bench.top, "a").node, Node::File { hash: Some(_), .. });
    assert!(known(&tree));
    drop(tree);
    assert!(!known(&open_tree(cache.path())));
}

#[test]
fn a_broken_or_busy_cache_is_no_obstacle() {
    let cache = tempfile::tempdir().unwrap();
    fs::write(cache.path().join("hashes.redb"), vec![0x5a; 100_000]).unwrap();
    let first = open_tree(cache.path());
    let second = open_tree(cache.path());
    let path = old_file();
    for tree in [&first, &second] {
        tree.open_file(ME, &path).unwrap();
        tree.flush();
    }
    drop((first, second));
    let tree = open_tree(cache.path());
    let (dir, name) = (path.parent().unwrap(), path.file_name().unwrap().to_str().unwrap());
    assert!(matches!(
        attr_of(&tree, dir, name).node,
        Node::File { hash: Some(_), .. }
    ));
    // A directory that cannot be had.
    let file = cache.path().join("file");
    fs::write(&file, "").unwrap();
    open_tree(&file).open_file(ME, &path).unwrap();
}

#[test]
fn listing_while_names_come_and_go_leaves_no_stale_record() {
    let mut bench = Bench::new();
    let top = bench.top.clone();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let churn = scope.spawn(|| {
            for number in 0..3000 {
                let path = top.join(format!("n{}", number % 7));
                if number % 3 == 0 {
                    drop(fs::remove_file(&path))
                } else {
                    fs::write(&path, number.to_string()).unwrap()
                }
            }
        });
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                bench.tree.drain();
            }
        });
        while !churn.is_finished() {
            bench.tree.read_dir(ME, &top).unwrap();
            bench.tree.read_dir(OTHER, &top).unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    bench.news();
    for number in 0..7 {
        let name = format!("n{number}");
        drop(fs::remove_file(bench.path(&name)));
        bench.news();
        bench.write(&name, "last");
        assert_eq!(bench.news(), [name]);
    }
}
