//! Cuts a stream of bytes into frames. Knows the stream framing of Cap'n Proto, not what
//! a frame holds.
//!
//! <https://capnproto.org/encoding.html#serialization-over-a-stream>: number of segments
//! less one, the length of each in words, padding to a word, the segments.

use super::{Frame, FrameError};
use crate::WireError;
use capnp::message::ReaderOptions;
use std::marker::PhantomData;

/// Longest frame in bytes.
pub const FRAME_MAX: usize = 64 << 20;
/// Most segments of a message; `capnp` accepts no more.
const SEGMENTS_MAX: u64 = 511;

/// Takes bytes as they come and gives frames as they are whole. After an error it gives
/// nothing but that error's like: the place where the next frame begins is unknown.
#[derive(Debug)]
pub struct Decoder<F> {
    bytes: Vec<u8>,
    /// Where the next frame begins in `bytes`.
    at: usize,
    is_first: bool,
    frame: PhantomData<F>,
}

impl<F: Frame> Decoder<F> {
    /// One at the beginning of a conversation.
    pub fn new() -> Self {
        Self {
            bytes: Vec::new(),
            at: 0,
            is_first: true,
            frame: PhantomData,
        }
    }

    /// Adds bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame; `None`: feed more. Never holds more than one frame's
    /// length beyond what was fed at once.
    #[expect(
        clippy::should_implement_trait,
        reason = "an error does not end an iteration, it spoils it"
    )]
    pub fn next(&mut self) -> Result<Option<F>, FrameError> {
        let rest = &self.bytes[self.at..];
        let Some(len) = frame_len(rest)? else { return Ok(None) };
        let Some(mut frame) = rest.get(..len) else {
            return Ok(None);
        };
        let message = capnp::serialize::read_message(&mut frame, options()).map_err(WireError::from)?;
        let frame = F::read(&message, self.is_first)?;
        self.is_first = false;
        self.at += len;
        Ok(Some(frame))
    }

    /// Whether bytes of an unfinished frame are held: the other side left in the middle.
    pub fn is_torn(&self) -> bool {
        self.at < self.bytes.len()
    }
}

impl<F: Frame> Default for Decoder<F> {
    fn default() -> Self {
        Self::new()
    }
}

/// Length of the frame that begins here, with its header; `None`: not known yet.
fn frame_len(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let number = |at: usize| {
        let bytes = bytes.get(at * 4..at * 4 + 4)?;
        Some(u64::from(u32::from_le_bytes(bytes.try_into().ok()?)))
    };
    let Some(segments) = number(0).map(|less_one| less_one + 1) else {
        return Ok(None);
    };
    if segments > SEGMENTS_MAX {
        return Err(FrameError::TooLong(segments * 8));
    }
    let mut len = (1 + segments).next_multiple_of(2) * 4;
    for segment in 1..=segments as usize {
        let Some(words) = number(segment) else { return Ok(None) };
        len += words * 8;
    }
    if len > FRAME_MAX as u64 {
        return Err(FrameError::TooLong(len));
    }
    Ok(Some(len as usize))
}

/// Twice the longest frame: each part is read once, a few are asked for twice.
fn options() -> ReaderOptions {
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(2 * FRAME_MAX / 8));
    options
}
