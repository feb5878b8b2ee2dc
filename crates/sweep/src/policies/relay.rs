//! Relays whose length the router's score chooses.

use tokenroute_core::{Position, Score, ScoreError, Scored, Scorer, ScorerState};

use super::{Needs, Policy, PolicyInputs, PolicyKind};

/// After RelayLLM (arXiv 2601.05167): the LLM makes a run of tokens, whose length is chosen where
/// the run begins. There the SLM is trained to write a command with the length. Here the router's
/// score s chooses it: ⌈−log₂ s⌉ tokens, at least one. So a run is one token longer each time the
/// doubt doubles.
///
/// The score of a run's first token holds for its other tokens, unless the router gives a lower
/// one: then a new run begins. So at every τ a token is offloaded iff it lies in a run that began
/// below τ, and the sweep is exact.
pub struct RouterRelay {
    router: Box<dyn Scorer + Send>,
}

/// What holds from a position on.
struct Run {
    /// The score of its first token.
    score: Score,
    /// Tokens that it still holds for.
    left: u32,
    /// What the router remembers.
    router: Option<ScorerState>,
}

impl RouterRelay {
    /// By the scores of this router, which must not need the LLM.
    #[must_use]
    pub fn by(router: Box<dyn Scorer + Send>) -> Self {
        RouterRelay { router }
    }

    /// Number of tokens of a run that begins with this score.
    #[must_use]
    pub fn length(score: Score) -> u32 {
        (-score.get().log2()).ceil().max(1.0) as u32
    }
}

impl Policy for RouterRelay {
    const NAME: &'static str = "router-relay";
    const KIND: PolicyKind = PolicyKind::Relay;
    const SCORE: &'static str = "the router's score s, which holds for ⌈−log₂ s⌉ tokens unless a \
        lower one comes: the LLM makes a run whose length the score chooses (after RelayLLM, arXiv \
        2601.05167)";
    const NEEDS: Needs = Needs { router: true, path: true, ..Needs::NOTHING };

    fn build(inputs: &PolicyInputs<'_>) -> Option<Self> {
        Some(RouterRelay::by((inputs.router)()?))
    }
}

impl Scorer for RouterRelay {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Ok(self.scored(position)?.score)
    }

    fn scored(&self, position: &Position<'_>) -> Result<Scored, ScoreError> {
        let run = position.state.and_then(|state| state.get::<Run>());
        let state = run.and_then(|run| run.router.as_ref());
        let here = self.router.scored(&Position { state, ..*position })?;
        let (score, left) = match run.filter(|run| run.left > 0) {
            Some(run) if run.score <= here.score => (run.score, run.left - 1),
            _ => (here.score, Self::length(here.score) - 1),
        };
        let run = Run { score, left, router: here.state };
        Ok(Scored { score, state: Some(ScorerState::new(run)) })
    }

    fn state_bytes(&self) -> usize {
        self.router.state_bytes() + size_of::<Run>()
    }
}
