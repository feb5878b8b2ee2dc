//! Scores of the policies at hand-made positions and rows.

use tokenroute_core::{
    LlmStep, Position, Relation, Score, ScoreError, Step, TokenId, TopTokens, unit_hash,
};

use super::*;

fn row(previous: TokenId, slm_token: TokenId, position: u32, target: f32, weight: f32) -> LabelRow {
    LabelRow {
        question: "q".into(),
        split: "router-train".into(),
        round: 0,
        position,
        prefix_hash: 0,
        previous,
        slm_token,
        llm_token: slm_token,
        llm_probability: None,
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

fn score(scorer: &dyn Scorer, previous: TokenId, index: usize, llm_token: Option<TokenId>) -> f64 {
    let llm = llm_token.map(|token| LlmStep { token, top: None });
    scored(scorer, previous, index, llm).expect("a number")
}

fn scored(
    scorer: &dyn Scorer,
    previous: TokenId,
    index: usize,
    llm: Option<LlmStep<'_>>,
) -> Result<f64, ScoreError> {
    let step = Step {
        token: 7,
        top: vec![(7, 0.6), (3, 0.25), (1, 0.1)],
        top_logits: Vec::new(),
        entropy: 1.0,
        rest: 0.4,
        hidden: [].into(),
        logits: None,
    };
    let position = Position {
        question: "q",
        index,
        previous,
        step: &step,
        sentence_entropy: 2.0,
        paragraph_entropy: 0.5,
        lowest: 0.3,
        state: None,
        llm,
    };
    scorer.score(&position).map(Score::get)
}

#[test]
fn uncertainty_becomes_a_score() {
    let ln16 = 16f64.ln();
    for (scorer, expected) in [
        (&MaxProbability as &dyn Scorer, 0.6),
        (&Margin, 0.35),
        (&Entropy { vocabulary: 16 }, 1.0 - 1.0 / ln16),
        (&SentenceEntropy { vocabulary: 16 }, 1.0 - 2.0 / ln16),
        (&GlimpRouter { vocabulary: 16 }, 1.0 - 0.5 / ln16),
        (&Random { seed: 3 }, unit_hash(3, "q", 5)),
        (&Handoff::by(Box::new(MaxProbability)), 0.3),
        (&Handoff::by(Box::new(Random { seed: 3 })), unit_hash(3, "q", 5).min(0.3)),
    ] {
        assert!((score(scorer, 0, 5, None) - expected).abs() < 1e-6);
    }
}

#[test]
fn phrasing_words_are_kept_and_others_have_their_entropy() {
    let entropy = Entropy { vocabulary: 16 };
    let keeps =
        |kept: &[TokenId]| EntropyButPhrasing { entropy, kept: kept.iter().copied().collect() };
    assert_eq!(score(&keeps(&[2, 7]), 0, 0, None), Score::MAX.get());
    assert_eq!(score(&keeps(&[2]), 0, 0, None), score(&entropy, 0, 0, None));
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
fn a_cascade_takes_the_llms_token_where_eq_10_holds() {
    // The SLM gives its token, 7, a probability of .6.
    let alpha = |token, sure: f32| {
        let top: TopTokens = [(token, sure)].into();
        let llm = LlmStep { token, top: Some(&top) };
        1.0 - 2.0 * scored(&SpeculativeCascade, 0, 0, Some(llm)).expect("a number")
    };
    // The greatest α at which the LLM's token is taken is what the LLM is surer by.
    for (sure, expected) in [(0.8, 0.2), (0.6, 0.0), (0.5, -0.1)] {
        assert!((alpha(3, sure) - expected).abs() < 1e-6, "{sure}");
    }
    // The same token is kept, with and without probabilities.
    assert!(alpha(7, 0.9) < -1.0 + 1e-9);
    assert_eq!(score(&SpeculativeCascade, 0, 0, Some(7)), Score::MAX.get());
    assert_eq!(score(&SpeculativeCascade, 0, 0, None), Score::MAX.get());
    let bare = LlmStep { token: 3, top: None };
    let refused = scored(&SpeculativeCascade, 0, 0, Some(bare));
    assert_eq!(refused, Err(ScoreError::NoProbabilities));
}

#[test]
fn names_are_found_again() {
    for baseline in Baseline::ALL {
        let found = Baseline::from_name(baseline.name()).expect("listed");
        assert_eq!(found.name(), baseline.name());
    }
    assert!(Baseline::from_name("oracle").is_none());
}

#[test]
fn a_policy_builds_from_what_it_says_that_it_needs() {
    let rows = [row(1, 7, 0, 0.0, 1.0)];
    let router = || Some(Box::new(MaxProbability) as Box<dyn Scorer + Send>);
    let none = || -> Option<Box<dyn Scorer + Send>> { None };
    for baseline in Baseline::ALL {
        let needs = baseline.needs();
        let inputs = PolicyInputs {
            seed: 3,
            vocabulary: 16,
            rows: if needs.rows { &rows } else { &[] },
            phrasing: if needs.phrasing { &[7] } else { &[] },
            router: if needs.router { &router } else { &none },
        };
        let scorer = baseline.build(&inputs).unwrap_or_else(|| panic!("{baseline:?}"));
        assert_eq!(scorer.llm_top(), needs.llm_top, "{baseline:?}");
        assert!(needs.llm_top == 0 || scorer.needs_llm(), "{baseline:?}");
        let without = PolicyInputs { router: &none, ..inputs };
        assert_eq!(baseline.build(&without).is_none(), needs.router, "{baseline:?}");
    }
}
