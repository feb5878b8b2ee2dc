//! The weights of a decoder as tensors on a device.

use std::num::NonZeroUsize;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use rayon::prelude::*;
use tokenroute_core::{ModelError, ModelInfo};
use tokenroute_kernels::Pool;

use super::attention::Heads;
use crate::decoder::{Embedding, Holder, Layer, Rotary, Stack, final_norm, head_stack};
use crate::weights::WeightSource;
use crate::{Config, Device, LoadError};

/// Numbers of a matrix that are read at a time: 16 MB in f32.
const SOME: usize = 4 << 20;

/// A device of candle that is open, and the numbers that it computes in.
#[derive(Debug, Clone)]
pub(super) struct Place {
    name: Device,
    device: candle_core::Device,
    floats: DType,
}

impl Place {
    /// Opens a device.
    pub(super) fn open(name: Device) -> Result<Self, LoadError> {
        let opened = match name {
            Device::Kernels | Device::Cpu => Ok(candle_core::Device::Cpu),
            Device::Cuda | Device::CudaF32 => candle_core::Device::new_cuda(0),
            Device::Metal | Device::MetalF32 => candle_core::Device::new_metal(0),
        };
        let floats = if name.floats() == Some("bf16") { DType::BF16 } else { DType::F32 };
        let device = opened.map_err(|error| failed(name, &error))?;
        Ok(Place { name, device, floats })
    }

    /// The same device with other numbers.
    #[cfg(test)]
    pub(super) fn with(self, floats: DType) -> Self {
        Place { floats, ..self }
    }

    pub(super) fn device(&self) -> &candle_core::Device {
        &self.device
    }

    pub(super) fn floats(&self) -> DType {
        self.floats
    }

    /// Numbers `[rows, width]` on the device.
    pub(super) fn tensor(&self, values: Vec<f32>, width: usize) -> candle_core::Result<Tensor> {
        let rows = values.len() / width.max(1);
        Tensor::from_vec(values, (rows, width), &self.device)?.to_dtype(self.floats)
    }
}

fn failed(device: Device, error: &candle_core::Error) -> LoadError {
    LoadError::Device { device: device.name(), message: error.to_string() }
}

/// A linear layer, y = W·x + b.
#[derive(Debug)]
pub(super) struct Linear {
    /// `[outputs, inputs]`
    weight: Tensor,
    /// `[outputs]`
    bias: Option<Tensor>,
}

impl Linear {
    /// `[rows, inputs]` → `[rows, outputs]`
    pub(super) fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let y = x.matmul(&self.weight.t()?)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }

    fn bytes(&self) -> usize {
        self.weight.elem_count() * self.weight.dtype().size_in_bytes()
    }
}

/// A layer whose weights are tensors.
pub(super) type TensorLayer = Layer<Linear, Tensor>;

/// Reads weights onto a device.
struct Placing<'a> {
    source: &'a dyn WeightSource,
    place: &'a Place,
}

impl Placing<'_> {
    fn read(&self, stack: &Stack<'_>, weight: &Tensor) -> Result<(), LoadError> {
        let (inputs, outputs) = (stack.inputs(), stack.outputs());
        let some = (SOME / inputs).max(1);
        let share = some.div_ceil(rayon::current_num_threads());
        for first in (0..outputs).step_by(some) {
            let mut values = vec![0.0; some.min(outputs - first) * inputs];
            values
                .par_chunks_mut(share * inputs)
                .enumerate()
                .try_for_each(|(i, rows)| stack.rows(first + i * share, rows))?;
            let placed = self.place.tensor(values, inputs);
            placed
                .and_then(|rows| weight.slice_set(&rows, 0, first))
                .map_err(|error| failed(self.place.name, &error))?;
        }
        Ok(())
    }
}

impl Holder for Placing<'_> {
    type Matrix = Linear;
    type Norm = Tensor;

    fn source(&self) -> &dyn WeightSource {
        self.source
    }

    fn matrix(&self, stack: &Stack<'_>) -> Result<Linear, LoadError> {
        let Place { device, floats, name } = self.place;
        let weight = Tensor::zeros((stack.outputs(), stack.inputs()), *floats, device)
            .map_err(|error| failed(*name, &error))?;
        self.read(stack, &weight)?;
        let bias = stack.bias().map(|bias| self.norm(bias.to_vec())).transpose()?;
        Ok(Linear { weight, bias })
    }

    fn norm(&self, weights: Vec<f32>) -> Result<Tensor, LoadError> {
        let width = weights.len();
        let placed = self.place.tensor(weights, width).and_then(|rows| rows.squeeze(0));
        placed.map_err(|error| failed(self.place.name, &error))
    }
}

/// The layers of a decoder with embedding, norms and LM head. It never changes once read.
#[derive(Debug)]
pub(super) struct Tensors {
    pub(super) info: ModelInfo,
    pub(super) config: Config,
    pub(super) place: Place,
    pub(super) heads: Heads,
    /// Its rows stay in the file.
    pub(super) embedding: Embedding,
    pub(super) layers: Vec<TensorLayer>,
    pub(super) norm: Tensor,
    pub(super) head: Linear,
    pub(super) rotary: Rotary,
    /// The rotation of layers with a window, if it is another one.
    pub(super) local_rotary: Option<Rotary>,
    /// The threads that make steps of logits.
    pub(super) pool: Arc<Pool>,
}

impl Tensors {
    /// Reads all weights. The layers come first, then `info`, then what depends on the
    /// vocabulary.
    pub(super) fn read(
        info: impl FnOnce() -> Result<ModelInfo, LoadError>,
        config: Config,
        weights: &Arc<dyn WeightSource>,
        place: Place,
        threads: Option<usize>,
    ) -> Result<Self, LoadError> {
        let source = &**weights;
        let placing = Placing { source, place: &place };
        let layers: Result<Vec<_>, _> =
            (0..config.num_hidden_layers).map(|i| Layer::read(&placing, &config, i)).collect();
        let layers = layers?;
        let info = info()?;
        let head = placing.matrix(&head_stack(source, &config, info.vocabulary)?)?;
        let norm = placing.norm(final_norm(source, &config)?)?;
        let embedding = Embedding::new(Arc::clone(weights), &config, info.vocabulary)?;
        source.give_back();
        // On the CPU, candle has threads of its own.
        let threads = match (place.device.is_cpu(), threads) {
            (true, _) => 1,
            (false, Some(threads)) => threads.max(1),
            (false, None) => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        };
        let width = match &config.gemma {
            Some(gemma) => gemma.query_pre_attn_scalar,
            None => config.head_dim as f64,
        };
        let heads = Heads {
            queries: config.num_attention_heads,
            key_values: config.num_key_value_heads,
            dim: config.head_dim,
            scale: 1.0 / width.sqrt(),
        };
        Ok(Tensors {
            pool: Arc::new(Pool::new(threads)?),
            rotary: Rotary::new(&config.rope, config.rotary_dim),
            local_rotary: config
                .gemma
                .as_ref()
                .map(|g| Rotary::new(&g.local_rope, config.rotary_dim)),
            info,
            config,
            place,
            heads,
            embedding,
            layers,
            norm,
            head,
        })
    }

    /// An error of the device during a pass.
    pub(super) fn failed(&self, error: &candle_core::Error) -> ModelError {
        ModelError::Backend { model: self.info.name.clone(), message: error.to_string() }
    }

    /// Bytes of weights that a step of one token reads, LM head included.
    pub(super) fn bytes(&self) -> usize {
        let layer = |l: &TensorLayer| {
            [&l.qkv, &l.output, &l.gate_up, &l.down].iter().map(|m| m.bytes()).sum::<usize>()
        };
        self.layers.iter().map(layer).sum::<usize>() + self.head.bytes()
    }

    /// Bytes of keys and values of one position.
    pub(super) fn kv_bytes_per_position(&self) -> usize {
        let numbers = 2 * self.layers.len() * self.config.key_value_size();
        numbers * self.place.floats.size_in_bytes()
    }
}
