//! FIFOs, sockets and devices: their names show, and who looks for one is for the client.

use super::Pair;
use super::changes::tell;
use crate::view::SharedMap;
use crate::view::error::FaultError;
use rustix::fs::{CWD, FileType, Mode};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use termite_types::Abandon;

const TOP: &str = "/";

fn make_fifo(pair: &Pair, name: &str) {
    rustix::fs::mknodat(CWD, pair.here(name), FileType::Fifo, Mode::RUSR, 0).unwrap();
}

fn kind(pair: &Pair, name: &str) -> fs::FileType {
    fs::symlink_metadata(pair.there(name)).unwrap().file_type()
}

fn needs_the_machine(pair: &Pair, name: &str) -> bool {
    let looked = pair.mirror.complete_name(Path::new(TOP), OsStr::new(name));
    matches!(looked, Err(FaultError::Abandon(Abandon::Machine(_))))
}

#[test]
fn their_names_show_and_who_looks_for_one_needs_the_machine() {
    for is_sparse in [false, true] {
        let pair = Pair::maybe_sparse(is_sparse);
        for number in 0..9 {
            fs::write(pair.here(&number.to_string()), "").unwrap();
        }
        make_fifo(&pair, "fifo");
        let _socket = UnixListener::bind(pair.here("socket")).unwrap();
        assert!(
            !pair.mirror.complete(Path::new(TOP)).unwrap(),
            "it has names that are not for all"
        );
        assert!(kind(&pair, "fifo").is_fifo() && kind(&pair, "socket").is_socket());
        assert_eq!(fs::symlink_metadata(pair.there("fifo")).unwrap().mode() & 0o7777, 0o400);
        assert!(needs_the_machine(&pair, "fifo") && needs_the_machine(&pair, "socket"));
        assert!(!needs_the_machine(&pair, "0") && !needs_the_machine(&pair, "absent"));
    }
}

#[test]
fn one_that_comes_is_known_to_those_who_run() {
    let pair = Pair::new();
    fs::write(pair.here("name"), "").unwrap();
    let memory = SharedMap::of_no_slot();
    let _pin = pair.mirror.enter(memory.clone());
    assert!(pair.mirror.complete(Path::new(TOP)).unwrap());
    let epoch = memory.epoch();
    fs::remove_file(pair.here("name")).unwrap();
    make_fifo(&pair, "name");
    tell(&pair, &mut vec![PathBuf::from("name")]);
    assert!(kind(&pair, "name").is_fifo() && needs_the_machine(&pair, "name"));
    assert_ne!(memory.epoch(), epoch, "its library would open the FIFO");

    fs::remove_file(pair.here("name")).unwrap();
    fs::write(pair.here("name"), "").unwrap();
    tell(&pair, &mut vec![PathBuf::from("name")]);
    assert!(kind(&pair, "name").is_file() && !needs_the_machine(&pair, "name"));
    assert!(pair.mirror.complete(Path::new(TOP)).unwrap());
}
