//! A table of keep rates by position, learnt from the labels.

use tokenroute_core::{LabelRow, Position, Score, ScoreError, Scorer};

use super::keep_rate::KeepRate;
use super::{Needs, Policy, PolicyInputs, PolicyKind};

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
        let mut all = KeepRate::default();
        let mut positions: Vec<KeepRate> = Vec::new();
        for row in rows.iter().filter(|r| r.weight > 0.0) {
            all.add(row);
            let index = row.position as usize;
            if positions.len() <= index {
                positions.resize(index + 1, KeepRate::default());
            }
            positions[index].add(row);
        }
        let all = all.towards(0.5);
        LookupPosition { all, positions: positions.iter().map(|r| r.towards(all)).collect() }
    }
}

impl Policy for LookupPosition {
    const NAME: &'static str = "lookup-position";
    const KIND: PolicyKind = PolicyKind::Lookup;
    const SCORE: &'static str = "the keep rate in the training labels at that position";
    const NEEDS: Needs = Needs { rows: true, ..Needs::NOTHING };

    fn build(inputs: &PolicyInputs<'_>) -> Option<Self> {
        Some(LookupPosition::learn(inputs.rows))
    }
}

impl Scorer for LookupPosition {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        let rate = self.positions.get(position.index).unwrap_or(&self.all);
        Score::new(*rate)
    }
}
