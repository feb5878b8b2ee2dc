//! Policies that decide once a question: the SLM or another way makes the whole answer. Their
//! curves follow from both answers, without more decoding.

mod facts;

use serde::{Deserialize, Serialize};
use tokenroute_core::{Piece, QuestionCurve, Score, ScoreError, Tau, unit_hash};

use crate::policies::PolicyKind;
pub use facts::{QuestionFacts, SlmAnswer, slm_answers};

/// The policies of this module by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueryPolicy {
    /// A mix of both answers by chance.
    Random,
    /// Knows both grades.
    Oracle,
    /// The SLM answers first; the mean entropy of its answer decides whether the LLM answers
    /// again (a cascade by token-level uncertainty, as in arXiv 2404.10136).
    Cascade,
    /// A logistic head on the SLM's state before the first token.
    Head,
    /// Knows both grades; the other way is the walk.
    RolloutOracle,
}

impl QueryPolicy {
    /// All of them, in the order of reports.
    pub const ALL: [QueryPolicy; 5] = [
        QueryPolicy::Random,
        QueryPolicy::Oracle,
        QueryPolicy::Cascade,
        QueryPolicy::Head,
        QueryPolicy::RolloutOracle,
    ];

    /// The name in experiment files and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            QueryPolicy::Random => "query-random",
            QueryPolicy::Oracle => "query-oracle",
            QueryPolicy::Cascade => "query-cascade",
            QueryPolicy::Head => "query-head",
            QueryPolicy::RolloutOracle => "rollout-oracle",
        }
    }

    /// The sort of the policy.
    #[must_use]
    pub fn kind(self) -> PolicyKind {
        match self {
            QueryPolicy::Oracle | QueryPolicy::RolloutOracle => PolicyKind::Oracle,
            _ => PolicyKind::QueryLevel,
        }
    }

    /// Whether an experiment has to name it, since it takes more decoding than the sweep.
    #[must_use]
    pub fn is_named(self) -> bool {
        !matches!(self, QueryPolicy::Random | QueryPolicy::Oracle)
    }

    /// The curve of a question; `None` if a fact is missing. `curve` is exact, of any policy
    /// that decides by token.
    ///
    /// # Errors
    /// A fact that is not a number.
    pub fn curve(
        self,
        seed: u64,
        curve: &QuestionCurve,
        facts: Option<&QuestionFacts>,
    ) -> Result<Option<QuestionCurve>, ScoreError> {
        let scored = |score: f64| Ok(decided(&curve.question, ends(curve), Score::new(score)?));
        match self {
            QueryPolicy::Random => random(seed, curve).map(Some),
            QueryPolicy::Oracle => oracle(&curve.question, ends(curve)).map(Some),
            QueryPolicy::Cascade => facts.and_then(|f| f.certainty).map(scored).transpose(),
            QueryPolicy::Head => facts.and_then(|f| f.keep).map(scored).transpose(),
            QueryPolicy::RolloutOracle => {
                facts.and_then(|f| f.walked).map(|w| rollout_oracle(curve, w)).transpose()
            }
        }
    }
}

/// Offloaded tokens at which the oracle's score has come half way. It orders gains by their
/// price and changes nothing else.
const HALF_WAY: f64 = 100.0;

/// The pieces of the SLM's and of the LLM's own answer, from any exact curve.
#[must_use]
pub fn ends(curve: &QuestionCurve) -> [Piece; 2] {
    [curve.at(Tau::SLM_ONLY), curve.at(Tau::LLM_ONLY)]
}

/// The curve of one decision: the SLM's answer up to τ = score, the other above.
#[must_use]
pub fn decided(question: &str, [slm, other]: [Piece; 2], score: Score) -> QuestionCurve {
    let pieces = vec![Piece { end: score.get(), ..slm }, Piece { end: 1.0, ..other }];
    QuestionCurve { question: question.to_owned(), pieces }
}

/// A mix of both answers by chance: the score is a hash of the seed and the question.
///
/// # Errors
/// Never; a hash is a number.
pub fn random(seed: u64, curve: &QuestionCurve) -> Result<QuestionCurve, ScoreError> {
    let score = Score::new(unit_hash(seed, &curve.question, usize::MAX))?;
    Ok(decided(&curve.question, ends(curve), score))
}

/// Knows both grades. Questions that the other answer wins come first, cheapest gain first:
/// below τ = ½. Those that gain nothing follow, and those that lose come last.
///
/// # Errors
/// Never; a count is a number.
pub fn oracle(question: &str, [slm, other]: [Piece; 2]) -> Result<QuestionCurve, ScoreError> {
    let tokens = f64::from(other.offloaded);
    let order = tokens / (tokens + HALF_WAY);
    let score = match (slm.correct, other.correct) {
        (false, true) => 0.5 * order,
        (true, false) => 0.75 + 0.25 * order,
        _ => 0.5 + 0.25 * order,
    };
    Ok(decided(question, [slm, other], Score::new(score)?))
}

/// What the rollout oracle knows of a question: grade and tokens of the AutoJudge walk
/// (arXiv 2504.20039), which keeps each SLM token that the LLM's continuation forgives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walked {
    /// Whether the walk's answer is right.
    pub correct: bool,
    /// Whether it was cut; see [`Piece::cut`].
    pub cut: bool,
    /// Tokens that the walk took from the LLM.
    pub offloaded: u32,
    /// Tokens of the walk's answer.
    pub generated: u32,
}

/// The rollout oracle: per question the SLM alone or the walk, cheapest gains first. A strong
/// reference, no proven bound: the walk is greedy.
///
/// # Errors
/// Never; a count is a number.
pub fn rollout_oracle(curve: &QuestionCurve, walked: Walked) -> Result<QuestionCurve, ScoreError> {
    let Walked { correct, cut, offloaded, generated } = walked;
    let [slm, llm] = ends(curve);
    // The prompt and the tokens before the last one, as if the last were the LLM's.
    let prompt = (llm.llm_positions + 1).saturating_sub(llm.generated);
    let read = prompt + generated.saturating_sub(1);
    let llm_positions = if offloaded == 0 { 0 } else { read };
    let walk = Piece { end: 1.0, correct, cut, offloaded, generated, llm_positions };
    oracle(&curve.question, [slm, walk])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenroute_core::{Curve, Gap};

    fn curve(id: &str, slm: bool, llm: bool, tokens: u32) -> QuestionCurve {
        let piece = |end, correct, offloaded| Piece {
            end,
            correct,
            // The SLM's wrong answers ran on.
            cut: !correct && offloaded == 0,
            offloaded,
            generated: tokens,
            llm_positions: if offloaded > 0 { 9 + tokens } else { 0 },
        };
        // The middle piece must not matter.
        let pieces = vec![piece(0.2, slm, 0), piece(0.9, !llm, 1), piece(1.0, llm, tokens)];
        QuestionCurve { question: id.into(), pieces }
    }

    #[test]
    fn every_question_level_curve_meets_both_models() {
        let curves: Vec<_> =
            (0..40).map(|i| curve(&format!("q{i}"), i % 3 == 0, i % 5 != 0, 10 + i)).collect();
        let mixed: Vec<_> = curves.iter().map(|c| random(7, c).expect("a hash")).collect();
        let known: Vec<_> =
            curves.iter().map(|c| oracle(&c.question, ends(c)).expect("a count")).collect();
        let exact = Gap::of(&Curve::of(&curves));
        for found in [&mixed, &known] {
            let sum = Curve::of(found);
            assert_eq!((sum.at(Tau::SLM_ONLY).cut, sum.at(Tau::LLM_ONLY).cut), (26, 0));
            assert_eq!(Gap::of(&sum), exact);
            assert_eq!(sum.at(Tau::LLM_ONLY).offload(), 1.0);
            assert_eq!(sum.at(Tau::SLM_ONLY).offloaded, 0);
        }
        // At ½ the oracle has every gain and no loss.
        let half = Curve::of(&known).at(Tau::new(0.5).expect("in range"));
        assert_eq!(half.correct, (0..40u64).filter(|i| i % 3 == 0 || i % 5 != 0).count() as u64);
    }

    #[test]
    fn the_cheapest_gain_comes_first() {
        let score = |slm, llm, tokens| {
            let c = curve("q", slm, llm, tokens);
            oracle("q", ends(&c)).expect("a count").pieces[0].end
        };
        let order = [
            score(false, true, 10),
            score(false, true, 30),
            score(true, true, 10),
            score(true, false, 10),
        ];
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
    }

    #[test]
    fn the_rollout_oracle_takes_the_walk_where_it_gains() {
        let walked = Walked { correct: true, cut: false, offloaded: 2, generated: 12 };
        let found = rollout_oracle(&curve("q", false, true, 10), walked).expect("a count");
        let walk = found.at(Tau::LLM_ONLY);
        assert_eq!((walk.offloaded, walk.generated, walk.correct), (2, 12, true));
        assert!(!walk.cut && found.pieces[0].cut);
        // A prompt of 10 and the 11 tokens before the last.
        assert_eq!(walk.llm_positions, 21);
        assert!(found.pieces[0].end < 0.5 && !found.pieces[0].correct);
    }
}
