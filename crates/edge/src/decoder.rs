//! The Qwen2 decoder: a ragged batch flattened to rows, no padding, every
//! row's bits a function of its own prefix.

use rayon::prelude::*;
use tokenroute_core::{Detail, Feed, LanguageModel, ModelError, ModelInfo, Step, TokenId};

use crate::cache::{CacheShape, KvState};
use crate::forward::Pass;
use crate::kernel::Linear;
use crate::rows::Rotary;
use crate::weights::Weights;
use crate::{Config, EdgeError};

/// Multiply-adds that are worth a thread of their own, about a tenth of a
/// millisecond: less is lost again in waking it, many times over when the machine is shared.
const PART_WORK: usize = 8 << 20;

/// One decoder layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    /// hidden → queries, keys and values side by side
    pub(crate) qkv: Linear,
    pub(crate) output: Linear,
    pub(crate) mlp_norm: Vec<f32>,
    /// hidden → gate and up side by side
    pub(crate) gate_up: Linear,
    pub(crate) down: Linear,
}

/// A loaded Qwen2 decoder (RMS norm, grouped-query attention with biases on q, k
/// and v, `rotate_half` RoPE, SwiGLU, tied or untied LM head), in f32.
#[derive(Debug)]
pub struct Decoder {
    pub(crate) info: ModelInfo,
    pub(crate) config: Config,
    pub(crate) shape: CacheShape,
    /// `[vocabulary, hidden]`
    pub(crate) embedding: Vec<f32>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Vec<f32>,
    pub(crate) head: Linear,
    pub(crate) rotary: Rotary,
    /// Multiply-adds of one row, about.
    work: usize,
}

impl Decoder {
    /// Builds a decoder from Hugging Face's tensor names. Only the first
    /// `info.vocabulary` rows of embedding and LM head are used: rows beyond the
    /// tokenizer's vocabulary are padding and can never win.
    pub(crate) fn new(
        info: ModelInfo,
        config: Config,
        weights: &Weights<'_>,
    ) -> Result<Self, EdgeError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let key_value = config.key_value_size();
        let table = [config.vocab_size, hidden];
        let mut embedding = weights.tensor("model.embed_tokens.weight", &table)?;
        embedding.truncate(info.vocabulary * hidden);
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for i in 0..config.num_hidden_layers {
            let get = |name: &str, shape: &[usize]| {
                weights.tensor(&format!("model.layers.{i}.{name}"), shape)
            };
            let mut qkv = get("self_attn.q_proj.weight", &[hidden, hidden])?;
            qkv.extend(get("self_attn.k_proj.weight", &[key_value, hidden])?);
            qkv.extend(get("self_attn.v_proj.weight", &[key_value, hidden])?);
            let mut bias = get("self_attn.q_proj.bias", &[hidden])?;
            bias.extend(get("self_attn.k_proj.bias", &[key_value])?);
            bias.extend(get("self_attn.v_proj.bias", &[key_value])?);
            let mut gate_up = get("mlp.gate_proj.weight", &[inner, hidden])?;
            gate_up.extend(get("mlp.up_proj.weight", &[inner, hidden])?);
            let output = get("self_attn.o_proj.weight", &[hidden, hidden])?;
            let down = get("mlp.down_proj.weight", &[hidden, inner])?;
            layers.push(Layer {
                attention_norm: get("input_layernorm.weight", &[hidden])?,
                qkv: Linear::new(hidden, hidden + 2 * key_value, &qkv, Some(&bias)),
                output: Linear::new(hidden, hidden, &output, None),
                mlp_norm: get("post_attention_layernorm.weight", &[hidden])?,
                gate_up: Linear::new(hidden, 2 * inner, &gate_up, None),
                down: Linear::new(inner, hidden, &down, None),
            });
        }
        let norm = weights.tensor("model.norm.weight", &[hidden])?;
        let head = if config.tie_word_embeddings {
            Linear::new(hidden, info.vocabulary, &embedding, None)
        } else {
            let rows = weights.tensor("lm_head.weight", &table)?;
            Linear::new(hidden, info.vocabulary, &rows[..info.vocabulary * hidden], None)
        };
        let head_dim = config.head_dim();
        let rotary = Rotary::new(head_dim, config.rope_theta, config.max_position_embeddings);
        let layer = 2 * hidden * (hidden + key_value) + 3 * hidden * inner;
        Ok(Decoder {
            shape: CacheShape::new(layers.len(), config.num_key_value_heads, head_dim),
            work: config.num_hidden_layers * layer + hidden * info.vocabulary,
            info,
            config,
            embedding,
            layers,
            norm,
            head,
            rotary,
        })
    }

    /// The model's configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
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
    /// share nothing, so no thread waits for another within a layer.
    fn split<'f, 'a>(
        &self,
        feeds: &'f mut [Feed<'a, KvState>],
    ) -> Vec<&'f mut [Feed<'a, KvState>]> {
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
            return Pass::new(self, only, detail).run();
        }
        let results: Result<Vec<_>, ModelError> =
            parts.into_par_iter().map(|part| Pass::new(self, part, detail).run()).collect();
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
