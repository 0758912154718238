//! A stream of bytes in blocks, each as it is or compressed by zstd (RFC 8878), whichever
//! gets it over the link sooner. The writer finds out how fast the link and its compressor
//! are; nothing is configured, and a fast link never meets the compressor.
//!
//! A block is four bytes, little-endian: the length of what follows, with the top bit set
//! if that is compressed. All compressed blocks of one direction are one zstd frame, flushed
//! after each block. Knows nothing of messages.

mod block;
mod rate;

use block::{BLOCK, Packer, Unpacker};
use rate::RateEstimator;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

/// A stream whose other end is one of these too.
pub(crate) struct CompressedStream<S> {
    stream: S,
    writer: Writer,
    reader: Reader,
}

#[derive(Default)]
struct Writer {
    /// Not yet in a block.
    plain: Vec<u8>,
    /// Blocks on their way, of which `sent` bytes have left.
    packed: Vec<u8>,
    sent: usize,
    packer: Packer,
    rate: RateEstimator,
}

#[derive(Default)]
struct Reader {
    /// As received, without what was unpacked.
    packed: Vec<u8>,
    unpacker: Unpacker,
    /// Unpacked, of which `taken` bytes were read.
    plain: Vec<u8>,
    taken: usize,
}

impl<S> CompressedStream<S> {
    /// Nothing has been said yet.
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            writer: Writer::default(),
            reader: Reader::default(),
        }
    }
}

impl Writer {
    /// Makes a block of what is waiting. Who has not seen enough of the link does as the
    /// other side does.
    fn pack(&mut self, other_compresses: bool) -> io::Result<()> {
        if self.plain.is_empty() {
            return Ok(());
        }
        if self.packed.is_empty() {
            self.rate.begins();
        }
        let own = self.rate.link_is_slower_than(self.packer.speed());
        let compresses = own.unwrap_or(other_compresses);
        self.packer.pack(&self.plain, compresses, &mut self.packed)?;
        self.plain.clear();
        Ok(())
    }

    /// Sends all blocks.
    fn poll_send<S: AsyncWrite + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.packed.len() {
            let sent = ready!(Pin::new(&mut *stream).poll_write(cx, &self.packed[self.sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        if self.sent > 0 {
            self.rate.ends(self.sent);
            self.packed.clear();
            self.sent = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CompressedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, writer, reader } = &mut *self;
        if writer.plain.len() >= BLOCK {
            ready!(writer.poll_send(stream, cx))?;
            writer.pack(reader.unpacker.sees_compressed())?;
        }
        let taken = bytes.len().min(BLOCK - writer.plain.len());
        writer.plain.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, writer, reader } = &mut *self;
        ready!(writer.poll_send(stream, cx))?;
        writer.pack(reader.unpacker.sees_compressed())?;
        ready!(writer.poll_send(stream, cx))?;
        Pin::new(stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CompressedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, reader, .. } = &mut *self;
        while reader.taken == reader.plain.len() {
            reader.plain.clear();
            reader.taken = 0;
            if reader.unpacker.unpack(&mut reader.packed, &mut reader.plain)? {
                continue;
            }
            reader.packed.reserve(BLOCK);
            let received = ready!(poll_read_buf(Pin::new(&mut *stream), cx, &mut reader.packed))?;
            if received == 0 {
                let is_whole = reader.packed.is_empty();
                let ended = is_whole.then_some(()).ok_or(io::ErrorKind::UnexpectedEof.into());
                return Poll::Ready(ended);
            }
        }
        let rest = &reader.plain[reader.taken..];
        let taken = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..taken]);
        reader.taken += taken;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
