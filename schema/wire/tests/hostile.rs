//! Values that no honest peer sends, each refused with its own word.

use capnp::message::{Builder, HeapAllocator, ReaderOptions};
use capnp::traits::Owned;
use std::fmt::Debug;
use termite_types::JobSpec;
use termite_wire::frame::{Decoder, FRAME_MAX, FrameError, ToCaller, ToDaemon, encode};
use termite_wire::{Fault, WireError, peer, peer_capnp as wire, shim_capnp};

/// Builds a message and reads it as the other side would.
fn fault<S: Owned, T: Debug>(
    write: impl Fn(S::Builder<'_>),
    read: impl Fn(S::Reader<'_>) -> Result<T, WireError>,
) -> (&'static str, Fault) {
    let mut message = Builder::new(HeapAllocator::new());
    write(message.init_root::<S::Builder<'_>>());
    match read(message.get_root_as_reader::<S::Reader<'_>>().expect("a root")) {
        Err(WireError::Bad { field, fault }) => (field, fault),
        other => panic!("{other:?}"),
    }
}

fn fault_of_name(name: &[u8]) -> (&'static str, Fault) {
    fault::<wire::listing::Owned, _>(
        |mut to| {
            to.reborrow().init_attr().set_dir(());
            to.init_entries(1).get(0).set_name(name);
        },
        peer::read_listing,
    )
}

#[test]
fn names_are_single_components() {
    assert_eq!(fault_of_name(b""), ("name", Fault::Empty));
    assert_eq!(fault_of_name(b"."), ("name", Fault::Dots));
    assert_eq!(fault_of_name(b".."), ("name", Fault::Dots));
    assert_eq!(fault_of_name(b"a/b"), ("name", Fault::Slash));
    assert_eq!(fault_of_name(b"/"), ("name", Fault::Slash));
    assert_eq!(fault_of_name(b"a\0"), ("name", Fault::Nul));
}

#[test]
fn changed_paths_are_absolute_and_plain() {
    let cases: [(&[u8], Fault); 9] = [
        (b"", Fault::Empty),
        (b"a", Fault::Relative),
        (b"/a\0b", Fault::Nul),
        (b"/a/../b", Fault::Dots),
        (b"/..", Fault::Dots),
        (b"/a/.", Fault::Dots),
        (b"//", Fault::EmptyComponent),
        (b"/a//b", Fault::EmptyComponent),
        (b"/a/", Fault::EmptyComponent),
    ];
    for (path, expected) in cases {
        let update = fault::<wire::update::Owned, _>(|mut to| to.set_path(path), peer::read_update);
        assert_eq!(update, ("path of an update", expected), "{path:?}");
        let guess = fault::<wire::expected::Owned, _>(|to| to.init_files(1).set(0, path), peer::read_expected);
        assert_eq!(guess, ("expected file", expected), "{path:?}");
        let change = fault::<wire::change::Owned, _>(|mut to| to.set_path(path), peer::read_change);
        assert_eq!(change, ("path of a change", expected), "{path:?}");
        let link = |mut to: wire::change::Builder<'_>| {
            to.set_path(b"/p");
            to.set_link(path);
        };
        let link = fault::<wire::change::Owned, _>(link, peer::read_change);
        assert_eq!(link, ("other name of a link", expected), "{path:?}");
    }
}

#[test]
fn the_root_is_a_plain_path() {
    assert_eq!(peer::read_path(b"/").expect("absolute"), std::path::Path::new("/"));
    let mut message = Builder::new(HeapAllocator::new());
    message.init_root::<wire::update::Builder<'_>>().set_path(b"/");
    let update = message.get_root_as_reader().expect("a root");
    assert_eq!(
        peer::read_update(update).expect("plain").path,
        std::path::Path::new("/")
    );
}

#[test]
fn hashes_have_32_bytes() {
    for len in [0, 31, 33] {
        assert!(matches!(
            peer::read_hash(&vec![0; len]),
            Err(WireError::Bad { field: "hash", fault: Fault::HashLength(is) }) if is == len
        ));
    }
    let short = |to: wire::attr::Builder<'_>| to.init_file().set_hash(&[0; 31]);
    assert_eq!(
        fault::<wire::attr::Owned, _>(short, peer::read_attr),
        ("file hash", Fault::HashLength(31))
    );
}

#[test]
fn attributes_are_in_range() {
    let of = |write: fn(wire::attr::Builder<'_>)| fault::<wire::attr::Owned, _>(write, peer::read_attr);
    assert_eq!(of(|mut to| to.set_mode(0o10000)), ("mode", Fault::Range(0o10000)));
    assert_eq!(
        of(|mut to| to.set_mtime_nsec(1_000_000_000)),
        ("mtime", Fault::Range(1_000_000_000))
    );
    assert_eq!(of(|mut to| to.set_symlink(b"")), ("link target", Fault::Empty));
    assert_eq!(of(|mut to| to.set_symlink(b"a\0")), ("link target", Fault::Nul));
}

#[test]
fn a_change_has_attributes_of_its_kind() {
    let of = |write: fn(wire::change::Builder<'_>)| {
        fault::<wire::change::Owned, _>(
            |mut to| {
                to.set_path(b"/p");
                write(to);
            },
            peer::read_change,
        )
    };
    let kind = ("attributes of a change", Fault::Kind);
    assert_eq!(of(|to| to.init_make_dir().init_attr().set_symlink(b"x")), kind);
    assert_eq!(of(|to| to.init_symlink().set_dir(())), kind);
    assert_eq!(of(|to| to.init_file().init_attr().set_dir(())), kind);
    assert_eq!(
        of(|to| {
            to.init_file().init_attr().init_file();
        }),
        kind
    );
    let short = of(|to| {
        let mut file = to.init_file();
        let mut node = file.reborrow().init_attr().init_file();
        node.set_size(2);
        node.set_hash(&[0; 32]);
        file.init_content().set_inline(b"x");
    });
    assert_eq!(short, ("length of a file's content", Fault::Range(1)));
}

#[test]
fn an_opened_file_is_a_file() {
    let of = |write: fn(wire::open_result::file::Builder<'_>)| {
        fault::<wire::open_result::Owned, _>(|to| write(to.init_file()), peer::read_open_result)
    };
    assert_eq!(of(|to| to.init_attr().set_dir(())), ("opened file", Fault::Kind));
    let long = of(|mut to| {
        to.reborrow().init_attr().init_file().set_hash(&[0; 32]);
        to.set_head(b"x");
    });
    assert_eq!(long, ("length of a file's head", Fault::Range(1)));
    let none = fault::<wire::open_result::Owned, _>(|mut to| to.set_errno(0), peer::read_open_result);
    assert_eq!(none, ("errno", Fault::Range(0)));
}

fn fault_of_job(change: impl Fn(wire::job::Builder<'_>)) -> (&'static str, Fault) {
    let write = |mut to: wire::job::Builder<'_>| {
        to.set_program(b"cc");
        to.set_cwd(b"/");
        change(to);
    };
    fault::<wire::job::Owned, JobSpec>(write, peer::read_job)
}

#[test]
fn a_job_can_be_executed() {
    assert_eq!(fault_of_job(|mut to| to.set_program(b"")), ("program", Fault::Empty));
    assert_eq!(
        fault_of_job(|mut to| to.set_cwd(b"p")),
        ("working directory", Fault::Relative)
    );
    assert_eq!(
        fault_of_job(|mut to| to.set_umask(0o1000)),
        ("umask", Fault::Range(0o1000))
    );
    assert_eq!(
        fault_of_job(|to| to.init_argv(1).set(0, b"a\0")),
        ("argument", Fault::Nul)
    );
    assert_eq!(
        fault_of_job(|to| to.init_env(1).set(0, b"a\0")),
        ("environment", Fault::Nul)
    );
    assert_eq!(
        fault_of_job(|to| to.init_drivers(1).set(0, b"/bin/make")),
        ("driver", Fault::Slash)
    );
    assert_eq!(
        fault_of_job(|to| {
            to.init_limits(17);
        }),
        ("limits", Fault::TooMany(17))
    );
    assert_eq!(
        fault_of_job(|to| to.init_limits(1).get(0).set_resource(16)),
        ("limit", Fault::Range(16))
    );
}

#[test]
fn process_numbers_of_a_job_exist() {
    let of = |first, count| {
        fault_of_job(move |to| {
            let mut to = to.init_pids();
            to.set_first(first);
            to.set_count(count);
        })
    };
    assert_eq!(of(1, 10), ("first process number", Fault::Range(1)));
    assert_eq!(of(1 << 22, 1), ("first process number", Fault::Range(1 << 22)));
    assert_eq!(of(300, 0), ("number of process numbers", Fault::Range(0)));
    assert_eq!(of((1 << 22) - 1, 2), ("number of process numbers", Fault::Range(2)));
}

#[test]
fn a_result_is_in_range() {
    let of =
        |write: fn(wire::job_result::Builder<'_>)| fault::<wire::job_result::Owned, _>(write, peer::read_job_result);
    assert_eq!(of(|to| to.init_end().set_signaled(0)), ("signal", Fault::Range(0)));
    assert_eq!(of(|to| to.init_end().set_signaled(65)), ("signal", Fault::Range(65)));
    assert_eq!(
        of(|to| to.init_output(1).get(0).set_fd(3)),
        ("output descriptor", Fault::Range(3))
    );
    assert_eq!(
        of(|to| to.init_worker_now().set_nsec(u32::MAX)),
        ("worker's clock", Fault::Range(u64::from(u32::MAX)))
    );
    let text = of(|to| to.init_end().init_abandoned().set_full(capnp::text::Reader(b"\xff")));
    assert_eq!(text, ("reason", Fault::NotText));
}

/// A list of structs without size costs nothing on the wire, however long it says it is.
#[test]
fn a_long_list_of_nothing_is_cheap() {
    const LEN: u64 = (1 << 29) - 1;
    // One segment: a root of four pointers; the third, `updates`, leads past the fourth to
    // the tag of a list without elements' words.
    let list = 1 | 1 << 2 | 7 << 32;
    let words = [6 << 32, 4 << 48, 0, 0, list, 0, LEN << 2];
    let bytes: Vec<u8> = words.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
    let message = capnp::serialize::read_message(&bytes[..], ReaderOptions::new()).expect("a message");
    let params = message
        .get_root::<wire::session::run_params::Reader<'_>>()
        .expect("a root");
    let updates = params
        .get_updates()
        .map_err(WireError::from)
        .and_then(peer::read_updates);
    assert!(updates.is_err(), "{updates:?}");
}

#[test]
fn frames_have_a_limit() {
    let header = |segments: &[u32]| -> Vec<u8> {
        let count = segments.len() as u32 - 1;
        [&[count], segments]
            .concat()
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect()
    };
    let error = |bytes: &[u8]| {
        let mut decoder = Decoder::<ToDaemon>::new();
        decoder.feed(bytes);
        decoder.next().expect_err("too long")
    };
    let words = (FRAME_MAX / 8) as u32;
    assert!(matches!(error(&header(&[words])), FrameError::TooLong(len) if len == FRAME_MAX as u64 + 8));
    assert!(matches!(error(&header(&[u32::MAX, u32::MAX])), FrameError::TooLong(_)));
    assert!(matches!(error(&u32::MAX.to_le_bytes()), FrameError::TooLong(_)));
    assert!(matches!(error(&511_u32.to_le_bytes()), FrameError::TooLong(_)));
    let mut decoder = Decoder::<ToDaemon>::new();
    decoder.feed(&header(&[words - 1]));
    assert!(decoder.next().expect("not too long").is_none());
    assert!(decoder.is_torn());
}

#[test]
fn a_frame_of_the_greatest_length_passes() {
    let frame = ToCaller::Output {
        fd: 1,
        bytes: vec![7; FRAME_MAX - 1024],
    };
    let mut decoder = Decoder::new();
    decoder.feed(&encode(&frame));
    assert_eq!(decoder.next().expect("a frame"), Some(frame));
}

#[test]
fn only_the_first_frame_tells_the_protocol() {
    let mut message = Builder::new(HeapAllocator::new());
    message.init_root::<shim_capnp::to_daemon::Builder<'_>>().set_signal(2);
    let silent = capnp::serialize::write_message_to_words(&message);
    let mut decoder = Decoder::new();
    decoder.feed(&encode(&ToDaemon::Signal(15)));
    decoder.feed(&silent);
    assert_eq!(decoder.next().expect("a frame"), Some(ToDaemon::Signal(15)));
    assert_eq!(decoder.next().expect("a frame"), Some(ToDaemon::Signal(2)));
    let mut decoder = Decoder::<ToDaemon>::new();
    decoder.feed(&silent);
    let error = decoder.next().expect_err("another protocol");
    let says = format!("speaks protocol 0, this daemon {}", termite_types::PROTOCOL);
    assert!(error.to_string().contains(&says), "{error}");
}

#[test]
fn a_caller_may_not_ask_for_nonsense() {
    let of = |write: fn(shim_capnp::to_daemon::Builder<'_>)| {
        let mut message = Builder::new(HeapAllocator::new());
        let mut frame = message.init_root::<shim_capnp::to_daemon::Builder<'_>>();
        frame.set_protocol(termite_types::PROTOCOL);
        write(frame);
        let mut decoder = Decoder::<ToDaemon>::new();
        decoder.feed(&capnp::serialize::write_message_to_words(&message));
        match decoder.next() {
            Err(FrameError::Wire(WireError::Bad { field, fault })) => (field, fault),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of(|mut to| to.set_signal(0)), ("signal", Fault::Range(0)));
    assert_eq!(
        of(|to| {
            to.init_job();
        }),
        ("program", Fault::Empty)
    );
    assert_eq!(
        of(|to| to.init_control().set_last(b"p")),
        ("directory", Fault::Relative)
    );
}
