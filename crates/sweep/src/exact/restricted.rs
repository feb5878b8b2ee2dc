//! A policy with τ restricted to a few values, so that a question has few
//! trajectories. For pairs that differ at nearly every token.

use tokenroute_core::{Position, Score, ScoreError, Scored, Scorer, Tau};

/// A scorer with every score lowered to the greatest of some values of τ that it
/// reaches, or to 0. At those values it offloads the same tokens as `scorer`. A
/// question has at most one trajectory more than there are values.
pub struct Restricted<'a> {
    scorer: &'a dyn Scorer,
    /// In ascending order.
    taus: Vec<f64>,
}

impl<'a> Restricted<'a> {
    /// Restricts a scorer to these values.
    #[must_use]
    pub fn new(scorer: &'a dyn Scorer, taus: &[Tau]) -> Self {
        let mut taus: Vec<f64> = taus.iter().map(|tau| tau.get()).collect();
        taus.sort_unstable_by(f64::total_cmp);
        Restricted { scorer, taus }
    }
}

impl Scorer for Restricted<'_> {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Ok(self.scored(position)?.score)
    }

    fn scored(&self, position: &Position<'_>) -> Result<Scored, ScoreError> {
        let Scored { score, state } = self.scorer.scored(position)?;
        let reached = self.taus.partition_point(|&tau| tau <= score.get());
        let score = Score::new(if reached == 0 { 0.0 } else { self.taus[reached - 1] })?;
        Ok(Scored { score, state })
    }

    fn needs_llm(&self) -> bool {
        self.scorer.needs_llm()
    }

    fn state_bytes(&self) -> usize {
        self.scorer.state_bytes()
    }

    fn llm_top(&self) -> usize {
        self.scorer.llm_top()
    }
}
