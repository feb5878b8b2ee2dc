//! The memory that a model needs at least, known before it is loaded.

use std::path::Path;

use tokenroute_kernels::{BLOCK, Format};

use crate::decoder::KvShape;
use crate::model_files::ModelFiles;
use crate::weights::Shards;
use crate::{KvType, LoadError};

/// Least bytes of a model's weights and of a sequence of this many positions, or of its whole
/// context if that is shorter. Reads the configuration and the names and shapes of the tensors.
///
/// # Errors
/// A missing or damaged file; an unsupported configuration.
pub fn least_memory(
    path: &Path,
    quantize: Option<Format>,
    kv: KvType,
    positions: usize,
) -> Result<usize, LoadError> {
    let files = ModelFiles::open(path)?;
    let config = &files.config;
    let (layers, heads) = (config.num_hidden_layers, config.num_key_value_heads);
    let state = KvShape::new(kv, layers, heads, config.head_dim).bytes_per_position();
    let state = state.saturating_mul(positions.min(config.max_position_embeddings));
    let weights: usize = match &files.gguf {
        // Formats of GGUF files are never packed in fewer bits.
        Some(source) => source.bytes(),
        None => {
            let numbers = |(_, shape): (String, &[usize])| {
                shape.iter().fold(1_usize, |all, &n| all.saturating_mul(n))
            };
            let numbers: usize = Shards::open(path)?.tensors().map(numbers).sum();
            match quantize {
                Some(format) => (numbers / BLOCK).saturating_mul(format.block_bytes()),
                None => numbers.saturating_mul(size_of::<f32>()),
            }
        }
    };
    Ok(weights.saturating_add(state))
}
