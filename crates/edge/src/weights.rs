//! Safetensors files: read whole, hashed, and turned into checked f32 tensors.

use std::path::{Path, PathBuf};

use candle_core::safetensors::Load;
use candle_core::{DType, Device};
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use crate::EdgeError;

/// The bytes of a safetensors file and where they came from.
#[derive(Debug)]
pub(crate) struct WeightFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl WeightFile {
    /// Reads a file into memory.
    pub(crate) fn read(path: &Path, expected: &'static str) -> Result<Self, EdgeError> {
        let bytes = std::fs::read(path).map_err(|source| EdgeError::Read {
            path: path.to_owned(),
            expected,
            source,
        })?;
        Ok(WeightFile { path: path.to_owned(), bytes })
    }

    /// SHA-256 of the file, hexadecimal.
    pub(crate) fn hash(&self) -> String {
        hex(&Sha256::digest(&self.bytes))
    }

    /// The value of a key of the file's metadata.
    pub(crate) fn metadata(&self, key: &str) -> Result<Option<String>, EdgeError> {
        let (_, metadata) =
            SafeTensors::read_metadata(&self.bytes).map_err(|error| self.bad_file(&error))?;
        Ok(metadata.metadata().as_ref().and_then(|map| map.get(key).cloned()))
    }

    /// The tensors.
    pub(crate) fn tensors(&self) -> Result<Weights<'_>, EdgeError> {
        let tensors =
            SafeTensors::deserialize(&self.bytes).map_err(|error| self.bad_file(&error))?;
        Ok(Weights { path: &self.path, tensors })
    }

    fn bad_file(&self, error: &safetensors::SafeTensorError) -> EdgeError {
        EdgeError::BadFile {
            path: self.path.clone(),
            bytes: self.bytes.len(),
            message: error.to_string(),
        }
    }
}

/// The tensors of a file.
#[derive(Debug)]
pub(crate) struct Weights<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
}

impl Weights<'_> {
    /// Names of all tensors.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.tensors.names()
    }

    /// A tensor of exactly this shape, flattened in row-major order, as f32.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, EdgeError> {
        let path = || self.path.to_owned();
        let view = self.tensors.tensor(name).map_err(|_| EdgeError::MissingTensor {
            path: path(),
            tensor: name.to_owned(),
            shape: shape.to_vec(),
        })?;
        if view.shape() != shape {
            return Err(EdgeError::Shape {
                path: path(),
                tensor: name.to_owned(),
                found: view.shape().to_vec(),
                expected: shape.to_vec(),
            });
        }
        let unread = |found: String| EdgeError::Dtype {
            path: path(),
            tensor: name.to_owned(),
            found,
            expected: "F16, BF16 or F32",
        };
        if !matches!(view.dtype(), Dtype::F16 | Dtype::BF16 | Dtype::F32) {
            return Err(unread(format!("{:?}", view.dtype())));
        }
        let values: Vec<f32> = view
            .load(&Device::Cpu)
            .and_then(|tensor| tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1())
            .map_err(|error| unread(error.to_string()))?;
        match values.iter().position(|v| !v.is_finite()) {
            None => Ok(values),
            Some(index) => Err(EdgeError::NotFinite {
                path: path(),
                tensor: name.to_owned(),
                index,
                value: values[index],
            }),
        }
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
