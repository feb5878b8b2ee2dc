//! Scores, the threshold τ, and the only function that compares them.

use serde::{Deserialize, Serialize};

use crate::{Scored, ScorerState, Step, TokenId, TopTokens};

/// The router's P(the SLM's token may be kept), clamped to [2⁻⁵³, 1−2⁻⁵³]. It is an f64, so
/// that different logits have different scores: in f32 all logits above 17 share the
/// greatest one.
///
/// ```
/// use tokenroute_core::Score;
///
/// assert_eq!(Score::from_logit(0.0)?.get(), 0.5);
/// assert_eq!(Score::new(2.0)?, Score::MAX);
/// # Ok::<(), tokenroute_core::ScoreError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Score(f64);

impl Score {
    /// The lowest score, 2⁻⁵³.
    pub const MIN: Score = Score(f64::EPSILON / 2.0);
    /// The highest score, 1−2⁻⁵³: the greatest f64 below 1.
    pub const MAX: Score = Score(1.0 - f64::EPSILON / 2.0);

    /// Clamps a probability into the range of scores.
    ///
    /// # Errors
    /// [`ScoreError`] for NaN.
    pub fn new(value: f64) -> Result<Self, ScoreError> {
        if value.is_nan() {
            return Err(ScoreError::NaN);
        }
        Ok(Score(value.clamp(Self::MIN.0, Self::MAX.0)))
    }

    /// The logistic function of a logit, as a score.
    ///
    /// # Errors
    /// [`ScoreError`] for NaN.
    pub fn from_logit(logit: f64) -> Result<Self, ScoreError> {
        Self::new(1.0 / (1.0 + (-logit).exp()))
    }

    /// The score as a number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

/// Why a position has no score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// NaN.
    #[error("the router's score is NaN; its weights or its input are damaged")]
    NaN,
    /// A policy needs probabilities that came without the LLM's token.
    #[error(
        "the LLM's token came without probabilities, which the policy needs; decode without relay or lookahead, or use another LLM"
    )]
    NoProbabilities,
}

/// The threshold: a token is offloaded iff its score < τ. τ = 0 is SLM-only, τ = 1 is
/// LLM-only.
///
/// ```
/// use tokenroute_core::{Score, Tau};
///
/// let tau: Tau = "0.3".parse()?;
/// assert!(tau.offloads(Score::new(0.1)?));
/// assert!(!tau.offloads(Score::new(0.9)?));
/// assert!(!Tau::SLM_ONLY.offloads(Score::MIN));
/// assert!(Tau::LLM_ONLY.offloads(Score::MAX));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Tau(f64);

impl Tau {
    /// SLM-only.
    pub const SLM_ONLY: Tau = Tau(0.0);
    /// LLM-only.
    pub const LLM_ONLY: Tau = Tau(1.0);

    /// A threshold in [0, 1].
    ///
    /// # Errors
    /// Values outside [0, 1], NaN included.
    pub fn new(value: f64) -> Result<Self, TauError> {
        if (0.0..=1.0).contains(&value) { Ok(Tau(value)) } else { Err(TauError::Range(value)) }
    }

    /// The threshold as a number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// Whether a token with this score goes to the LLM.
    #[must_use]
    pub fn offloads(self, score: Score) -> bool {
        score.0 < self.0
    }
}

impl std::fmt::Display for Tau {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Rust prints the shortest decimal that parses to the same f64.
        write!(f, "{}", self.0)
    }
}

impl std::str::FromStr for Tau {
    type Err = TauError;
    fn from_str(text: &str) -> Result<Self, TauError> {
        let number = text.trim().parse();
        Tau::new(number.map_err(|_| TauError::NotANumber(text.to_owned()))?)
    }
}

impl TryFrom<f64> for Tau {
    type Error = TauError;
    fn try_from(value: f64) -> Result<Self, TauError> {
        Tau::new(value)
    }
}

impl From<Tau> for f64 {
    fn from(tau: Tau) -> f64 {
        tau.0
    }
}

/// A threshold that is none.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TauError {
    /// A number outside [0, 1].
    #[error("τ is {0}; expected a number from 0 (SLM-only) to 1 (LLM-only)")]
    Range(f64),
    /// A text that is no number.
    #[error("τ is {0:?}; expected a number from 0 (SLM-only) to 1 (LLM-only)")]
    NotANumber(String),
}

/// Everything that a policy may use to score a step.
#[derive(Debug, Clone, Copy)]
pub struct Position<'a> {
    /// Id of the question, for policies that hash it.
    pub question: &'a str,
    /// Number of tokens generated before this one.
    pub index: usize,
    /// The token before this position (the prompt's last for index 0).
    pub previous: TokenId,
    /// The SLM's step at this position. Its token is the greedy one, even under sampling: a
    /// policy sees the same input as in training.
    pub step: &'a Step,
    /// The SLM's entropy at the first token of the current sentence, in nats.
    pub sentence_entropy: f32,
    /// The SLM's entropy at the first token of the current paragraph, in nats. Paragraphs end
    /// with an empty line.
    pub paragraph_entropy: f32,
    /// The scorer's lowest score at an earlier position of this answer; 1 if there is none, or if
    /// the scorer needs the LLM.
    pub lowest: f64,
    /// What the scorer remembers of the earlier steps of this answer. `None` at the first one, of a
    /// scorer that remembers nothing, and of one that needs the LLM.
    pub state: Option<&'a ScorerState>,
    /// What the LLM says here; `None` unless the scorer needs it, or if the LLM failed.
    pub llm: Option<LlmStep<'a>>,
}

/// What the LLM says at a position.
#[derive(Debug, Clone, Copy)]
pub struct LlmStep<'a> {
    /// Its token.
    pub token: TokenId,
    /// Its most probable tokens; `None` unless the scorer needs them.
    pub top: Option<&'a TopTokens>,
}

/// A routing policy: the probability, per position, that the SLM's token may be kept. A
/// pure function of the position.
///
/// A scorer that remembers earlier steps gives its state by [`Scorer::scored`]. A scorer that
/// wraps another passes that call on.
pub trait Scorer: Sync {
    /// Scores one position.
    ///
    /// # Errors
    /// [`ScoreError`] if the score is NaN.
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError>;

    /// The same score, with what the scorer remembers at the next position of the answer. The
    /// provided method remembers nothing.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    fn scored(&self, position: &Position<'_>) -> Result<Scored, ScoreError> {
        self.score(position).map(Scored::from)
    }

    /// Whether [`Position::llm`] must be set. Then the LLM reads every position.
    fn needs_llm(&self) -> bool {
        false
    }

    /// Most bytes of [`Scored::state`]. An answer under way holds one, and one for each branch of
    /// speculation. 0 for a scorer that remembers nothing.
    fn state_bytes(&self) -> usize {
        0
    }

    /// Length of [`LlmStep::top`], of a scorer that needs it.
    fn llm_top(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_at_tau_keeps() {
        let s = Score::new(0.25).expect("a number");
        assert!(!Tau(0.25).offloads(s));
        assert!(Tau(0.25f64.next_up()).offloads(s));
    }

    #[test]
    fn the_ends_route_nothing_and_everything() {
        for v in [-1.0, 0.0, 0.5, 1.0, 2.0] {
            let s = Score::new(v).expect("a number");
            assert!(!Tau::SLM_ONLY.offloads(s));
            assert!(Tau::LLM_ONLY.offloads(s));
        }
        assert_eq!(Score::MIN.get(), 2f64.powi(-53));
        assert_eq!(Score::MAX.get(), 1f64.next_down());
        assert!(Score::new(f64::NAN).is_err());
    }

    #[test]
    fn different_logits_have_different_scores() {
        // All of these are 1−2⁻²⁴ in f32.
        let scores: Vec<Score> = (0..=1000)
            .map(|i| Score::from_logit(18.0 + f64::from(i) / 100.0).expect("a number"))
            .collect();
        assert!(scores.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(scores.iter().all(|score| *score < Score::MAX));
    }

    #[test]
    fn tau_prints_round_trip_and_refuses_outsiders() {
        for v in [0.0, 1.0, 0.1, 1.0 / 3.0, Score::MIN.get(), Score::MAX.get()] {
            let tau = Tau::new(v).expect("in range");
            assert_eq!(tau.to_string().parse::<Tau>(), Ok(tau));
        }
        for text in ["-0.1", "1.5", "NaN", "half"] {
            let error = text.parse::<Tau>().expect_err(text).to_string();
            assert!(error.contains(text) && error.contains("from 0"), "{error}");
        }
        let error = "".parse::<Tau>().expect_err("no text").to_string();
        assert!(error.starts_with("τ is \"\"; expected a number"), "{error}");
    }
}
