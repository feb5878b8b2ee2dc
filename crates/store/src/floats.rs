//! The numbers of a tensor in a safetensors file.

use half::{bf16, f16};
use safetensors::tensor::Dtype;

/// A tensor's finite values.
pub(crate) fn floats(name: &str, dtype: Dtype, data: &[u8]) -> Result<Vec<f32>, String> {
    let (pairs, fours) = (data.as_chunks::<2>().0, data.as_chunks::<4>().0);
    let values: Vec<f32> = match dtype {
        Dtype::F32 => fours.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        Dtype::F16 => pairs.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::BF16 => pairs.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
        other => return Err(format!("{name} is {other:?}; expected F32, F16 or BF16")),
    };
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        return Err(format!("{name}[{at}] is {}; expected a finite number", values[at]));
    }
    Ok(values)
}
