//! What a sweep took, beside what decoding at the ends of τ would have taken.

use serde::{Deserialize, Serialize};
use tokenroute_core::{Curve, Tau};

use crate::report;

/// Values of τ in the even grid that an exact sweep is held against.
pub const GRID_POINTS: u32 = 101;

/// Positions processed by a sweep, discarded work included, as if its policy
/// had been swept alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepCost {
    /// Positions the SLM processed, prompts included.
    pub slm_positions: u64,
    /// Positions the LLM processed, prompts included.
    pub llm_positions: u64,
    /// Prompt positions before the one that gives the first token.
    pub prompt_positions: u64,
    /// Tokens of the SLM-only answers.
    pub slm_only_tokens: u64,
    /// Tokens of the LLM-only answers.
    pub llm_only_tokens: u64,
}

impl SweepCost {
    /// Answer positions the SLM evaluated; one decode takes one per token.
    #[must_use]
    pub fn decoded_tokens(&self) -> u64 {
        self.slm_positions.saturating_sub(self.prompt_positions)
    }

    /// Answer positions the SLM evaluated / SLM-only tokens. Reading the prompt,
    /// which any decode does once, is left out on both sides: a grid of 101
    /// values of τ costs about 101.
    #[must_use]
    pub fn cost_ratio(&self) -> f64 {
        self.decoded_tokens() as f64 / self.slm_only_tokens.max(1) as f64
    }

    /// The same for the LLM, against LLM-only decoding.
    #[must_use]
    pub fn llm_cost_ratio(&self) -> f64 {
        self.llm_positions.saturating_sub(self.prompt_positions) as f64
            / self.llm_only_tokens.max(1) as f64
    }

    /// The report's line on the sweep that gave `curve`, beside the exact cost
    /// of decoding at every τ of the grid.
    #[must_use]
    pub fn report(&self, curve: &Curve) -> report::SweepCost {
        let last = GRID_POINTS - 1;
        let grid: u64 = (0..=last)
            .filter_map(|i| Tau::new(i as f32 / last as f32).ok())
            .map(|tau| curve.at(tau).generated)
            .sum();
        report::SweepCost {
            decoded_tokens: self.decoded_tokens(),
            slm_only_tokens: self.slm_only_tokens,
            cost_ratio: self.cost_ratio(),
            llm_cost_ratio: self.llm_cost_ratio(),
            grid_points: GRID_POINTS,
            grid_cost_ratio: grid as f64 / self.slm_only_tokens.max(1) as f64,
        }
    }
}

impl std::ops::AddAssign for SweepCost {
    fn add_assign(&mut self, other: Self) {
        self.slm_positions += other.slm_positions;
        self.llm_positions += other.llm_positions;
        self.prompt_positions += other.prompt_positions;
        self.slm_only_tokens += other.slm_only_tokens;
        self.llm_only_tokens += other.llm_only_tokens;
    }
}

impl std::iter::Sum for SweepCost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |mut sum, cost| {
            sum += cost;
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenroute_core::CurvePoint;

    #[test]
    fn the_grid_costs_what_its_decodes_would() {
        let point = |end, generated| CurvePoint {
            end,
            correct: 0,
            offloaded: 0,
            generated,
            llm_positions: 0,
        };
        // 51 values of τ up to .5, 50 above.
        let curve = Curve { questions: 4, points: vec![point(0.5, 40), point(1.0, 44)] };
        let cost = SweepCost {
            slm_positions: 100,
            llm_positions: 90,
            prompt_positions: 20,
            slm_only_tokens: 40,
            llm_only_tokens: 40,
        };
        let line = cost.report(&curve);
        assert_eq!((line.decoded_tokens, line.cost_ratio, line.llm_cost_ratio), (80, 2.0, 1.75));
        assert_eq!((line.grid_points, line.grid_cost_ratio), (101, 51.0 + 55.0));
    }
}
