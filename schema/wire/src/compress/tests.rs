//! What goes in comes out, whole and in order, over fast links and slow ones; and nothing
//! that a peer sends does harm.

use super::block::{BLOCK, Packer, Unpacker};
use super::*;
use proptest::prelude::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

fn packed(pieces: &[(Vec<u8>, bool)]) -> Vec<u8> {
    let (mut packer, mut all) = (Packer::default(), Vec::new());
    for (bytes, compresses) in pieces {
        packer.pack(bytes, *compresses, &mut all).unwrap();
    }
    all
}

fn unpacked(received: &[u8], piece: usize) -> io::Result<Vec<u8>> {
    let (mut unpacker, mut waiting, mut plain) = (Unpacker::default(), Vec::new(), Vec::new());
    for piece in received.chunks(piece) {
        waiting.extend_from_slice(piece);
        while unpacker.unpack(&mut waiting, &mut plain)? {}
    }
    Ok(plain)
}

fn block() -> impl Strategy<Value = Vec<u8>> {
    let random = prop::collection::vec(any::<u8>(), 1..3000);
    let dull = (any::<u8>(), 1..=BLOCK).prop_map(|(byte, count)| vec![byte; count]);
    prop_oneof![random, dull]
}

proptest! {
    #[test]
    fn blocks_come_back(pieces in prop::collection::vec((block(), any::<bool>()), 0..8), piece in 1..5000_usize) {
        let plain: Vec<u8> = pieces.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        prop_assert_eq!(unpacked(&packed(&pieces), piece).unwrap(), plain);
    }

    #[test]
    fn mutilated_blocks_do_no_harm(
        pieces in prop::collection::vec((block(), any::<bool>()), 1..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut all = packed(&pieces);
        let at = at.index(all.len());
        all[at] = byte;
        // An error or other bytes, but no more of them than blocks hold.
        let most = all.len().div_ceil(5) * BLOCK;
        prop_assert!(unpacked(&all, all.len()).map_or(0, |plain| plain.len()) <= most);
    }
}

#[test]
fn a_block_that_grows_beyond_its_bounds_is_refused() {
    let bomb = zstd::bulk::compress(&vec![0; 8 << 20], 1).unwrap();
    let mut received = (bomb.len() as u32 | 1 << 31).to_le_bytes().to_vec();
    received.extend_from_slice(&bomb);
    let error = unpacked(&received, received.len()).unwrap_err();
    assert!(error.to_string().contains("too many bytes"), "{error}");
    for header in [0_u32, 1 << 31, 1 << 30, u32::MAX] {
        assert!(unpacked(&header.to_le_bytes(), 4).is_err(), "{header:x}");
    }
}

#[test]
fn what_is_compressed_already_is_left_alone_for_a_while() {
    let random: Vec<u8> = (0..BLOCK as u64)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    let noise = zstd::bulk::compress(&random, 19).unwrap();
    let pieces = [(noise.clone(), true), (noise.clone(), true)];
    let all = packed(&pieces);
    let second = all.len() - noise.len() - 4;
    assert_eq!(all[second..second + 4], (noise.len() as u32).to_le_bytes(), "as it is");
    assert_eq!(unpacked(&all, 100).unwrap(), [noise.clone(), noise].concat());
}

/// Sends `bytes`, in messages, over a link that takes `chunk` bytes each millisecond, or at
/// once; returns how many bytes it took.
fn through(bytes: &[u8], chunk: Option<usize>) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (near, mut link) = tokio::io::duplex(16 << 10);
        let (mut onward, far) = tokio::io::duplex(16 << 10);
        let carry = async {
            let (mut piece, mut count) = (vec![0; chunk.unwrap_or(16 << 10)], 0);
            loop {
                let read = link.read(&mut piece).await.unwrap();
                if read == 0 {
                    return count;
                }
                count += read;
                onward.write_all(&piece[..read]).await.unwrap();
                if chunk.is_some() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        };
        let send = async {
            let mut near = CompressedStream::new(near);
            for message in bytes.chunks(100_000) {
                near.write_all(message).await.unwrap();
                near.flush().await.unwrap();
            }
            near.shutdown().await.unwrap();
        };
        let receive = async {
            let mut far: CompressedStream<DuplexStream> = CompressedStream::new(far);
            let mut all = vec![0; bytes.len()];
            far.read_exact(&mut all).await.unwrap();
            all
        };
        let (count, (), received) = futures::join!(carry, send, receive);
        assert!(received == bytes);
        count
    })
}

#[test]
fn a_slow_link_gets_fewer_bytes() {
    let text: Vec<u8> = (0..700_000_u32).flat_map(|n| format!("{n} ").into_bytes()).collect();
    let slow = through(&text, Some(8 << 10));
    assert!(slow < text.len() * 3 / 4, "{slow} of {}", text.len());
    // How many a fast one gets depends on who else uses the processor.
    through(&text, None);
}
