//! The memory that a model needs at least, known before it is loaded.

use std::path::Path;

use tokenroute_kernels::{BLOCK, Format};

use crate::decoder::KvShape;
use crate::model_files::ModelFiles;
use crate::weights::Shards;
use crate::{Device, KvType, LoadError};

/// Least bytes of a model's weights, as this device of the process holds them, and of a sequence of
/// this many positions, or of its whole context if that is shorter. Reads the configuration and the
/// names and shapes of the tensors.
///
/// # Errors
/// A missing or damaged file; an unsupported configuration.
pub fn least_memory(
    path: &Path,
    quantize: Option<Format>,
    kv: KvType,
    device: Device,
    positions: usize,
) -> Result<usize, LoadError> {
    let files = ModelFiles::open(path)?;
    let config = &files.config;
    let (layers, heads) = (config.num_hidden_layers, config.num_key_value_heads);
    let state = KvShape::new(kv, layers, heads, config.head_dim).bytes_per_position();
    let state = state.saturating_mul(positions.min(config.max_position_embeddings));
    let weights: usize = match (&files.gguf, device) {
        // Formats of GGUF files are never packed in fewer bits.
        (Some(source), Device::Kernels) => source.bytes(),
        (Some(source), _) => floats(numbers(source.shapes())),
        (None, _) => {
            let shards = Shards::open(path)?;
            let numbers = numbers(shards.tensors().map(|(_, shape)| shape));
            match quantize {
                Some(format) => (numbers / BLOCK).saturating_mul(format.block_bytes()),
                None => floats(numbers),
            }
        }
    };
    Ok(weights.saturating_add(state))
}

fn numbers<'s>(shapes: impl Iterator<Item = &'s [usize]>) -> usize {
    let numbers = |shape: &[usize]| shape.iter().fold(1_usize, |all, &n| all.saturating_mul(n));
    shapes.map(numbers).fold(0, usize::saturating_add)
}

fn floats(numbers: usize) -> usize {
    numbers.saturating_mul(size_of::<f32>())
}
