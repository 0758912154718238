//! Blocks of bytes, packed and unpacked. Knows their form; knows no stream.

use std::io;
use std::time::Instant;
use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};

/// Most bytes in a block, before it is packed.
pub(super) const BLOCK: usize = 64 << 10;
/// Set in the length of a compressed block.
const COMPRESSED: u32 = 1 << 31;
/// The fastest of zstd's ordinary levels: what counts is to be faster than the link.
const LEVEL: i32 = 1;
/// How far back a block may refer, as a power of two: 1 MiB.
const WINDOW: u32 = 20;
/// Blocks that are sent as they are after one that did not get smaller.
const REST: u32 = 16;
/// Of a block's size; above that it did not get smaller.
const SMALLER: f64 = 0.95;
/// Bytes a second that a compressor is believed to do before it was tried.
const SPEED: f64 = 200e6;

/// Makes blocks.
#[derive(Default)]
pub(super) struct Packer {
    encoder: Option<Encoder<'static>>,
    /// Bytes a second, of late.
    speed: Option<f64>,
    /// So many blocks are not tried: what came before them was compressed already.
    rests: u32,
}

impl Packer {
    /// How fast it compresses, bytes a second.
    pub(super) fn speed(&self) -> f64 {
        self.speed.unwrap_or(SPEED)
    }

    /// Appends a block with these bytes, not more than [`BLOCK`]; compressed if that is
    /// wanted and they are not as good as compressed.
    pub(super) fn pack(&mut self, bytes: &[u8], compresses: bool, into: &mut Vec<u8>) -> io::Result<()> {
        if !compresses || self.rests > 0 {
            self.rests = self.rests.saturating_sub(1);
            into.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            into.extend_from_slice(bytes);
            return Ok(());
        }
        let begun = Instant::now();
        let at = into.len();
        into.extend_from_slice(&[0; 4]);
        self.compress(bytes, into)?;
        let length = into.len() - at - 4;
        into[at..at + 4].copy_from_slice(&(length as u32 | COMPRESSED).to_le_bytes());
        if length as f64 > bytes.len() as f64 * SMALLER {
            self.rests = REST;
        }
        let speed = bytes.len() as f64 / begun.elapsed().as_secs_f64().max(1e-9);
        self.speed = Some(self.speed.map_or(speed, |before| before * 0.9 + speed * 0.1));
        Ok(())
    }

    fn compress(&mut self, bytes: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => {
                let mut encoder = Encoder::new(LEVEL)?;
                encoder.set_parameter(CParameter::WindowLog(WINDOW))?;
                none.insert(encoder)
            }
        };
        let mut room = vec![0; zstd::zstd_safe::compress_bound(bytes.len())];
        let mut input = InBuffer::around(bytes);
        loop {
            let mut output = OutBuffer::around(&mut room[..]);
            let left = if input.pos() < bytes.len() {
                encoder.run(&mut input, &mut output)?;
                1
            } else {
                encoder.flush(&mut output)?
            };
            into.extend_from_slice(output.as_slice());
            if left == 0 {
                return Ok(());
            }
        }
    }
}

/// Takes blocks apart.
#[derive(Default)]
pub(super) struct Unpacker {
    decoder: Option<Decoder<'static>>,
    /// Blocks that were not compressed, since the last one that was; `None`: none was.
    plain_blocks: Option<u32>,
}

impl Unpacker {
    /// Whether who sends the blocks compresses what can be compressed.
    pub(super) fn sees_compressed(&self) -> bool {
        self.plain_blocks.is_some_and(|blocks| blocks <= 2 * REST)
    }

    /// Takes the first block of what was received, if all of it is there, and appends its
    /// bytes to `plain`.
    pub(super) fn unpack(&mut self, received: &mut Vec<u8>, plain: &mut Vec<u8>) -> io::Result<bool> {
        let Some((header, rest)) = received.split_first_chunk::<4>() else {
            return Ok(false);
        };
        let header = u32::from_le_bytes(*header);
        let length = (header & !COMPRESSED) as usize;
        if length == 0 || length > zstd::zstd_safe::compress_bound(BLOCK) + 1024 {
            return Err(bad(format!("a block of {length} bytes")));
        }
        let Some(block) = rest.get(..length) else {
            return Ok(false);
        };
        if header & COMPRESSED == 0 {
            self.plain_blocks = self.plain_blocks.map(|blocks| blocks.saturating_add(1));
            plain.extend_from_slice(block);
        } else {
            self.plain_blocks = Some(0);
            let room = plain.len();
            self.decompress(block, plain)?;
            if plain.len() == room {
                return Err(bad("a block of nothing".to_owned()));
            }
        }
        received.drain(..4 + length);
        Ok(true)
    }

    /// Appends to `plain` what a compressed block holds, which is at most [`BLOCK`] bytes.
    fn decompress(&mut self, block: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => {
                let mut decoder = Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(WINDOW))?;
                none.insert(decoder)
            }
        };
        // One byte more than there may be shows that there is too much.
        let mut room = vec![0; BLOCK + 1];
        let mut output = OutBuffer::around(&mut room[..]);
        let mut input = InBuffer::around(block);
        while input.pos() < block.len() && output.pos() <= BLOCK {
            let before = (input.pos(), output.pos());
            decoder.run(&mut input, &mut output)?;
            if before == (input.pos(), output.pos()) {
                return Err(bad("a block that does not end".to_owned()));
            }
        }
        // What the decoder still holds of this block.
        decoder.run(&mut InBuffer::around(&[]), &mut output)?;
        if output.pos() > BLOCK {
            return Err(bad("a block of too many bytes".to_owned()));
        }
        plain.extend_from_slice(output.as_slice());
        Ok(())
    }
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} on the connection"))
}
