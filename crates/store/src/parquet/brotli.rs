//! Unpacks Brotli into a buffer of known size.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

/// Fills `out` from a whole stream. Streams with a window above 16 MiB, which are not Brotli
/// proper, are refused: a few bytes could ask for a window of 1 GiB.
pub(super) fn unpack(packed: &[u8], out: &mut [u8]) -> Result<(), &'static str> {
    let alloc = StandardAlloc::default;
    let mut state = BrotliState::new_strict(alloc(), alloc(), alloc());
    let (mut left, mut read) = (packed.len(), 0);
    let (mut room, mut written, mut total) = (out.len(), 0, 0);
    let result = BrotliDecompressStream(
        &mut left,
        &mut read,
        packed,
        &mut room,
        &mut written,
        out,
        &mut total,
        &mut state,
    );
    match result {
        BrotliResult::ResultSuccess if written == out.len() => Ok(()),
        BrotliResult::ResultSuccess => Err("it is shorter than its header says"),
        BrotliResult::NeedsMoreOutput => Err("it is longer than its header says"),
        BrotliResult::NeedsMoreInput => Err("it ends too early"),
        BrotliResult::ResultFailure => Err("it is not Brotli"),
    }
}
