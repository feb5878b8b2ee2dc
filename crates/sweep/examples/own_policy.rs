//! A policy of one's own, swept exactly beside one that is there.
//!
//! `cargo run -p tokenroute-sweep --example own_policy`
#![allow(clippy::print_stdout)]

use tokenroute_core::{
    Curve, Gap, LanguageModel, Position, Score, ScoreError, Scorer, Silent, Tau, TokenId, apgr,
};
use tokenroute_llm::{InProcess, ToyModel};
use tokenroute_runtime::{Pair, Request, decode};
use tokenroute_sweep::policies::{Baseline, Policy, PolicyInputs, PolicyKind, Random};
use tokenroute_sweep::{SweepOptions, sweep};

/// The SLM's token against its runner-up alone: p₁ / (p₁ + p₂).
#[derive(Debug)]
struct Duel;

impl Policy for Duel {
    const NAME: &'static str = "duel";
    const KIND: PolicyKind = PolicyKind::TrainingFree;
    const SCORE: &'static str = "p₁ / (p₁ + p₂), of the SLM's two most probable tokens";

    fn build(_: &PolicyInputs<'_>) -> Option<Self> {
        Some(Duel)
    }
}

impl Scorer for Duel {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        let p = |i: usize| position.step.top.get(i).map_or(0.0, |top| f64::from(top.1));
        Score::new(p(0) / (p(0) + p(1)))
    }
}

/// Sweeps both policies over the questions of a toy pair.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The LLM agrees with the SLM after 70% of all prefixes.
    let slm = ToyModel::new(1);
    let llm = InProcess::new(ToyModel::following(2, &slm, 0.7));
    let vocabulary = ToyModel::vocabulary();
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let prompts: Vec<(String, [TokenId; 3])> =
        (0..60).map(|i| (format!("q{i}"), [i % 13, i / 13, 2])).collect();
    let questions: Vec<Request<'_>> = prompts
        .iter()
        .map(|(question, prompt)| Request { question, prompt, max_tokens: 20 })
        .collect();

    // An answer is right if it is the LLM's own.
    let own = decode(pair, &Duel, Tau::LLM_ONLY, &questions, questions.len())?;
    let own: Vec<Vec<TokenId>> = own.iter().map(|trace| trace.ids().collect()).collect();
    let grade = |question: usize, tokens: &[TokenId]| own[question] == tokens;

    let vocabulary = slm.info().vocabulary;
    let inputs = PolicyInputs { seed: 1, vocabulary, rows: &[], phrasing: &[], router: &|| None };
    for policy in [Baseline::of::<Duel>(), Baseline::of::<Random>()] {
        let scorer = policy.build(&inputs).ok_or("no router is here")?;
        let swept = sweep(pair, &*scorer, &questions, &grade, &SweepOptions::default(), &Silent)?;
        let curves: Vec<_> = swept.into_iter().map(|question| question.curve).collect();
        let curve = Curve::of(&curves);
        let gap = Gap::of(&curve);
        let area = apgr(&curve, gap).ok_or("the LLM is no better than the SLM")?;
        println!("{}: {}; APGR {area:.3}", policy.name(), policy.score());
        // Every curve goes from the SLM alone to the LLM alone.
        assert_eq!(curve.at(Tau::SLM_ONLY).offloaded, 0);
        assert_eq!((curve.at(Tau::LLM_ONLY).offload(), gap.llm), (1.0, 1.0));
    }
    Ok(())
}
