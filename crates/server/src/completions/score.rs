//! Tokens with their log-probabilities.

use tokenroute_core::{LogProbability, Step, TokenId};

/// A token with its log-probability and rank.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scored {
    pub(crate) token: TokenId,
    /// `None` if only the token was asked for.
    pub(crate) logprob: Option<f32>,
    /// 1 for the greedy token.
    pub(crate) rank: usize,
    /// The most probable tokens, best first, ties to the lowest id.
    pub(crate) top: Vec<(TokenId, f32)>,
}

/// Scores `token` at a step that carries logits. Without `top`, or without
/// logits, the result has the token alone.
pub(crate) fn score(step: &Step, token: TokenId, top: Option<usize>) -> Scored {
    let (Some(top), Some(logits)) = (top, &step.logits) else {
        return Scored { token, logprob: None, rank: 1, top: Vec::new() };
    };
    let LogProbability { value, rank, top } = LogProbability::of(logits, token, top);
    Scored { token, logprob: Some(value), rank, top }
}
