//! The decoder on this crate's own kernels. A ragged batch is flattened to rows without
//! padding; a row's bits are a function of its own prefix.

mod attention;
mod forward;
mod given_states;
mod kv_block;
mod kv_eight_bits;
mod kv_state;
mod kv_type;
mod layers;
mod linear;
mod matrix;
mod packing;
mod rotary;
mod row_ops;
mod stack;
mod steps;
mod transformer;
mod weigh;

use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use tokenroute_core::{Detail, Feed, ModelInfo};
use tokenroute_kernels::{Isa, Pool};

use crate::weights::WeightSource;
use crate::{Config, LoadError, LoadOptions};
use forward::{Pass, Scratch};
use transformer::Transformer;

pub use kv_type::{KvType, UnknownKvType};
pub use linear::Linear;

pub(crate) use forward::FeedSteps;
pub(crate) use kv_block::KvShape;
pub(crate) use kv_state::KvState;
pub(crate) use linear::arch;
pub(crate) use matrix::Matrix;
#[cfg(feature = "devices")]
pub(crate) use {
    layers::{Embedding, Holder, Layer, final_norm, head_stack},
    rotary::Rotary,
    stack::Stack,
    steps::step,
};

/// Multiply-adds that are worth a thread of their own: about a tenth of a millisecond.
/// Waking a thread for less costs more than it gains, most of all on a shared machine.
const PART_WORK: usize = 8 << 20;

/// A loaded decoder (RMS norm, grouped-query attention with or without biases, head
/// norms and windows, `rotate_half` RoPE, SwiGLU, tied or untied LM head). Weights are
/// f32 or quantised; everything between the matrices is f32. Clones share the weights.
#[derive(Debug)]
pub(crate) struct KernelDecoder {
    transformer: Arc<Transformer>,
    /// Approximate multiply-adds of one row.
    work: usize,
    /// Buffers of finished passes.
    scratch: Mutex<Vec<Scratch>>,
}

impl KernelDecoder {
    /// Builds a decoder from a checked configuration and its weights. Only the first
    /// `info.vocabulary` rows of embedding and LM head are used: rows beyond the
    /// tokenizer's vocabulary are padding and can never win.
    /// `info` is asked for when the layers are read.
    pub(crate) fn new(
        info: impl FnOnce() -> Result<ModelInfo, LoadError>,
        config: Config,
        weights: &Arc<dyn WeightSource>,
        options: &LoadOptions,
    ) -> Result<Self, LoadError> {
        let transformer = Transformer::read(info, config, weights, options)?;
        let Transformer { config, info, .. } = &transformer;
        let work = config.multiply_adds(info.vocabulary, 1, 1);
        Ok(KernelDecoder { work, transformer: Arc::new(transformer), scratch: Mutex::default() })
    }

    /// Sets the hash of its weights.
    pub(crate) fn rename(&mut self, weights_hash: String) {
        // A decoder that was just built has no clones.
        if let Some(transformer) = Arc::get_mut(&mut self.transformer) {
            transformer.info.weights_hash = weights_hash;
        }
    }

    /// The model's configuration.
    pub(crate) fn config(&self) -> &Config {
        &self.transformer.config
    }

    /// Bytes of weights that a step of one token reads, LM head included.
    pub(crate) fn bytes_per_token(&self) -> usize {
        self.transformer.bytes()
    }

    /// Facts about the model.
    pub(crate) fn info(&self) -> &ModelInfo {
        &self.transformer.info
    }

    /// The type of the KV cache.
    pub(crate) fn kv_type(&self) -> KvType {
        self.transformer.shape.kind
    }

    /// Bytes that a position takes in a [`KvState`]. A state reserves blocks of 32 positions;
    /// clones share whole blocks.
    pub(crate) fn kv_bytes_per_position(&self) -> usize {
        self.transformer.shape.bytes_per_position()
    }

    /// Instruction set and number of threads of the quantised products; `None` if all
    /// weights are f32.
    pub(crate) fn kernels(&self) -> Option<(Isa, usize)> {
        let Transformer { pool, quantised, .. } = &*self.transformer;
        quantised.then(|| (pool.isa(), pool.threads()))
    }

    /// The threads that the products run on.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.transformer.pool
    }

    /// One pass over checked feeds, with buffers of an earlier one where there are any.
    /// One result for each feed.
    fn pass(&self, feeds: &mut [Feed<'_, KvState>], detail: Detail) -> Vec<FeedSteps> {
        let buffers = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = buffers().pop().unwrap_or_default();
        let steps = Pass::new(&self.transformer, feeds, detail, &mut scratch)
            .and_then(|mut pass| pass.run());
        buffers().push(scratch);
        steps.unwrap_or_else(|error| vec![Err(error); feeds.len()])
    }

    /// Passes over checked feeds, on several threads where that is faster.
    pub(crate) fn passes(&self, feeds: &mut [Feed<'_, KvState>], detail: Detail) -> Vec<FeedSteps> {
        let mut parts = self.split(feeds);
        if let [only] = parts.as_mut_slice() {
            return self.pass(only, detail);
        }
        let results: Vec<_> = parts.into_par_iter().map(|part| self.pass(part, detail)).collect();
        results.into_iter().flatten().collect()
    }

    /// Splits the feeds into runs of about equal work, one per thread. Sequences share
    /// nothing, so no thread waits for another within a layer. Feeds of a quantised model
    /// are not split: all threads read its weights once for all feeds.
    fn split<'f, 'a>(
        &self,
        feeds: &'f mut [Feed<'a, KvState>],
    ) -> Vec<&'f mut [Feed<'a, KvState>]> {
        if self.transformer.quantised {
            return vec![feeds];
        }
        let rows: usize = feeds.iter().map(|f| f.tokens.len()).sum();
        let threads = rayon::current_num_threads();
        let parts = (rows * self.work / PART_WORK).clamp(1, threads);
        let share = rows.div_ceil(parts).max(1);
        let mut rest = feeds;
        let mut split = Vec::with_capacity(parts);
        while !rest.is_empty() {
            let mut taken = 0;
            let end = rest.iter().position(|f| {
                taken += f.tokens.len();
                taken >= share
            });
            let (part, tail) = rest.split_at_mut(end.map_or(rest.len(), |i| i + 1));
            split.push(part);
            rest = tail;
        }
        split
    }
}

impl Clone for KernelDecoder {
    fn clone(&self) -> Self {
        let (transformer, work) = (Arc::clone(&self.transformer), self.work);
        KernelDecoder { transformer, work, scratch: Mutex::default() }
    }
}
