//! The policy that hands an answer over: the SLM begins, and from some token on the LLM makes all.

use crate::{Position, Score, ScoreError, Scored, Scorer};

/// Offloads every token from the first on whose score is below τ: the score is the lowest of the
/// router's scores so far. So an answer changes hands at most once, and the LLM can make its rest
/// in one call.
pub struct Handoff {
    router: Box<dyn Scorer + Send>,
}

impl Handoff {
    /// By the scores of this router, which must not need the LLM.
    #[must_use]
    pub fn by(router: Box<dyn Scorer + Send>) -> Self {
        Handoff { router }
    }
}

impl Scorer for Handoff {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Ok(self.scored(position)?.score)
    }

    fn scored(&self, position: &Position<'_>) -> Result<Scored, ScoreError> {
        let Scored { score, state } = self.router.scored(position)?;
        Ok(Scored { score: Score::new(score.get().min(position.lowest))?, state })
    }

    fn state_bytes(&self) -> usize {
        self.router.state_bytes()
    }
}
