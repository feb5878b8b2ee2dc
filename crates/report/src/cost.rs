//! The cost of a sweep in the figures that the report shows.

use serde::{Deserialize, Serialize};
use tokenroute_core::{Curve, Tau};
use tokenroute_sweep::SweepCost;

/// Values of τ in the even grid that an exact sweep is compared with.
pub const GRID_POINTS: u32 = 101;

/// The cost of an exact sweep beside that of decoding once, and at every τ of a grid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CostSummary {
    /// Answer positions the SLM evaluated, discarded work included.
    pub decoded_tokens: u64,
    /// Tokens of one SLM-only decode of all questions.
    pub slm_only_tokens: u64,
    /// Decoded tokens / SLM-only tokens.
    pub cost_ratio: f64,
    /// The same for the LLM, against LLM-only decoding.
    pub llm_cost_ratio: f64,
    /// The cost ratio of decoding at each of [`GRID_POINTS`] values of τ.
    pub grid_cost_ratio: f64,
}

impl CostSummary {
    /// The figures of the sweep that gave `curve`.
    #[must_use]
    pub fn of(cost: &SweepCost, curve: &Curve) -> Self {
        let last = GRID_POINTS - 1;
        let grid: u64 = (0..=last)
            .filter_map(|i| Tau::new(i as f64 / last as f64).ok())
            .map(|tau| curve.at(tau).generated)
            .sum();
        CostSummary {
            decoded_tokens: cost.decoded_tokens(),
            slm_only_tokens: cost.slm_only_tokens,
            cost_ratio: cost.cost_ratio(),
            llm_cost_ratio: cost.llm_cost_ratio(),
            grid_cost_ratio: grid as f64 / cost.slm_only_tokens.max(1) as f64,
        }
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
            cut: 0,
            offloaded: 0,
            generated,
            llm_positions: 0,
        };
        // 51 values of τ up to .5, 50 above.
        let curve = Curve { questions: 4, points: vec![point(0.5, 40), point(1.0, 44)] };
        let cost = SweepCost {
            new_slm_positions: 0,
            new_llm_positions: 0,
            slm_positions: 100,
            llm_positions: 90,
            prompt_positions: 20,
            slm_only_tokens: 40,
            llm_only_tokens: 40,
        };
        let line = CostSummary::of(&cost, &curve);
        assert_eq!((line.decoded_tokens, line.cost_ratio, line.llm_cost_ratio), (80, 2.0, 1.75));
        assert_eq!(line.grid_cost_ratio, 51.0 + 55.0);
    }
}
