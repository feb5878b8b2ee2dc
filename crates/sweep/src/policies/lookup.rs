//! Policies that look a keep rate up in a table learnt from the labels.

use std::collections::HashMap;

use tokenroute_core::{LabelRow, Position, Score, ScoreError, Scorer, TokenId};

/// Weight of the general rate in a specific one, in observations.
const SMOOTHING: f64 = 4.0;

/// A weighted mean of targets.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    keep: f64,
    weight: f64,
}

impl Rate {
    fn add(&mut self, row: &LabelRow) {
        self.keep += f64::from(row.target) * f64::from(row.weight);
        self.weight += f64::from(row.weight);
    }

    /// The mean, with [`SMOOTHING`] further observations of `general`.
    fn towards(&self, general: f64) -> f64 {
        (self.keep + SMOOTHING * general) / (self.weight + SMOOTHING)
    }
}

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
        let mut all = Rate::default();
        let mut tokens: HashMap<TokenId, Rate> = HashMap::new();
        let mut pairs: HashMap<(TokenId, TokenId), Rate> = HashMap::new();
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

/// The labels' keep rate by position. Positions beyond the labels have the rate
/// over all.
#[derive(Debug, Clone)]
pub struct LookupPosition {
    all: f64,
    positions: Vec<f64>,
}

impl LookupPosition {
    /// Learns the rates from rows of the router-train split, by their weights.
    #[must_use]
    pub fn learn(rows: &[LabelRow]) -> Self {
        let mut all = Rate::default();
        let mut positions: Vec<Rate> = Vec::new();
        for row in rows.iter().filter(|r| r.weight > 0.0) {
            all.add(row);
            let index = row.position as usize;
            if positions.len() <= index {
                positions.resize(index + 1, Rate::default());
            }
            positions[index].add(row);
        }
        let all = all.towards(0.5);
        LookupPosition { all, positions: positions.iter().map(|r| r.towards(all)).collect() }
    }
}

impl Scorer for LookupPosition {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        let rate = self.positions.get(position.index).unwrap_or(&self.all);
        Score::new(*rate)
    }
}
