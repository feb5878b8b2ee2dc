//! The policies that a router is compared with. Each is one type behind [`Policy`], in a file of
//! its own, and a line in [`Baseline::ALL`].

mod cascade;
mod entropy;
mod glimp_router;
mod handoff;
mod keep_rate;
mod lookup_position;
mod lookup_tokens;
mod margin;
mod max_probability;
mod oracle;
mod phrasing;
mod random;
mod relay;
mod sentence_entropy;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use tokenroute_core::{Handoff, LabelRow, Scorer, TokenId};

use crate::query::QueryBaseline;
pub use cascade::SpeculativeCascade;
pub use entropy::Entropy;
pub use glimp_router::GlimpRouter;
pub use lookup_position::LookupPosition;
pub use lookup_tokens::LookupTokens;
pub use margin::Margin;
pub use max_probability::MaxProbability;
pub use oracle::DifferenceOracle;
pub use phrasing::EntropyButPhrasing;
pub use random::Random;
pub use relay::RouterRelay;
pub use sentence_entropy::SentenceEntropy;

/// The sort of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// The trained router.
    Router,
    /// Needs no labels: chance and the SLM's own uncertainty.
    TrainingFree,
    /// A table learnt from the labels.
    Lookup,
    /// Decides once a question: one model makes the whole answer.
    QueryLevel,
    /// The SLM begins, and the LLM makes the rest of the answer in one call.
    Handoff,
    /// The LLM makes runs of tokens, whose length the router chooses.
    Relay,
    /// The LLM checks every token of the SLM. It reads the whole answer, and its tokens are
    /// those of the drafts that it rejects.
    Speculative,
    /// Knows the LLM's tokens, or both grades. No device can decide so: it shows what a choice
    /// of tokens or questions is worth, and has no price.
    Oracle,
}

/// What a policy needs beyond the SLM's step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The labels of the router-train split.
    pub rows: bool,
    /// A trained router.
    pub router: bool,
    /// The words of `sweep.phrasing`.
    pub phrasing: bool,
    /// What came before in the answer. A label row does not hold it.
    pub path: bool,
    /// How many of the LLM's most probable tokens at every position.
    pub llm_top: usize,
}

impl Needs {
    /// The step alone.
    pub const NOTHING: Needs =
        Needs { rows: false, router: false, phrasing: false, path: false, llm_top: 0 };
}

/// A policy that an experiment can name: a scorer, and how it comes about.
pub trait Policy: Scorer + Sized + 'static {
    /// The name in experiment files, curves and reports. It never changes.
    const NAME: &'static str;

    /// The sort of the policy.
    const KIND: PolicyKind;

    /// What its score is, in a line, as the docs have it.
    const SCORE: &'static str;

    /// What it needs.
    const NEEDS: Needs = Needs::NOTHING;

    /// Builds it; `None` if it needs a router and there is none.
    fn build(inputs: &PolicyInputs<'_>) -> Option<Self>;
}

/// Opens the trained router once more.
pub type OpenRouter<'a> = &'a dyn Fn() -> Option<Box<dyn Scorer + Send>>;

/// The inputs of [`Policy::build`]. What no policy needs ([`Needs`]) may be empty.
#[derive(Clone, Copy)]
pub struct PolicyInputs<'a> {
    /// Seed of the hashes.
    pub seed: u64,
    /// Number of token ids of the pair.
    pub vocabulary: usize,
    /// The labels of the router-train split.
    pub rows: &'a [LabelRow],
    /// The tokens of `sweep.phrasing`.
    pub phrasing: &'a [TokenId],
    /// The trained router.
    pub router: OpenRouter<'a>,
}

/// A policy as lists hold it, before it is built.
#[derive(Clone, Copy)]
pub struct Baseline {
    name: &'static str,
    kind: PolicyKind,
    score: &'static str,
    needs: Needs,
    build: fn(&PolicyInputs<'_>) -> Option<Box<dyn Scorer>>,
}

impl Baseline {
    /// All that an experiment can name, in the order of reports. A new one is a line here.
    pub const ALL: [Baseline; 13] = [
        Baseline::of::<Random>(),
        Baseline::of::<MaxProbability>(),
        Baseline::of::<Margin>(),
        Baseline::of::<Entropy>(),
        Baseline::of::<EntropyButPhrasing>(),
        Baseline::of::<SentenceEntropy>(),
        Baseline::of::<GlimpRouter>(),
        Baseline::of::<LookupTokens>(),
        Baseline::of::<LookupPosition>(),
        Baseline::of::<Handoff>(),
        Baseline::of::<RouterRelay>(),
        Baseline::of::<SpeculativeCascade>(),
        Baseline::of::<DifferenceOracle>(),
    ];

    /// The policy of a type.
    #[must_use]
    pub const fn of<P: Policy>() -> Self {
        Baseline {
            name: P::NAME,
            kind: P::KIND,
            score: P::SCORE,
            needs: P::NEEDS,
            build: |inputs| Some(Box::new(P::build(inputs)?)),
        }
    }

    /// The baseline of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|baseline| baseline.name == name)
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

    /// What its score is, in a line.
    #[must_use]
    pub fn score(self) -> &'static str {
        self.score
    }

    /// What it needs beyond the SLM's step.
    #[must_use]
    pub fn needs(self) -> Needs {
        self.needs
    }

    /// Builds the policy; `None` if it needs a router and there is none.
    #[must_use]
    pub fn build(self, inputs: &PolicyInputs<'_>) -> Option<Box<dyn Scorer>> {
        (self.build)(inputs)
    }
}

impl fmt::Debug for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Baseline").field(&self.name).finish()
    }
}

/// Names of all policies that an experiment may list under `sweep.baselines`.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let by_question = QueryBaseline::ALL.into_iter().filter(|policy| policy.is_named());
    Baseline::ALL
        .map(Baseline::name)
        .into_iter()
        .chain(by_question.map(QueryBaseline::name))
        .collect()
}
