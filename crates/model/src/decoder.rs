//! The decoder: a ragged batch flattened to rows, no padding, every row's bits a
//! function of its own prefix.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use tokenroute_core::{Detail, Feed, LanguageModel, ModelError, ModelInfo, Step, TokenId};
use tokenroute_kernels::{Format, Isa, Pool};

use crate::cache::{CacheShape, KvState};
use crate::forward::{Pass, Scratch};
use crate::layers::{Embedding, Layer, Loading, final_norm, head};
use crate::matrix::Matrix;
use crate::rope::Rotary;
use crate::weights::WeightSource;
use crate::{Config, EdgeError};

/// Multiply-adds that are worth a thread of their own, about a tenth of a
/// millisecond: less is lost again in waking it, many times over when the machine is shared.
const PART_WORK: usize = 8 << 20;

/// A loaded decoder (RMS norm, grouped-query attention with or without biases, head
/// norms and windows, `rotate_half` RoPE, SwiGLU, tied or untied LM head). Weights are
/// f32 or quantised; everything between the matrices is f32.
#[derive(Debug)]
pub struct Decoder {
    pub(crate) info: ModelInfo,
    pub(crate) config: Config,
    pub(crate) shape: CacheShape,
    pub(crate) embedding: Embedding,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Vec<f32>,
    pub(crate) head: Matrix,
    pub(crate) rotary: Rotary,
    /// The threads of quantised products and of what lies between them; one alone
    /// where weights are f32, whose sequences are shared out instead.
    pub(crate) pool: Arc<Pool>,
    quantised: bool,
    /// Multiply-adds of one row, about.
    work: usize,
    /// Buffers of passes that are over.
    scratch: Mutex<Vec<Scratch>>,
}

impl Decoder {
    /// Builds a decoder from a checked configuration and its weights. Only the first
    /// `info.vocabulary` rows of embedding and LM head are used: rows beyond the
    /// tokenizer's vocabulary are padding and can never win.
    pub(crate) fn new(
        info: ModelInfo,
        config: Config,
        weights: &Arc<dyn WeightSource>,
        quantize: Option<Format>,
        threads: Option<usize>,
    ) -> Result<Self, EdgeError> {
        let source = &**weights;
        let threads = threads.map_or_else(std::thread::available_parallelism, |n| {
            Ok(NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN))
        });
        let mut pool = Pool::new(threads.map_or(1, NonZeroUsize::get))?;
        let loading = Loading { source, pool: &pool, quantize };
        let layers: Result<Vec<_>, _> =
            (0..config.num_hidden_layers).map(|i| Layer::read(loading, &config, i)).collect();
        let layers = layers?;
        let head = head(loading, &config, info.vocabulary)?;
        let quantised = head.format().is_some() || layers.iter().any(Layer::is_quantised);
        if !quantised {
            pool = Pool::new(1)?;
        }
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let attention = 2 * hidden * (config.query_size() + config.key_value_size());
        Ok(Decoder {
            shape: CacheShape::new(layers.len(), config.num_key_value_heads, config.head_dim),
            work: layers.len() * (attention + 3 * hidden * inner) + hidden * info.vocabulary,
            norm: final_norm(source, &config)?,
            head,
            pool: Arc::new(pool),
            quantised,
            scratch: Mutex::default(),
            embedding: Embedding::new(Arc::clone(weights), &config, info.vocabulary)?,
            rotary: Rotary::new(&config.rope, config.head_dim),
            layers,
            info,
            config,
        })
    }

    /// The model's configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Bytes of weights that one token's step reads, LM head included.
    #[must_use]
    pub fn bytes_per_token(&self) -> usize {
        self.layers.iter().map(Layer::bytes).sum::<usize>() + self.head.bytes()
    }

    /// Kernels of quantised products, and the threads they run on; `None` if all
    /// weights are f32.
    #[must_use]
    pub fn kernels(&self) -> Option<(Isa, usize)> {
        self.quantised.then(|| (self.pool.isa(), self.pool.threads()))
    }

    /// Buffers for a pass.
    pub(crate) fn scratch(&self) -> Scratch {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Takes buffers back.
    pub(crate) fn recycle(&self, scratch: Scratch) {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }

    fn check(&self, feeds: &[Feed<'_, KvState>]) -> Result<(), ModelError> {
        for feed in feeds {
            let tokens = feed.tokens.len();
            if feed.from >= tokens {
                return Err(ModelError::BadFeed { tokens, from: feed.from });
            }
            let positions = feed.state.len() + tokens;
            if positions > self.info.context {
                return Err(ModelError::ContextOverrun {
                    positions,
                    context: self.info.context,
                    model: self.info.name.clone(),
                });
            }
            let vocabulary = self.info.vocabulary;
            if let Some(&token) = feed.tokens.iter().find(|&&t| t as usize >= vocabulary) {
                let model = self.info.name.clone();
                return Err(ModelError::TokenOutOfRange { token, vocabulary, model });
            }
        }
        Ok(())
    }

    /// Splits the feeds into runs of about equal work, one per thread. Sequences
    /// share nothing, so no thread waits for another within a layer. Quantised
    /// weights are read once for all feeds instead, by all threads.
    fn split<'f, 'a>(
        &self,
        feeds: &'f mut [Feed<'a, KvState>],
    ) -> Vec<&'f mut [Feed<'a, KvState>]> {
        if self.quantised {
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

impl LanguageModel for Decoder {
    type State = KvState;

    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn start(&self) -> KvState {
        KvState::default()
    }

    fn positions(&self, state: &KvState) -> usize {
        state.len()
    }

    fn truncate(&self, state: &mut KvState, len: usize) {
        state.truncate(len);
    }

    fn advance(
        &self,
        feeds: &mut [Feed<'_, KvState>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        self.check(feeds)?;
        let mut parts = self.split(feeds);
        if let [only] = parts.as_mut_slice() {
            return Pass::new(self, only, detail)?.run();
        }
        let results: Result<Vec<_>, ModelError> =
            parts.into_par_iter().map(|part| Pass::new(self, part, detail)?.run()).collect();
        Ok(results?.into_iter().flatten().collect())
    }
}

/// Greedy continuation of one state, for callers that need no more: feeds
/// `tokens`, then the model's own, until `stop` says so or `limit` tokens.
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
