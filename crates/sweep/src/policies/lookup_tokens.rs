//! A table of keep rates by the last two tokens, learnt from the labels.

use std::collections::HashMap;

use tokenroute_core::{LabelRow, Position, Score, ScoreError, Scorer, TokenId};

use super::keep_rate::KeepRate;
use super::{Needs, Policy, PolicyInputs, PolicyKind};

/// The labels' keep rate by previous token and SLM token. The rate of a rare pair
/// is drawn towards that of its SLM token, which is drawn towards the rate over all
/// positions.
#[derive(Debug, Clone)]
pub struct LookupTokens {
    all: f64,
    tokens: HashMap<TokenId, f64>,
    pairs: HashMap<(TokenId, TokenId), f64>,
}

impl LookupTokens {
    /// Learns the rates from rows of the router-train split, by their weights.
    #[must_use]
    pub fn learn(rows: &[LabelRow]) -> Self {
        let mut all = KeepRate::default();
        let mut tokens: HashMap<TokenId, KeepRate> = HashMap::new();
        let mut pairs: HashMap<(TokenId, TokenId), KeepRate> = HashMap::new();
        for row in rows.iter().filter(|r| r.weight > 0.0) {
            all.add(row);
            tokens.entry(row.slm_token).or_default().add(row);
            pairs.entry((row.previous, row.slm_token)).or_default().add(row);
        }
        let all = all.towards(0.5);
        let tokens: HashMap<_, _> = tokens.into_iter().map(|(t, r)| (t, r.towards(all))).collect();
        let pairs = pairs.into_iter().map(|(p, r)| (p, r.towards(tokens[&p.1]))).collect();
        LookupTokens { all, tokens, pairs }
    }
}

impl Policy for LookupTokens {
    const NAME: &'static str = "lookup-tokens";
    const KIND: PolicyKind = PolicyKind::Lookup;
    const SCORE: &'static str =
        "the keep rate in the training labels after the previous token and the SLM's token";
    const NEEDS: Needs = Needs { rows: true, ..Needs::NOTHING };

    fn build(inputs: &PolicyInputs<'_>) -> Option<Self> {
        Some(LookupTokens::learn(inputs.rows))
    }
}

impl Scorer for LookupTokens {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        let token = position.step.token;
        let rate = self
            .pairs
            .get(&(position.previous, token))
            .or_else(|| self.tokens.get(&token))
            .unwrap_or(&self.all);
        Score::new(*rate)
    }
}
