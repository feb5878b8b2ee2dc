//! A safetensors file, mapped into memory rather than read.

use std::path::{Path, PathBuf};

use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};

use super::floats::{read_bf16, read_f16, read_f32};
use super::{MappedFile, WeightSource};
use crate::LoadError;

/// A mapped safetensors file whose header is checked.
///
/// The file must not change while it is mapped. Replace weights by renaming a new file over
/// them, never in place.
#[derive(Debug)]
pub(crate) struct WeightFile {
    path: PathBuf,
    map: MappedFile,
    header: Metadata,
    /// Offset of the tensors' bytes.
    start: usize,
}

impl WeightFile {
    /// Maps a file and checks its header: sizes, offsets and types.
    pub(crate) fn open(path: &Path, expected: &'static str) -> Result<Self, LoadError> {
        let map = MappedFile::open(path).map_err(|source| LoadError::Read {
            path: path.to_owned(),
            expected,
            source,
        })?;
        let (length, header) =
            SafeTensors::read_metadata(map.bytes()).map_err(|error| LoadError::BadFile {
                path: path.to_owned(),
                bytes: map.bytes().len(),
                message: error.to_string(),
            })?;
        // The length of the header is itself eight bytes.
        Ok(WeightFile { path: path.to_owned(), start: length + 8, map, header })
    }

    /// The value of a key of the file's metadata.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref().and_then(|map| map.get(key)).map(String::as_str)
    }

    /// Names of all tensors.
    pub(crate) fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// Shape of a tensor.
    pub(crate) fn shape(&self, tensor: &str) -> Option<&[usize]> {
        Some(&self.header.info(tensor)?.shape)
    }

    fn missing(&self, tensor: &str, shape: &[usize]) -> LoadError {
        LoadError::MissingTensor {
            path: self.path.clone(),
            tensor: tensor.to_owned(),
            shape: shape.to_vec(),
        }
    }

    fn bytes(&self, info: &TensorInfo) -> &[u8] {
        let (from, to) = info.data_offsets;
        &self.map.bytes()[self.start + from..self.start + to]
    }
}

impl WeightSource for WeightFile {
    fn check(&self, tensor: &str, shape: &[usize]) -> Result<(), LoadError> {
        let info = self.header.info(tensor).ok_or_else(|| self.missing(tensor, shape))?;
        if info.shape != shape {
            return Err(LoadError::Shape {
                path: self.path.clone(),
                tensor: tensor.to_owned(),
                found: info.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        if size(info.dtype).is_none() {
            return Err(LoadError::Dtype {
                path: self.path.clone(),
                tensor: tensor.to_owned(),
                found: info.dtype.to_string(),
                expected: "F16, BF16 or F32",
            });
        }
        Ok(())
    }

    fn rows(
        &self,
        tensor: &str,
        row: usize,
        width: usize,
        out: &mut [f32],
    ) -> Result<(), LoadError> {
        let missing = || self.missing(tensor, &[row + out.len() / width.max(1), width]);
        let info = self.header.info(tensor).ok_or_else(missing)?;
        let size = size(info.dtype).ok_or_else(missing)?;
        let bytes = self.bytes(info).get(row * width * size..).ok_or_else(missing)?;
        let bytes = bytes.get(..out.len() * size).ok_or_else(missing)?;
        match info.dtype {
            Dtype::F16 => read_f16(bytes, out),
            Dtype::BF16 => read_bf16(bytes, out),
            _ => read_f32(bytes, out),
        }
        self.map.done(bytes.len());
        Ok(())
    }

    fn path(&self, _: &str) -> &Path {
        &self.path
    }

    fn give_back(&self) {
        self.map.give_back();
    }
}

/// Bytes of an element, for supported types.
fn size(dtype: Dtype) -> Option<usize> {
    match dtype {
        Dtype::F16 | Dtype::BF16 => Some(2),
        Dtype::F32 => Some(4),
        _ => None,
    }
}
