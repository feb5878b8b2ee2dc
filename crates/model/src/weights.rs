//! Where tensors come from: the trait a decoder takes its weights through, and
//! safetensors files, mapped into memory rather than read.

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};
use tokenroute_kernels::Format;

use crate::EdgeError;

/// Tensors by their Hugging Face names, wherever and however they are stored.
/// What is read are rows as f32, so that a reader never holds more than it asks for.
pub(crate) trait WeightSource: std::fmt::Debug + Send + Sync {
    /// Checks that a tensor is there with exactly this shape and a type that is read.
    fn check(&self, tensor: &str, shape: &[usize]) -> Result<(), EdgeError>;

    /// Fills `out` with consecutive elements of a tensor that was checked, in
    /// row-major order, from the start of row `row`; `out` is whole rows of
    /// `width`, the tensor's last dimension. Values may be NaN or infinite.
    fn rows(
        &self,
        tensor: &str,
        row: usize,
        width: usize,
        out: &mut [f32],
    ) -> Result<(), EdgeError>;

    /// The file a tensor is in, for messages.
    fn path(&self, tensor: &str) -> &Path;

    /// The format that holds what a tensor stored in blocks says; `None` if it is
    /// stored as floats.
    fn format(&self, _tensor: &str) -> Option<Format> {
        None
    }

    /// The blocks of row `row` of a tensor that was checked, if it is stored in blocks
    /// whose integers the kernels hold, so that they are packed as they are.
    fn blocks(&self, _tensor: &str, _row: usize) -> Option<(Format, Cow<'_, [u8]>)> {
        None
    }

    /// [`WeightSource::rows`], refusing NaN and infinity.
    fn finite_rows(
        &self,
        tensor: &str,
        row: usize,
        width: usize,
        out: &mut [f32],
    ) -> Result<(), EdgeError> {
        self.rows(tensor, row, width, out)?;
        if out.iter().fold(true, |sound, x| sound & x.is_finite()) {
            return Ok(());
        }
        let odd = out.iter().position(|x| !x.is_finite()).unwrap_or(0);
        Err(EdgeError::NotFinite {
            path: self.path(tensor).to_owned(),
            tensor: tensor.to_owned(),
            index: row * width + odd,
            value: out[odd],
        })
    }

    /// A whole tensor of exactly this shape, finite, flattened in row-major order.
    fn tensor(&self, tensor: &str, shape: &[usize]) -> Result<Vec<f32>, EdgeError> {
        self.check(tensor, shape)?;
        let mut values = vec![0.0; shape.iter().product()];
        self.finite_rows(tensor, 0, shape.last().copied().unwrap_or(1), &mut values)?;
        Ok(values)
    }
}

/// A safetensors file, mapped and its header checked.
///
/// The file must stay as it is while it is mapped: replace weights by renaming a
/// new file over them, which leaves the mapped one alone, and never in place.
#[derive(Debug)]
pub(crate) struct WeightFile {
    path: PathBuf,
    map: Mmap,
    header: Metadata,
    /// Where the tensors' bytes begin.
    start: usize,
}

impl WeightFile {
    /// Maps a file and checks its header: sizes, offsets and types must fit.
    pub(crate) fn open(path: &Path, expected: &'static str) -> Result<Self, EdgeError> {
        let map = map(path).map_err(|source| EdgeError::Read {
            path: path.to_owned(),
            expected,
            source,
        })?;
        let (length, header) =
            SafeTensors::read_metadata(&map).map_err(|error| EdgeError::BadFile {
                path: path.to_owned(),
                bytes: map.len(),
                message: error.to_string(),
            })?;
        // The length of the header is itself eight bytes.
        Ok(WeightFile { path: path.to_owned(), start: length + 8, map, header })
    }

    /// SHA-256 of the file.
    pub(crate) fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.map[..]).into()
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

    fn missing(&self, tensor: &str, shape: &[usize]) -> EdgeError {
        EdgeError::MissingTensor {
            path: self.path.clone(),
            tensor: tensor.to_owned(),
            shape: shape.to_vec(),
        }
    }

    fn bytes(&self, info: &TensorInfo) -> &[u8] {
        let (from, to) = info.data_offsets;
        &self.map[self.start + from..self.start + to]
    }
}

impl WeightSource for WeightFile {
    fn check(&self, tensor: &str, shape: &[usize]) -> Result<(), EdgeError> {
        let info = self.header.info(tensor).ok_or_else(|| self.missing(tensor, shape))?;
        if info.shape != shape {
            return Err(EdgeError::Shape {
                path: self.path.clone(),
                tensor: tensor.to_owned(),
                found: info.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        if size(info.dtype).is_none() {
            return Err(EdgeError::Dtype {
                path: self.path.clone(),
                tensor: tensor.to_owned(),
                found: format!("{:?}", info.dtype),
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
    ) -> Result<(), EdgeError> {
        let missing = || self.missing(tensor, &[row + out.len() / width.max(1), width]);
        let info = self.header.info(tensor).ok_or_else(missing)?;
        let size = size(info.dtype).ok_or_else(missing)?;
        let bytes = self.bytes(info).get(row * width * size..).ok_or_else(missing)?;
        let bytes = bytes.get(..out.len() * size).ok_or_else(missing)?;
        match info.dtype {
            Dtype::F16 => halves(bytes, out),
            Dtype::BF16 => upper_halves(bytes, out),
            _ => floats(bytes, out),
        }
        Ok(())
    }

    fn path(&self, _: &str) -> &Path {
        &self.path
    }
}

/// Bytes of an element, for the types that are read.
fn size(dtype: Dtype) -> Option<usize> {
    match dtype {
        Dtype::F16 | Dtype::BF16 => Some(2),
        Dtype::F32 => Some(4),
        _ => None,
    }
}

/// Stored f32.
pub(crate) fn floats(bytes: &[u8], out: &mut [f32]) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *out = f32::from_le_bytes(*bytes);
    }
}

/// bf16 to f32.
pub(crate) fn upper_halves(bytes: &[u8], out: &mut [f32]) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *out = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
    }
}

/// f16 to f32, some at a time, so that the conversion runs in vectors.
pub(crate) fn halves(bytes: &[u8], out: &mut [f32]) {
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

fn map(path: &Path) -> std::io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the mapping is private and only read. That nobody changes the file in
    // place meanwhile is the caller's part of the contract, as for every mapped file.
    #[allow(unsafe_code)]
    unsafe {
        Mmap::map(&file)
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
