//! Router files: one safetensors file with the header's JSON in its metadata and F32
//! tensors `layers.{i}.weight` and `layers.{i}.bias`, `[out, in]` and `[out]` of a linear operator,
//! `[width]` each of an affine one or a layer norm; a table has `layers.{i}.weight` alone.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tokenroute_core::RouterHeader;

use crate::{StoreError, atomic};

const KIND: &str = "router file";

/// The weights of an operator that has some.
#[derive(Debug, Clone, PartialEq)]
pub struct RouterLayer {
    /// `[out, in]`, row-major; of an affine operator or a layer norm `[width]`; of an embedding
    /// `[rows, width]`.
    pub weight: Vec<f32>,
    /// `[out]` or `[width]`; empty of an embedding.
    pub bias: Vec<f32>,
}

/// The content of a router file.
#[derive(Debug, Clone, PartialEq)]
pub struct RouterFile {
    /// Everything except the weights.
    pub header: RouterHeader,
    /// First to last, with the shapes of `header.architecture`.
    pub layers: Vec<RouterLayer>,
}

impl RouterFile {
    /// Encodes the file.
    ///
    /// # Errors
    /// Layers or normalisation that do not fit the header, or values that are not finite
    /// numbers.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        let failed = |what: String| StoreError::Encode { kind: KIND, what };
        self.check().map_err(failed)?;
        let json = serde_json::to_string(&self.header).map_err(|e| failed(e.to_string()))?;
        let metadata = HashMap::from([(RouterHeader::METADATA_KEY.to_owned(), json)]);
        let shapes = self.header.architecture.weights(self.header.features.width());
        let mut tensors = Vec::new();
        for (i, (layer, shape)) in self.layers.iter().zip(shapes).enumerate() {
            let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
            tensors.push((format!("layers.{i}.weight"), shape.weight, bytes(&layer.weight)));
            if shape.bias > 0 {
                tensors.push((format!("layers.{i}.bias"), vec![shape.bias], bytes(&layer.bias)));
            }
        }
        let views = tensors
            .iter()
            .map(|(name, shape, data): &(String, Vec<usize>, Vec<u8>)| {
                Ok((name, TensorView::new(Dtype::F32, shape.clone(), data)?))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|e| failed(e.to_string()))?;
        safetensors::serialize(views, Some(metadata)).map_err(|e| failed(e.to_string()))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// As [`RouterFile::to_bytes`], or a failed write.
    pub fn write(&self, path: &Path) -> Result<(), StoreError> {
        atomic::write(path, &self.to_bytes()?)
    }

    /// Reads a file and checks it against its own header.
    ///
    /// # Errors
    /// A missing or damaged file, an unknown format, shapes that do not fit, or weights
    /// that are not finite numbers.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        Self::parse(path, &atomic::read(path)?)
    }

    /// As [`RouterFile::read`], from the file's bytes.
    ///
    /// # Errors
    /// Those of the content. `path` only appears in them.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, StoreError> {
        Self::from_bytes(bytes).map_err(|what| StoreError::Format {
            path: path.to_owned(),
            kind: KIND,
            what,
        })
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
        let json = metadata
            .metadata()
            .as_ref()
            .and_then(|m| m.get(RouterHeader::METADATA_KEY))
            .ok_or_else(|| format!("its metadata has no {:?}", RouterHeader::METADATA_KEY))?;
        let version: serde_json::Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
        let format = version.get("format").and_then(serde_json::Value::as_u64);
        let (oldest, newest) = (RouterHeader::OLDEST, RouterHeader::FORMAT);
        if !format.is_some_and(|f| (u64::from(oldest)..=u64::from(newest)).contains(&f)) {
            return Err(format!(
                "its format is {}; this version reads {oldest} to {newest}",
                format.map_or("missing".to_owned(), |f| f.to_string()),
            ));
        }
        let header: RouterHeader = serde_json::from_str(json).map_err(|e| e.to_string())?;
        let header = header.widened();
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        header.check()?;
        let shapes = header.architecture.weights(header.features.width());
        let mut layers = Vec::with_capacity(shapes.len());
        for (i, shape) in shapes.into_iter().enumerate() {
            layers.push(RouterLayer {
                weight: values(&tensors, &format!("layers.{i}.weight"), &shape.weight)?,
                bias: match shape.bias {
                    0 => Vec::new(),
                    bias => values(&tensors, &format!("layers.{i}.bias"), &[bias])?,
                },
            });
        }
        let file = RouterFile { header, layers };
        file.check()?;
        Ok(file)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let width = self.header.features.width();
        let norm = &self.header.normalisation;
        if norm.mean.len() != width || norm.scale.len() != width {
            return Err(format!(
                "normalisation has {} means and {} scales; expected {width}, one per feature",
                norm.mean.len(),
                norm.scale.len()
            ));
        }
        self.header.check()?;
        let shapes = self.header.architecture.weights(width);
        if self.layers.len() != shapes.len() {
            let (found, expected) = (self.layers.len(), shapes.len());
            return Err(format!("it has {found} layers; its architecture has {expected}"));
        }
        let finite = |values: &[f32]| values.iter().all(|v| v.is_finite());
        if !finite(&norm.mean) || !finite(&norm.scale) {
            return Err("its normalisation holds a value that is not a finite number".to_owned());
        }
        for (i, (layer, shape)) in self.layers.iter().zip(shapes).enumerate() {
            if layer.weight.len() != shape.weights() || layer.bias.len() != shape.bias {
                return Err(format!(
                    "layers.{i} has {} weights and {} biases; expected {:?} and [{}]",
                    layer.weight.len(),
                    layer.bias.len(),
                    shape.weight,
                    shape.bias
                ));
            }
            if !finite(&layer.weight) || !finite(&layer.bias) {
                return Err(format!("layers.{i} holds a value that is not a finite number"));
            }
        }
        Ok(())
    }
}

fn values(tensors: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
    let tensor = tensors.tensor(name).map_err(|e| format!("{name}: {e}"))?;
    if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
        return Err(format!(
            "{name} is {:?} {:?}; expected F32 {shape:?}",
            tensor.dtype(),
            tensor.shape()
        ));
    }
    // The shape check above guarantees a multiple of four bytes.
    let (chunks, _) = tensor.data().as_chunks::<4>();
    Ok(chunks.iter().map(|c| f32::from_le_bytes(*c)).collect())
}
