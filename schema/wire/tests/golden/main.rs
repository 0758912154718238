//! Every message as the reference compiler encodes it: our reader must see the written
//! value, our writer must say the same bytes.

mod frames;
mod peers;

use capnp::message::{Builder, HeapAllocator, ReaderOptions};
use capnp::traits::Owned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use termite_types::{Attr, BlobHash, FileTime, Node};
use termite_wire::WireError;

/// Names of the golden files that a test has read.
static READ: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn golden_bytes(name: &str) -> Vec<u8> {
    READ.lock()
        .expect("no test panics while it holds this")
        .insert(name.to_string());
    let path = golden_dir().join(format!("{name}.bin"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The one encoding that Cap'n Proto calls canonical.
fn canonical(mut bytes: &[u8]) -> Vec<u8> {
    let message = capnp::serialize::read_message(&mut bytes, ReaderOptions::new()).expect("a message");
    capnp::Word::words_to_bytes(&message.canonicalize().expect("an encoding without capabilities")).to_vec()
}

/// Compares a golden file with the value that its text says, both ways.
fn check<S: Owned, T: PartialEq + Debug>(
    name: &str,
    value: &T,
    read: impl Fn(S::Reader<'_>) -> Result<T, WireError>,
    write: impl Fn(&T, S::Builder<'_>),
) {
    let golden = golden_bytes(name);
    let parse = |mut bytes: &[u8]| {
        let message = capnp::serialize::read_message(&mut bytes, ReaderOptions::new()).expect("a message");
        read(message.get_root::<S::Reader<'_>>().expect("a root")).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    assert_eq!(parse(&golden), *value, "{name}");
    let mut message = Builder::new(HeapAllocator::new());
    write(value, message.init_root::<S::Builder<'_>>());
    let ours = capnp::serialize::write_message_to_words(&message);
    assert_eq!(parse(&ours), *value, "{name}");
    assert_eq!(canonical(&ours), canonical(&golden), "{name}");
}

fn hash() -> BlobHash {
    BlobHash(std::array::from_fn(|at| at as u8))
}

fn file(size: u64, hash: Option<BlobHash>) -> Attr {
    Attr {
        mode: 0o644,
        uid: 1000,
        gid: 100,
        mtime: FileTime { sec: 1, nsec: 0 },
        node: Node::File { size, hash },
    }
}

fn set_id_file() -> Attr {
    Attr {
        mode: 0o4755,
        uid: 0,
        gid: u32::MAX - 1,
        mtime: FileTime {
            sec: -1,
            nsec: 999_999_999,
        },
        node: Node::File {
            size: 5_000_000_000,
            hash: Some(hash()),
        },
    }
}

fn dir() -> Attr {
    let mtime = FileTime {
        sec: 1_700_000_000,
        nsec: 123_456_789,
    };
    Attr {
        mode: 0o755,
        uid: 1000,
        gid: 100,
        mtime,
        node: Node::Dir,
    }
}

fn symlink() -> Attr {
    let target = std::ffi::OsString::from_vec(b"../sh\xffre".to_vec()).into();
    Attr {
        mode: 0o777,
        uid: 1000,
        gid: 100,
        mtime: FileTime::default(),
        node: Node::Symlink { target },
    }
}

#[test]
fn every_golden_file_is_read() {
    peers::check_all();
    frames::check_all();
    let read = READ.lock().expect("no test panics while it holds this").clone();
    let there: BTreeSet<String> = fs::read_dir(golden_dir())
        .expect("golden/")
        .filter_map(|entry| {
            entry
                .expect("golden/")
                .file_name()
                .into_string()
                .ok()?
                .strip_suffix(".bin")
                .map(Into::into)
        })
        .collect();
    assert_eq!(read, there);
}
