//! The result of labelling a position: how the two models' tokens relate, and whether keep
//! or offload leads to the better answer.

use serde::{Deserialize, Serialize};

use crate::TokenId;

/// How the SLM's token relates to the LLM's at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// The same token.
    Identical,
    /// Different tokens, and keeping loses nothing: grade(keep) ≥ grade(offload), and at
    /// least one of the two answers is right.
    Neutral,
    /// Different tokens, and both answers are wrong. Part of the neutral share, and also
    /// counted apart.
    BothWrong,
    /// Different tokens, and keeping loses the answer: grade(keep) < grade(offload).
    Divergent,
    /// Different tokens without a rollout, because the cap on rollouts was reached.
    Unjudged,
}

impl Relation {
    /// The relation of two different tokens, from the grades after keeping and after
    /// offloading. Of mean grades, keep below offload by any margin is divergent; the target
    /// ([`soft_target`]) holds the margin. Both wrong means that no rollout was right.
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

/// Soft preference for keep, y = 1 − max(0, p_offload − p_keep), from the mean grades of
/// keep and offload (after CITER, arXiv 2502.01976 §3).
#[must_use]
pub fn soft_target(keep: f32, offload: f32) -> f32 {
    1.0 - (offload - keep).max(0.0)
}

/// One labelled position.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelRow {
    /// Id of the question.
    pub question: String,
    /// The question's split.
    pub split: String,
    /// 0 for the reference path; 1, 2, … for on-policy rounds.
    pub round: u32,
    /// Number of answer tokens before this position.
    pub position: u32,
    /// [`crate::prefix_hash`] of prompt and answer so far.
    pub prefix_hash: u64,
    /// The token before this position.
    pub previous: TokenId,
    /// The SLM's greedy token.
    pub slm_token: TokenId,
    /// The LLM's greedy token.
    pub llm_token: TokenId,
    /// The LLM's probability of it; `None` if labelling did not ask for it.
    pub llm_probability: Option<f32>,
    /// The SLM's most probable tokens with probabilities, best first.
    pub top: Vec<(TokenId, f32)>,
    /// Entropy of the SLM's distribution, in nats.
    pub entropy: f32,
    /// The SLM's entropy at the first token of the sentence, in nats.
    pub sentence_entropy: f32,
    /// The SLM's hidden state `[hidden]`.
    pub hidden: Vec<f32>,
    /// How the two tokens relate.
    pub relation: Relation,
    /// Mean grade when the SLM's token is kept; NaN without a rollout.
    pub keep_grade: f32,
    /// Mean grade when the LLM's token is taken; NaN without a rollout.
    pub offload_grade: f32,
    /// Soft preference for keep, [`soft_target`]; 0.5 if unjudged.
    pub target: f32,
    /// Weight of the row in training. An unjudged row has weight 0.
    pub weight: f32,
    /// Rollouts run for this row.
    pub rollouts: u32,
}

/// Number of positions per relation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// See [`Relation::Identical`].
    pub identical: u64,
    /// See [`Relation::Neutral`]. Does not include `both_wrong`.
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
    /// Counts one position.
    pub fn add(&mut self, relation: Relation) {
        *match relation {
            Relation::Identical => &mut self.identical,
            Relation::Neutral => &mut self.neutral,
            Relation::BothWrong => &mut self.both_wrong,
            Relation::Divergent => &mut self.divergent,
            Relation::Unjudged => &mut self.unjudged,
        } += 1;
    }

    /// Number of all positions.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.identical + self.neutral + self.both_wrong + self.divergent + self.unjudged
    }

    /// Each relation's share of all positions.
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

/// Positions per relation with the weights of their rows. Where a cap thins the rollouts of
/// a question, its judged rows weigh more and stand for the unjudged ones.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Positions as they are.
    pub counts: Counts,
    /// Weights of identical, neutral, both-wrong and divergent rows.
    weights: [f64; 4],
}

impl Tally {
    /// Counts one position.
    pub fn add(&mut self, row: &LabelRow) {
        self.counts.add(row.relation);
        let place = match row.relation {
            Relation::Identical => 0,
            Relation::Neutral => 1,
            Relation::BothWrong => 2,
            Relation::Divergent => 3,
            Relation::Unjudged => return,
        };
        self.weights[place] += f64::from(row.weight);
    }

    /// Positions per relation by the rows' weights, rounded. None is unjudged.
    #[must_use]
    pub fn weighted(&self) -> Counts {
        let [identical, neutral, both_wrong, divergent] = self.weights.map(|w| w.round() as u64);
        Counts { identical, neutral, both_wrong, divergent, unjudged: 0 }
    }
}

/// Share of positions per relation. All sum to 1 except `both_wrong`, which is a part of
/// `neutral`.
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
