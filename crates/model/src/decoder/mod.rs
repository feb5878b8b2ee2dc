//! The decoder. A ragged batch is flattened to rows without padding; a row's bits are a
//! function of its own prefix.

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
mod rotary;
mod row_ops;
mod steps;
mod transformer;
mod weigh;

use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use tokenroute_core::{Detail, Feed, LanguageModel, ModelError, ModelInfo, Step, TokenId};
use tokenroute_kernels::{Isa, Pool};

use crate::weights::WeightSource;
use crate::{Config, LoadError, LoadOptions};
use forward::{FeedSteps, Pass, Scratch};
use transformer::Transformer;

pub use kv_state::KvState;
pub use kv_type::{KvType, UnknownKvType};
pub use linear::Linear;

pub(crate) use kv_block::KvShape;
pub(crate) use linear::arch;
pub(crate) use matrix::Matrix;

/// Multiply-adds that are worth a thread of their own: about a tenth of a millisecond.
/// Waking a thread for less costs more than it gains, most of all on a shared machine.
const PART_WORK: usize = 8 << 20;

/// A loaded decoder (RMS norm, grouped-query attention with or without biases, head
/// norms and windows, `rotate_half` RoPE, SwiGLU, tied or untied LM head). Weights are
/// f32 or quantised; everything between the matrices is f32. Clones share the weights.
#[derive(Debug)]
pub struct Decoder {
    transformer: Arc<Transformer>,
    /// Approximate multiply-adds of one row.
    work: usize,
    /// Buffers of finished passes.
    scratch: Mutex<Vec<Scratch>>,
}

impl Decoder {
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
        let work = transformer.multiply_adds(1, 1);
        Ok(Decoder { work, transformer: Arc::new(transformer), scratch: Mutex::default() })
    }

    /// The decoder with the hash of its weights.
    pub(crate) fn named(mut self, weights_hash: String) -> Self {
        // A decoder that was just built has no clones.
        if let Some(transformer) = Arc::get_mut(&mut self.transformer) {
            transformer.info.weights_hash = weights_hash;
        }
        self
    }

    /// The model's configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.transformer.config
    }

    /// Bytes of weights that a step of one token reads, LM head included.
    #[must_use]
    pub fn bytes_per_token(&self) -> usize {
        self.transformer.bytes()
    }

    /// Multiply-adds of `rows` tokens with the layers' weights, and of `head_rows` of them with
    /// the LM head's. Attention is not counted.
    #[must_use]
    pub fn multiply_adds(&self, rows: usize, head_rows: usize) -> usize {
        self.transformer.multiply_adds(rows, head_rows)
    }

    /// The type of the KV cache.
    #[must_use]
    pub fn kv_type(&self) -> KvType {
        self.transformer.shape.kind
    }

    /// Bytes that a position takes in a [`KvState`]. A state reserves blocks of 32 positions;
    /// clones share whole blocks.
    #[must_use]
    pub fn kv_bytes_per_position(&self) -> usize {
        self.transformer.shape.bytes_per_position()
    }

    /// Instruction set and number of threads of the quantised products; `None` if all
    /// weights are f32.
    #[must_use]
    pub fn kernels(&self) -> Option<(Isa, usize)> {
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
    fn passes(&self, feeds: &mut [Feed<'_, KvState>], detail: Detail) -> Vec<FeedSteps> {
        let mut parts = self.split(feeds);
        if let [only] = parts.as_mut_slice() {
            return self.pass(only, detail);
        }
        let results: Vec<_> = parts.into_par_iter().map(|part| self.pass(part, detail)).collect();
        results.into_iter().flatten().collect()
    }

    fn check(&self, feed: &Feed<'_, KvState>) -> Result<(), ModelError> {
        let ModelInfo { name, context, vocabulary, .. } = &self.transformer.info;
        let (context, vocabulary) = (*context, *vocabulary);
        let tokens = feed.tokens.len();
        if feed.from >= tokens {
            return Err(ModelError::BadFeed { tokens, from: feed.from });
        }
        let positions = feed.state.len() + tokens;
        if positions > context {
            return Err(ModelError::ContextOverrun { positions, context, model: name.clone() });
        }
        match feed.tokens.iter().find(|&&t| t as usize >= vocabulary) {
            Some(&token) => {
                Err(ModelError::TokenOutOfRange { token, vocabulary, model: name.clone() })
            }
            None => Ok(()),
        }
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

impl Clone for Decoder {
    fn clone(&self) -> Self {
        let (transformer, work) = (Arc::clone(&self.transformer), self.work);
        Decoder { transformer, work, scratch: Mutex::default() }
    }
}

impl LanguageModel for Decoder {
    type State = KvState;

    fn info(&self) -> &ModelInfo {
        &self.transformer.info
    }

    fn start(&self) -> KvState {
        KvState::default()
    }

    fn positions(&self, state: &KvState) -> usize {
        state.len()
    }

    fn position_bytes(&self) -> usize {
        self.kv_bytes_per_position()
    }

    fn truncate(&self, state: &mut KvState, len: usize) {
        state.truncate(len);
    }

    fn advance(
        &self,
        feeds: &mut [Feed<'_, KvState>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        feeds.iter().try_for_each(|feed| self.check(feed))?;
        self.passes(feeds, detail).into_iter().collect()
    }

    fn advance_each(&self, feeds: &mut [Feed<'_, KvState>], detail: Detail) -> Vec<FeedSteps> {
        let checks: Vec<_> = feeds.iter().map(|feed| self.check(feed)).collect();
        let good = feeds.iter_mut().zip(&checks).filter(|(_, check)| check.is_ok());
        let mut good: Vec<Feed<'_, KvState>> = good
            .map(|(feed, _)| Feed { state: &mut *feed.state, tokens: feed.tokens, from: feed.from })
            .collect();
        let mut made = match good.is_empty() {
            true => Vec::new(),
            false => self.passes(&mut good, detail),
        }
        .into_iter();
        // A feed that passed its check has a result.
        checks
            .into_iter()
            .map(|check| check.and_then(|()| made.next().unwrap_or(Ok(vec![]))))
            .collect()
    }
}

/// Continues one state greedily: feeds `tokens`, then the model's own tokens, until `stop`
/// is true of a token or `limit` tokens are there.
///
/// # Errors
/// As [`LanguageModel::advance`].
pub fn continue_greedy(
    model: &Decoder,
    state: &mut KvState,
    tokens: &[TokenId],
    limit: usize,
    stop: impl Fn(TokenId) -> bool,
) -> Result<Vec<TokenId>, ModelError> {
    let mut answer: Vec<TokenId> = Vec::new();
    let mut next = tokens.to_vec();
    while answer.len() < limit {
        let from = next.len().saturating_sub(1);
        let mut feeds = [Feed { state: &mut *state, tokens: &next, from }];
        let steps = model.advance(&mut feeds, Detail::Token)?;
        let Some(token) = steps.first().and_then(|s| s.first()).map(|s| s.token) else { break };
        answer.push(token);
        if stop(token) {
            break;
        }
        next = vec![token];
    }
    Ok(answer)
}
