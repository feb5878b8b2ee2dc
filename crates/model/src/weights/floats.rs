//! Reads stored floats (f32, f16, bf16, little-endian) as f32.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// Reads f32.
pub(super) fn read_f32(bytes: &[u8], out: &mut [f32]) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *out = f32::from_le_bytes(*bytes);
    }
}

/// Reads bf16.
pub(super) fn read_bf16(bytes: &[u8], out: &mut [f32]) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *out = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
    }
}

/// Reads f16, some at a time, so that the conversion runs in vectors.
pub(super) fn read_f16(bytes: &[u8], out: &mut [f32]) {
    const SOME: usize = 64;
    let mut values = [f16::ZERO; SOME];
    for (out, bytes) in out.chunks_mut(SOME).zip(bytes.chunks(2 * SOME)) {
        let values = &mut values[..out.len()];
        for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *value = f16::from_le_bytes(*bytes);
        }
        values.convert_to_f32_slice(out);
    }
}
