//! What labelling finds at a position: how the two models relate there, and
//! which of keep and offload leads to the better outcome.

use serde::{Deserialize, Serialize};

use crate::TokenId;

/// How the SLM's token relates to the LLM's at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// The same token.
    Identical,
    /// Different tokens, and keeping loses nothing: grade(keep) ≥ grade(offload),
    /// at least one of them right.
    Neutral,
    /// Different tokens, and both ways end wrong. Counted among the neutral,
    /// and apart.
    BothWrong,
    /// Different tokens, and keeping loses the answer: grade(keep) < grade(offload).
    Divergent,
    /// Different tokens that no rollout has judged (the cap was reached).
    Unjudged,
}

impl Relation {
    /// The relation of two different tokens from the grades of both ways.
    #[must_use]
    pub fn from_grades(keep: f32, offload: f32) -> Self {
        if keep < offload {
            Relation::Divergent
        } else if keep <= 0.0 {
            Relation::BothWrong
        } else {
            Relation::Neutral
        }
    }

    /// The name used in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Relation::Identical => "identical",
            Relation::Neutral => "neutral",
            Relation::BothWrong => "both-wrong",
            Relation::Divergent => "divergent",
            Relation::Unjudged => "unjudged",
        }
    }

    /// The relation of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Identical, Self::Neutral, Self::BothWrong, Self::Divergent, Self::Unjudged]
            .into_iter()
            .find(|r| r.name() == name)
    }
}

/// Soft preference for keep, y = 1 − max(0, p_offload − p_keep), from the mean
/// grades of both ways (design: "Labels and losses", after CITER §3).
#[must_use]
pub fn soft_target(keep: f32, offload: f32) -> f32 {
    1.0 - (offload - keep).max(0.0)
}

/// One labelled position.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelRow {
    /// Id of the question.
    pub question: String,
    /// The split the question belongs to.
    pub split: String,
    /// 0 for the reference path, 1 onwards for on-policy rounds.
    pub round: u32,
    /// Number of answer tokens before this one.
    pub position: u32,
    /// [`crate::prefix_hash`] of prompt and answer so far.
    pub prefix_hash: u64,
    /// The token before this position.
    pub previous: TokenId,
    /// The SLM's greedy token.
    pub slm_token: TokenId,
    /// The LLM's greedy token.
    pub llm_token: TokenId,
    /// The SLM's most probable tokens with probabilities, best first.
    pub top: Vec<(TokenId, f32)>,
    /// Entropy of the SLM's distribution, in nats.
    pub entropy: f32,
    /// The SLM's entropy at the first token of the sentence, in nats.
    pub sentence_entropy: f32,
    /// The SLM's hidden state `[hidden]`.
    pub hidden: Vec<f32>,
    /// How the tokens relate.
    pub relation: Relation,
    /// Mean grade when the SLM's token is kept; NaN where no rollout judged it.
    pub keep_grade: f32,
    /// Mean grade when the LLM's token is taken; NaN where no rollout judged it.
    pub offload_grade: f32,
    /// Soft preference for keep, [`soft_target`]; 0.5 where unjudged.
    pub target: f32,
    /// Weight of the row in training; 0 leaves it out (unjudged).
    pub weight: f32,
    /// Rollouts run for this row.
    pub rollouts: u32,
}

/// How many positions stand in each relation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// See [`Relation::Identical`].
    pub identical: u64,
    /// See [`Relation::Neutral`]; those ending wrong both ways are in `both_wrong`.
    pub neutral: u64,
    /// See [`Relation::BothWrong`].
    pub both_wrong: u64,
    /// See [`Relation::Divergent`].
    pub divergent: u64,
    /// See [`Relation::Unjudged`].
    pub unjudged: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.identical += other.identical;
        self.neutral += other.neutral;
        self.both_wrong += other.both_wrong;
        self.divergent += other.divergent;
        self.unjudged += other.unjudged;
    }
}

impl Counts {
    /// Counts one more position.
    pub fn add(&mut self, relation: Relation) {
        *match relation {
            Relation::Identical => &mut self.identical,
            Relation::Neutral => &mut self.neutral,
            Relation::BothWrong => &mut self.both_wrong,
            Relation::Divergent => &mut self.divergent,
            Relation::Unjudged => &mut self.unjudged,
        } += 1;
    }

    /// All positions.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.identical + self.neutral + self.both_wrong + self.divergent + self.unjudged
    }

    /// What each relation makes up of all positions.
    #[must_use]
    pub fn shares(&self) -> Shares {
        let of = |n: u64| n as f64 / self.total().max(1) as f64;
        Shares {
            identical: of(self.identical),
            neutral: of(self.neutral + self.both_wrong),
            both_wrong: of(self.both_wrong),
            divergent: of(self.divergent),
            unjudged: of(self.unjudged),
        }
    }
}

/// Shares of positions in each relation; all but `both_wrong`, which is a part
/// of `neutral`, sum to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// See [`Relation::Identical`].
    pub identical: f64,
    /// [`Relation::Neutral`] and [`Relation::BothWrong`] together.
    pub neutral: f64,
    /// See [`Relation::BothWrong`].
    pub both_wrong: f64,
    /// See [`Relation::Divergent`].
    pub divergent: f64,
    /// See [`Relation::Unjudged`].
    pub unjudged: f64,
}
