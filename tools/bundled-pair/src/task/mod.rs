//! The bundled task: multi-step word problems with five choices and a rationale.
//!
//! Key types:
//!
//! - [`Generator`]: draws core's [`Question`]s of a [`TaskSplit`].
//! - [`TaskConfig`]: the difficulty.
//! - [`families`]: the kinds of story.
//! - [`WordProblems`]: questions as tokens, for the trainer.
//!
//! A question is a pure function of (seed, split, index, most steps). No (family, operands)
//! occurs in two splits.

mod build;
mod choices;
mod circles;
mod config;
mod elsewhere;
mod family;
mod generator;
mod knowledge;
mod measures;
mod problems;
mod relations;
mod shopping;
#[cfg(test)]
mod tests;
mod words;

use serde::{Deserialize, Serialize};
use tokenroute_core::Question;

pub use config::{TaskConfig, TaskConfigError};
pub use family::{StoryFamily, families};
pub use generator::Generator;
pub use problems::WordProblems;

/// A part of the data. No two parts share a (family, operands).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskSplit {
    /// Training data of both models of the pair. Unlimited.
    PairTrain,
    /// Training data of the router.
    RouterTrain,
    /// Early stopping, calibration and the choice of τ.
    Validation,
    /// Reported results.
    Test,
    /// Reported results on families that the router never trains on.
    TestOod,
}

impl TaskSplit {
    /// The finite splits, in the order of their files.
    pub const FINITE: [Self; 4] = [Self::RouterTrain, Self::Validation, Self::Test, Self::TestOod];

    /// The name used in file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PairTrain => "pair-train",
            Self::RouterTrain => "router-train",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::TestOod => "test-ood",
        }
    }

    /// Number of questions. `None` for pair training, which has no end.
    #[must_use]
    pub fn size(self) -> Option<usize> {
        match self {
            Self::PairTrain => None,
            Self::RouterTrain => Some(4000),
            Self::Validation | Self::Test => Some(1000),
            Self::TestOod => Some(500),
        }
    }

    /// The percentiles of a family's key hashes that belong to the split.
    fn buckets(self, held_out: bool) -> std::ops::Range<u64> {
        match (self, held_out) {
            (Self::PairTrain, _) => 0..80,
            (Self::RouterTrain, false) => 80..92,
            (Self::Validation, false) => 92..96,
            (Self::Test, false) => 96..100,
            (Self::TestOod, true) => 80..100,
            _ => 0..0,
        }
    }
}

/// (family, operands) as one string. No two splits share a key.
#[must_use]
pub fn key(question: &Question) -> String {
    let mut text = question.family.clone().unwrap_or_default();
    for operand in question.operands.iter().flatten() {
        text.push('|');
        text.push_str(operand);
    }
    text
}
