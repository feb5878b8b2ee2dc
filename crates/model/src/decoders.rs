//! The decoder that the rest of the workspace sees: on this crate's kernels, or on one of
//! candle's devices. Feeds are checked here, for both.

use std::sync::Arc;

use tokenroute_core::{Detail, Feed, LanguageModel, ModelError, ModelInfo, Step, TokenId};
use tokenroute_kernels::{Isa, Pool};

use crate::candle_decoder::{CandleDecoder, CandleState};
use crate::decoder::{self, FeedSteps, KernelDecoder};
use crate::weights::WeightSource;
use crate::{Config, Device, LoadError, LoadOptions};

/// A loaded decoder (RMS norm, grouped-query attention with or without biases, head norms and
/// windows, `rotate_half` RoPE, SwiGLU or Gemma's GELU, tied or untied LM head). Clones share the
/// weights.
#[derive(Debug, Clone)]
pub struct Decoder {
    device: Device,
    backend: Backend,
}

#[derive(Debug, Clone)]
enum Backend {
    Kernels(KernelDecoder),
    Candle(CandleDecoder),
}

/// The committed positions of one sequence. A clone (a fork) shares whole blocks of positions
/// and never changes its parent. A state belongs to decoders of one device.
#[derive(Debug, Clone)]
pub struct KvState(State);

#[derive(Debug, Clone)]
enum State {
    Kernels(decoder::KvState),
    Candle(CandleState),
}

impl KvState {
    /// Number of positions.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            State::Kernels(state) => state.len(),
            State::Candle(state) => state.len(),
        }
    }

    /// Whether there are no positions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops every position from `len` on, if there are any.
    pub fn truncate(&mut self, len: usize) {
        match &mut self.0 {
            State::Kernels(state) => state.truncate(len),
            State::Candle(state) => state.truncate(len),
        }
    }
}

impl Decoder {
    /// Builds a decoder from a checked configuration and its weights, on the device of the
    /// options. Only the first `info.vocabulary` rows of embedding and LM head are used: rows
    /// beyond the tokenizer's vocabulary are padding and can never win.
    /// `info` is asked for when the layers are read.
    pub(crate) fn new(
        info: impl FnOnce() -> Result<ModelInfo, LoadError>,
        config: Config,
        weights: &Arc<dyn WeightSource>,
        options: &LoadOptions,
    ) -> Result<Self, LoadError> {
        let device = options.device;
        let backend = match device {
            Device::Kernels => {
                Backend::Kernels(KernelDecoder::new(info, config, weights, options)?)
            }
            _ => Backend::Candle(CandleDecoder::new(info, config, weights, options)?),
        };
        Ok(Decoder { device, backend })
    }

    /// The decoder with the hash of its weights.
    pub(crate) fn named(mut self, weights_hash: String) -> Self {
        match &mut self.backend {
            Backend::Kernels(decoder) => decoder.rename(weights_hash),
            Backend::Candle(decoder) => decoder.rename(weights_hash),
        }
        self
    }

    /// The device that it runs on.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }

    /// The model's configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        match &self.backend {
            Backend::Kernels(decoder) => decoder.config(),
            Backend::Candle(decoder) => decoder.config(),
        }
    }

    /// Bytes of weights that a step of one token reads, LM head included.
    #[must_use]
    pub fn bytes_per_token(&self) -> usize {
        match &self.backend {
            Backend::Kernels(decoder) => decoder.bytes_per_token(),
            Backend::Candle(decoder) => decoder.bytes_per_token(),
        }
    }

    /// Multiply-adds of `rows` tokens with the layers' weights, and of `head_rows` of them with
    /// the LM head's. Attention is not counted.
    #[must_use]
    pub fn multiply_adds(&self, rows: usize, head_rows: usize) -> usize {
        self.config().multiply_adds(self.info().vocabulary, rows, head_rows)
    }

    /// The number type of the KV cache.
    #[must_use]
    pub fn kv_type(&self) -> &'static str {
        match &self.backend {
            Backend::Kernels(decoder) => decoder.kv_type().name(),
            Backend::Candle(_) => self.device.floats().unwrap_or("f32"),
        }
    }

    /// Bytes that a position takes in a [`KvState`]. Clones share whole blocks of positions.
    #[must_use]
    pub fn kv_bytes_per_position(&self) -> usize {
        match &self.backend {
            Backend::Kernels(decoder) => decoder.kv_bytes_per_position(),
            Backend::Candle(decoder) => decoder.kv_bytes_per_position(),
        }
    }

    /// Instruction set and number of threads of the quantised products; `None` if there are
    /// none.
    #[must_use]
    pub fn kernels(&self) -> Option<(Isa, usize)> {
        match &self.backend {
            Backend::Kernels(decoder) => decoder.kernels(),
            Backend::Candle(_) => None,
        }
    }

    /// The threads that work between products, a router's scores included.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        match &self.backend {
            Backend::Kernels(decoder) => decoder.pool(),
            Backend::Candle(decoder) => decoder.pool(),
        }
    }

    /// The states `[n, hidden]` after the final norm, from those after the last layer.
    ///
    /// # Errors
    /// A failure of the device. There is none on the kernels.
    pub fn final_norm(&self, states: &[f32]) -> Result<Vec<f32>, ModelError> {
        match &self.backend {
            Backend::Kernels(decoder) => Ok(decoder.final_norm(states)),
            Backend::Candle(decoder) => decoder.final_norm(states),
        }
    }

    /// The steps of states `[n, hidden]` after the final norm, as [`Detail::Full`] has them. On the
    /// kernels a row of a pass gives the bits of that pass.
    ///
    /// # Errors
    /// Logits that are not finite, or a failure of the backend.
    pub fn steps_of(&self, states: &[f32]) -> Result<Vec<Step>, ModelError> {
        match &self.backend {
            Backend::Kernels(decoder) => decoder.steps_of(states),
            Backend::Candle(decoder) => decoder.steps_of(states),
        }
    }

    fn check(&self, feed: &Feed<'_, KvState>) -> Result<(), ModelError> {
        let ModelInfo { name, context, vocabulary, .. } = self.info();
        let (context, vocabulary) = (*context, *vocabulary);
        let tokens = feed.tokens.len();
        if feed.from >= tokens {
            return Err(ModelError::BadFeed { tokens, from: feed.from });
        }
        let positions = feed.state.len() + tokens;
        if positions > context {
            return Err(ModelError::ContextOverrun { positions, context, model: name.clone() });
        }
        if let Some(&token) = feed.tokens.iter().find(|&&t| t as usize >= vocabulary) {
            return Err(ModelError::TokenOutOfRange { token, vocabulary, model: name.clone() });
        }
        match (&self.backend, &feed.state.0) {
            (Backend::Kernels(_), State::Kernels(_)) | (Backend::Candle(_), State::Candle(_)) => {
                Ok(())
            }
            _ => Err(ModelError::Backend {
                model: name.clone(),
                message: format!("a state of another device; expected one of {}", self.device),
            }),
        }
    }

    /// Passes over checked feeds. One result for each feed.
    fn passes(&self, feeds: &mut [Feed<'_, KvState>], detail: Detail) -> Vec<FeedSteps> {
        // A checked feed has a state of this decoder's kind, so that none is left out.
        match &self.backend {
            Backend::Kernels(decoder) => {
                let feeds = feeds.iter_mut().filter_map(|feed| match &mut feed.state.0 {
                    State::Kernels(state) => {
                        Some(Feed { state, tokens: feed.tokens, from: feed.from })
                    }
                    State::Candle(_) => None,
                });
                decoder.passes(&mut feeds.collect::<Vec<_>>(), detail)
            }
            Backend::Candle(decoder) => {
                let feeds = feeds.iter_mut().filter_map(|feed| match &mut feed.state.0 {
                    State::Candle(state) => {
                        Some(Feed { state, tokens: feed.tokens, from: feed.from })
                    }
                    State::Kernels(_) => None,
                });
                decoder.passes(&mut feeds.collect::<Vec<_>>(), detail)
            }
        }
    }
}

impl LanguageModel for Decoder {
    type State = KvState;

    fn info(&self) -> &ModelInfo {
        match &self.backend {
            Backend::Kernels(decoder) => decoder.info(),
            Backend::Candle(decoder) => decoder.info(),
        }
    }

    #[cfg_attr(
        not(feature = "devices"),
        expect(unreachable_code, reason = "such a build has no state of candle's devices")
    )]
    fn start(&self) -> KvState {
        KvState(match &self.backend {
            Backend::Kernels(_) => State::Kernels(decoder::KvState::default()),
            Backend::Candle(decoder) => State::Candle(decoder.start()),
        })
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
