//! f16 to f32, many at a time.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// Writes every number as f32, exactly.
///
/// # Panics
/// If the lengths differ.
pub fn widen(numbers: &[f16], out: &mut [f32]) {
    assert_eq!(numbers.len(), out.len(), "as many f32 as f16");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx") && is_x86_feature_detected!("f16c") {
        // SAFETY: the machine has AVX and F16C.
        #[allow(unsafe_code)]
        return unsafe { widen_with_f16c(numbers, out) };
    }
    numbers.convert_to_f32_slice(out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx,f16c")]
#[allow(unsafe_code)]
fn widen_with_f16c(numbers: &[f16], out: &mut [f32]) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm256_cvtph_ps, _mm256_storeu_ps};
    let (whole, rest) = numbers.as_chunks::<8>();
    let (places, rest_places) = out.as_chunks_mut::<8>();
    for (numbers, out) in whole.iter().zip(places) {
        // SAFETY: both hold eight numbers.
        unsafe {
            let eight = _mm256_cvtph_ps(_mm_loadu_si128(numbers.as_ptr().cast()));
            _mm256_storeu_ps(out.as_mut_ptr(), eight);
        }
    }
    rest.convert_to_f32_slice(rest_places);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_has_its_value() {
        // An odd number, so that some are left over.
        let all: Vec<f16> = (0..=u16::MAX).skip(1).map(f16::from_bits).collect();
        let mut out = vec![0.0; all.len()];
        widen(&all, &mut out);
        for (half, out) in all.iter().zip(out) {
            let expected = half.to_f32();
            assert!(out.to_bits() == expected.to_bits() || (out.is_nan() && expected.is_nan()));
        }
    }
}
