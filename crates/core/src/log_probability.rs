//! Log-probabilities of tokens, in nats: the log-softmax over all logits.

use crate::TokenId;

/// The log-probability of a token at a step, beside those of the most probable ones.
#[derive(Debug, Clone, PartialEq)]
pub struct LogProbability {
    /// The token's own, in nats.
    pub value: f32,
    /// 1 for the greedy token.
    pub rank: usize,
    /// The most probable tokens, best first, ties to the lowest id.
    pub top: Vec<(TokenId, f32)>,
}

impl LogProbability {
    /// Of `token` at a step with these logits `[vocabulary]`, which must include it; `top` of
    /// the most probable tokens come with it.
    #[must_use]
    pub fn of(logits: &[f32], token: TokenId, top: usize) -> Self {
        let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|&x| f64::from(x - greatest).exp()).sum();
        let value = |id: usize| (f64::from(logits[id] - greatest) - sum.ln()) as f32;
        let own = token as usize;
        let above = |&(id, x): &(usize, &f32)| *x > logits[own] || (*x == logits[own] && id < own);
        let rank = 1 + logits.iter().enumerate().filter(above).count();
        let better = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
        let candidates = if top > 0 { logits.len() } else { 0 };
        let mut order: Vec<usize> = (0..candidates).collect();
        if top < order.len() {
            order.select_nth_unstable_by(top - 1, better);
        }
        order.truncate(top);
        order.sort_by(better);
        let top = order.into_iter().map(|id| (id as TokenId, value(id))).collect();
        LogProbability { value: value(own), rank, top }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_take_the_lowest_id_and_probabilities_sum_to_one() {
        let logits = [1.0, 3.0, 3.0, -2.0];
        let second = LogProbability::of(&logits, 2, 2);
        assert_eq!(second.rank, 2);
        assert_eq!(second.top.iter().map(|t| t.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(second.value, second.top[1].1);
        let all = LogProbability::of(&logits, 3, 9);
        assert_eq!((all.rank, all.top.len()), (4, 4));
        let sum: f32 = all.top.iter().map(|t| t.1.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        assert_eq!(LogProbability::of(&logits, 0, 0).top, []);
    }
}
