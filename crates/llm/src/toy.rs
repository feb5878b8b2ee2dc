//! A tiny deterministic model: its logits are a hash of the prefix. It has no weights, but
//! forks and truncates its state like a real one, thousands of times a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokenroute_core::{
    Breaks, Detail, Feed, LanguageModel, ModelError, ModelInfo, Step, TokenId, Vocabulary,
    stable_hash,
};

const VOCABULARY: usize = 16;
const HIDDEN: usize = 4;
const TOP_K: usize = 4;
/// Either ends an answer; 14 is the canonical one.
const ENDS: [TokenId; 2] = [14, 15];
const SENTENCE_END: TokenId = 13;
/// Ends a sentence too.
const PARAGRAPH_END: TokenId = 12;

/// A model whose every step is a pure function of the prefix and a seed.
#[derive(Debug)]
pub struct ToyModel {
    info: ModelInfo,
    seed: u64,
    /// Another toy's seed, and the share of prefixes with its token.
    follows: Option<(u64, f32)>,
    /// A token after which the toy's values are not finite.
    breaks_at: Option<TokenId>,
    processed: AtomicU64,
}

impl ToyModel {
    /// A toy with tokens of its own.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let info = ModelInfo {
            name: format!("toy-{seed}"),
            weights_hash: format!("{seed:016x}"),
            hidden: HIDDEN,
            vocabulary: VOCABULARY,
            context: 4096,
            top_k: TOP_K,
        };
        ToyModel { info, seed, follows: None, breaks_at: None, processed: AtomicU64::new(0) }
    }

    /// A toy with the tokens of `other` at this share of all prefixes, but probabilities of
    /// its own. `other` must not follow a third toy.
    #[must_use]
    pub fn following(seed: u64, other: &ToyModel, share: f32) -> Self {
        let mut toy = Self::new(seed);
        toy.info.weights_hash = format!("{seed:016x}-{:016x}-{share}", other.seed);
        toy.follows = Some((other.seed, share));
        toy
    }

    /// The same toy, whose steps list this many of the most probable tokens.
    #[must_use]
    pub fn listing(mut self, top_k: usize) -> Self {
        self.info.top_k = top_k;
        self
    }

    /// Makes the values after this token not finite, as damaged weights do. The feed with the
    /// token fails alone.
    #[must_use]
    pub fn breaking_at(mut self, token: TokenId) -> Self {
        self.breaks_at = Some(token);
        self
    }

    /// The vocabulary of every toy: 16 tokens, of which 14 and 15 end an answer, 13 ends a
    /// sentence and 12 a paragraph.
    #[must_use]
    pub fn vocabulary() -> Vocabulary {
        let text = |token| match token {
            SENTENCE_END => ".",
            PARAGRAPH_END => "\n\n",
            _ => "",
        };
        let breaks = (0..VOCABULARY as TokenId).map(|token| Breaks::of(text(token))).collect();
        Vocabulary::new(ENDS.to_vec(), breaks, "toy".to_owned())
    }

    /// Positions processed so far, over all calls.
    pub fn processed(&self) -> u64 {
        self.processed.load(Ordering::Relaxed)
    }

    fn step(&self, prefix: u64, detail: Detail) -> Step {
        let logits = match self.follows {
            Some((other, share)) if unit(self.seed ^ 0xF011, prefix, 0) < share => {
                // The same order of tokens at another temperature.
                let warmth = 0.2 + 2.0 * unit(self.seed, prefix, 1);
                logits(other, prefix).map(|x| x * warmth)
            }
            _ => logits(self.seed, prefix),
        };
        let mut order: Vec<TokenId> = (0..VOCABULARY as TokenId).collect();
        order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        let token = order[0];
        if detail == Detail::Token {
            return Step {
                token,
                top: Vec::new(),
                top_logits: Vec::new(),
                entropy: 0.0,
                rest: 1.0,
                hidden: Arc::new([]),
                logits: None,
            };
        }
        let sum: f32 = logits.iter().map(|x| x.exp()).sum();
        let p = logits.map(|x| x.exp() / sum);
        let top = &order[..self.info.top_k.min(VOCABULARY)];
        Step {
            token,
            top: top.iter().map(|&t| (t, p[t as usize])).collect(),
            top_logits: top.iter().map(|&t| logits[t as usize]).collect(),
            entropy: -p.iter().map(|p| p * p.ln()).sum::<f32>(),
            rest: order[1..].iter().map(|&t| f64::from(p[t as usize])).sum(),
            hidden: (0..HIDDEN).map(|i| unit(self.seed ^ 0x41D, prefix, i)).collect(),
            logits: (detail == Detail::Logits).then(|| logits.to_vec()),
        }
    }
}

impl ToyModel {
    fn advance_one(
        &self,
        feed: &mut Feed<'_, Vec<u64>>,
        detail: Detail,
    ) -> Result<Vec<Step>, ModelError> {
        let ModelInfo { context, vocabulary, .. } = self.info;
        let model = || self.info.name.clone();
        if feed.from >= feed.tokens.len() {
            return Err(ModelError::BadFeed { tokens: feed.tokens.len(), from: feed.from });
        }
        let positions = feed.state.len() + feed.tokens.len();
        if positions > context {
            return Err(ModelError::ContextOverrun { positions, context, model: model() });
        }
        self.processed.fetch_add(feed.tokens.len() as u64, Ordering::Relaxed);
        let mut steps = Vec::with_capacity(feed.tokens.len() - feed.from);
        for (i, &token) in feed.tokens.iter().enumerate() {
            if token as usize >= vocabulary {
                return Err(ModelError::TokenOutOfRange { token, vocabulary, model: model() });
            }
            if self.breaks_at == Some(token) {
                let position = feed.state.len();
                return Err(ModelError::NotFinite { model: model(), position });
            }
            let before = feed.state.last().copied().unwrap_or(0);
            let prefix = mix(before, u64::from(token), 0x70C);
            feed.state.push(prefix);
            if i >= feed.from {
                steps.push(self.step(prefix, detail));
            }
        }
        Ok(steps)
    }
}

/// Logits in [0, 4).
fn logits(seed: u64, prefix: u64) -> [f32; VOCABULARY] {
    std::array::from_fn(|i| 4.0 * unit(seed, prefix, 16 + i))
}

fn mix(a: u64, b: u64, c: u64) -> u64 {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&a.to_le_bytes());
    bytes[8..16].copy_from_slice(&b.to_le_bytes());
    bytes[16..].copy_from_slice(&c.to_le_bytes());
    stable_hash(&bytes)
}

/// A number in [0, 1).
fn unit(seed: u64, prefix: u64, i: usize) -> f32 {
    (mix(seed, prefix, i as u64) >> 40) as f32 / (1u32 << 24) as f32
}

impl LanguageModel for ToyModel {
    /// The hash of every prefix, the shortest first.
    type State = Vec<u64>;

    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn start(&self) -> Vec<u64> {
        Vec::new()
    }

    fn positions(&self, state: &Vec<u64>) -> usize {
        state.len()
    }

    fn position_bytes(&self) -> usize {
        size_of::<u64>()
    }

    fn truncate(&self, state: &mut Vec<u64>, len: usize) {
        state.truncate(len);
    }

    fn advance(
        &self,
        feeds: &mut [Feed<'_, Vec<u64>>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        feeds.iter_mut().map(|feed| self.advance_one(feed, detail)).collect()
    }

    fn advance_each(
        &self,
        feeds: &mut [Feed<'_, Vec<u64>>],
        detail: Detail,
    ) -> Vec<Result<Vec<Step>, ModelError>> {
        feeds.iter_mut().map(|feed| self.advance_one(feed, detail)).collect()
    }
}
