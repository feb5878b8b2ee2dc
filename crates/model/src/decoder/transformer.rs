//! The parts of a model that a pass reads: shape, weights, and the threads they run on.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokenroute_core::ModelInfo;
use tokenroute_kernels::Pool;

use super::Matrix;
use super::kv_block::KvShape;
use super::layers::{Embedding, Layer, final_norm};
use super::packing::{PackedLayer, Packing};
use super::rotary::Rotary;
use crate::weights::WeightSource;
use crate::{Config, LoadError, LoadOptions};

/// The layers of a decoder with embedding, norms and LM head. It never changes once read.
#[derive(Debug)]
pub(super) struct Transformer {
    pub(super) info: ModelInfo,
    pub(super) config: Config,
    pub(super) shape: KvShape,
    pub(super) embedding: Embedding,
    pub(super) layers: Vec<PackedLayer>,
    pub(super) norm: Vec<f32>,
    pub(super) head: Matrix,
    pub(super) rotary: Rotary,
    /// The rotation of layers with a window, if it is another one.
    pub(super) local_rotary: Option<Rotary>,
    /// The threads of quantised products and of the work between them. One thread where
    /// weights are f32, since there each thread takes some of the sequences.
    pub(super) pool: Arc<Pool>,
    /// Whether any matrix is quantised.
    pub(super) quantised: bool,
}

impl Transformer {
    /// Reads all weights, quantised or packed for this machine. The layers come first, then
    /// `info`, then what depends on the vocabulary.
    pub(super) fn read(
        info: impl FnOnce() -> Result<ModelInfo, LoadError>,
        config: Config,
        weights: &Arc<dyn WeightSource>,
        options: &LoadOptions,
    ) -> Result<Self, LoadError> {
        let (source, quantize, threads) = (&**weights, options.quantize, options.threads);
        let threads = threads.map_or_else(std::thread::available_parallelism, |n| {
            Ok(NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN))
        });
        let mut pool = Pool::new(threads.map_or(1, NonZeroUsize::get))?;
        let packing = Packing { source, pool: &pool, quantize };
        let layers: Result<Vec<_>, _> =
            (0..config.num_hidden_layers).map(|i| Layer::read(&packing, &config, i)).collect();
        let layers = layers?;
        let info = info()?;
        let head = packing.head(&config, info.vocabulary)?;
        let quantised = head.format().is_some() || layers.iter().any(PackedLayer::is_quantised);
        if !quantised {
            pool = Pool::new(1)?;
        }
        let embedding = Embedding::new(Arc::clone(weights), &config, info.vocabulary)?;
        let norm = final_norm(source, &config)?;
        // The pages of mapped files have been packed or checked.
        source.give_back();
        Ok(Transformer {
            shape: KvShape::new(
                options.kv,
                layers.len(),
                config.num_key_value_heads,
                config.head_dim,
            ),
            norm,
            head,
            pool: Arc::new(pool),
            quantised,
            embedding,
            rotary: Rotary::new(&config.rope, config.rotary_dim),
            local_rotary: config
                .gemma
                .as_ref()
                .map(|g| Rotary::new(&g.local_rope, config.rotary_dim)),
            layers,
            info,
            config,
        })
    }

    /// Bytes of weights that a step of one token reads, LM head included.
    pub(super) fn bytes(&self) -> usize {
        self.layers.iter().map(PackedLayer::bytes).sum::<usize>() + self.head.bytes()
    }
}
