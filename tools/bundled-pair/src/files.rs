//! Atomic file writes, and the decoder's weights as safetensors under Hugging Face names.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::config::ModelConfig;
use crate::error::PairError;
use crate::model::{NamedParameter, Qwen2};

/// Number format of stored weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    F32,
    F16,
}

/// A path in the same directory that no other process writes to.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

/// Writes a temporary file in the same directory, then renames it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), PairError> {
    let sibling = temporary(path);
    fs::write(&sibling, bytes).map_err(PairError::io(&sibling))?;
    fs::rename(&sibling, path).map_err(PairError::io(path))
}

/// Writes a value as indented JSON.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), PairError> {
    let mut text = serde_json::to_string_pretty(value).map_err(PairError::format(path))?;
    text.push('\n');
    write(path, text.as_bytes())
}

/// Reads a JSON file.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, PairError> {
    let text = fs::read_to_string(path).map_err(PairError::io(path))?;
    serde_json::from_str(&text).map_err(PairError::format(path))
}

/// Writes parameters as one safetensors file.
pub(crate) fn write_weights(
    path: &Path,
    parameters: &[NamedParameter],
    precision: Precision,
) -> Result<(), PairError> {
    let encoded: Vec<Vec<u8>> = parameters
        .iter()
        .map(|parameter| match precision {
            Precision::F32 => parameter.values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Precision::F16 => {
                parameter.values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()
            }
        })
        .collect();
    let dtype = match precision {
        Precision::F32 => Dtype::F32,
        Precision::F16 => Dtype::F16,
    };
    let views = parameters
        .iter()
        .zip(&encoded)
        .map(|(parameter, bytes)| {
            let view = TensorView::new(dtype, parameter.shape.clone(), bytes)?;
            Ok((parameter.name.as_str(), view))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(PairError::format(path))?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(PairError::format(path))?;
    write(path, &bytes)
}

/// Reads a decoder from a safetensors file in f16 or f32.
pub(crate) fn read_weights(
    path: &Path,
    config: &ModelConfig,
    device: &Device,
) -> Result<Qwen2, PairError> {
    let bytes = fs::read(path).map_err(PairError::io(path))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(PairError::format(path))?;
    Qwen2::from_values(config, device, &mut |name, shape| {
        let wrong = |reason: String| PairError::Tensor {
            name: name.to_owned(),
            reason: format!("{reason} in {}", path.display()),
        };
        let tensor = tensors.tensor(name).map_err(|error| wrong(error.to_string()))?;
        if tensor.shape() != shape {
            let found = tensor.shape();
            return Err(wrong(format!("shape {found:?}, but config.json implies {shape:?}")));
        }
        let data = tensor.data();
        match tensor.dtype() {
            Dtype::F32 => Ok(data.as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)).collect()),
            Dtype::F16 => {
                Ok(data.as_chunks().0.iter().map(|&x| f16::from_le_bytes(x).to_f32()).collect())
            }
            other => Err(wrong(format!("type {other:?}, expected F16 or F32"))),
        }
    })
}
