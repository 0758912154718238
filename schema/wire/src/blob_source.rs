//! A question for a piece of a blob, and its answer. Knows nothing of where blobs are.

use crate::checked;
use crate::peer;
use crate::peer_capnp::blob_source;
use capnp::Error;
use termite_types::{BLOB_PIECE, BlobHash, is_zeros};

/// The blob, the first byte and the number of bytes that are asked for, at most [`BLOB_PIECE`].
pub(crate) fn blob_range(params: &blob_source::ReadParams) -> Result<(BlobHash, u64, u32), Error> {
    let params = params.get()?;
    let length = checked::within("bytes of a piece", params.get_length(), 0, BLOB_PIECE)?;
    Ok((peer::read_hash(params.get_hash()?)?, params.get_offset(), length))
}

/// Answers with the piece.
pub(crate) fn answer_blob(
    piece: Result<Vec<u8>, impl std::error::Error>,
    mut results: blob_source::ReadResults,
) -> Result<(), Error> {
    let piece = piece.map_err(failed)?;
    match u32::try_from(piece.len()) {
        Ok(zeros) if is_zeros(&piece) => results.get().set_zeros(zeros),
        _ => results.get().set_bytes(&piece),
    }
    Ok(())
}

/// What the other side is told of a service's error.
pub(crate) fn failed(error: impl std::error::Error) -> Error {
    Error::failed(error.to_string())
}
