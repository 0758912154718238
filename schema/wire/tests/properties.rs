//! What is written is read back; what is mutilated or invented is refused or read, and
//! never ends the process.

mod strategies;

use capnp::message::{Builder, HeapAllocator, ReaderOptions};
use capnp::traits::Owned;
use proptest::prelude::*;
use std::fmt::Debug;
use termite_types::Update;
use termite_wire::WireError;
use termite_wire::frame::{Decoder, Frame, ToCaller, ToDaemon, encode};
use termite_wire::{peer, peer_capnp as wire};

fn written<S: Owned>(write: impl Fn(S::Builder<'_>)) -> Vec<u8> {
    let mut message = Builder::new(HeapAllocator::new());
    write(message.init_root::<S::Builder<'_>>());
    capnp::serialize::write_message_to_words(&message)
}

fn read_back<S: Owned, T>(
    mut bytes: &[u8],
    read: impl Fn(S::Reader<'_>) -> Result<T, WireError>,
) -> Result<T, WireError> {
    let message = capnp::serialize::read_message(&mut bytes, ReaderOptions::new())?;
    read(message.get_root::<S::Reader<'_>>()?)
}

fn round_trip<S: Owned, T: PartialEq + Debug>(
    value: &T,
    read: impl Fn(S::Reader<'_>) -> Result<T, WireError>,
    write: impl Fn(&T, S::Builder<'_>),
) {
    let bytes = written::<S>(|to| write(value, to));
    assert_eq!(read_back::<S, T>(&bytes, read).expect("readable"), *value);
}

/// Reads the bytes as every message there is.
fn read_as_anything(bytes: &[u8]) {
    let _ = read_back::<wire::client_info::Owned, _>(bytes, peer::read_client_info);
    let _ = read_back::<wire::list_result::Owned, _>(bytes, peer::read_list_result);
    let _ = read_back::<wire::open_result::Owned, _>(bytes, peer::read_open_result);
    let _ = read_back::<wire::listing::Owned, _>(bytes, peer::read_listing);
    let _ = read_back::<wire::update::Owned, _>(bytes, peer::read_update);
    let _ = read_back::<wire::change::Owned, _>(bytes, peer::read_change);
    let _ = read_back::<wire::job::Owned, _>(bytes, peer::read_job);
    let _ = read_back::<wire::job_result::Owned, _>(bytes, peer::read_job_result);
    read_frames::<ToDaemon>(bytes);
    read_frames::<ToCaller>(bytes);
}

fn read_frames<F: Frame>(bytes: &[u8]) {
    let mut decoder = Decoder::<F>::new();
    decoder.feed(bytes);
    while let Ok(Some(_)) = decoder.next() {}
}

/// Changes some bytes and cuts or lengthens the whole.
fn mutilate(bytes: &mut Vec<u8>, edits: &[(prop::sample::Index, u8)], len: Option<prop::sample::Index>) {
    for (at, byte) in edits {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    if let Some(len) = len {
        bytes.resize(len.index(bytes.len() + 16), 0xff);
    }
}

fn edits() -> impl Strategy<Value = (Vec<(prop::sample::Index, u8)>, Option<prop::sample::Index>)> {
    let byte = prop_oneof![any::<u8>(), Just(0), Just(0xff), 0..8_u8];
    (
        prop::collection::vec((any::<prop::sample::Index>(), byte), 1..8),
        prop::option::weighted(0.2, any::<prop::sample::Index>()),
    )
}

/// All frames of a stream that arrives in pieces of this length.
fn in_pieces<F: Frame>(stream: &[u8], piece: usize) -> Vec<F> {
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    for piece in stream.chunks(piece) {
        decoder.feed(piece);
        while let Some(frame) = decoder.next().expect("whole frames") {
            frames.push(frame);
        }
    }
    assert!(!decoder.is_torn());
    frames
}

proptest! {
    #[test]
    fn files_come_back(listed in strategies::listed(), opened in strategies::opened(), attr in strategies::attr()) {
        round_trip::<wire::list_result::Owned, _>(&listed, peer::read_list_result, peer::write_list_result);
        round_trip::<wire::open_result::Owned, _>(&opened, peer::read_open_result, peer::write_open_result);
        round_trip::<wire::attr::Owned, _>(&attr, peer::read_attr, peer::write_attr);
    }

    #[test]
    fn updates_come_back(updates in strategies::updates()) {
        round_trip::<wire::session::run_params::Owned, Vec<Update>>(
            &updates,
            |from| peer::read_updates(from.get_updates()?),
            |updates, to| peer::write_updates(updates, to.init_updates(updates.len() as u32)),
        );
    }

    #[test]
    fn expectations_come_back(expected in strategies::expected()) {
        round_trip::<wire::expected::Owned, _>(&expected, peer::read_expected, peer::write_expected);
    }

    #[test]
    fn jobs_come_back(job in strategies::job(), result in strategies::result()) {
        round_trip::<wire::job::Owned, _>(&job, peer::read_job, peer::write_job);
        round_trip::<wire::job_result::Owned, _>(&result, peer::read_job_result, peer::write_job_result);
    }

    #[test]
    fn frames_come_back(
        said in prop::collection::vec(strategies::to_daemon(), 1..5),
        heard in prop::collection::vec(strategies::to_caller(), 1..5),
        piece in 1..200_usize,
    ) {
        let stream: Vec<u8> = said.iter().flat_map(encode).collect();
        prop_assert_eq!(in_pieces::<ToDaemon>(&stream, piece), said);
        let stream: Vec<u8> = heard.iter().flat_map(encode).collect();
        prop_assert_eq!(in_pieces::<ToCaller>(&stream, piece), heard);
    }

    #[test]
    fn mutilated_messages_do_no_harm(
        job in strategies::job(),
        result in strategies::result(),
        listed in strategies::listed(),
        said in strategies::to_daemon(),
        (edits, len) in edits(),
    ) {
        let all = [
            written::<wire::job::Owned>(|to| peer::write_job(&job, to)),
            written::<wire::job_result::Owned>(|to| peer::write_job_result(&result, to)),
            written::<wire::list_result::Owned>(|to| peer::write_list_result(&listed, to)),
            encode(&said),
        ];
        for mut bytes in all {
            mutilate(&mut bytes, &edits, len);
            read_as_anything(&bytes);
        }
    }

    #[test]
    fn invented_messages_do_no_harm(words in prop::collection::vec(any::<u64>(), 0..40), framed in any::<bool>()) {
        let mut bytes = Vec::new();
        if framed {
            bytes.extend(((words.len() as u64) << 32).to_le_bytes());
        }
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        read_as_anything(&bytes);
    }
}
