//! Policies that decide once a question: the SLM or another way makes the whole answer. Their
//! curves follow from both answers, without more decoding. Each is one type behind
//! [`QueryPolicy`], in a file of its own, and a line in [`QueryBaseline::ALL`].

mod agreement;
mod cascade;
mod facts;
mod handoff_whole;
mod head;
mod oracle;
mod random;
mod rollout_oracle;
#[cfg(test)]
mod tests;

use std::fmt;

use tokenroute_core::{Piece, QuestionCurve, Score, ScoreError, Tau};

use crate::policies::PolicyKind;
pub use agreement::QueryAgreement;
pub use cascade::QueryCascade;
pub use facts::{Fact, QuestionFacts, SlmAnswer, slm_answers};
pub use handoff_whole::HandoffWhole;
pub use head::QueryHead;
pub use oracle::{QueryOracle, oracle};
pub use random::QueryRandom;
pub use rollout_oracle::{RolloutOracle, Walked, rollout_oracle};

/// A policy that decides once a question, from both models' own answers and one fact.
pub trait QueryPolicy {
    /// The name in experiment files and reports. It never changes.
    const NAME: &'static str;

    /// The sort of the policy.
    const KIND: PolicyKind;

    /// Where it takes the LLM, in a line, as the docs have it.
    const TAKES: &'static str;

    /// What it reads beyond both answers, which takes more decoding than the sweep.
    const FACT: Option<Fact> = None;

    /// Whether an experiment has to name it. Every report has the others.
    const NAMED: bool = Self::FACT.is_some();

    /// The curve of a question; `None` if its fact is missing. `curve` is the router's, and
    /// exact.
    ///
    /// # Errors
    /// A fact that is not a number.
    fn curve(
        seed: u64,
        curve: &QuestionCurve,
        facts: Option<&QuestionFacts>,
    ) -> Result<Option<QuestionCurve>, ScoreError>;
}

/// [`QueryPolicy::curve`]
type CurveOf =
    fn(u64, &QuestionCurve, Option<&QuestionFacts>) -> Result<Option<QuestionCurve>, ScoreError>;

/// A policy that decides once a question, as lists hold it.
#[derive(Clone, Copy)]
pub struct QueryBaseline {
    name: &'static str,
    kind: PolicyKind,
    takes: &'static str,
    fact: Option<Fact>,
    named: bool,
    curve: CurveOf,
}

impl QueryBaseline {
    /// All of them, in the order of reports. A new one is a line here.
    pub const ALL: [QueryBaseline; 7] = [
        QueryBaseline::of::<QueryRandom>(),
        QueryBaseline::of::<QueryOracle>(),
        QueryBaseline::of::<QueryCascade>(),
        QueryBaseline::of::<QueryHead>(),
        QueryBaseline::of::<QueryAgreement>(),
        QueryBaseline::of::<HandoffWhole>(),
        QueryBaseline::of::<RolloutOracle>(),
    ];

    /// The policy of a type.
    #[must_use]
    pub const fn of<P: QueryPolicy>() -> Self {
        QueryBaseline {
            name: P::NAME,
            kind: P::KIND,
            takes: P::TAKES,
            fact: P::FACT,
            named: P::NAMED,
            curve: P::curve,
        }
    }

    /// The name in experiment files and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The sort of the policy.
    #[must_use]
    pub fn kind(self) -> PolicyKind {
        self.kind
    }

    /// Where it takes the LLM, in a line.
    #[must_use]
    pub fn takes(self) -> &'static str {
        self.takes
    }

    /// What it reads beyond both answers.
    #[must_use]
    pub fn fact(self) -> Option<Fact> {
        self.fact
    }

    /// Whether an experiment has to name it.
    #[must_use]
    pub fn is_named(self) -> bool {
        self.named
    }

    /// As [`QueryPolicy::curve`].
    ///
    /// # Errors
    /// A fact that is not a number.
    pub fn curve(
        self,
        seed: u64,
        curve: &QuestionCurve,
        facts: Option<&QuestionFacts>,
    ) -> Result<Option<QuestionCurve>, ScoreError> {
        (self.curve)(seed, curve, facts)
    }
}

impl fmt::Debug for QueryBaseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueryBaseline").field(&self.name).finish()
    }
}

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

/// The curve of one decision by a score that may be missing.
fn scored(curve: &QuestionCurve, score: Option<f64>) -> Result<Option<QuestionCurve>, ScoreError> {
    let decided = |score| Ok(decided(&curve.question, ends(curve), Score::new(score)?));
    score.map(decided).transpose()
}
