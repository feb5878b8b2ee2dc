//! Log-probabilities of a step, in nats: the log-softmax over all logits.

use tokenroute_core::{Step, TokenId};

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
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&x| f64::from(x - greatest).exp()).sum();
    let logprob = |id: usize| (f64::from(logits[id] - greatest) - sum.ln()) as f32;
    let own = token as usize;
    let above = |&(id, x): &(usize, &f32)| *x > logits[own] || (*x == logits[own] && id < own);
    let rank = 1 + logits.iter().enumerate().filter(above).count();
    let better = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    let mut order: Vec<usize> = (0..logits.len()).collect();
    if top > 0 && top < order.len() {
        order.select_nth_unstable_by(top - 1, better);
    }
    order.truncate(top);
    order.sort_by(better);
    let top = order.into_iter().map(|id| (id as TokenId, logprob(id))).collect();
    Scored { token, logprob: Some(logprob(own)), rank, top }
}
