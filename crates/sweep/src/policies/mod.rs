//! The policies that a router is compared with: chance, the SLM's own
//! uncertainty, tables learnt from the labels, speculative cascades, and the oracle of
//! differences.

mod cascade;
mod lookup;
mod oracle;
mod phrasing;
mod random;
#[cfg(test)]
mod tests;
mod uncertainty;

use serde::{Deserialize, Serialize};
use tokenroute_core::{Handoff, LabelRow, Scorer, TokenId};

use crate::query::QueryPolicy;
pub use cascade::SpeculativeCascade;
pub use lookup::{LookupPosition, LookupTokens};
pub use oracle::DifferenceOracle;
pub use phrasing::EntropyButPhrasing;
pub use random::Random;
pub use uncertainty::{Entropy, GlimpRouter, Margin, MaxProbability, SentenceEntropy};

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
    /// The LLM checks every token of the SLM. It reads the whole answer, and its tokens are
    /// those of the drafts that it rejects.
    Speculative,
    /// Knows the LLM's tokens, or both grades. No device can decide so: it shows what a choice
    /// of tokens or questions is worth, and has no price.
    Oracle,
}

/// The policies of this module by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Baseline {
    /// [`Random`]
    Random,
    /// [`MaxProbability`]
    MaxProbability,
    /// [`Margin`]
    Margin,
    /// [`Entropy`]
    Entropy,
    /// [`EntropyButPhrasing`]
    EntropyButPhrasing,
    /// [`SentenceEntropy`]
    SentenceEntropy,
    /// [`GlimpRouter`]
    GlimpRouter,
    /// [`LookupTokens`]
    LookupTokens,
    /// [`LookupPosition`]
    LookupPosition,
    /// [`Handoff`] by the router
    Handoff,
    /// [`SpeculativeCascade`]
    SpeculativeCascade,
    /// [`DifferenceOracle`]
    DifferenceOracle,
}

/// Opens the trained router once more.
pub type OpenRouter<'a> = &'a dyn Fn() -> Option<Box<dyn Scorer + Send>>;

/// The inputs of [`Baseline::build`].
#[derive(Clone, Copy)]
pub struct BaselineInputs<'a> {
    /// Seed of the hashes.
    pub seed: u64,
    /// Number of token ids of the pair.
    pub vocabulary: usize,
    /// The labels of the router-train split, for the tables.
    pub rows: &'a [LabelRow],
    /// The tokens that [`EntropyButPhrasing`] keeps.
    pub phrasing: &'a [TokenId],
    /// The trained router, for [`Handoff`].
    pub router: OpenRouter<'a>,
}

/// Names of all policies that an experiment may list under `sweep.baselines`.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let by_question = QueryPolicy::ALL.into_iter().filter(|policy| policy.is_named());
    Baseline::ALL
        .map(Baseline::name)
        .into_iter()
        .chain(by_question.map(QueryPolicy::name))
        .collect()
}

impl Baseline {
    /// All of them, in the order of reports.
    pub const ALL: [Baseline; 12] = [
        Baseline::Random,
        Baseline::MaxProbability,
        Baseline::Margin,
        Baseline::Entropy,
        Baseline::EntropyButPhrasing,
        Baseline::SentenceEntropy,
        Baseline::GlimpRouter,
        Baseline::LookupTokens,
        Baseline::LookupPosition,
        Baseline::Handoff,
        Baseline::SpeculativeCascade,
        Baseline::DifferenceOracle,
    ];

    /// The name in experiment files and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Baseline::Random => "random",
            Baseline::MaxProbability => "max-probability",
            Baseline::Margin => "margin",
            Baseline::Entropy => "entropy",
            Baseline::EntropyButPhrasing => "entropy-but-phrasing",
            Baseline::SentenceEntropy => "sentence-entropy",
            Baseline::GlimpRouter => "glimp-router",
            Baseline::LookupTokens => "lookup-tokens",
            Baseline::LookupPosition => "lookup-position",
            Baseline::Handoff => "handoff",
            Baseline::SpeculativeCascade => "speculative-cascade",
            Baseline::DifferenceOracle => "difference-oracle",
        }
    }

    /// The baseline of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|b| b.name() == name)
    }

    /// The sort of the policy.
    #[must_use]
    pub fn kind(self) -> PolicyKind {
        match self {
            Baseline::LookupTokens | Baseline::LookupPosition => PolicyKind::Lookup,
            Baseline::Handoff => PolicyKind::Handoff,
            Baseline::SpeculativeCascade => PolicyKind::Speculative,
            Baseline::DifferenceOracle => PolicyKind::Oracle,
            _ => PolicyKind::TrainingFree,
        }
    }

    /// Whether it is learnt from labels.
    #[must_use]
    pub fn needs_rows(self) -> bool {
        self.kind() == PolicyKind::Lookup
    }

    /// How many of the LLM's most probable tokens it needs at every position.
    #[must_use]
    pub fn llm_top(self) -> usize {
        if self == Baseline::SpeculativeCascade { SpeculativeCascade.llm_top() } else { 0 }
    }

    /// Whether it goes by the scores of a trained router.
    #[must_use]
    pub fn needs_router(self) -> bool {
        self == Baseline::Handoff
    }

    /// Builds the policy; `None` if it needs a router and there is none.
    #[must_use]
    pub fn build(self, inputs: &BaselineInputs<'_>) -> Option<Box<dyn Scorer>> {
        let BaselineInputs { seed, vocabulary, rows, phrasing, router } = *inputs;
        Some(match self {
            Baseline::Handoff => Box::new(Handoff::by(router()?)),
            Baseline::Random => Box::new(Random { seed }),
            Baseline::MaxProbability => Box::new(MaxProbability),
            Baseline::Margin => Box::new(Margin),
            Baseline::Entropy => Box::new(Entropy { vocabulary }),
            Baseline::EntropyButPhrasing => Box::new(EntropyButPhrasing {
                entropy: Entropy { vocabulary },
                kept: phrasing.iter().copied().collect(),
            }),
            Baseline::SentenceEntropy => Box::new(SentenceEntropy { vocabulary }),
            Baseline::GlimpRouter => Box::new(GlimpRouter { vocabulary }),
            Baseline::LookupTokens => Box::new(LookupTokens::learn(rows)),
            Baseline::LookupPosition => Box::new(LookupPosition::learn(rows)),
            Baseline::SpeculativeCascade => Box::new(SpeculativeCascade),
            Baseline::DifferenceOracle => Box::new(DifferenceOracle { seed }),
        })
    }
}
