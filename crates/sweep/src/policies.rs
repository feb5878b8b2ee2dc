//! The policies a router is held against: chance, the SLM's own uncertainty,
//! tables learnt from the labels, and the oracle of differences.

use std::collections::HashMap;

use tokenroute_core::{LabelRow, Position, Score, ScoreError, Scorer, TokenId, unit_hash};

use crate::report::PolicyKind;

/// Pseudo-observations by which a specific rate leans on the more general one.
const SMOOTHING: f64 = 4.0;

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
    /// [`SentenceEntropy`]
    SentenceEntropy,
    /// [`LookupTokens`]
    LookupTokens,
    /// [`LookupPosition`]
    LookupPosition,
    /// [`DifferenceOracle`]
    DifferenceOracle,
}

/// What a baseline may need to be built.
#[derive(Debug, Clone, Copy)]
pub struct BaselineInputs<'a> {
    /// Seed of the hashes.
    pub seed: u64,
    /// Number of token ids of the pair.
    pub vocabulary: usize,
    /// The labels of the router-train split, for the tables.
    pub rows: &'a [LabelRow],
}

impl Baseline {
    /// All of them, in the order of reports.
    pub const ALL: [Baseline; 8] = [
        Baseline::Random,
        Baseline::MaxProbability,
        Baseline::Margin,
        Baseline::Entropy,
        Baseline::SentenceEntropy,
        Baseline::LookupTokens,
        Baseline::LookupPosition,
        Baseline::DifferenceOracle,
    ];

    /// The name used in experiment files and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Baseline::Random => "random",
            Baseline::MaxProbability => "max-probability",
            Baseline::Margin => "margin",
            Baseline::Entropy => "entropy",
            Baseline::SentenceEntropy => "sentence-entropy",
            Baseline::LookupTokens => "lookup-tokens",
            Baseline::LookupPosition => "lookup-position",
            Baseline::DifferenceOracle => "difference-oracle",
        }
    }

    /// The baseline of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|b| b.name() == name)
    }

    /// What sort of policy it is.
    #[must_use]
    pub fn kind(self) -> PolicyKind {
        match self {
            Baseline::LookupTokens | Baseline::LookupPosition => PolicyKind::Lookup,
            Baseline::DifferenceOracle => PolicyKind::Oracle,
            _ => PolicyKind::TrainingFree,
        }
    }

    /// Whether it is learnt from labels.
    #[must_use]
    pub fn needs_rows(self) -> bool {
        self.kind() == PolicyKind::Lookup
    }

    /// Builds the policy.
    #[must_use]
    pub fn build(self, inputs: &BaselineInputs<'_>) -> Box<dyn Scorer> {
        let BaselineInputs { seed, vocabulary, rows } = *inputs;
        match self {
            Baseline::Random => Box::new(Random { seed }),
            Baseline::MaxProbability => Box::new(MaxProbability),
            Baseline::Margin => Box::new(Margin),
            Baseline::Entropy => Box::new(Entropy { vocabulary }),
            Baseline::SentenceEntropy => Box::new(SentenceEntropy { vocabulary }),
            Baseline::LookupTokens => Box::new(LookupTokens::learn(rows)),
            Baseline::LookupPosition => Box::new(LookupPosition::learn(rows)),
            Baseline::DifferenceOracle => Box::new(DifferenceOracle { seed }),
        }
    }
}

/// Scores by a hash of (seed, question, position).
#[derive(Debug, Clone, Copy)]
pub struct Random {
    /// Seed of the hash.
    pub seed: u64,
}

impl Scorer for Random {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(unit_hash(self.seed, position.question, position.index))
    }
}

/// The probability of the SLM's token.
#[derive(Debug, Clone, Copy)]
pub struct MaxProbability;

impl Scorer for MaxProbability {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(position.step.max_probability())
    }
}

/// The probability of the SLM's token less that of the runner-up.
#[derive(Debug, Clone, Copy)]
pub struct Margin;

impl Scorer for Margin {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(position.step.margin())
    }
}

/// 1 − H / ln V, with H the entropy of the SLM's distribution over V tokens.
#[derive(Debug, Clone, Copy)]
pub struct Entropy {
    /// V, at least 2.
    pub vocabulary: usize,
}

impl Scorer for Entropy {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(certainty(position.step.entropy, self.vocabulary))
    }
}

/// The same with the entropy at the first token of the sentence, for all tokens
/// of the sentence (GlimpRouter, arXiv 2601.05110, at the grain of tokens).
#[derive(Debug, Clone, Copy)]
pub struct SentenceEntropy {
    /// V, at least 2.
    pub vocabulary: usize,
}

impl Scorer for SentenceEntropy {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(certainty(position.sentence_entropy, self.vocabulary))
    }
}

fn certainty(entropy: f32, vocabulary: usize) -> f32 {
    1.0 - entropy / (vocabulary.max(2) as f32).ln()
}

/// A weighted mean of targets.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    keep: f64,
    weight: f64,
}

impl Rate {
    fn add(&mut self, row: &LabelRow) {
        self.keep += f64::from(row.target) * f64::from(row.weight);
        self.weight += f64::from(row.weight);
    }

    /// The mean, drawn towards `general` as by [`SMOOTHING`] observations of it.
    fn towards(&self, general: f64) -> f64 {
        (self.keep + SMOOTHING * general) / (self.weight + SMOOTHING)
    }
}

/// The keep rate seen in the labels after the previous token and the SLM's
/// token; pairs seldom seen lean on the rate of the SLM's token, and that on
/// the rate over all positions.
#[derive(Debug, Clone)]
pub struct LookupTokens {
    all: f64,
    tokens: HashMap<TokenId, f64>,
    pairs: HashMap<(TokenId, TokenId), f64>,
}

impl LookupTokens {
    /// Learns the rates from rows of the router-train split, by their weights.
    #[must_use]
    pub fn learn(rows: &[LabelRow]) -> Self {
        let mut all = Rate::default();
        let mut tokens: HashMap<TokenId, Rate> = HashMap::new();
        let mut pairs: HashMap<(TokenId, TokenId), Rate> = HashMap::new();
        for row in rows.iter().filter(|r| r.weight > 0.0) {
            all.add(row);
            tokens.entry(row.slm_token).or_default().add(row);
            pairs.entry((row.previous, row.slm_token)).or_default().add(row);
        }
        let all = all.towards(0.5);
        let tokens: HashMap<_, _> = tokens.into_iter().map(|(t, r)| (t, r.towards(all))).collect();
        let pairs = pairs.into_iter().map(|(p, r)| (p, r.towards(tokens[&p.1]))).collect();
        LookupTokens { all, tokens, pairs }
    }
}

impl Scorer for LookupTokens {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        let token = position.step.token;
        let rate = self
            .pairs
            .get(&(position.previous, token))
            .or_else(|| self.tokens.get(&token))
            .unwrap_or(&self.all);
        Score::new(*rate as f32)
    }
}

/// The keep rate seen in the labels at the position's index; later positions
/// than any seen have the rate over all.
#[derive(Debug, Clone)]
pub struct LookupPosition {
    all: f64,
    positions: Vec<f64>,
}

impl LookupPosition {
    /// Learns the rates from rows of the router-train split, by their weights.
    #[must_use]
    pub fn learn(rows: &[LabelRow]) -> Self {
        let mut all = Rate::default();
        let mut positions: Vec<Rate> = Vec::new();
        for row in rows.iter().filter(|r| r.weight > 0.0) {
            all.add(row);
            let index = row.position as usize;
            if positions.len() <= index {
                positions.resize(index + 1, Rate::default());
            }
            positions[index].add(row);
        }
        let all = all.towards(0.5);
        LookupPosition { all, positions: positions.iter().map(|r| r.towards(all)).collect() }
    }
}

impl Scorer for LookupPosition {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        let rate = self.positions.get(position.index).unwrap_or(&self.all);
        Score::new(*rate as f32)
    }
}

/// Routes the tokens that differ from the LLM's first, in hashed order within
/// both classes: differing tokens score below ½, identical ones from ½ on. An
/// upper reference, since no device knows the LLM's token for free.
#[derive(Debug, Clone, Copy)]
pub struct DifferenceOracle {
    /// Seed of the hash.
    pub seed: u64,
}

impl Scorer for DifferenceOracle {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        let order = 0.5 * unit_hash(self.seed, position.question, position.index);
        let differs = position.llm_token.is_some_and(|t| t != position.step.token);
        Score::new(if differs { order } else { 0.5 + order })
    }

    fn needs_llm(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenroute_core::{Relation, Step};

    fn row(
        previous: TokenId,
        slm_token: TokenId,
        position: u32,
        target: f32,
        weight: f32,
    ) -> LabelRow {
        LabelRow {
            question: "q".into(),
            split: "router-train".into(),
            round: 0,
            position,
            prefix_hash: 0,
            previous,
            slm_token,
            llm_token: slm_token,
            top: Vec::new(),
            entropy: 0.0,
            sentence_entropy: 0.0,
            hidden: Vec::new(),
            relation: Relation::Identical,
            keep_grade: 1.0,
            offload_grade: 1.0,
            target,
            weight,
            rollouts: 0,
        }
    }

    fn score(
        scorer: &dyn Scorer,
        previous: TokenId,
        index: usize,
        llm_token: Option<TokenId>,
    ) -> f32 {
        let step = Step {
            token: 7,
            top: vec![(7, 0.6), (3, 0.25), (1, 0.1)],
            entropy: 1.0,
            hidden: [].into(),
            logits: None,
        };
        let sentence_entropy = 2.0;
        let position =
            Position { question: "q", index, previous, step: &step, sentence_entropy, llm_token };
        scorer.score(&position).expect("a number").get()
    }

    #[test]
    fn uncertainty_becomes_a_score() {
        let ln16 = 16f32.ln();
        for (scorer, expected) in [
            (&MaxProbability as &dyn Scorer, 0.6),
            (&Margin, 0.35),
            (&Entropy { vocabulary: 16 }, 1.0 - 1.0 / ln16),
            (&SentenceEntropy { vocabulary: 16 }, 1.0 - 2.0 / ln16),
            (&Random { seed: 3 }, unit_hash(3, "q", 5)),
        ] {
            assert!((score(scorer, 0, 5, None) - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn tables_learn_rates_and_back_off() {
        let mut rows: Vec<LabelRow> =
            (0..400).map(|i| row(1, 7, 0, (i % 4 == 0).into(), 1.0)).collect();
        rows.extend((0..400).map(|_| row(2, 7, 1, 1.0, 2.0)));
        rows.push(row(2, 7, 1, 0.0, 0.0));
        let tokens = LookupTokens::learn(&rows);
        let at = |previous| score(&tokens, previous, 0, None);
        assert!((at(1) - 0.25).abs() < 0.01, "{}", at(1));
        assert!(at(2) > 0.99, "weight 0 is left out: {}", at(2));
        assert!((at(9) - 0.75).abs() < 0.01, "an unseen pair has its token's rate: {}", at(9));

        let positions = LookupPosition::learn(&rows);
        let at = |index| score(&positions, 0, index, None);
        assert!((at(0) - 0.25).abs() < 0.01 && at(1) > 0.99, "{} {}", at(0), at(1));
        assert!((at(80) - 0.75).abs() < 0.01, "{}", at(80));

        let nothing = LookupTokens::learn(&[]);
        assert_eq!(score(&nothing, 1, 0, None), 0.5);
    }

    #[test]
    fn the_oracle_routes_differences_first() {
        let oracle = DifferenceOracle { seed: 1 };
        for index in 0..50 {
            assert!(score(&oracle, 0, index, Some(3)) < 0.5);
            assert!(score(&oracle, 0, index, Some(7)) >= 0.5);
        }
    }

    #[test]
    fn names_are_found_again() {
        for baseline in Baseline::ALL {
            assert_eq!(Baseline::from_name(baseline.name()), Some(baseline));
        }
        assert_eq!(Baseline::from_name("oracle"), None);
    }
}
